"""An answer whose bytes can't pass as they came: it is translated, or the client reads another framing."""

from __future__ import annotations

from api.proxies.chunks import LAST, Chunks, chunk
from api.proxies.head import CHUNKED
from api.proxies.translation import Translation


class Turned:
    """One answer's body: out of the backend's framing, through a translation if there is one, into the client's."""

    __slots__ = ("_chunked", "_chunks", "translation")

    def __init__(self, length: int, *, chunked: bool, translation: Translation | None) -> None:
        """`length`: how the backend frames it. `chunked`: how the client reads it, otherwise until the end."""
        self._chunks = Chunks() if length == CHUNKED else None
        self._chunked = chunked
        self.translation = translation

    def content(self, raw: bytes, *, ended: bool) -> bytes:
        """What the client is told by these bytes."""
        if self._chunks is not None:
            into: list[bytes] = []
            self._chunks.feed(raw, 0, into)
            raw = b"".join(into)
        if self.translation is not None:
            raw = self.translation.feed(raw) if raw else b""
            if ended:
                raw += self.translation.end()
        return raw

    def framed(self, content: bytes, *, ended: bool) -> bytes:
        """The same as the client reads it."""
        if not self._chunked:
            return content
        return chunk(content) + LAST if ended else chunk(content)
