"""A small HTTP/1.1 server over any pair of streams: a socket, a forwarded SSH channel, or memory.

The Engine's API and the model servers both use it. Keep-alive yes, pipelining no. A client that leaves in the
middle of a streamed answer ends that stream at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncssh
import h11

CHUNK: Final = 65536
LARGEST_BODY: Final = 64 * 1024 * 1024


class Reader(Protocol):
    """Where requests come from."""

    async def read(self, size: int, /) -> bytes:
        """Some bytes, none at the end."""


class Writer(Protocol):
    """Where answers go."""

    def write(self, data: bytes, /) -> None:
        """Send them, sooner or later."""

    async def drain(self) -> None:
        """Wait until there is room."""

    def close(self) -> None:
        """No more will come."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its body read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body or b"null")


@dataclass(slots=True)
class Answer:
    """What a handler gives back: bytes, or a stream of them."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer]]


def json_answer(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")


class HttpConnection:
    """One client, from its first byte to its last."""

    def __init__(self, reader: Reader, writer: Writer, handler: Handler) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        """Serve until either side has had enough."""
        try:
            while (request := await self._request()) is not None:
                await self._respond(await self._handler(request))
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except (h11.RemoteProtocolError, h11.LocalProtocolError, OSError, asyncssh.Error):
            pass
        finally:
            with contextlib.suppress(OSError):
                self._writer.close()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(CHUNK))
        return event

    async def _request(self) -> Request | None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        if self._http.they_are_waiting_for_100_continue:
            self._send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._writer.drain()
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > LARGEST_BODY:
                return None
        url = urlsplit(head.target.decode("latin-1"))
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        return Request(head.method.decode(), unquote(url.path), query, headers, bytes(body))

    async def _respond(self, answer: Answer) -> None:
        headers = {"content-type": answer.content_type, **answer.headers}
        if isinstance(answer.body, bytes):
            headers["content-length"] = str(len(answer.body))
        else:
            headers["transfer-encoding"] = "chunked"
        self._send(
            h11.Response(
                status_code=answer.status, headers=list(headers.items()), reason=HTTPStatus(answer.status).phrase
            )
        )
        if isinstance(answer.body, bytes):
            self._send(h11.Data(data=answer.body))
        elif not await self._stream(answer.body):
            raise ConnectionResetError
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    async def _stream(self, parts: AsyncIterator[bytes]) -> bool:
        """Send the parts as they come. False if the client left before the end."""
        leaving = asyncio.ensure_future(self._reader.read(CHUNK))
        coming: asyncio.Future[bytes] | None = None
        await self._writer.drain()
        try:
            while True:
                coming = asyncio.ensure_future(anext(parts))
                done, _ = await asyncio.wait({leaving, coming}, return_when=asyncio.FIRST_COMPLETED)
                if leaving in done and coming not in done:
                    return False
                try:
                    self._send(h11.Data(data=coming.result()))
                except StopAsyncIteration:
                    return True
                await self._writer.drain()
        finally:
            waiting = [leaving] if coming is None else [leaving, coming]
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            closing = getattr(parts, "aclose", None)
            if closing is not None:
                await closing()

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)
