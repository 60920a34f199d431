"""One SSH connection to one Spark, opened on demand and kept.

Everything that can go wrong with a Spark's connection is a `LinkDown` with a reason (one CamelCase word) and a
sentence that says what to do. The one question that matters after a failure is whether a command may have
run, so `LinkDown.maybe_done` answers it. A command travels as the standard input of a shell that parses it whole
before running any of it (see `reconciler.shell`); until all of it was handed over it surely did not run.

A Spark that drops every packet is noticed by keepalives: four silent intervals of 3 s, and the connection
counts as lost. Nothing here waits without a limit, the opening of a channel included. At most six channels are open
at once; one of them is kept for stop commands, and another is closed to log tails, so that a flood of those starves
neither scans nor repair.

A channel whose opening was given up (its caller timed out or left) may still be opened by the Spark's late answer.
Such a channel is closed as soon as it opens, and holds its seat until then. A command that was given up is killed
where OpenSSH does that (not for root), and its session ends when the command does. If such orphans have used up the
server's sessions, the connection is dropped, and the next one begins with none.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import asyncssh
from asyncssh.config import ConfigParseError
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)
from asyncssh.stream import SSHClientStreamSession, SSHTCPStreamSession, SSHUNIXStreamSession

from reconciler.hostkeys import FAST_KEX, Checker, HostKeys, HostKeyUnknown
from reconciler.shell import REMOTE_SHELL, guarded
from state.desired import Spark

SEATS: Final = 6  # channels at once; a stop may take the last one,
RUN_SEATS: Final = SEATS - 1  # any other command the one before,
TAIL_SEATS: Final = SEATS - 2  # and a log tail neither
MAX_OUTPUT: Final = 8 * 2**20  # bytes of one command's output
MAX_HOPS: Final = 4  # jump hosts in a row; more is a loop in ~/.ssh/config
STEADY: Final = 30.0  # a connection that lasted this many seconds was a good one
FIRST_DELAY: Final = 0.5  # seconds
MAX_DELAY: Final = 30.0  # seconds

Stream = tuple["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"]
Connection = asyncssh.SSHClientConnection


class LinkDown(Exception):
    """The Spark can't be used through this connection. `maybe_done`: a command was sent, its fate is unknown."""

    maybe_done = False

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class NotSent(LinkDown):
    """The connection stands, but the command got no channel: it surely did not run."""


class ConnectionBroken(LinkDown):
    """The connection broke after the command was sent."""

    maybe_done = True


class CommandTimeout(LinkDown):
    """The command was sent and did not end in time; its channel was killed."""

    maybe_done = True


class OutputTooLong(ConnectionBroken):
    """The command printed more than is kept; it was killed."""


class ChannelRefused(Exception):
    """The Spark answered, and the answer was no: nothing is wrong with the connection."""


class ForwardingRefused(ChannelRefused):
    """The SSH server forbids this kind of forwarding."""


class PortClosed(ChannelRefused):
    """Nothing answers at that port or socket. For a socket, OpenSSH says the same where it forbids forwarding."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: `status` is None if a signal ended it."""

    status: int | None
    stdout: str
    stderr: str
    signal: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests shorten them."""

    connect: float = 8.0
    keepalive: float = 3.0
    keepalive_count: int = 3


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


class _Room:
    """The seats of one Spark's channels."""

    def __init__(self) -> None:
        self._taken = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, limit: int) -> Callable[[], None]:
        """Wait until fewer than `limit` seats are taken, and take one. The result gives it back, once."""
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


class _Session(Protocol):
    """What every kind of channel below can do."""

    def abort(self) -> None: ...


S = TypeVar("S", bound=_Session)
Opener = Callable[[Connection, Callable[[], None]], Awaitable[S]]


class _Command(asyncssh.SSHClientSession[bytes]):
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
        self.chan = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._parts.setdefault(datatype, []).append(data)
        self._size += len(data)
        if self._size > MAX_OUTPUT and not self.ended.done():
            what = f"the command printed more than {MAX_OUTPUT // 2**20} MiB, so it was stopped"
            self._fail(OutputTooLong("OutputTooLong", what))
            self.abort()

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        del core_dumped, msg, lang
        self._signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
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
        _kill(self.chan)
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


class _Tail(_Piped, SSHClientStreamSession[bytes]):
    """A command whose output is read as it comes."""

    def abort(self) -> None:
        _kill(self.chan)
        self._leave()


def _kill(chan: asyncssh.SSHClientChannel[bytes] | None) -> None:
    """Ask the Spark to kill the channel's command, and give the channel up."""
    if chan is not None:
        with suppress(OSError):
            chan.kill()
        chan.abort()


