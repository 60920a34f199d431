"""An answer's bytes as blocks, none of them lost: what isn't touched goes out as it came.

`api.proxies.dialects.sse` says what an event means; here it must be written again with one line changed, so each block
keeps its bytes: comments, ids, line ends of all three kinds, a byte order mark.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from api.proxies.dialects.sse import BYTE_ORDER_MARK, LARGEST

BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
LINE_ENDS: Final = 3
"""Bytes of line ends that were there already may end a block with those that come."""

LINE: Final = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")


class Framing(Protocol):
    """How one kind of stream is cut into blocks."""

    def ends(self, data: bytes, start: int) -> int:
        """Where the block ends that is open at `start`; -1: not here."""

    def read(self, block: bytes) -> tuple[str, bytes]:
        """The event's name, and its data."""

    def rewritten(self, block: bytes, data: bytes) -> bytes:
        """The same block with other data."""

    def written(self, name: str, data: bytes) -> bytes:
        """A new block."""


class Events:
    """Server-sent events."""

    def ends(self, data: bytes, start: int) -> int:
        """After the blank line; at once where it ends in a CR, though its LF may still come."""
        if data[max(0, start - 1) : start + 1] == b"\r\n":
            start -= 1
        found = BLANK_LINE.search(data, start)
        return -1 if found is None else found.end()

    def read(self, block: bytes) -> tuple[str, bytes]:
        """As `sse.Framer` reads it."""
        name, data = b"", []
        for line, _ in LINE.findall(block.removeprefix(BYTE_ORDER_MARK)):
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            elif field == b"event":
                name = value.removeprefix(b" ")
        return name.decode(errors="replace"), b"\n".join(data)

    def rewritten(self, block: bytes, data: bytes) -> bytes:
        """One data line in place of the first; the others go, all else stays."""
        mark = BYTE_ORDER_MARK if block.startswith(BYTE_ORDER_MARK) else b""
        found = [mark]
        left = True
        for line, end in LINE.findall(block[len(mark) :]):
            if line.partition(b":")[0] != b"data":
                found.append(line + end)
            elif left:
                left = False
                found.append(b"data: " + data + end)
        return b"".join(found)

    def written(self, name: str, data: bytes) -> bytes:
        """Named, if its neighbours are."""
        return (b"event: %s\n" % name.encode() if name else b"") + b"data: %s\n\n" % data


class Lines:
    """A JSON object in each line."""

    def ends(self, data: bytes, start: int) -> int:
        """After the line feed."""
        return data.find(b"\n", start) + 1 or -1

    def read(self, block: bytes) -> tuple[str, bytes]:
        """Without its end."""
        return "", block.strip()

    def rewritten(self, block: bytes, data: bytes) -> bytes:
        """With the end it had."""
        return data + block[len(block.rstrip(b"\r\n")) :]

    def written(self, name: str, data: bytes) -> bytes:
        """Lines have no name."""
        del name
        return data + b"\n"


class Blocks:
    """A stream's bytes, cut anywhere, as whole blocks."""

    def __init__(self, framing: Framing, largest: int = LARGEST) -> None:
        self._framing = framing
        self._largest = largest
        self._open = b""
        self._parts: list[bytes] = []  # what came since; joined when a line ends in it
        self._size = 0
        self._after_cr = False  # an LF that comes now belongs to the block that went out

    @property
    def too_long(self) -> bool:
        """Whether the open block grew past all bounds."""
        return self._size > self._largest

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that this completes. A late LF is one of its own."""
        if self._after_cr and data:
            self._after_cr = False
            if data.startswith(b"\n"):
                return [b"\n", *self.feed(data[1:])]
        self._parts.append(data)
        self._size += len(data)
        if b"\n" not in data and b"\r" not in data:
            return []
        seen, self._open = len(self._open), self._open + b"".join(self._parts)
        self._parts = []
        found: list[bytes] = []
        at = 0
        while (end := self._framing.ends(self._open, max(at, seen - LINE_ENDS))) > at:
            found.append(self._open[at:end])
            at = end
        self._open = self._open[at:]
        self._after_cr = not self._open and bool(found) and found[-1].endswith(b"\r")
        self._size = len(self._open)
        return found

    def rest(self) -> bytes:
        """What has no end."""
        found = self._open + b"".join(self._parts)
        self._open, self._parts, self._size = b"", [], 0
        return found
