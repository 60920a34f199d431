"""Between a controller and a practice Spark, where SSH is otherwise: commands and streams, and what becomes of them.

`Wire` is one Spark's side, which outlives every controller; `SimLink` is a controller's, with the manners of
`reconciler.ssh.Link`: the same errors at the same moments, each wait bounded. Commands run in tasks of the world, so
that a controller's death, or a lost connection, does not end them.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context
from enum import StrEnum
from typing import Any, cast

from reconciler.linkdown import CommandTimeout, ConnectionBroken, ForwardingRefused, LinkDown, NotSent, PortClosed
from reconciler.practice.http_server import HttpConnection
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.spark import Spark
from reconciler.sessions import Outcome
from reconciler.shell import REMOTE_SHELL, guarded

CONNECT_TIMEOUT = 8.0  # seconds
KEEPALIVE = 12.0  # seconds after which a silent connection is given up


class Fate(StrEnum):
    """What becomes of one command."""

    FINE = "fine"
    LOST = "not done and reply lost"
    MUTE = "done and reply lost"
    LATE = "reply after the timeout"
    CUT = "output cut"
    NO_SEAT = "MaxSessions refusal"


Fates = Callable[[str], Fate]


def fine(_: str) -> Fate:
    return Fate.FINE


class Wire:
    """What leads to one Spark. `fate` is asked about every command; `trust` False: another host key than before."""

    def __init__(self, spark: Spark, rng: random.Random, *, fast: bool = False) -> None:
        self.spark = spark
        self.fate: Fates = fine
        self.trusted = True
        self.counts = Counter[str]()
        self.sent = 0  # commands
        self.answered = 0
        self.ordered = 0  # commands that may change something: all but the question of a scan
        self.done = 0  # of these
        self._rng = rng
        self._fast = fast
        self._world = Context()
        self._tasks = set[asyncio.Task[Any]]()
        self._connections = list[SimConnection]()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the world."""
        task = asyncio.get_running_loop().create_task(work, context=self._world.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def on_spark(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of the Spark's: a power cut ends it."""
        return self._world.copy().run(self.spark.spawn, work)

    async def travel(self) -> None:
        """As long as a message takes."""
        await asyncio.sleep(0.002 if self._fast else self._rng.uniform(0.001, 0.03))
        await self.spark.link.open.wait()

    async def dial(self) -> "SimConnection":
        """Raises LinkDown."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.travel()
        except TimeoutError:
            self.counts["connect timed out"] += 1
            raise LinkDown("ConnectTimeout", f"{self.spark.name} did not answer in time") from None
        if not self.trusted:
            self.counts["host key changed"] += 1
            raise LinkDown("HostKeyChanged", f"the host key of {self.spark.name} has changed")
        if self.spark.switches.auth_refused:
            self.counts["auth refused"] += 1
            raise LinkDown("AuthRefused", f"{self.spark.name} refused the user or key")
        connection = SimConnection(self)
        self._connections.append(connection)
        self.spark.link.connections.add(connection)
        return connection

    def forget(self, connection: "SimConnection") -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        self.spark.link.connections.discard(connection)

    def cut(self) -> None:
        """Nothing passes; connections hang until somebody notices."""
        self.counts["cut"] += 1
        self.spark.faults.cut()
        for connection in list(self._connections):
            asyncio.get_running_loop().call_later(KEEPALIVE, self._notice, connection, context=self._world.copy())

    def _notice(self, connection: "SimConnection") -> None:
        if not self.spark.link.open.is_set():
            connection.drop()

    def drop(self) -> None:
        """Every connection breaks."""
        self.counts["drop"] += 1
        self.spark.faults.drop()

    async def broken(self) -> None:
        """Until the newest connection breaks."""
        if self._connections:
            await self._connections[-1].ended.wait()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def close(self) -> None:
        for connection in list(self._connections):
            connection.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.spark.close()


class SimWriter:
    """One direction of a stream. What is written while the link is cut arrives when it heals, or never."""

    def __init__(self, wire: Wire, target: asyncio.StreamReader) -> None:
        self._wire = wire
        self._target = target
        self._held = list[bytes]()
        self._closed = False
        self.channel = self  # asyncssh's writers have one

    def write(self, data: bytes) -> None:
        if self._closed:
            raise BrokenPipeError
        if self._wire.spark.link.open.is_set():
            self._target.feed_data(data)
            return
        if not self._held:
            self._wire.spawn(self._later())
        self._held.append(data)

    async def _later(self) -> None:
        await self._wire.spark.link.open.wait()
        if not self._closed:
            self._target.feed_data(b"".join(self._held))
        self._held.clear()

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._target.feed_eof()

    abort = close


SimStream = tuple[asyncio.StreamReader, SimWriter]


class SimConnection:
    """One connection: what waits on it hears when it breaks."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lost = False
        self.ended = asyncio.Event()
        self.waiting = dict[asyncio.Future[Any], None]()
        self._writers = dict[SimWriter, None]()

    def drop(self) -> None:
        if self.lost:
            return
        self.lost = True
        self.ended.set()
        self._wire.forget(self)
        for waiting in list(self.waiting):
            if not waiting.done():
                waiting.set_exception(ConnectionBroken("ConnectionLost", "the connection broke"))
                waiting.exception()
        for writer in list(self._writers):
            writer.close()

    def pair(self) -> tuple[SimStream, SimStream]:
        one, two = asyncio.StreamReader(), asyncio.StreamReader()
        near, far = (one, SimWriter(self._wire, two)), (two, SimWriter(self._wire, one))
        self._writers |= {near[1]: None, far[1]: None}
        return near, far

    def done(self, *streams: SimStream) -> None:
        """Their server has ended."""
        for _, writer in streams:
            writer.close()
            self._writers.pop(writer, None)


class SimLink:
    """A controller's connection to one Spark, as `reconciler.ssh.Link` is."""

    def __init__(self, wire: Wire) -> None:
        self.name = wire.spark.name
        self.connects = 0
        self._wire = wire
        self._connection: SimConnection | None = None
        self._turn = asyncio.Lock()
        self._closed = False

    async def connect(self) -> None:
        await self._connected()

    async def _connected(self) -> SimConnection:
        if self._closed:
            raise LinkDown("LinkClosed", f"sparkkeep has closed its connection to {self.name}")
        if self._connection is not None and not self._connection.lost:
            return self._connection
        async with self._turn:
            if self._connection is None or self._connection.lost:
                self._connection = await self._wire.dial()
                self.connects += 1
            return self._connection

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        del reserved
        return await self._command(script, timeout, asks=False)

    async def ask(self, script: str, mark: str, *, timeout: float) -> str:
        del mark
        return (await self._command(script, timeout, asks=True)).stdout

    async def _command(self, script: str, timeout: float, *, asks: bool) -> Outcome:
        connection = await self._connected()
        fate = self._wire.fate(script)
        if fate is not Fate.FINE:
            self._wire.counts[fate.value] += 1
        if fate is Fate.NO_SEAT:
            raise NotSent("ChannelRefused", f"{self.name} opened no session")
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        connection.waiting[done] = None
        self._wire.sent += 1
        self._wire.ordered += not asks
        self._wire.spawn(self._carry(connection, script, done, fate, timeout, asks=asks))
        try:
            async with asyncio.timeout(timeout):
                return await done
        except TimeoutError:
            raise CommandTimeout("CommandTimeout", f"no answer within {timeout:g} s") from None
        finally:
            connection.waiting.pop(done, None)

    async def _carry(
        self,
        connection: SimConnection,
        script: str,
        done: asyncio.Future[Outcome],
        fate: Fate,
        timeout: float,
        *,
        asks: bool,
    ) -> None:
        """There, and back again. A command that came through runs to its end, whoever still waits for it."""
        await self._wire.travel()
        if fate is Fate.LOST:
            connection.drop()
        if connection.lost:
            return
        out, error = Buffer(), Buffer()
        io = Io(Input(guarded(script).encode()), out, error)
        work = self._wire.on_spark(self._wire.spark.console.run(REMOTE_SHELL, io))
        await asyncio.wait({work})
        self._wire.done += not asks
        if work.cancelled():  # the power went
            await self._wire.travel()
            connection.drop()
            return
        if fate is Fate.LATE:
            await asyncio.sleep(timeout + 1.0)
        await self._wire.travel()
        text = out.text
        if fate is Fate.MUTE or (fate is Fate.CUT and not asks):
            connection.drop()
        elif fate is Fate.CUT:
            text = text[: len(text) // 2]
        if not connection.lost and not done.done():
            self._wire.answered += 1
            done.set_result(Outcome(status=work.result(), stdout=text, stderr=error.text))

    async def stream(self, script: str, *, timeout: float = 10.0) -> AsyncGenerator[str, None]:
        del timeout
        connection = await self._connected()
        near, far = connection.pair()

        class Sink:
            def write(self, data: bytes, /) -> None:
                far[1].write(data)

        async def serve() -> None:
            await self._wire.travel()
            io = Io(Input(guarded(f"exec 2>&1\n{script}").encode()), Sink(), Sink())
            await self._wire.spark.console.run(REMOTE_SHELL, io)
            connection.done(near, far)

        serving = self._wire.on_spark(serve())
        try:
            while line := await near[0].readline():
                yield line.decode(errors="replace").rstrip("\r\n")
            if connection.lost:
                raise ConnectionBroken("ConnectionLost", "the connection broke")
        finally:
            serving.cancel()
            connection.done(near, far)

    async def open_socket(self, path: str, *, timeout: float = 8.0) -> Any:
        del path
        spark = self._wire.spark
        connection = await self._opened(timeout)
        if not spark.switches.forwarding:
            raise ForwardingRefused
        if spark.switches.daemon_down:
            raise PortClosed("nothing answers there")
        near, far = connection.pair()
        self._serve(connection, near, far, spark.serve_engine(cast("Any", far[0]), cast("Any", far[1])))
        return near

    async def open_tcp(self, port: int, *, timeout: float = 8.0) -> Any:
        spark = self._wire.spark
        connection = await self._opened(timeout)
        if not spark.switches.forwarding:
            raise ForwardingRefused
        server = spark.servers.get(port)
        if server is None:
            raise PortClosed("nothing listens there")
        near, far = connection.pair()
        self._serve(connection, near, far, HttpConnection(*far, server.handle).run())
        return near

    def _serve(
        self, connection: SimConnection, near: SimStream, far: SimStream, work: Coroutine[Any, Any, None]
    ) -> None:
        async def serve() -> None:
            await work
            connection.done(near, far)

        self._wire.spawn(serve())

    async def _opened(self, timeout: float) -> SimConnection:
        connection = await self._connected()
        try:
            async with asyncio.timeout(timeout):
                await self._wire.travel()
        except TimeoutError:
            raise LinkDown("ChannelTimeout", f"{self.name} opened no channel in time") from None
        if connection.lost:
            raise LinkDown("ConnectionLost", "the connection broke")
        return connection

    async def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.drop()
