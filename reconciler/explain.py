"""What a failed command or a dead container means: in plain words, and whether trying again can help.

Pure. A terminal failure (a bad flag, no such image) waits for a change of the declaration; a transient one
is tried again with growing pauses. What no signature matches counts as transient, since a pause costs less
than giving up. The known texts stand in `reconciler.signatures`, and for people in docs/FAILURES.md.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reconciler.signatures import SIGNATURES, Signature, Weight

FIRST_BACKOFF: Final = 10.0
LAST_BACKOFF: Final = 300.0
HEALTHY_RESET: Final = 600.0  # seconds of running well after which earlier failures are forgotten
LEVEL_WITHIN: Final = 120  # characters of a line in which its level is looked for
QUOTED: Final = 300  # characters of the log line that are shown
READ: Final = 2000  # characters at either end of a line that are read: a megabyte without a break would take minutes

_INFO: Final = re.compile(r"(?:^|[\s\[(])(?:INFO|DEBUG)(?:$|[\s:\])])|\[(?:I|V)\]")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_FRAME: Final = re.compile(r'\s(?P<file>File "[^"]+", line \d+, in )')  # of a traceback; its source follows, indented
_MARKS: Final = re.compile(r"\s[~^]+$")  # where in the source
_RAISED: Final = re.compile(r"(?:^|[\s.])[A-Z]\w*(?:Error|Exception|Refused|Timeout): \S")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something failed. `reason` is one CamelCase word; `message` says it all, `advice` only what to do."""

    reason: str
    message: str
    terminal: bool
    advice: str = ""


def explain(text: str, *, otherwise: str, reason: str = "CommandFailed") -> Explanation:
    """The root cause that a command's output or a container's log names; failing that, its last line.

    Of all known texts in it, one that names a cause is preferred to a hint and a hint to an echo; among equals
    the earliest counts, since what goes wrong first makes the rest go wrong. Where there is nothing but an echo, the
    first error that a program raised is shown beside it, known or not.
    """
    lines = _telling(text)
    found = min(_matches(lines), key=lambda match: match[:3], default=None)
    if found is None:
        useful = [line for line in lines if not line.startswith(("See 'docker", "Run 'docker"))]
        return Explanation(reason, f"{otherwise}{_quote(useful[-1])}" if useful else otherwise, terminal=False)
    _, number, _, signature = found
    line = lines[number] if signature.weight is not Weight.ECHO else _raised(lines) or lines[number]
    message = f"{otherwise}: {signature.message}. {signature.advice}{_quote(line)}"
    return Explanation(signature.reason, message, signature.terminal, signature.advice)


def _matches(lines: list[str]) -> Iterator[tuple[int, int, int, Signature]]:
    """Weight, number of the line, place of the match in it, signature; the tables' order decides between equals.

    What dies again and again says the same again and again: a line that was there before is not searched once more.
    """
    first: dict[str, int] = {}
    for number, line in enumerate(lines):
        first.setdefault(line, number)
    for signature in SIGNATURES:
        for line, number in first.items():
            match = signature.pattern.search(line)
            if match:
                yield signature.weight, number, match.start(), signature
                break


def _raised(lines: list[str]) -> str | None:
    """The first error raised that is no echo itself."""
    echoes = [signature.pattern for signature in SIGNATURES if signature.weight is Weight.ECHO]
    raised = (line for line in lines if _RAISED.search(line))
    return next((line for line in raised if not any(echo.search(line) for echo in echoes)), None)


def _telling(text: str) -> list[str]:
    """The lines that may tell of a failure: neither blank, nor mere information, nor a traceback's way to its end."""
    found, source = list[str](), 0
    for line in _COLOUR.sub("", text).splitlines():
        frame = _FRAME.search(line)
        passed = frame or _MARKS.search(line) or (source and line[source : source + 2].isspace())
        source = frame.start("file") if frame else 0
        if line.strip() and not passed and not _INFO.search(line[:LEVEL_WITHIN]):
            found.append(_ends(line.strip()))
    return found


def _ends(line: str) -> str:
    return line if len(line) <= 2 * READ else f"{line[:READ]} ... {line[-READ:]}"


def _quote(line: str) -> str:
    return f" ({line[:QUOTED]})"


def backoff(count: int, rng: random.Random, longest: float = LAST_BACKOFF) -> float:
    """Seconds to wait after the `count`-th failure in a row: none at first, then 10 s doubling to `longest`, +-10 %."""
    if count <= 1:
        return 0.0
    base = min(FIRST_BACKOFF * 2.0 ** min(count - 2, 10), longest)
    return base * rng.uniform(0.9, 1.1)
