"""A request's body as it comes: kept until it is known where it goes, passed on from then on."""

from __future__ import annotations

from api.proxies.chunks import Chunks
from api.proxies.head import CHUNKED
from api.proxies.peek import SHORT, Asked, Peek, look


class TooLarge(Exception):
    """More than is taken."""


class Body:
    """One body. `kept`: its content so far, unless it was `released`."""

    __slots__ = ("_chunks", "_left", "_most", "_peek", "complete", "fresh", "kept", "released", "size")

    def __init__(self, length: int, most: int) -> None:
        self._left = length
        self._most = most
        self._chunks = Chunks() if length == CHUNKED else None
        self._peek: Peek | None = None
        self.complete = length == 0
        self.size = 0
        self.kept = bytearray()
        self.fresh = b""
        """What came last, once the rest was released."""
        self.released = False

    def feed(self, data: bytes, at: int) -> int:
        """Where it ends in these bytes, -1 if it does not. Raises TooLarge or BadChunk."""
        if self._chunks is None:
            end = at + self._left
            piece = data[at:end]
            self._left -= len(piece)
            end = -1 if self._left else end
        else:
            into: list[bytes] = []
            end = self._chunks.feed(data, at, into)
            piece = b"".join(into)
        self.size += len(piece)
        if self.size > self._most:
            raise TooLarge
        self.complete = end >= 0
        if self.released:
            self.fresh = piece
            return end
        self.kept += piece
        if self._peek is not None:
            self._peek.feed(self.kept)
        elif len(self.kept) > SHORT:
            self._peek = Peek()
            self._peek.feed(self.kept)
        return end

    def asked(self) -> Asked:
        """What it asks for, as far as it has come."""
        return look(bytes(self.kept)) if self._peek is None else self._peek.asked()

    def release(self) -> bytes:
        """What was kept; what comes from now on is not."""
        kept, self.kept, self.released = bytes(self.kept), bytearray(), True
        return kept