class _Tcp(_Piped, SSHTCPStreamSession[bytes]):
    """A forwarded port."""


class _Unix(_Piped, SSHUNIXStreamSession[bytes]):
    """A forwarded socket."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A server on the way to a Spark, or the Spark itself."""

    host: str
    user: str | None = None
    port: int | None = None
    jump: str | None = None


def _hop(text: str) -> _Target:
    """`[user@]host[:port]`, as in `jump:` and ProxyJump; an IPv6 address stands in brackets if a port follows."""
    user, _, place = text.strip().removeprefix("ssh://").rpartition("@")
    host, _, port = place.rpartition(":")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") != 1:
        host, port = place, ""
    return _Target(host, user or None, int(port) if port.isdigit() else None)


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
        self._hostkeys = hostkeys
        self._key = spark.key or (str(key_path) if key_path else None)
        self._config = tuple(file.expanduser() for file in config)
        self._timing = timing or Timing()
        self._conn: Connection | None = None
        self._hops: list[Connection] = []
        self._opening: asyncio.Task[Connection] | None = None
        self._late: set[asyncio.Future[Any]] = set()
        self._orphans: list[_Command | _Tail] = []
        self._lose: Callable[[Exception | None], None] = lambda _: None
        self._room = _Room()
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
        command = await self._channel(_executing(_Command), seats, deadline, retry=True)
        try:
            self._send(command.chan, script)
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(command.ended)
        except TimeoutError as late:
            what = f"a command on {self.name} did not end within {timeout:g} s; whether it was done is not known"
            raise CommandTimeout("CommandTimeout", what) from late
        finally:
            command.ended.cancel()
            self._give_up(command)

    async def stream(self, script: str, *, timeout: float = 10.0) -> AsyncGenerator[str, None]:
        """The lines that a script prints (both of its streams), as they come. `timeout` is for the opening.

        Close the iterator (`contextlib.aclosing`) to end the script early.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        tail = await self._channel(_executing(_Tail), TAIL_SEATS, deadline, retry=True)
        try:
            self._send(tail.chan, f"exec 2>&1\n{script}")
            reader: asyncssh.SSHReader[bytes] = asyncssh.SSHReader(tail, tail.chan)
            while line := await reader.readline():
                yield line.decode(errors="replace").rstrip("\r\n")
        finally:
            self._give_up(tail)

    async def open_socket(self, path: str, *, timeout: float = 8.0) -> Stream:
        """A stream to a Unix socket of the Spark. Raises ChannelRefused, LinkDown."""

        async def opener(conn: Connection, leave: Callable[[], None]) -> _Unix:
            _, session = await conn.create_unix_connection(lambda: _Unix(leave), path)
            return session  # type: ignore[return-value]  # what the factory made

        return await self._forward(opener, f"the socket {path}", timeout)

    async def open_tcp(self, port: int, *, timeout: float = 8.0) -> Stream:
        """A stream to a port of the Spark's own 127.0.0.1. Raises ChannelRefused, LinkDown."""

        async def opener(conn: Connection, leave: Callable[[], None]) -> _Tcp:
            _, session = await conn.create_connection(lambda: _Tcp(leave), "127.0.0.1", port)
            return session  # type: ignore[return-value]  # what the factory made

        return await self._forward(opener, f"port {port}", timeout)

    async def fetch_key(self) -> tuple[str, str]:
        """The fingerprint and known_hosts line that the Spark shows now; its jump host's, if that is not known yet."""
        hops: list[Connection] = []
        try:
            async with asyncio.timeout(2 * self._timing.connect):
                target = self._target()
                tunnel = await self._tunnel(target, await self._resolve(target), hops, 0)
                return await self._hostkeys.fetch(self.spark, config=self._config_files(), tunnel=tunnel)
        except LinkDown as down:
            if isinstance(down.__cause__, HostKeyUnknown):
                return down.__cause__.fingerprint, down.__cause__.key_line
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            raise _explain(error, self.name, self.spark.host) from error
        finally:
            await _close(hops)

    async def close(self) -> None:
        """Close the connection for good, and wait until nothing of it is left."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError, LinkDown):
                await self._opening
        conns, self._conn, self._hops = [*self._hops, *([self._conn] if self._conn else [])], None, []
        await _close(conns)
        if self._late:
            await asyncio.wait(self._late)

    # Opening the connection

    async def _connection(self) -> Connection:
        """The open connection, or a new one; callers at the same time share one attempt."""
        if self._conn is not None and not self._conn.is_closed():
            return self._conn
        if self._closed:
            raise LinkDown("LinkClosed", f"sparkkeep has closed its connection to {self.name}")
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"ssh {self.name}")
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
        hops: list[Connection] = []
        try:
            async with asyncio.timeout(self._timing.connect):
                conn, owner = await self._dial(self._target(), hops, None, 0)
        except BaseException as error:
            await _close(hops)
            if isinstance(error, (asyncssh.Error, OSError, ValueError)):
                raise _explain(error, self.name, self.spark.host) from error
            raise
        born = time.monotonic()
        self._conn, self._hops = conn, hops
        self.connects += 1
        self._lose = owner.lost = partial(self._lost, conn, hops, born)
        if conn.is_closed():
            self._lose(None)
        return conn

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

    def _target(self) -> _Target:
        spark = self.spark
        host = spark.host[1:-1] if spark.host.startswith("[") and spark.host.endswith("]") else spark.host
        return _Target(host, spark.user, spark.port, spark.jump)

    def _config_files(self) -> list[Path]:
        return [file for file in self._config if file.is_file()]

    def _given(self, target: _Target) -> dict[str, Any]:
        """What is declared; the rest comes from ~/.ssh/config."""
        given: dict[str, Any] = {"config": [str(file) for file in self._config_files()]}
        if target.port is not None:
            given["port"] = target.port
        if target.user is not None:
            given["username"] = target.user
        return given

    async def _resolve(self, target: _Target) -> asyncssh.SSHClientConnectionOptions:
        """Where ~/.ssh/config says that the target is."""
        given = {"host": target.host, "client_keys": None, **self._given(target)}
        return await asyncssh.SSHClientConnectionOptions.construct(None, **given)  # type: ignore[no-any-return]

    async def _dial(
        self, target: _Target, hops: list[Connection], tunnel: Connection | None, depth: int
    ) -> tuple[Connection, Checker]:
        """A connection to the target, through `tunnel` or its own jump hosts, which are added to `hops`."""
        resolved = await self._resolve(target)
        if tunnel is None:
            tunnel = await self._tunnel(target, resolved, hops, depth)
        owner = Checker(self._hostkeys, self.spark.trust, tunneled=tunnel is not None)
        timing = self._timing
        try:
            conn = await asyncssh.connect(
                target.host,
                **self._given(target),
                **self._identity(),
                tunnel=tunnel,
                client_factory=lambda: owner,
                known_hosts=self._hostkeys.authorities,
                server_host_key_algs=self._hostkeys.algorithms(resolved.host_key_alias or resolved.host, resolved.port),
                x509_trusted_certs=None,
                kex_algs=FAST_KEX,
                compression_algs=None,
                keepalive_interval=timing.keepalive,
                keepalive_count_max=timing.keepalive_count,
                login_timeout=timing.connect,
                preferred_auth="publickey",
                gss_host=None,
                agent_forwarding=False,
                x11_forwarding=False,
            )
        except (asyncssh.HostKeyNotVerifiable, asyncssh.ConnectionLost):
            if owner.refusal is None:
                raise
            what = f"{self.name} ({target.host}) {owner.refusal}".replace("SPARK", self.name)
            raise LinkDown(type(owner.refusal).__name__, what) from owner.refusal
        return conn, owner

    async def _tunnel(
        self, target: _Target, resolved: asyncssh.SSHClientConnectionOptions, hops: list[Connection], depth: int
    ) -> Connection | None:
        """The connection to the last jump host before the target, each one checked like the Spark itself."""
        jump = target.jump or resolved.tunnel
        if not isinstance(jump, str) or not jump or jump == "none":
            return None
        if depth >= MAX_HOPS:
            what = f"the way to {self.name} has more than {MAX_HOPS} jump hosts; does ProxyJump lead back to itself?"
            raise LinkDown("JumpLoop", what)
        tunnel: Connection | None = None
        for hop in jump.split(","):
            tunnel, _ = await self._dial(_hop(hop), hops, tunnel, depth + 1)
            hops.append(tunnel)
        return tunnel

    def _identity(self) -> dict[str, Any]:
        """The one key that was named, or the agent's and the default ones."""
        if self._key is None:
            return {}
        path = Path(self._key).expanduser()
        try:
            return {"client_keys": [asyncssh.read_private_key(path)], "agent_path": None}
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            what = f"the key {path} can't be read ({why}): check the path and that this user may read it"
            if "assphrase" in str(error):
                what = f"the key {path} has a passphrase: add it to ssh-agent and name no key for {self.name}"
            raise LinkDown("KeyUnreadable", what) from error

    # Opening channels

    async def _channel(self, opener: Opener[S], seats: int, deadline: float, *, retry: bool) -> S:
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
            what = f"{self.name} gave no channel in time, so the command was not sent"
            raise NotSent("ChannelTimeout", what) from late
        except (asyncssh.Error, OSError) as error:
            refused = isinstance(error, asyncssh.ChannelOpenError) and error.reason != "SSH connection closed"
            if conn is None or conn.is_closed() or not refused:
                what = f"the connection to {self.name} was lost before the command was sent"
                raise NotSent("ConnectionLost", what) from error
            if not retry:
                raise
            what = f"{self.name} refused a channel ({error}), so the command was not sent"
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
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError:
                leave()
                if any(not orphan.gone for orphan in self._orphans) and asyncio.get_running_loop().time() >= deadline:
                    conn.abort()
                    self._lose(asyncssh.ConnectionLost("commands that don't end hold all its sessions"))
                raise
            pause = min(2 * pause, 0.5)

    def _give_up(self, session: _Command | _Tail) -> None:
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

    async def _forward(self, opener: Opener[Any], what: str, timeout: float) -> Stream:
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            session = await self._channel(opener, RUN_SEATS, deadline, retry=False)
        except asyncssh.ChannelOpenError as error:
            if error.code in {OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_UNKNOWN_CHANNEL_TYPE}:
                raise ForwardingRefused(f"{self.name} does not forward {what}: {error.reason}") from error
            if error.code == OPEN_CONNECT_FAILED:
                raise PortClosed(f"nothing answers at {what} of {self.name}: {error.reason}") from error
            raise NotSent("ChannelRefused", f"{self.name} refused a channel: {error.reason}") from error
        return asyncssh.SSHReader(session, session.chan), asyncssh.SSHWriter(session, session.chan)

    def _send(self, chan: Any, script: str) -> None:
        try:
            chan.write(guarded(script).encode())
            chan.write_eof()
        except OSError as error:
            what = f"{self.name} closed the channel before the command was sent"
            raise NotSent("ChannelRefused", what) from error


