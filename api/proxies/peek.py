"""What routing wants to know of a request's JSON: its model, whether a stream is wanted, whose it is, how it begins.

Two ways to the same answer. A body that came in one piece is short, and a parser outside Python is the fastest reader
there is (`look`); what few want to know is found out when they ask. A long one is looked through as it comes (`Peek`):
only the outermost keys, nested values passed over by a pattern, nothing kept; so no single step holds up the other
requests. As in every JSON reader that backends use, the last of two equal keys counts. The model's name is exchanged in
the bytes; nothing is written anew.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, Final

from pydantic_core import from_json

SHORT: Final = 128 * 2**10
"""Bytes up to which a body is parsed at once."""
LONGEST_NAME: Final = 512

_SESSION_KEYS: Final = ("session_id", "prompt_cache_key", "user")
_BEGINNINGS: Final = ("system", "instructions", "messages", "input", "prompt")
_WANTED: Final = frozenset({"model", "stream", *_SESSION_KEYS, *_BEGINNINGS})
_BEFORE_ALL: Final = ("system", "developer")
_LONGEST_KEY: Final = 128
_HASHED: Final = 65536  # characters of a beginning that count
_HASHED_TEXT: Final = 256  # of one that is no list of messages: what follows differs from call to call
_MOST_STEPS: Final = 250_000  # at brackets and keys; no conversation has as many

_MODEL: Final = re.compile(rb'"model"[ \t\r\n]*+:[ \t\r\n]*+("[^"\\]*+")')
_WS: Final = re.compile(rb"[ \t\r\n]*+")
_KEY: Final = re.compile(rb'[ \t\r\n]*+,?[ \t\r\n]*+"([^"\\]*+)"[ \t\r\n]*+:[ \t\r\n]*+')
_LITERAL: Final = re.compile(rb"[^ \t\r\n,\]}]++")
_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_OVER: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"|\[[^"\[\]{}]*+\]|\{[^"\[\]{}]*+\})*+', re.DOTALL)
_EACH: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_FIRST: Final = re.compile(rb'[ \t\r\n]*+("(?:[^"\\]++|\\.)*+"|[^ \t\r\n,"\[\]{}]++)', re.DOTALL)

_QUOTE, _COMMA, _COLON, _OPEN, _CLOSE = b'",:{}'
_OPENING: Final = b"{["
_TOP: Final = 1
_IN_LIST: Final = 2  # the brackets around the elements of a list that is a value of the outermost object
_BEFORE, _AT_KEY, _AT_COLON, _AT_VALUE, _AFTER = range(5)


class Asked:
    """What a body asks for, as it was `said` by its outermost keys. `whole`: it is a JSON object.

    `span`: where the model's value stands, quotes included; None: it has not been looked for.
    """

    __slots__ = ("_said", "_span", "model", "stream", "whole")

    def __init__(self, said: dict[str, Any], span: tuple[int, int] | None, *, whole: bool) -> None:
        self._said = said
        self._span = span
        self.whole = whole
        self.model = _name(said.get("model"))
        stream = said.get("stream")
        self.stream: bool | None = stream if type(stream) is bool else None

    @property
    def session(self) -> str:
        """Whose conversation it is."""
        said = self._said
        return next((found for key in _SESSION_KEYS if key in said and (found := _name(said[key]))), "")

    @property
    def prefix(self) -> int:
        """A hash of how it begins; 0: that is not known."""
        begins, said = 0, self._said
        for key in _BEGINNINGS:
            if key in said and (found := _beginning(said[key])):
                begins = zlib.crc32(found.encode("utf-8", "surrogatepass"), begins) or 1
        return begins

    def forget(self) -> None:
        """Nobody wants to know of its conversation any more."""
        self._said = {}

    def spliced(self, body: bytes, model: str) -> bytes:
        """The body with another model's name."""
        start, end = self._span or _span(body)
        return b"%b%b%b" % (body[:start], json.dumps(model).encode(), body[end:]) if end else body


