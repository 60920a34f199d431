"""A server of a model, or sparkkeep itself, as a proxy sees it: it says what it was asked, and notes who left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

T = TypeVar("T")


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its client's connection ends before the answer is complete."""


class Server:
    """Answers with its name. A request whose JSON holds `stream` gets a chunk for each `more`, until `finish`; one that
    holds `wait` gets its answer after `finish`.
    """

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port
        self.asked: list[Asked] = []
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._done = asyncio.Event()
        self._wires: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """As a server that is killed: nobody listens, and what was open is not."""
        self._server.close()
        for wire in tuple(self._wires):
            wire.transport.abort()
        await asyncio.sleep(0)

    def more(self, text: str) -> None:
        self._chunks.put_nowait(f"data: {text}\n\n".encode())

    def finish(self) -> None:
        self._chunks.put_nowait(None)
        self._done.set()

    def of_apps(self) -> list[Asked]:
        """What was asked, but for checks of health."""
        return [each for each in self.asked if each.path not in {"/health", "/healthz"}]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._wires.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._one(reader, writer)
        self._wires.discard(writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._body(reader, headers)
        asked = Asked(method, path, headers, body)
        self.asked.append(asked)
        wanted = json.loads(body) if body.startswith(b"{") else {}
        if "stream" in wanted:
            await self._stream(asked, reader, writer)
            return
        if "wait" in wanted:
            await self._or_left(asked, reader, self._done.wait())
        told = json.dumps({"by": self.name}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(f"Content-Length: {len(told)}\r\n\r\n".encode() + told)
        await writer.drain()

    async def _body(self, reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
            return body
        return await reader.readexactly(int(headers.get("content-length", 0)))

    async def _stream(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (chunk := await self._or_left(asked, reader, self._chunks.get())) is not None:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _or_left(self, asked: Asked, reader: asyncio.StreamReader, work: Coroutine[Any, Any, T]) -> T:
        """The end of `work`, unless the client goes first: nothing more comes from it until it is answered."""
        doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
            return doing.result()
        doing.cancel()
        gone.exception()
        asked.left.set()
        raise ConnectionError
