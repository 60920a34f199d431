"""Chunked bodies: where one ends, to the byte, without taking it apart; or taken apart, where its content is needed.

Strict, as a body that two readers end at two places is how a request hides in another: sizes are hexadecimal digits,
every line ends with CR LF, the data is as long as its size says.
"""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_LONGEST_LINE: Final = 4096
_LONGEST_TRAILERS: Final = 16384
LAST: Final = b"0\r\n\r\n"
_LF: Final = 10
_CR: Final = 13


class BadChunk(ValueError):
    """What is no chunk."""


class Chunks:
    """One body, as it comes in pieces."""

    __slots__ = ("_held", "_trailers", "left")

    def __init__(self) -> None:
        self.left = 0
        """Bytes of the chunk under way that are still to come, with the line end behind it."""
        self._held = b""
        self._trailers = -1  # bytes of them so far; -1: the last chunk has not come

    @property
    def between(self) -> bool:
        """Whether a chunk could begin here."""
        return self.left == 0 and not self._held and self._trailers < 0

    def copy(self) -> Chunks:
        """Another one at the same place."""
        other = Chunks()
        other.left, other._held, other._trailers = self.left, self._held, self._trailers
        return other

    def feed(self, data: bytes, at: int = 0, into: list[bytes] | None = None, spots: list[int] | None = None) -> int:
        """Where the body ends in these bytes, -1 if it does not. Raises BadChunk.

        `into` gets its content, `spots` where each piece of it stands.
        """
        size = len(data)
        while at < size:
            if self.left:
                if spots is not None and self.left > 2:  # noqa: PLR2004  # more than the line end
                    spots.append(at)
                at = self._data(data, at, into)
                continue
            found = data.find(b"\n", at)
            line = data[at : found + 1] if found >= 0 else data[at:]
            if self._held:
                line = self._held + line
            if len(line) > _LONGEST_LINE:
                raise BadChunk("a chunk's size is too long")
            if found < 0:
                self._held = line
                return -1
            self._held = b""
            at = found + 1
            if self._trailers >= 0:
                if line == b"\r\n":
                    return at
                self._trailer(line)
            else:
                self._size(line)
        return -1

    def _data(self, data: bytes, at: int, into: list[bytes] | None) -> int:
        left, have = self.left, len(data) - at
        if into is not None and left > 2:  # noqa: PLR2004  # more than the line end
            into.append(data[at : at + left - 2])
        if have < left:
            self.left = left - have
            if self.left == 1 and data[-1] != _CR:
                raise BadChunk("a chunk is longer than its size")
            return len(data)
        at += left
        if data[at - 1] != _LF or (left > 1 and data[at - 2] != _CR):
            raise BadChunk("a chunk is longer than its size")
        self.left = 0
        return at

    def _size(self, line: bytes) -> None:
        found = _SIZE.fullmatch(line)
        if found is None:
            raise BadChunk("a chunk begins with its size")
        size = int(found[1], 16)
        if size:
            self.left = size + 2
        else:
            self._trailers = 0

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > _LONGEST_TRAILERS or _TRAILER.fullmatch(line) is None:
            raise BadChunk("what follows the last chunk is no header field")


def chunk(data: bytes) -> bytes:
    """As one chunk; nothing for nothing, since an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
