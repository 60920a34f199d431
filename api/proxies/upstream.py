"""One connection to a backend: a request out, its answer in, again and again.

The answer's bytes are passed on as they were framed; only where it ends is found out, so that what follows is never
taken for a part of it, and the connection can be used again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final, Protocol

from api.proxies.chunks import BadChunk, Chunks
from api.proxies.head import CHUNKED, END, LONGEST, UNTIL_CLOSED, AnswerHead, BadHead
from api.proxies.known import answer_head

log = logging.getLogger("sparkkeep.proxies")

SWITCHING: Final = 101
FINAL: Final = 200


class Taker(Protocol):
    """Who waits for an answer."""

    def interim(self, raw: bytes) -> None:
        """A head of the 100s, as it came."""

    def answered(self, head: AnswerHead) -> None:
        """The head is there. `came` follows at once, if this did not drop the link."""

    def came(self, raw: bytes, ended: bool) -> None:
        """A piece of the body as it was framed; `ended`: it is complete, and the link is nobody's any more."""

    def broke(self, reason: str, message: str, *, stale: bool) -> None:
        """There will be no answer, or no more of it. `stale`: it is a kept connection's end, met by a request."""

    def drained(self) -> None:
        """What was written has gone."""

    def clogged(self) -> None:
        """Enough was written for now."""


class Home(Protocol):
    """Where a link goes when its answer is complete."""

    def give(self, link: Link) -> None:
        """It can be used again."""

    def gone(self, link: Link) -> None:
        """It has ended."""


class Link(asyncio.Protocol):
    """One connection. `whole`: its request has been sent to the end."""

    __slots__ = (
        *("_bodiless", "_chunks", "_held", "_home", "_left", "_taker"),
        *("address", "idle_until", "transport", "used", "whole"),
    )

    def __init__(self, home: Home, address: tuple[str, int, ssl.SSLContext | None]) -> None:
        self.address = address
        self.transport: asyncio.Transport | None = None
        self.used = 0
        self.idle_until = 0.0
        self.whole = True
        self._home = home
        self._taker: Taker | None = None
        self._bodiless = False
        self._held = b""  # of a head that is not complete
        self._left: int | None = None  # of the body; None: its head has not come
        self._chunks: Chunks | None = None

    def ask(self, taker: Taker, data: bytes, *, bodiless: bool, whole: bool) -> None:
        """Send a request, or the beginning of one. `bodiless`: a HEAD."""
        self.used += 1
        self.whole = whole
        self._taker = taker
        self._bodiless = bodiless
        self._left = None
        self._chunks = None
        self._held = b""
        self.send(data)

    def send(self, data: bytes) -> None:
        """More of the request."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def drop(self) -> None:
        """End it at once: nobody wants its answer."""
        self._taker = None
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Read no further for now."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    @property
    def at_chunk(self) -> bool:
        """Whether a chunk of our own could be put behind what came."""
        return self._chunks is not None and self._chunks.between

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = transport  # type: ignore[assignment]  # of a stream

    def pause_writing(self) -> None:
        """The backend reads more slowly than it is written to."""
        if self._taker is not None:
            self._taker.clogged()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._taker is not None:
            self._taker.drained()

    def eof_received(self) -> None:
        """The backend says no more."""
        self._over("it closed the connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._home.gone(self)
        self._over("it closed the connection" if exc is None else f"the connection broke: {exc}", clean=exc is None)

    def data_received(self, data: bytes) -> None:
        """What the backend says."""
        if self._taker is None:
            self.drop()  # it says something that nobody asked for
            return
        try:
            if self._left is None:
                self._head(data)
            else:
                self._body(data)
        except BadHead as bad:
            self._fail(bad.message)
        except BadChunk as bad:
            self._fail(f"its answer is not framed as HTTP says: {bad}")
        except Exception:  # whatever it is, this request alone ends by it
            log.exception("an answer of the data path failed")
            self._fail("sparkkeep failed on its answer; its log says how")

    def _head(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        taker = self._taker
        while (end := data.find(END)) >= 0:
            if end > LONGEST:
                break
            head = answer_head(data, end, bodiless=self._bodiless)
            if head.status >= FINAL:
                self._begin(head, data[end + 4 :])
                return
            if head.status == SWITCHING:
                raise BadHead(502, "BadAnswer", "it switches to a protocol that nobody asked for")
            if taker is not None:
                taker.interim(data[: end + 4])
            data = data[end + 4 :]
        if len(data) > LONGEST:
            raise BadHead(502, "BadAnswer", "the head of its answer does not end")
        self._held = data

    def _begin(self, head: AnswerHead, data: bytes) -> None:
        taker = self._taker
        self._held = b""
        self._left = head.length
        if head.length == CHUNKED:
            self._chunks = Chunks()
        if head.close:
            self.whole = False  # nothing can follow it
        if taker is not None:
            taker.answered(head)
        if self._taker is taker:
            self._body(data)

    def _body(self, data: bytes) -> None:
        left, taker = self._left, self._taker
        if taker is None or left is None:
            return
        if left >= 0:
            end = left if len(data) >= left else -1
            self._left = left - len(data)
        elif self._chunks is not None:
            end = self._chunks.feed(data)
        else:
            end = -1
        if end < 0:
            taker.came(data, ended=False)
            return
        self._taker = None
        if self.whole and end == len(data):
            self._home.give(self)
        elif self.transport is not None:
            self.transport.abort()
        taker.came(data if end == len(data) else data[:end], ended=True)

    def _over(self, message: str, *, clean: bool = True) -> None:
        taker = self._taker
        if taker is None:
            return
        if clean and self._left == UNTIL_CLOSED:
            self._taker = None
            taker.came(b"", ended=True)
            return
        self._fail(message, stale=self.used > 1 and self._left is None and not self._held)

    def _fail(self, message: str, *, stale: bool = False) -> None:
        taker = self._taker
        self.drop()
        if taker is not None:
            taker.broke("BackendBroke", message, stale=stale)
