"""The wire between sparkkeep and a practice Spark, and what can happen to it.

A real listener on loopback hands each connection through to the SSH server byte by byte. Cutting the link
stops the bytes and closes nothing, as a pulled cable does; new connections are accepted (loopback can't help
it) and then hear nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

CHUNK: Final = 65536


class Droppable(Protocol):
    """A connection that can break."""

    def drop(self) -> None:
        """Break it."""


class Link:
    """Whether bytes pass, and which connections there are."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.connections: set[Droppable] = set()

    def cut(self) -> None:
        """From now on nothing passes, in either direction."""
        self.open.clear()

    def heal(self) -> None:
        """What was held back passes now."""
        self.open.set()

    def drop(self) -> None:
        """Every connection breaks, as after a reset."""
        for connection in list(self.connections):
            connection.drop()


class Relay:
    """One TCP connection, passed through."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._reader = reader
        self._writer = writer
        self._inner: asyncio.StreamWriter | None = None

    def drop(self) -> None:
        """Break it."""
        self._writer.transport.abort()
        if self._inner is not None:
            self._inner.transport.abort()

    async def run(self, dial: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]) -> None:
        """Until both directions have ended."""
        self._link.connections.add(self)
        try:
            await self._link.open.wait()
            inner_reader, self._inner = await dial()
            await asyncio.gather(self._pump(self._reader, self._inner), self._pump(inner_reader, self._writer))
        finally:
            self._link.connections.discard(self)
            self.drop()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._link.open.wait()
                writer.write(data)
                await writer.drain()
        await self._link.open.wait()
        with contextlib.suppress(OSError):
            writer.close()
