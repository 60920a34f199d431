"""A connection to a practice Spark without sockets or SSH: for simulations, which run in virtual time.

It can do what the real one can, and suffer the same faults: a cut makes it hang, a drop or a lost reply breaks
it, a refused login is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from reconciler.practice.http_server import HttpConnection
from reconciler.practice.shell_io import Buffer, Input, Io

if TYPE_CHECKING:
    from reconciler.practice.spark import Spark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


class MemoryWriter:
    """Writes into the other side's reader."""

    def __init__(self, target: asyncio.StreamReader) -> None:
        self._target = target
        self.closed = False

    def write(self, data: bytes, /) -> None:
        """Into the other side's reader."""
        if self.closed:
            raise ConnectionResetError
        self._target.feed_data(data)

    async def drain(self) -> None:
        """Let the other side run."""
        await asyncio.sleep(0)

    def close(self) -> None:
        """The other side reads its end."""
        if not self.closed:
            self.closed = True
            self._target.feed_eof()


MemoryStream = tuple[asyncio.StreamReader, MemoryWriter]


class MemoryConnection:
    """One login. Every method raises ConnectionResetError once the connection is lost."""

    def __init__(self, spark: Spark) -> None:
        self._spark = spark
        self._lost = asyncio.Event()
        self._writers: list[MemoryWriter] = []

    @classmethod
    async def connect(cls, spark: Spark) -> MemoryConnection:
        """Hangs while the link is cut or the power is off. Raises PermissionError where the login is refused."""
        await spark.link.open.wait()
        if spark.switches.auth_refused:
            spark.switches.count("auth_refused")
            raise PermissionError("Permission denied (publickey)")
        connection = cls(spark)
        spark.link.connections.add(connection)
        return connection

    @property
    def lost(self) -> bool:
        """Whether it is broken."""
        return self._lost.is_set()

    def drop(self) -> None:
        """The connection breaks."""
        self._lost.set()
        self._spark.link.connections.discard(self)
        for writer in self._writers:
            writer.close()

    close = drop

    async def run(self, line: str, stdin: str = "") -> Result:
        """One command, as SSH would send it. It goes on at the Spark even if the connection is lost."""
        await self._unless_lost(self._spark.link.open.wait())
        out, error = Buffer(), Buffer()
        status: list[int] = []

        async def work() -> None:
            io = Io(Input(stdin.encode(errors="surrogateescape")), out, error)
            status.append(await self._spark.console.run(line, io))

        await self._unless_lost(asyncio.shield(self._spark.spawn(work())))
        switches = self._spark.switches
        if switches.lose_replies > 0:
            switches.lose_replies -= 1
            switches.count("lose_reply")
            self.drop()
        if switches.cut_output is not None and len(out.data) > switches.cut_output:
            switches.count("cut_output")
            self.drop()
        await self._unless_lost(self._spark.link.open.wait())
        return Result(status[0], out.text, error.text)

    async def open_engine(self) -> MemoryStream:
        """The Docker socket, forwarded. Raises ConnectionRefusedError where it can't be."""
        await self._unless_lost(self._spark.link.open.wait())
        if self._spark.switches.daemon_down or not self._spark.switches.forwarding:
            raise ConnectionRefusedError("open failed")
        (near, far) = self._pair()
        self._spark.spawn(self._spark.serve_engine(*far))
        return near

    async def open_port(self, port: int) -> MemoryStream:
        """A port of the Spark, forwarded. Raises ConnectionRefusedError if nothing serves there."""
        await self._unless_lost(self._spark.link.open.wait())
        server = self._spark.servers.get(port)
        if server is None or not self._spark.switches.forwarding:
            raise ConnectionRefusedError("Connection refused")
        (near, far) = self._pair()
        self._spark.spawn(HttpConnection(*far, server.handle).run())
        return near

    def _pair(self) -> tuple[MemoryStream, MemoryStream]:
        one, two = asyncio.StreamReader(), asyncio.StreamReader()
        near, far = (one, MemoryWriter(two)), (two, MemoryWriter(one))
        self._writers += [near[1], far[1]]
        return near, far

    async def _unless_lost(self, work: Awaitable[T]) -> T:
        """The work's result, unless the connection breaks first."""
        doing = asyncio.ensure_future(work)
        losing = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({doing, losing}, return_when=asyncio.FIRST_COMPLETED)
            if self._lost.is_set() or doing.cancelled():
                raise ConnectionResetError("connection lost")
            return doing.result()
        finally:
            for future in (doing, losing):
                future.cancel()
            await asyncio.gather(doing, losing, return_exceptions=True)