def _executing(kind: Callable[[Callable[[], None]], S]) -> Opener[S]:
    """Opens a session that runs `REMOTE_SHELL`."""

    async def opener(conn: Connection, leave: Callable[[], None]) -> S:
        factory: Callable[[], Any] = lambda: kind(leave)  # noqa: E731 - gives it a type
        _, session = await conn.create_session(factory, REMOTE_SHELL, encoding=None, request_pty=False)
        return cast("S", session)

    return opener


async def _close(conns: list[Connection]) -> None:
    for conn in reversed(conns):
        conn.abort()
    for conn in reversed(conns):
        await conn.wait_closed()


# Plain words

WORDS: Final = (
    (TimeoutError, "ConnectTimeout", "{who} did not answer in time: is it switched on, and on this network?"),
    (socket.gaierror, "NameNotResolved", "the name of {who} is not known here: {why}"),
    (ConnectionRefusedError, "ConnectionRefused", "{who} is up, but nothing answers at its SSH port: does sshd run?"),
    (ConnectionError, "ConnectionLost", "{who} closed the connection while it was being opened: {why}"),
    (OSError, "NoRoute", "{who} can't be reached from here: {why}"),
    (asyncssh.PermissionDenied, "AuthRefused", "{who} refused the user or key: {why}. Does plain `ssh` get in?"),
    (asyncssh.HostKeyNotVerifiable, "HostKeyUnknown", "the host key of {who} was refused: {why}"),
    (asyncssh.ChannelOpenError, "NoRoute", "the jump host can't reach {who}: {why}"),
    (asyncssh.ConnectionLost, "ConnectionLost", "{who} closed the connection while it was being opened: {why}"),
    (asyncssh.Error, "ProtocolError", "no SSH connection with {who} came about: {why}"),
    (ConfigParseError, "ConfigUnreadable", "the SSH configuration has a mistake: {why}"),
    (ValueError, "KeyUnreadable", "a key for {who} can't be used: {why}"),
)


def _explain(error: Exception, name: str, host: str) -> LinkDown:
    """What went wrong when the connection was opened, and what to do about it."""
    if isinstance(error, OSError) and error.filename is not None:
        return LinkDown("KeyUnreadable", f"{error.filename} can't be read: {error.strerror}")
    if type(error) is OSError and f"[Errno {errno.ECONNREFUSED}]" in str(error):
        error = ConnectionRefusedError(str(error))  # several addresses were tried; asyncio joins their errors
    why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    reason, text = next((reason, text) for kind, reason, text in WORDS if isinstance(error, kind))
    return LinkDown(reason, text.format(who=f"{name} ({host})", why=why))
