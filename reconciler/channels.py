"""The channels of one connection: the seats for them, how they are opened, and how they are given up.

At most six channels are open at once; one of them is kept for stop commands, and another is closed to log tails, so
that a flood of those starves neither scans nor repair. Nothing here waits without a limit, the opening of a channel
included.

A command travels as the standard input of a shell that parses it whole before running any of it (see
`reconciler.shell`); until all of it was handed over it surely did not run.

A channel whose opening was given up (its caller timed out or left) may still be opened by the Spark's late answer.
Such a channel is closed as soon as it opens, and holds its seat until then. A command that was given up is killed
where OpenSSH does that (not for root), and its session ends when the command does. If such orphans have used up the
server's sessions, the connection is dropped, and the next one begins with none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncssh
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)

from reconciler.dial import Connection
from reconciler.linkdown import ForwardingRefused, NotSent, PortClosed
from reconciler.sessions import Command, Opener, Session, Tail, executing
from reconciler.shell import guarded
from reconciler.standing import Conversation, Standing

SEATS: Final = 6  # channels at once; a stop may take the last one,
RUN_SEATS: Final = SEATS - 1  # any other command the one before,
TAIL_SEATS: Final = SEATS - 2  # and a log tail neither

Stream = tuple["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"]
S = TypeVar("S", bound=Session)


class _Room:
    """The seats of one Spark's channels."""

    def __init__(self) -> None:
        self._taken = 0
        self._waiting: list[asyncio.Future[None]] = []
        self.make_way: Callable[[], None] = lambda: None  # gives a seat back that is held for convenience only

    async def enter(self, limit: int) -> Callable[[], None]:
        """Wait until fewer than `limit` seats are taken, and take one. The result gives it back, once."""
        if self._taken >= limit:
            self.make_way()
        while self._taken >= limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._taken += 1
        held = [True]

        def leave() -> None:
            if held:
                held.clear()
                self._taken -= 1
                waiting, self._waiting = self._waiting, []
                for turn in waiting:
                    if not turn.done():
                        turn.set_result(None)

        return leave


class Channels:
    """Opens the channels of one Spark. `connection` gives an open connection, `lose` says that it is lost."""

    def __init__(
        self, name: str, connection: Callable[[], Awaitable[Connection]], lose: Callable[[Exception], None]
    ) -> None:
        self._name = name
        self._connection = connection
        self._lose = lose
        self._room = _Room()
        self._standing = Standing(name, self._open_shell)
        self._room.make_way = self._standing.give_way
        self._late: set[asyncio.Future[Any]] = set()
        self._orphans: list[Command | Tail] = []

    async def open(self, opener: Opener[S], seats: int, deadline: float, *, retry: bool) -> S:
        """A channel, on the open connection or a new one. Raises LinkDown (surely not run), ChannelOpenError."""
        conn: Connection | None = None
        try:
            async with asyncio.timeout_at(deadline):
                conn = await self._connection()
                leave = await self._room.enter(seats)
                try:
                    return await self._retried(conn, opener, leave, deadline if retry else None)
                except (asyncssh.Error, OSError):
                    leave()
                    raise
        except TimeoutError as late:
            what = f"{self._name} gave no channel in time, so the command was not sent"
            raise NotSent("ChannelTimeout", what) from late
        except (asyncssh.Error, OSError) as error:
            refused = isinstance(error, asyncssh.ChannelOpenError) and error.reason != "SSH connection closed"
            if conn is None or conn.is_closed() or not refused:
                what = f"the connection to {self._name} was lost before the command was sent"
                raise NotSent("ConnectionLost", what) from error
            if not retry:
                raise
            what = f"{self._name} refused a channel ({error}), so the command was not sent"
            raise NotSent("ChannelRefused", what) from error

    async def _retried(
        self, conn: Connection, opener: Opener[S], leave: Callable[[], None], deadline: float | None
    ) -> S:
        """Open a channel; where the server has too many of them (MaxSessions), try again until the deadline."""
        pause = 0.05
        while True:
            opening = asyncio.ensure_future(opener(conn, leave))
            try:
                return await asyncio.shield(opening)
            except asyncio.CancelledError:
                self._abandon(opening, leave)
                raise
            except asyncssh.ChannelOpenError as error:
                full = error.code in {OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE}
                if conn.is_closed() or deadline is None or not full:
                    raise
                self._room.make_way()
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                leave()
                if any(not orphan.gone for orphan in self._orphans) and asyncio.get_running_loop().time() >= deadline:
                    conn.abort()
                    self._lose(asyncssh.ConnectionLost("commands that don't end hold all its sessions"))
                raise
            pause = min(2 * pause, 0.5)

    def give_up(self, session: Command | Tail) -> None:
        """End a command that still runs; until it does, it is an orphan."""
        if not session.gone:
            session.abort()
            self._orphans = [orphan for orphan in (*self._orphans, session) if not orphan.gone]

    def _abandon(self, opening: asyncio.Future[S], leave: Callable[[], None]) -> None:
        """Nobody waits for this channel any more: close it when it opens."""

        def close(opened: asyncio.Future[S]) -> None:
            self._late.discard(opened)
            if opened.cancelled() or opened.exception() is not None:
                leave()
            else:
                opened.result().abort()

        self._late.add(opening)
        opening.add_done_callback(close)

    async def forward(self, opener: Opener[Any], what: str, timeout: float) -> Stream:
        """A stream to something of the Spark, which `what` names. Raises ChannelRefused, LinkDown."""
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            session = await self.open(opener, RUN_SEATS, deadline, retry=False)
        except asyncssh.ChannelOpenError as error:
            if error.code in {OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_UNKNOWN_CHANNEL_TYPE}:
                raise ForwardingRefused(f"{self._name} does not forward {what}: {error.reason}") from error
            if error.code == OPEN_CONNECT_FAILED:
                raise PortClosed(f"nothing answers at {what} of {self._name}: {error.reason}") from error
            raise NotSent("ChannelRefused", f"{self._name} refused a channel: {error.reason}") from error
        return asyncssh.SSHReader(session, session.chan), asyncssh.SSHWriter(session, session.chan)

    async def ask(self, script: str, mark: str, timeout: float) -> str:
        """What a script prints up to `mark`, from a shell that stays open for more. Raises LinkDown."""
        return await self._standing.ask(script, mark, timeout)

    async def _open_shell(self, deadline: float) -> Conversation:
        return await self.open(executing(Conversation), RUN_SEATS, deadline, retry=True)

    def send(self, chan: Any, script: str) -> None:
        """Hand a script to the shell of a channel. Raises NotSent."""
        try:
            chan.write(guarded(script).encode())
            chan.write_eof()
        except OSError as error:
            what = f"{self._name} closed the channel before the command was sent"
            raise NotSent("ChannelRefused", what) from error

    async def drained(self) -> None:
        """Wait until no channel that was given up can open any more."""
        if self._late:
            await asyncio.wait(self._late)
