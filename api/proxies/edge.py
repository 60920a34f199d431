"""Where a stream can be ended: behind its last whole event.

A stream that breaks is to end with an error event. That can't be put into the middle of another, nor into a chunk that
was begun, without care. So of a chunked stream only whole events are passed on; the rest of one, which no client could
use yet, waits for its end. Backends write an event at once, so that there is nearly never anything to wait for.
"""

from __future__ import annotations

import re
from typing import Final

from api.proxies.chunks import LAST, Chunks, chunk

EVENT_ENDS: Final = (b"\n\n\r\n", b"\r\n\r\n\r\n")
"""How the bytes of a chunk end that holds whole events."""
LINE_ENDS: Final = (b"\n\r\n",)

_EVENT: Final = re.compile(rb"\n\r?\n|\r\r")
_LINE: Final = re.compile(rb"\n")
_MOST: Final = 256 * 2**10  # of one event that is held back
_LONGEST_FILL: Final = 2**20
_LINE_END: Final = 2


class Edge:
    """Of a chunked stream that did not come in whole events. It begins between two chunks, and between two events."""

    __slots__ = ("_chunks", "_end", "_held", "_ragged")

    def __init__(self, *, lines: bool) -> None:
        self._chunks = Chunks()
        self._end = _LINE if lines else _EVENT
        self._held = b""
        self._ragged = False  # a part of an event has gone on

    @property
    def clear(self) -> bool:
        """Whether nothing is held back, and a chunk could begin."""
        return not self._held and self._chunks.between and not self._ragged

    def feed(self, raw: bytes, *, ended: bool) -> bytes:
        """What may pass."""
        data = self._held + raw
        cut = len(data) if ended else self._cut(data)
        if cut < 0 and len(data) > _MOST:
            cut, self._ragged = len(data), True
        elif cut >= 0:
            self._ragged = False
        cut = max(cut, 0)
        if not ended:
            self._chunks.feed(data[:cut])
        self._held = data[cut:]
        return data[:cut]

    def _cut(self, data: bytes) -> int:
        """Behind the last whole event; -1: there is none."""
        into: list[bytes] = []
        spots: list[int] = []
        self._chunks.copy().feed(data, 0, into, spots)
        ends = [found.end() for found in self._end.finditer(b"".join(into))]
        if not ends:
            return -1
        left = ends[-1]
        for piece, spot in zip(into, spots, strict=True):
            if left <= len(piece):
                return spot + left
            left -= len(piece)
        return -1

    def mended(self, event: bytes) -> bytes | None:
        """The stream's end after what has passed, with this event; None: it can't be ended well."""
        left = self._chunks.left
        if self._ragged or left > _LONGEST_FILL or not (left or self._chunks.between):
            return None
        fill = b"\n" * (left - _LINE_END) + b"\r\n" if left >= _LINE_END else b"\n" * left
        return fill + chunk(event) + LAST
