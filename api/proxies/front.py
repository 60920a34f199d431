"""A client's connection: the data path's requests are answered here, all others are handed to the API and its guard.

uvicorn makes one for each connection, in the place of its own protocol. Every head is read here first, strictly, so
that one that could be read in two ways is refused whoever would have answered it. One request is under way at a time;
what a client sends ahead waits, and of very much of it no more is read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from api.guard.rules import HEADERS
from api.proxies import answers
from api.proxies.calls import Field, Refused
from api.proxies.exchange import Exchange
from api.proxies.gate import Place, Turned, lines
from api.proxies.handed import Handed
from api.proxies.head import END, LONGEST, BadHead, Head, too_large
from api.proxies.known import request_head
from api.proxies.wire import Wire
from api.turns import of_the_crowd

log = logging.getLogger("sparkkeep.proxies")

_ESTABLISHED: Final = 1  # of the states in Linux's tcp_states.h
_SAFE: Final = lines(HEADERS)
ENDING: Final = "sparkkeep is being restarted; send the request again"
CROSSING: Final = 0.2  # seconds for a request that was sent before its client could know of the end
AGAIN: Final = 5.0  # seconds after which the next one is there


class Front(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        *("_app_state", "_closing", "_config", "_deadline", "_exchange", "_held", "_loop", "_paused", "_server"),
        *("_transport", "_wire", "address", "clogged"),
    )

    def __init__(
        self,
        wire: Wire,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._wire = wire
        self._config = config
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._exchange: Exchange | None = None
        self._held = b""  # of a request that is not complete, or has to wait
        self._closing = False  # what still comes is passed over
        self._paused = False
        self._deadline = 0.0  # set by the next tick
        self.clogged = False
        self.address = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = transport  # type: ignore[assignment]  # of a stream
        of_the_crowd(transport, self._loop)
        client = get_remote_addr(self._transport)
        self.address = client[0] if client else ""
        self._enter()

    def _enter(self) -> None:
        self._server.connections.add(self)  # type: ignore[arg-type]  # what uvicorn does with it, this can
        self._wire.enter(self, self._loop)

    def _leave(self) -> None:
        self._server.connections.discard(self)
        self._wire.leave(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        del exc
        self._closing = True
        self._leave()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.left()

    def eof_received(self) -> None:
        """It sends no more, which is how a client goes that still waits for its answer."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.left()

    def pause_writing(self) -> None:
        """It reads more slowly than it is answered."""
        self.clogged = True
        if self._exchange is not None:
            self._exchange.unread()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.clogged = False
        if self._exchange is not None:
            self._exchange.read_again()

    def data_received(self, data: bytes) -> None:
        """What it sends."""
        if self._closing:
            return
        try:
            exchange = self._exchange
            if exchange is None:
                self._next(self._held + data if self._held else data)
            elif exchange.reading:
                self._more(exchange, data)
            else:
                self._ahead(data)
        except Exception:  # whatever it is, this connection alone ends by it
            log.exception("a request of the data path failed")
            if self._exchange is not None:
                self._exchange.fault()
            else:
                self._abort()

    # Requests.

    def _next(self, data: bytes) -> None:
        end = data.find(END)
        if end < 0:
            if not self._held:
                self._deadline = 0.0
            self._held = data
            if len(data) > LONGEST:
                self._refuse(too_large(), self._wire.gate.place(_target(data)))
            elif len(data) <= 2 and not data.strip(b"\r\n"):  # noqa: PLR2004  # a line end behind the request before
                self._held = b""
            return
        self._held = b""
        try:
            head = request_head(data, end)
        except BadHead as bad:
            self._refuse(bad, self._wire.gate.place(_target(data)))
            return
        place = self._wire.gate.place(head.target)
        if place is None:
            self._hand_over(data)
            return
        if self._wire.draining:
            refused = Refused(503, "Restarting", ENDING, retry_after=AGAIN)
            self._last_word(*answers.refused(place.dialect, refused), said=_SAFE)
            return
        try:
            said = self._wire.gate.admit(head, place)
        except Turned as turned:
            self._turn(turned, head, place)
            return
        self._exchange = exchange = self._exchange_of(head, place, said)
        self._begin(exchange, data, end + 4)

    def _exchange_of(self, head: Head, place: Place, said: bytes) -> Exchange:
        """What becomes of it is a matter of its kind."""
        wire = self._wire
        if place.under and wire.masks is not None:
            return wire.masks.exchange(self, wire, head, place, said)
        heard = wire.audio.exchange(self, wire, head, place, said) if wire.audio is not None else None
        return heard or Exchange(self, wire, head, place, said)

    def _begin(self, exchange: Exchange, data: bytes, at: int) -> None:
        end = exchange.begin(data, at)
        if end < 0:
            return
        if end < len(data):
            self._held = data[end:]
        exchange.route()

    def _more(self, exchange: Exchange, data: bytes) -> None:
        routed = exchange.routed
        end = exchange.read(data, 0)
        if end < 0:
            return
        if end < len(data):
            self._held = data[end:]
        if not routed:
            exchange.route()

    def _ahead(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > self._wire.limits.ahead:
            self.pause()

    def _refuse(self, bad: BadHead, place: Place | None) -> None:
        if place is None:
            answer = answers.control((bad.status, bad.reason, bad.message))
        else:
            answer = answers.refused(place.dialect, Refused(bad.status, bad.reason, bad.message))
        self._last_word(*answer, said=_SAFE)

    def _turn(self, turned: Turned, head: Head, place: Place) -> None:
        """By the guard."""
        verdict = turned.verdict
        said = lines(verdict.said)
        if verdict.preflight:
            self._transport.write(b"".join((answers.status_line(answers.NO_CONTENT), said, b"\r\n")))
            self._after(head)
            return
        assert verdict.refused is not None  # noqa: S101  # what it was turned for
        status, fields, body = answers.refused(place.dialect, Refused(*verdict.refused))
        self._last_word(status, fields, b"" if head.method == b"HEAD" else body, said=said)

    def _after(self, head: Head) -> None:
        if head.close or head.length:
            self._linger()

    def _last_word(self, status: int, fields: list[Field], body: bytes, *, said: bytes) -> None:
        head = answers.fields_lines([*self.date, *fields])
        self._transport.write(b"".join((answers.status_line(status), head, said, b"connection: close\r\n\r\n", body)))
        self._linger()

    def _hand_over(self, data: bytes) -> None:
        """To uvicorn, bytes and all."""
        self._held = b""
        self._leave()
        handed = Handed(self._config, self._server, self._app_state, self._loop, self._taken_back)
        self._transport.set_protocol(handed)
        handed.connection_made(self._transport)
        handed.data_received(data)

    def _taken_back(self, rest: bytes) -> None:
        self._transport.set_protocol(self)
        self._deadline = 0.0
        self._enter()
        if self._wire.draining:
            self._transport.close()
        elif rest:
            self._held = rest
            self._loop.call_soon(self._go_on)

    # `exchange.Client`

    @property
    def date(self) -> Sequence[Field]:
        """What every answer of ours carries."""
        return self._server.default_headers

    def write(self, data: bytes) -> None:
        """Send; nothing, to a client that has gone and of whom only the loop knows so far."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def done(self, *, keep: bool) -> None:
        """The answer is complete."""
        self._exchange = None
        self._deadline = 0.0
        self._server.total_requests += 1
        if not keep or self._closing:
            self._linger()
            return
        self.resume()
        if self._held:
            self._loop.call_soon(self._go_on)

    def cut(self) -> None:
        """The answer can't be completed: that must not look like its end."""
        self._abort()

    def pause(self) -> None:
        """Read no further for now."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _go_on(self) -> None:
        """What a client sent ahead."""
        if self._exchange is None and self._held and not self._closing and not self._transport.is_closing():
            data, self._held = self._held, b""
            self.data_received(data)

    def _linger(self) -> None:
        """Nothing follows. A client that still sends would lose the answer if the connection ended under it."""
        self._closing = True
        self._held = b""
        self._deadline = 0.0
        self.resume()
        if self._transport.is_closing():
            return
        try:
            self._transport.write_eof()
        except OSError:  # it has gone already
            self._transport.abort()

    def _abort(self) -> None:
        self._closing = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.left("InternalError")
        self._transport.abort()

    # Time, and the end of the server.

    def tick(self, now: float) -> None:
        """So late it is."""
        if self._exchange is not None:
            if self._paused and gone(self._transport):
                self._transport.abort()
            else:
                self._exchange.tick(now)
            return
        limits = self._wire.limits
        if not self._deadline:
            patience = limits.linger if self._closing else limits.head if self._held else limits.keep_alive
            self._deadline = now + patience
        elif now >= self._deadline:
            self._transport.abort()

    def shutdown(self) -> None:
        """The server ends: what is under way comes to its end, and a request that is on its way here is told."""
        self._wire.draining = True
        if self._exchange is None:
            self._loop.call_later(CROSSING, self._transport.close)
        else:
            self._loop.call_later(self._wire.limits.drain, self._end)

    def _end(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end()
            self._transport.close()


def gone(transport: asyncio.BaseTransport) -> bool:
    """Whether a client from whom nothing is read for now has gone, which only the kernel knows then."""
    connection = transport.get_extra_info("socket")
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return False
    return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED)


def _target(data: bytes) -> bytes:
    """What a head that is none asked for, as far as that can be said."""
    words = data[: data.find(b"\n")].split(b" ")
    return words[1] if len(words) > 1 else b""
