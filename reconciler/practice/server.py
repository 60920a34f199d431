"""A practice Spark's SSH server: real SSH on loopback, asyncssh on the far side of the link.

What OpenSSH would do, this does: public keys only, at most MaxSessions sessions on a connection, commands that
go on when their connection is lost, a forwarded Docker socket, forwarded ports of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import asyncssh

from reconciler.practice.docker_cli import SOCKET
from reconciler.practice.engine_texts import ANYWHERE
from reconciler.practice.http_server import HttpConnection
from reconciler.practice.link import Relay
from reconciler.practice.shell_io import Input, Io

if TYPE_CHECKING:
    from reconciler.practice.spark import Spark

Handler = Callable[["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"], Awaitable[None]]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SOCKETS: Final = frozenset({SOCKET, "/run/docker.sock"})
OWN: Final = frozenset({"127.0.0.1", "localhost", "::1", ANYWHERE})
CHUNK: Final = 65536
SIGPIPE: Final = 141
ENDING: Final = 2.0  # seconds
UNREADABLE: Final = (asyncssh.Error, asyncssh.BreakReceived, OSError, asyncio.IncompleteReadError)


class ChannelSink:
    """Output on its way to the client; breaks when nobody is there, or when a fault says so."""

    def __init__(self, session: Session, writer: asyncssh.SSHWriter[bytes]) -> None:
        self._session = session
        self._writer = writer

    def write(self, data: bytes, /) -> None:
        """Send it to the client. Raises BrokenPipeError."""
        switches = self._session.spark.switches
        if switches.cut_output is not None:
            self._session.sent += len(data)
            over = self._session.sent - switches.cut_output
            if over > 0:
                switches.count("cut_output")
                self._session.drop()
                raise BrokenPipeError
        if self._session.lost:
            raise BrokenPipeError
        with contextlib.suppress(OSError):
            self._writer.write(data)


class Session(asyncssh.SSHServerProcess[bytes]):
    """One exec or shell request."""

    def __init__(self, server: PracticeServer) -> None:
        super().__init__(self._handle, None, 3, False)
        self.spark = server.spark
        self.lost = False
        self.sent = 0
        self._work: asyncio.Task[None] | None = None
        self._server = server
        server.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or asyncssh says that the channel is gone."""
        self.lost = True
        self._server.sessions.discard(self)
        super().connection_lost(exc)

    def signal_received(self, signal: str) -> None:
        """The client wants the command dead; sshd obeys where the user is not root."""
        if self._work is not None:
            self._work.cancel()
        if not self.lost:
            self.exit_with_signal(signal)

    def drop(self) -> None:
        """Break the connection under it."""
        self._server.drop()

    async def _handle(self, _process: asyncssh.SSHServerProcess[bytes]) -> None:
        """In a task of the Spark's: a lost connection does not end what it began."""
        self._work = self.spark.spawn(self._serve())
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._work)

    async def _serve(self) -> None:
        io = Io(Input(source=self._input), ChannelSink(self, self.stdout), ChannelSink(self, self.stderr))
        if self.command is None:
            await self._converse(io)
            return
        status = SIGPIPE
        with contextlib.suppress(BrokenPipeError):
            status = await self.spark.console.run(self.command, io)
        if self.spark.switches.lose_replies > 0:
            self.spark.switches.lose_replies -= 1
            self.spark.switches.count("lose_reply")
            self.drop()
        if not self.lost:
            with contextlib.suppress(OSError):
                self.exit(status)

    async def _input(self) -> bytes:
        """What comes next on standard input. If the connection breaks that is the end, as a real sh would have it."""
        with contextlib.suppress(*UNREADABLE):
            return await self.stdin.read(CHUNK)
        return b""

    async def _converse(self, io: Io) -> None:
        """A person at a terminal: one line after the other."""
        io.out(f"This is a practice Spark ({self.spark.name}): try `docker ps`, `df`, `exit`.\n")
        with contextlib.suppress(*UNREADABLE):
            while True:
                io.out(f"practice@{self.spark.name}:~$ ")
                line = (await self.stdin.readline()).decode(errors="replace").strip()
                if line in {"", "exit", "logout"} and (line or self.stdin.at_eof()):
                    break
                await self.spark.console.run(line, io)
        if not self.lost:
            self.exit(0)


class PracticeServer(asyncssh.SSHServer):
    """One connection's server side."""

    def __init__(self, spark: Spark, drop: Callable[[], None]) -> None:
        self.spark = spark
        self.drop = drop
        self.sessions: set[Session] = set()

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - asyncssh's signature
        """Everybody has to log in."""
        return True

    def public_key_auth_supported(self) -> bool:
        """With a key, and no other way."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """The fleet's own key, for the one user."""
        if self.spark.switches.auth_refused:
            self.spark.switches.count("auth_refused")
            return False
        return username == self.spark.user and key.public_data in self.spark.allowed_keys

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        """As many as MaxSessions allows."""
        limit = self.spark.switches.max_sessions
        if len(self.sessions) >= limit:
            self.spark.switches.count("max_sessions")
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        return Session(self)

    def unix_connection_requested(self, dest_path: str) -> Handler:
        """Docker's socket, and no other."""
        self._forwardable()
        if dest_path not in SOCKETS or self.spark.switches.daemon_down:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")

        async def serve(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            await self.spark.serve_engine(reader, writer)

        return serve

    def connection_requested(self, dest_host: str, dest_port: int, *_origin: object) -> Handler:
        """The ports on which its containers serve."""
        self._forwardable()
        served = self.spark.servers.get(dest_port)
        if served is None or dest_host not in OWN | {self.spark.address}:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused")

        async def serve(reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            await HttpConnection(reader, writer, served.handle).run()

        return serve

    def _forwardable(self) -> None:
        if not self.spark.switches.forwarding:
            self.spark.switches.count("forwarding")
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")


class SshListener:
    """The Spark's port, open while this runs."""

    def __init__(self, spark: Spark, port: int) -> None:
        self._spark = spark
        self._wanted = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen, and give the port."""
        self._server = await asyncio.start_server(self._accepted, self._spark.address, self._wanted)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._pass_on(Relay(self._spark.link, reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, relay: Relay) -> None:
        """One connection, from its first byte to its last, and the SSH server on its far side."""
        ssh: list[asyncio.Task[None]] = []

        async def dial() -> Stream:
            near, far = socket.socketpair()
            ssh.append(asyncio.create_task(self._serve_ssh(far, relay.drop)))
            return await asyncio.open_connection(sock=near)

        try:
            with contextlib.suppress(OSError):
                await relay.run(dial)
        finally:
            if ssh:  # its side of the wire has ended: it sees that, and ends too
                await asyncio.wait(ssh, timeout=ENDING)
            for serving in ssh:
                serving.cancel()
            await asyncio.gather(*ssh, return_exceptions=True)

    async def _serve_ssh(self, sock: socket.socket, drop: Callable[[], None]) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            connection = await asyncssh.run_server(
                sock,
                config=None,
                server_factory=lambda: PracticeServer(self._spark, drop),
                server_host_keys=[self._spark.host_key],
                encoding=None,
                line_editor=False,
                server_version="OpenSSH_9.6p1_practice",
            )
            await connection.wait_closed()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            self._spark.link.heal()
            self._spark.link.drop()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