def look(body: bytes) -> Asked:
    """What a whole body asks for; nothing, if it is no JSON object."""
    if len(body) > SHORT:
        return _through(body)
    try:
        said = from_json(body, cache_strings="keys")
    except ValueError:
        return _through(body)  # which says of a broken one what can be said
    if type(said) is not dict:
        return NOTHING
    return Asked(said, None if type(said.get("model")) is str else (0, 0), whole=True)


def _span(body: bytes) -> tuple[int, int]:
    """Where the model stands in a body that has one."""
    found = _MODEL.search(body)
    if found is None or body.count(b'"model"') != 1 or b"\\u00" in body:
        return _seen(body).span
    return found.span(1)


def _through(body: bytes) -> Asked:
    return _seen(body).asked()


def _seen(body: bytes) -> Peek:
    peek = Peek()
    peek.feed(body)
    return peek


def _name(value: object) -> str:
    return value[:LONGEST_NAME] if type(value) is str else ""


def _before_all(message: object) -> bool:
    return type(message) is dict and message.get("role") in _BEFORE_ALL


def _beginning(value: object) -> str:
    """What all further calls of a conversation begin with: what was said first, and the system's words before it."""
    if type(value) is str:
        return value[:_HASHED_TEXT]
    if type(value) is not list or not value:
        return ""
    if type(value[0]) is not dict:
        return repr(value[0])[:_HASHED_TEXT]
    return repr(value[: 2 if _before_all(value[0]) else 1])[:_HASHED]


