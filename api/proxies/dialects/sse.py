"""Server-sent events out of bytes, wherever they were cut.

What is complete goes out at once: an event with its blank line, also where that line ends in a CR whose LF may still
come. What is not complete is bounded: an event that grows past the limit is an error, not memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 8 * 1024 * 1024
"""Bytes of one event, its field names included."""

LINE_END: Final = re.compile(rb"\r\n|\n|\r")
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event that does not end."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (empty: `message`), its data lines joined, the id that stood in it."""

    name: str
    data: bytes
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that says nothing to a program: a keep-alive."""

    text: bytes


class Framer:
    """One stream. `feed` as bytes come, `end` when no more will."""

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._line: list[bytes] = []  # the parts of a line that has not ended
        self._size = 0  # of the event that has not ended
        self._after_cr = False
        self._first = True
        self._failure: EventTooLong | None = None
        self._name = ""
        self._id: str | None = None
        self._data: list[bytes] = []

    def feed(self, data: bytes) -> list[Event | Comment]:
        """What these bytes complete. Raises EventTooLong, but not before all that was complete went out."""
        if self._failure is not None:
            raise self._failure
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        found: list[Event | Comment] = []
        *lines, rest = LINE_END.split(data)
        try:
            for line in lines:
                self._grow(line)
                whole, self._line = b"".join(self._line), []
                self._ended(whole, found)
            self._grow(rest)
        except EventTooLong as error:
            self._failure = error
            if not found:
                raise
        return found

    def end(self) -> list[Event | Comment]:
        """What was complete but for its blank line. Some servers leave out the last one."""
        if self._failure is not None:
            raise self._failure
        found: list[Event | Comment] = []
        if self._line:
            whole, self._line = b"".join(self._line), []
            self._ended(whole, found)
        self._dispatch(found)
        return found

    def _grow(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._largest:
            raise EventTooLong(f"an event of the stream is longer than {self._largest} bytes")
        if part:
            self._line.append(part)

    def _ended(self, line: bytes, found: list[Event | Comment]) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            self._dispatch(found)
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"":
                self._size -= len(line)  # comments alone do not make an event long
                found.append(Comment(value))
            case b"data":
                self._data.append(value)
            case b"event":
                self._name = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")

    def _dispatch(self, found: list[Event | Comment]) -> None:
        if self._data:
            found.append(Event(self._name, b"\n".join(self._data), self._id))
        self._name, self._id, self._data, self._size = "", None, [], 0


def written(data: bytes, name: str = "") -> bytes:
    """One event as it is sent. `data` is JSON, which has no line ends of its own."""
    return (b"event: %s\n" % name.encode() if name else b"") + b"data: %s\n\n" % data
