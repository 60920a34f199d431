"""Originals put back: in a whole text, in a stream of it, in the fragments of a JSON document.

One pass, never chained: what was put back isn't looked at again. The strict form and the lenient ones (`forms`) are
found together, from the left. A stream gives out what it can at once: only what may still become a writing of a
placeholder that was issued waits for its next character.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from api.proxies.redaction.forms import LONGEST, TAIL, WHOLE, read
from api.proxies.redaction.placeholders import Conversation

CONTEXT: Final = 3
"""Characters before a writing that tell whether it begins there."""

IN_STRING: Final = re.compile(r'\\u[0-9A-Fa-f]{4}|\\[^u]|[^"\\]')
CUT_IN_STRING: Final = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
PLAIN: Final = re.compile(r'[^"\\]+')
ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Piece(NamedTuple):
    """A number of characters that came in, and what they are now; None: what they were."""

    length: int
    original: str | None = None


def restore(text: str, conversation: Conversation) -> str:
    """The whole text with the originals in it."""
    restorer = Restorer(conversation)
    return restorer.feed(text) + restorer.end()


class Scanner:
    """Finds what is to be put back in a text that comes in parts, and says it in numbers of characters."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._before = ""  # the last characters that went out, as they came in
        self._held = ""

    @property
    def holds(self) -> str:
        """What waits for more."""
        return self._held

    def feed(self, text: str) -> list[Piece]:
        """What is decided now."""
        if not self._conversation.issued:
            return [Piece(len(text))] if text else []
        return self._scan(text, ended=False)

    def end(self) -> list[Piece]:
        """The rest: nothing follows."""
        return self._scan("", ended=True)

    def _scan(self, text: str, *, ended: bool) -> list[Piece]:
        whole = f"{self._before}{self._held}{text}"
        at = start = len(self._before)
        stop = len(whole) if ended else self._undecided(whole, start)
        found: list[Piece] = []
        while match := WHOLE.search(whole, at):
            if match.start() >= stop:
                break
            original = self._conversation.look_up(match)
            if original is None:
                at = match.start() + 1
                continue
            if match.start() > start:
                found.append(Piece(match.start() - start))
            found.append(Piece(match.end() - match.start(), original))
            at = start = match.end()
            if at > stop:
                stop = self._undecided(whole, at)
        if stop > start:
            found.append(Piece(stop - start))
        stop = max(stop, start)
        self._before, self._held = whole[max(0, stop - CONTEXT) : stop], whole[stop:]
        return found

    def _undecided(self, whole: str, start: int) -> int:
        """Where begins what may still become a writing; the end, if nothing does."""
        at = max(start, len(whole) - LONGEST)
        while match := TAIL.search(whole, at):
            if self._conversation.may_become(read(match[0])):
                return match.start()
            at = match.start() + 1
        return len(whole)


class Restorer:
    """A text that comes in parts."""

    def __init__(self, conversation: Conversation) -> None:
        self._scanner = Scanner(conversation)

    def feed(self, text: str) -> str:
        """What can go out now."""
        whole = self._scanner.holds + text
        return _applied(whole, self._scanner.feed(text))

    def end(self) -> str:
        """What was held back."""
        whole = self._scanner.holds
        return _applied(whole, self._scanner.end())


def _applied(whole: str, pieces: list[Piece]) -> str:
    found: list[str] = []
    at = 0
    for length, original in pieces:
        found.append(whole[at : at + length] if original is None else original)
        at += length
    return "".join(found)


class JsonStringRestorer:
    """A JSON document that comes in fragments, cut anywhere: what stands in its strings is restored and escaped again.

    What isn't touched goes out as it came, escapes and spaces included. Text that isn't JSON does no harm: outside of
    strings nothing is looked at.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._scanner: Scanner | None = None  # of the string that has begun
        self._raw: list[str] = []  # of each character the scanner holds, as it was written
        self._cut = ""  # an escape that hasn't ended

    def feed(self, fragment: str) -> str:
        """What can go out now."""
        if not self._conversation.issued:
            return fragment
        text, self._cut = self._cut + fragment, ""
        found: list[str] = []
        at = 0
        while at < len(text):
            at = (self._outside if self._scanner is None else self._inside)(text, at, found)
        return "".join(found)

    def end(self) -> str:
        """What was held back."""
        rest = ""
        if self._scanner is not None:
            rest = self._applied(self._scanner.end())
            self._scanner = None
        cut, self._cut = self._cut, ""
        return rest + cut

    def _outside(self, text: str, at: int, found: list[str]) -> int:
        end = text.find('"', at) + 1
        if end:
            self._scanner = Scanner(self._conversation)
        found.append(text[at : end or len(text)])
        return end or len(text)

    def _inside(self, text: str, at: int, found: list[str]) -> int:
        """Up to the string's end, if it is here."""
        assert self._scanner is not None  # noqa: S101  # `feed` asks
        decoded: list[str] = []
        while at < len(text) and text[at] != '"':
            raw = self._character(text, at)
            if raw is None:
                self._cut = text[at:]
                at = len(text)
                break
            value = _decoded(raw)
            decoded.append(value)
            self._raw += [raw] if len(raw) != len(value) or raw[0] == "\\" else raw
            at += len(raw)
        found.append(self._applied(self._scanner.feed("".join(decoded))))
        if at < len(text):
            found.append(self._applied(self._scanner.end()) + '"')
            self._scanner = None
            at += 1
        return at

    @staticmethod
    def _character(text: str, at: int) -> str | None:
        """The next characters that need no decoding, or one that does; None where its escape is cut off."""
        if match := PLAIN.match(text, at) or IN_STRING.match(text, at):
            return match[0]
        if CUT_IN_STRING.match(text, at):
            return None
        return text[at : at + 2]  # no escape that JSON knows

    def _applied(self, pieces: list[Piece]) -> str:
        found: list[str] = []
        at = 0
        for length, original in pieces:
            if original is None:
                found += self._raw[at : at + length]
            else:
                found.append(json.dumps(original, ensure_ascii=False)[1:-1])
            at += length
        del self._raw[:at]
        return "".join(found)


def _decoded(raw: str) -> str:
    if raw[0] != "\\":
        return raw
    if len(raw) == 6:  # noqa: PLR2004  # \uXXXX
        return chr(int(raw[2:], 16))  # noqa: FURB166  # the prefix is JSON's
    return ESCAPES.get(raw[1:], "\ufffd")