class Peek:
    """A body as it comes: `feed` it the bytes so far, again whenever there are more."""

    __slots__ = (
        *("_at", "_begins", "_depth", "_element", "_gathers", "_inner", "_key", "_said", "_start"),
        *("_state", "_steps", "bad", "done", "span"),
    )

    def __init__(self) -> None:
        self.done = False
        """Whether the outermost object has ended."""
        self.bad = False
        """Whether this is no JSON object, or one that is no request."""
        self._at = 0
        self._state = _BEFORE
        self._depth = _TOP
        self._steps = 0
        self._key = ""
        self._start = -1  # of a string or value of the outermost object that has begun
        self._inner = False  # in a string further in that is not all there
        self._element = 0  # of the list's element under way
        self._gathers = False  # the list's first elements
        self._begins: list[Any] = []
        self._said: dict[str, Any] = {}
        self.span = (0, 0)
        """Where the model's value stands, quotes included."""

    def asked(self) -> Asked:
        """What it asks for, as far as it was seen."""
        return Asked(self._said, self.span, whole=self.done)

    @property
    def model(self) -> str:
        """The model, if it has come by."""
        return _name(self._said.get("model"))

    def feed(self, data: bytes | bytearray) -> None:
        """All of the body that is there; what was there before is not looked at again."""
        while not (self.done or self.bad) and self._step(data):
            self._steps += 1
            self.bad = self.bad or self._steps > _MOST_STEPS

    # One step each; False: more bytes are needed.

    def _step(self, data: bytes | bytearray) -> bool:
        if self._depth > _TOP:
            return self._nested(data)
        if self._start >= 0:
            return self._string(data)
        if self._state == _AT_KEY and (key := _KEY.match(data, self._at)) is not None:
            self._at = key.end()
            self._key = _key(key[1])
            self._state = _AT_VALUE
            return True
        space = _WS.match(data, self._at)
        self._at = at = space.end() if space else self._at
        return at < len(data) and self._token(data, data[at])

    def _token(self, data: bytes | bytearray, byte: int) -> bool:
        state = self._state
        if state == _AT_VALUE:
            return self._value(data, byte)
        if byte == _QUOTE and state == _AT_KEY:
            self._start = self._at
        elif state == _BEFORE and byte == _OPEN:
            self._state = _AT_KEY
        elif state == _AT_COLON and byte == _COLON:
            self._state = _AT_VALUE
        elif state in {_AFTER, _AT_KEY} and byte == _COMMA:
            self._state = _AT_KEY
        elif state in {_AFTER, _AT_KEY} and byte == _CLOSE:
            self.done = True
        else:
            self.bad = True
        self._at += 1
        return True

    def _value(self, data: bytes | bytearray, byte: int) -> bool:
        at = self._at
        if byte == _QUOTE:
            self._start, self._at = at, at + 1
            return True
        if byte in _OPENING:
            self._start, self._at, self._element, self._depth, self._begins = at, at + 1, at + 1, _IN_LIST, []
            self._gathers = data[at] != _OPEN and self._key in _BEGINNINGS
            return True
        found = _LITERAL.match(data, at)
        if found is None:
            self.bad = True
            return True
        if found.end() == len(data):
            return False
        self._at = found.end()
        self._take(data, at)
        return True

    def _string(self, data: bytes | bytearray) -> bool:
        """A string of the outermost object, up to its end."""
        if not self._ended(data):
            return False
        start, self._start = self._start, -1
        if self._state == _AT_KEY:
            self._key = _key(data[start + 1 : self._at - 1])
            self._state = _AT_COLON
        else:
            self._take(data, start)
        return True

    def _ended(self, data: bytes | bytearray) -> bool:
        """Whether the string under way ends in what is there; goes to its end, or as far as can be said."""
        found = _STRING.match(data, self._at)
        self._at = at = found.end() if found else self._at
        if at < len(data) and data[at] == _QUOTE:
            self._at = at + 1
            return True
        return False

    def _nested(self, data: bytes | bytearray) -> bool:
        """Inside a list or an object, up to the next bracket; or to the end of a string that was not all there."""
        if self._inner:
            if not self._ended(data):
                return False
            self._inner = False
        found = (_EACH if self._gathers else _OVER).match(data, self._at)
        self._at = at = found.end() if found else self._at
        if at == len(data):
            return False
        self._at = at + 1
        if data[at] == _QUOTE:
            self._inner = True
        elif data[at] in _OPENING:
            self._depth += 1
        else:
            self._depth -= 1
            self._closed(data)
        return True

    def _closed(self, data: bytes | bytearray) -> None:
        if self._depth == _TOP:
            if self._gathers and not self._begins and (found := _FIRST.match(data, self._element, self._at - 1)):
                self._begins = _elements(found[1])
            start, self._start = self._start, -1
            self._take(data, start)
        elif self._depth == _IN_LIST and self._gathers:
            self._begins += _elements(data[self._element : self._at].strip(b", \t\r\n"))
            self._element = self._at
            self._gathers = len(self._begins) == 1 and _before_all(self._begins[0])

    def _take(self, data: bytes | bytearray, start: int) -> None:
        """The value of the key under way, from `start` to here."""
        key, self._state = self._key, _AFTER
        if key not in _WANTED:
            return
        first = data[start]
        if first == _QUOTE:
            self._said[key] = _text(data[start + 1 : self._at - 1])
        elif first in _OPENING:
            self._said[key] = self._begins
        else:
            self._said[key] = {b"true": True, b"false": False}.get(bytes(data[start : self._at]))
        if key == "model":
            self.span = (start, self._at) if first == _QUOTE else (0, 0)


def _text(raw: bytes | bytearray) -> str:
    """What stands between two quotes; empty for what is no text."""
    try:
        return raw.decode() if b"\\" not in raw else str(json.loads(b'"' + raw + b'"'))
    except ValueError:
        return ""


def _key(raw: bytes | bytearray) -> str:
    """A key that may be one of ours: these are short, even if each of their letters is escaped."""
    return _text(raw) if len(raw) <= _LONGEST_KEY else ""


def _elements(text: bytes | bytearray) -> list[Any]:
    try:
        return list(json.loads(b"[" + text + b"]"))
    except (ValueError, RecursionError):
        return [None]


NOTHING: Final = Asked({}, (0, 0), whole=False)
