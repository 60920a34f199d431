"""Heads that were read before. Programs and servers send the same one again and again, but for its length and date.

A head is looked up by all its bytes but those two values, which stand in lines of their own and hold nothing but
letters, digits and a little punctuation. So whatever is found here was read strictly once, and differs in nothing that
could be read in another way. What is remembered is bounded; a head that is new each time costs little more than before.
"""

from __future__ import annotations

import re
from typing import Final

from api.proxies.head import AnswerHead, Head

_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([0-9]{1,18})(?![^\r])")
_VARYING: Final = re.compile(rb"(\r\n(?:[Cc]ontent-[Ll]ength|[Dd]ate): )([0-9A-Za-z,: ]{1,40})(?![^\r])")
_MOST_DIGITS: Final = 18
_LONGEST: Final = 2048  # bytes of a head that is remembered
_REMEMBERED: Final = 500
_OK: Final = 200
_BODILESS: Final = frozenset({204, 304})

_requests: Final[dict[bytes | tuple[bytes, bytes], Head]] = {}
_answers: Final[dict[tuple[bytes, ...], Known]] = {}


def request_head(data: bytes, end: int) -> Head:
    """A request's; `end`: where its empty line begins. Raises BadHead."""
    if end > _LONGEST:
        return Head(data, end)
    found = _LENGTH.search(data, 0, end)
    key = data[:end] if found is None else (data[: found.start(1)], data[found.end(1) : end])
    known = _requests.get(key)
    if known is None:
        known = Head(data, end)
        if len(_requests) >= _REMEMBERED:
            _requests.clear()
        _requests[key] = known
    elif found is not None and known.names[b"content-length"] != found[1]:
        return known.resized(found[1])
    return known


def answer_head(data: bytes, end: int, *, bodiless: bool) -> AnswerHead:
    """An answer's. `bodiless`: it answers a HEAD. Raises BadHead."""
    if bodiless or end > _LONGEST:
        return AnswerHead(data, end, bodiless=bodiless)
    raw = data[: end + 2]
    parts = _VARYING.split(raw)
    values = parts[2::3]
    del parts[2::3]
    key = tuple(parts)
    known = _answers.get(key)
    if known is not None and (again := known.again(raw, values)) is not None:
        return again
    head = AnswerHead(data, end, bodiless=False)
    if known is None and head.status >= _OK and head.status not in _BODILESS:
        if len(_answers) >= _REMEMBERED:
            _answers.clear()
        _answers[key] = Known(head, parts[1::2], values)
    return head


class Known:
    """An answer's head, of which two values change."""

    __slots__ = ("_at", "_head", "_passed")

    def __init__(self, head: AnswerHead, names: list[bytes], values: list[bytes]) -> None:
        self._head = head
        passed = _VARYING.split(b"\r\n" + head.passed)
        self._passed = passed if passed[2::3] == values else None  # else one of them is not passed on
        at = [place for place, name in enumerate(names) if name[2:3] in b"Cc"]
        self._at = at[0] if at else -1

    def again(self, raw: bytes, values: list[bytes]) -> AnswerHead | None:
        """The same with these values; None: that has to be read."""
        head, passed = self._head, self._passed
        if passed is None:
            return None
        length = head.length
        if self._at >= 0:
            value = values[self._at]
            if not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = int(value)
        passed = passed.copy()
        passed[2::3] = values
        return head.again(raw, length, b"".join(passed)[2:])
