"""What runs in a channel: a command that is waited for, one whose output is read as it comes, a port, a socket.

Each session gives its channel's seat back when the channel is closed, says by then whether the connection broke under
it, and can be given up early (`abort`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

import asyncssh
from asyncssh.stream import SSHClientStreamSession, SSHTCPStreamSession, SSHUNIXStreamSession

from reconciler.dial import Connection
from reconciler.linkdown import ConnectionBroken, LinkDown, OutputTooLong
from reconciler.shell import REMOTE_SHELL

MAX_OUTPUT: Final = 8 * 2**20  # bytes of one command's output


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: `status` is None if a signal ended it."""

    status: int | None
    stdout: str
    stderr: str
    signal: str = ""


class Session(Protocol):
    """What every kind of channel below can do."""

    def abort(self) -> None:
        """Give the channel up."""


S = TypeVar("S", bound=Session)
Opener = Callable[[Connection, Callable[[], None]], Awaitable[S]]


class Command(asyncssh.SSHClientSession[bytes]):
    """Collects what a command prints, up to a limit."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._parts: dict[int | None, list[bytes]] = {}
        self._size = 0
        self._status: int | None = None
        self._signal = ""
        self.gone = False
        self.chan: asyncssh.SSHClientChannel[bytes] | None = None
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open."""
        self.chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """The command printed something."""
        self._parts.setdefault(datatype, []).append(data)
        self._size += len(data)
        if self._size > MAX_OUTPUT and not self.ended.done():
            what = f"the command printed more than {MAX_OUTPUT // 2**20} MiB, so it was stopped"
            self._fail(OutputTooLong("OutputTooLong", what))
            self.abort()

    def exit_status_received(self, status: int) -> None:
        """The command ended by itself."""
        self._status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """A signal ended the command."""
        del core_dumped, msg, lang
        self._signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: the command has ended, or the connection broke."""
        self._leave()
        self.gone = True
        if self.ended.done():
            return
        if exc is not None or (self._status is None and not self._signal):
            what = "the connection broke while a command ran; whether it was done is not known"
            self._fail(ConnectionBroken("ConnectionLost", what))
            return
        self.ended.set_result(Outcome(self._status, self._text(None), self._text(1), self._signal))

    def abort(self) -> None:
        """Kill the command, and give its channel and seat up."""
        kill(self.chan)
        self._leave()

    def _fail(self, error: LinkDown) -> None:
        self.ended.set_exception(error)
        self.ended.exception()  # its caller may have left

    def _text(self, datatype: int | None) -> str:
        return b"".join(self._parts.get(datatype, ())).decode(errors="replace")


class _Piped:
    """Gives a stream's seat back when the channel is closed; its reader raises ConnectionBroken if it broke."""

    def __init__(self, leave: Callable[[], None]) -> None:
        super().__init__()
        self._leave = leave
        self.gone = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self.gone = True
        lost = None if exc is None else ConnectionBroken("ConnectionLost", f"the connection to the Spark broke: {exc}")
        super().connection_lost(lost)  # type: ignore[misc]  # the stream session it is mixed into

    @property
    def chan(self) -> Any:
        return self._chan  # type: ignore[attr-defined]

    def abort(self) -> None:
        self.chan.abort()


class Tail(_Piped, SSHClientStreamSession[bytes]):
    """A command whose output is read as it comes."""

    def abort(self) -> None:
        """Kill the command, and give its channel and seat up."""
        kill(self.chan)
        self._leave()


class Tcp(_Piped, SSHTCPStreamSession[bytes]):
    """A forwarded port."""


class Unix(_Piped, SSHUNIXStreamSession[bytes]):
    """A forwarded socket."""


def kill(chan: asyncssh.SSHClientChannel[bytes] | None) -> None:
    """Ask the Spark to kill the channel's command, and give the channel up."""
    if chan is not None:
        with suppress(OSError):
            chan.kill()
        chan.abort()


def executing(kind: Callable[[Callable[[], None]], S]) -> Opener[S]:
    """Opens a session that runs `REMOTE_SHELL`."""

    async def opener(conn: Connection, leave: Callable[[], None]) -> S:
        factory: Callable[[], Any] = lambda: kind(leave)  # noqa: E731 - gives it a type
        _, session = await conn.create_session(factory, REMOTE_SHELL, encoding=None, request_pty=False)
        return cast("S", session)

    return opener


def to_socket(path: str) -> Opener[Unix]:
    """Opens a stream to a Unix socket of the Spark."""

    async def opener(conn: Connection, leave: Callable[[], None]) -> Unix:
        _, session = await conn.create_unix_connection(lambda: Unix(leave), path)
        return session  # type: ignore[return-value]  # what the factory made

    return opener


def to_port(port: int) -> Opener[Tcp]:
    """Opens a stream to a port of the Spark's own 127.0.0.1."""

    async def opener(conn: Connection, leave: Callable[[], None]) -> Tcp:
        _, session = await conn.create_connection(lambda: Tcp(leave), "127.0.0.1", port)
        return session  # type: ignore[return-value]  # what the factory made

    return opener
