"""One SSH connection to one Spark, opened on demand and kept: `Link`, what the rest of sparkkeep uses.

How the connection comes about is told in `reconciler.dial`, how its channels are shared in `reconciler.channels`, what
runs in them in `reconciler.sessions`, and how all of it fails in `reconciler.linkdown`. Here is what holds them
together: callers at the same time share one attempt to connect; a connection that dies is told once, whoever notices
it; and the next use opens a new one. When to try again after a failure is `Reconnect`'s matter. Nothing here waits
without a limit.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import asyncssh

from reconciler.channels import RUN_SEATS, SEATS, TAIL_SEATS, Channels, Stream
from reconciler.dial import Connection, Dialer, Timing, close
from reconciler.hostkeys import HostKeys
from reconciler.linkdown import CommandTimeout, LinkDown
from reconciler.sessions import Command, Outcome, Tail, executing, to_port, to_socket
from state.desired import Spark
from state.log_context import no_pass

__all__ = ["Link", "Outcome", "Reconnect", "Stream", "Timing"]

STEADY: Final = 30.0  # a connection that lasted this many seconds was a good one
FIRST_DELAY: Final = 0.5  # seconds
MAX_DELAY: Final = 30.0  # seconds


class Reconnect:
    """When to try again: a random time up to 0.5 s, doubling to 30 s with every failure."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0

    def next_delay(self) -> float:
        """Seconds to wait before the next attempt."""
        limit = min(MAX_DELAY, FIRST_DELAY * 2 ** min(self._failures, 16))
        self._failures += 1
        return self._rng.uniform(0.0, limit)

    def reset(self) -> None:
        """Begin again with short delays."""
        self._failures = 0


class Link:
    """The connection to one Spark. `on_lost` is called when an open one dies; the next use opens a new one."""

    def __init__(
        self,
        name: str,
        spark: Spark,
        hostkeys: HostKeys,
        *,
        key_path: Path | None = None,
        config: Sequence[Path] = (Path("~/.ssh/config"),),
        rng: random.Random | None = None,
        on_lost: Callable[[LinkDown], None] | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.name = name
        self.spark = spark
        self.on_lost = on_lost
        self.reconnect = Reconnect(rng or random.SystemRandom())
        self.connects = 0  # how many connections there have been: what is known of one does not hold for the next
        key = spark.key or (str(key_path) if key_path else None)
        self._dialer = Dialer(name, spark, hostkeys, key, config, timing or Timing())
        self._channels = Channels(name, self._connection, self._drop)
        self._conn: Connection | None = None
        self._hops: list[Connection] = []
        self._opening: asyncio.Task[Connection] | None = None
        self._lose: Callable[[Exception | None], None] = lambda _: None
        self._closed = False

    @property
    def connected(self) -> bool:
        """A connection is open, as far as is known."""
        return self._conn is not None and not self._conn.is_closed()

    async def connect(self) -> None:
        """Open the connection now, if it is not open. Raises LinkDown."""
        await self._connection()

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        """Run a script on the Spark. Raises LinkDown; its `maybe_done` says whether the script may have run."""
        deadline = asyncio.get_running_loop().time() + timeout
        seats = SEATS if reserved else RUN_SEATS
        command = await self._channels.open(executing(Command), seats, deadline, retry=True)
        try:
            self._channels.send(command.chan, script)
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(command.ended)
        except TimeoutError as late:
            what = f"a command on {self.name} did not end within {timeout:g} s; whether it was done is not known"
            raise CommandTimeout("CommandTimeout", what) from late
        finally:
            command.ended.cancel()
            self._channels.give_up(command)

    async def ask(self, script: str, mark: str, *, timeout: float) -> str:
        """What a script prints up to `mark`, its last words. It runs in a shell that is kept for the next question.

        Raises LinkDown. An answer without the mark is not whole. For scripts that only look.
        """
        return await self._channels.ask(script, mark, timeout)

    async def stream(self, script: str, *, timeout: float = 10.0) -> AsyncGenerator[str, None]:
        """The lines that a script prints (both of its streams), as they come. `timeout` is for the opening.

        Close the iterator (`contextlib.aclosing`) to end the script early.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        tail = await self._channels.open(executing(Tail), TAIL_SEATS, deadline, retry=True)
        try:
            self._channels.send(tail.chan, f"exec 2>&1\n{script}")
            reader: asyncssh.SSHReader[bytes] = asyncssh.SSHReader(tail, tail.chan)
            while line := await reader.readline():
                yield line.decode(errors="replace").rstrip("\r\n")
        finally:
            self._channels.give_up(tail)

    async def open_socket(self, path: str, *, timeout: float = 8.0) -> Stream:
        """A stream to a Unix socket of the Spark. Raises ChannelRefused, LinkDown."""
        return await self._channels.forward(to_socket(path), f"the socket {path}", timeout)

    async def open_tcp(self, port: int, *, timeout: float = 8.0) -> Stream:
        """A stream to a port of the Spark's own 127.0.0.1. Raises ChannelRefused, LinkDown."""
        return await self._channels.forward(to_port(port), f"port {port}", timeout)

    async def whereabouts(self) -> tuple[str, int, str, bool]:
        """Host, port, user, and whether another machine stands in between, by what is declared and ~/.ssh/config."""
        return await self._dialer.whereabouts()

    async def fetch_key(self) -> tuple[str, str]:
        """The fingerprint and known_hosts line that the Spark shows now; its jump host's, if that is not known yet."""
        return await self._dialer.fetch_key()

    async def close(self) -> None:
        """Close the connection for good, and wait until nothing of it is left."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError, LinkDown):
                await self._opening
        conns, self._conn, self._hops = [*self._hops, *([self._conn] if self._conn else [])], None, []
        await close(conns)
        await self._channels.drained()

    # Opening the connection

    async def _connection(self) -> Connection:
        """The open connection, or a new one; callers at the same time share one attempt."""
        if self._conn is not None and not self._conn.is_closed():
            return self._conn
        if self._closed:
            raise LinkDown("LinkClosed", f"sparkkeep has closed its connection to {self.name}")
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"ssh {self.name}", context=no_pass())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if opening.cancelled() and task is not None and not task.cancelling():
                raise LinkDown("LinkClosed", f"sparkkeep has closed its connection to {self.name}") from None
            raise

    def _opened(self, opening: asyncio.Task[Connection]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # its callers may have left

    async def _open(self) -> Connection:
        conn, owner, hops = await self._dialer.dial()
        born = time.monotonic()
        self._conn, self._hops = conn, hops
        self.connects += 1
        self._lose = owner.lost = partial(self._lost, conn, hops, born)
        if conn.is_closed():
            self._lose(None)
        return conn

    def _drop(self, exc: Exception) -> None:
        self._lose(exc)

    def _lost(self, conn: Connection, hops: list[Connection], born: float, exc: Exception | None) -> None:
        for hop in hops:
            hop.abort()
        if self._conn is not conn:
            return
        self._conn = None
        if time.monotonic() - born >= STEADY:
            self.reconnect.reset()
        if self.on_lost is not None:
            why = f": {exc}" if exc is not None and str(exc) else ""
            self.on_lost(LinkDown("ConnectionLost", f"the connection to {self.name} was lost{why}"))
