"""A text as the recognisers see it: which words stand near a place, and which of its lines are not prose.

Names are guessed in prose only. In code, logs and tables a capitalised word says nothing; what has a form of its own
(an address of mail, a card, a key) is found anywhere, and so is what a key such as `"patient":` names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final

import regex

from api.proxies.redaction.finds import Find

_FENCE: Final = regex.compile(r"^\s*(?:```|~~~)")
_STATEMENT: Final = regex.compile(
    r"""^\s*(?:
        (?:def|class|import|from\s+[\w.]+\s+import|return|raise|assert|async|await|elif|except|finally:|try:|with\s.+:$)\b
      | (?:const|let|var|function|public|private|static|void|func|fn|struct|enum|package|use|mod|impl|type)\s+\w
      | (?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP)\s+\w.*(?:FROM|INTO|TABLE|SET|WHERE|;)
      | (?:if|for|while|switch)\s*\(.*\)\s*\{?$ | \#include\b | \#!/ | //\s?\S | /\*\* | \*/
      | (?:\$|>>>|\.\.\.|%)\s+\S | -{1,2}[\w-]+(?:\s|=|$)
      | @\w+(?:\.\w+)*(?:\(|$)
      | (?:GET|POST|PUT|PATCH|DELETE|HEAD)\s+/
      | (?:FROM|RUN|COPY|ENTRYPOINT|CMD|ENV|WORKDIR|EXPOSE)\s+[\w\[/"].*
    )""",
    regex.VERBOSE,
)
_LOG: Final = regex.compile(
    r"""^\s*(?:
        \[?\d{4}[-/]\d\d[-/]\d\d[T\s]\d\d:\d\d | \w{3}\s+\d+\s\d\d:\d\d:\d\d\s | \d\d:\d\d:\d\d[.,\s]
      | \[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL|NOTICE)\]?[:\s]
      | \d{1,3}(?:\.\d{1,3}){3}\s-\s | [IWEF]\d{4}\s
    )""",
    regex.VERBOSE,
)
_PAIR: Final = regex.compile(
    r"""^\s*(?:[-*]\s+)?(?:["'][\w .-]+["']\s*:|[\w.-]+\s*[=]\s*\S|</?\w+[^>]*>|[\w-]+:\s*$)"""
)
_SYMBOLS: Final = frozenset("{}[]()<>=;|\\_*&%$#^~`+/")
_CODE_PART: Final = 0.14
_LONG_LINE: Final = 2000


def _is_code(line: str) -> bool:
    if _STATEMENT.match(line) or _LOG.match(line[:60]) or _PAIR.match(line[:200]):
        return True
    shown = line[:_LONG_LINE].replace(" ", "")
    return bool(shown) and sum(char in _SYMBOLS for char in shown) > _CODE_PART * len(shown)


def _lower(text: str) -> str:
    """Lower case without a change of length: places stay what they are."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c if len(c.lower()) != 1 else c.lower() for c in text)


@lru_cache(maxsize=2048)
def words(*said: str) -> regex.Pattern[str]:
    """A pattern of whole words; one that ends with * may go on."""
    each = "|".join(regex.escape(one).replace(r"\*", r"\w*").replace(r"\ ", r"[\s_-]+") for one in said)
    return regex.compile(rf"(?<![^\W_])(?:{each})(?![^\W_])")


def marked(found: regex.Match[str], group: int | str, kind: str, score: float) -> Find:
    """A find where this group of a pattern stands."""
    return Find(found.start(group), found.end(group), kind, score)


class Page:
    """One text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lower = _lower(text)

    @cached_property
    def _lines(self) -> tuple[list[int], list[bool]]:
        lines = self.text.split("\n")
        starts = [0, *accumulate(len(line) + 1 for line in lines)][:-1]
        fenced, code = False, []
        for line in lines:
            fence = bool(_FENCE.match(line))
            code.append(fence or fenced or _is_code(line))
            fenced ^= fence
        return starts, code

    def prose(self, at: int) -> bool:
        """Whether names may be guessed here."""
        starts, code = self._lines
        return not code[bisect_right(starts, at) - 1]

    def line(self, at: int) -> tuple[int, int]:
        """Where the line begins and ends."""
        end = self.text.find("\n", at)
        return self.text.rfind("\n", 0, at) + 1, len(self.text) if end < 0 else end

    def prose_parts(self) -> Iterable[tuple[int, str]]:
        """Lines of prose that follow each other, with their places."""
        starts, code = self._lines
        bounds = [*starts, len(self.text) + 1]
        first: int | None = None
        for at, is_code in enumerate([*code, True]):
            if is_code and first is not None:
                yield bounds[first], self.text[bounds[first] : bounds[at] - 1]
                first = None
            elif not is_code and first is None:
                first = at

    def before(self, at: int, said: regex.Pattern[str], reach: int = 40) -> bool:
        """Whether one of these words stands shortly before."""
        return bool(said.search(self.lower, max(0, at - reach), at))

    def near(self, start: int, end: int, said: regex.Pattern[str], reach: int = 50) -> bool:
        """Whether one of these words stands shortly before or after."""
        return self.before(start, said, reach) or bool(said.search(self.lower, end, end + reach // 2))
