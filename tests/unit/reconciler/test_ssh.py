"""The link against real OpenSSH: a server of its own on loopback for every test that needs one.

`Sshd`, `Wire` and `link_to` are used by the tests of the engine, the scan and the events too.
"""

from __future__ import annotations

import asyncio
import errno
import getpass
import logging
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import asyncssh
import pytest
from asyncssh.encryption import get_default_encryption_algs

from reconciler.hostkeys import HostKeys
from reconciler.linkdown import (
    CommandTimeout,
    ConnectionBroken,
    ForwardingRefused,
    LinkDown,
    NotSent,
    OutputTooLong,
    PortClosed,
)
from reconciler.sessions import MAX_OUTPUT
from reconciler.ssh import Link, Reconnect, Timing
from state.desired import Spark

SSHD = Path("/usr/sbin/sshd")
USER = getpass.getuser()
pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(path: Path, kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    key.write_private_key(path)
    key.write_public_key(path.with_name(path.name + ".pub"))
    return key


class Sshd:
    """One OpenSSH server on loopback."""

    def __init__(self, folder: Path, *options: str, address: str = "127.0.0.1") -> None:
        self.folder, self.options, self.address = folder, options, address
        self.port = free_port()
        self.client_key = folder / "id"
        self.host_key = folder / "hostkey"
        self.process: subprocess.Popen[bytes] | None = None
        make_key(self.client_key)
        make_key(self.host_key)
        (folder / "authorized_keys").write_bytes((folder / "id.pub").read_bytes())

    @property
    def known_line(self) -> str:
        kind, data = (self.folder / "hostkey.pub").read_text().split()[:2]
        return f"[{self.address}]:{self.port} {kind} {data}\n"

    def start(self) -> None:
        config = self.folder / "sshd_config"
        # A home of its own, for a start without anybody's .bashrc; sshd only reads the first SetEnv.
        env = " ".join(option.removeprefix("SetEnv ") for option in self.options if option.startswith("SetEnv "))
        lines = (
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"PidFile {self.folder}/pid",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            *(option for option in self.options if not option.startswith("SetEnv ")),
            f"SetEnv HOME={self.folder} {env}",
        )
        config.write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)
        for _ in range(200):
            with suppress(OSError), socket.create_connection((self.address, self.port), 0.2):
                return
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def sessions(self) -> list[int]:
        """The processes that serve connections."""
        assert self.process is not None
        found = subprocess.run(
            ["ps", "--no-headers", "-o", "pid", "--ppid", str(self.process.pid)],
            check=False,
            capture_output=True,
            text=True,
        )
        return [int(pid) for pid in found.stdout.split()]

    def stop(self) -> None:
        if self.process is not None:
            for pid in self.sessions():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def serving(folder: Path, *options: str, address: str = "127.0.0.1") -> Iterator[Sshd]:
    folder.mkdir(parents=True, exist_ok=True)
    server = Sshd(folder, *options, address=address)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def keys_for(*servers: Sshd, folder: Path) -> HostKeys:
    known = folder / "known_hosts"
    known.write_text("".join(server.known_line for server in servers))
    return HostKeys([known], folder / "own_known_hosts")


def spark_of(server: Sshd, **more: Any) -> Spark:
    return Spark.model_validate(
        {"host": server.address, "port": server.port, "user": USER, "key": str(server.client_key)} | more
    )


@asynccontextmanager
async def link_to(server: Sshd, **more: Any) -> AsyncIterator[Link]:
    options = {
        "config": (),
        "rng": random.Random(1),
        "hostkeys": keys_for(server, folder=server.folder),
        "spark": spark_of(server),
    }
    options |= more
    link = Link("spark-1", **options)
    try:
        yield link
    finally:
        async with asyncio.timeout(5):
            await link.close()


class Wire:
    """A TCP proxy in front of a server, which can go dead in both directions without telling anybody."""

    def __init__(self, port: int) -> None:
        self.target, self.port = port, 0
        self.dead = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self.dead:
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.append(far_writer)
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if not self.dead:
                    sink.write(data)
        if not self.dead:
            sink.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with serving(tmp_path / "sshd", "MaxSessions 10") as running:
        yield running


FAST = Timing(connect=1.0, keepalive=0.2, keepalive_count=2)


# Commands


async def begun(mark: Path) -> None:
    """Wait until a command has written its process id."""
    async with asyncio.timeout(10):
        while not (mark.exists() and mark.read_text().endswith("\n")):
            await asyncio.sleep(0.01)


async def gone(mark: Path) -> None:
    """Wait for the end of the process whose id is in the file; OpenSSH passes signals on, but not to root's commands."""
    pid = int(mark.read_text())
    if os.geteuid() == 0:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(3):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.02)


async def test_nothing_is_sent_that_says_nothing(server: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    """asyncssh would send an empty message before each of its own, for the sake of CBC ciphers."""
    asyncssh.set_debug_level(3)
    try:
        with caplog.at_level(logging.DEBUG, "asyncssh"):
            async with link_to(server) as link:
                await link.run("true", timeout=5)
                caplog.clear()
                await link.run("true", timeout=5)
                sent = [m for m in caplog.messages if "Sent MSG_" in m]
    finally:
        asyncssh.set_debug_level(1)
    assert any("MSG_CHANNEL_OPEN" in m for m in sent)
    assert not any("MSG_IGNORE" in m for m in sent)
    ciphers = get_default_encryption_algs()  # what is offered besides our own first choice
    assert ciphers
    assert not any(b"cbc" in name for name in ciphers)


async def test_a_command_gives_its_output_and_status(server: Sshd) -> None:
    async with link_to(server) as link:
        outcome = await link.run("echo out\necho err >&2\nexit 3", timeout=5)
        assert (outcome.status, outcome.stdout, outcome.stderr, outcome.signal) == (3, "out\n", "err\n", "")


async def test_output_that_is_not_utf8_is_read_all_the_same(server: Sshd) -> None:
    async with link_to(server) as link:
        assert (await link.run(r"printf 'a\377b'", timeout=5)).stdout == "a�b"


async def test_a_command_that_a_signal_ended_has_no_status(server: Sshd) -> None:
    async with link_to(server) as link:
        outcome = await link.run("kill -9 $$", timeout=5)
        assert (outcome.status, outcome.signal) == (None, "KILL")


async def test_one_connection_serves_many_commands(server: Sshd) -> None:
    async with link_to(server) as link:
        outcomes = await asyncio.gather(*(link.run(f"echo {n}", timeout=10) for n in range(20)))
        assert [o.stdout for o in outcomes] == [f"{n}\n" for n in range(20)]
        assert link.connects == 1


async def test_a_command_that_takes_too_long_is_killed_and_its_fate_is_unknown(server: Sshd, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with link_to(server) as link:
        with pytest.raises(CommandTimeout) as caught:
            await link.run(f"echo $$ > {mark}; exec sleep 20", timeout=1.5)
        assert caught.value.maybe_done
        assert caught.value.reason == "CommandTimeout"
        await gone(mark)
        assert (await link.run("echo again", timeout=5)).stdout == "again\n"


async def test_a_caller_that_leaves_kills_its_command(server: Sshd, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with link_to(server) as link:
        task = asyncio.create_task(link.run(f"echo $$ > {mark}; exec sleep 20", timeout=30))
        await begun(mark)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(mark)


async def test_too_much_output_is_an_error(server: Sshd) -> None:
    async with link_to(server) as link:
        with pytest.raises(OutputTooLong) as caught:
            await link.run(f"head -c {MAX_OUTPUT + 100_000} /dev/zero; sleep 20", timeout=10)
        assert caught.value.maybe_done
        assert len((await link.run(f"head -c {MAX_OUTPUT} /dev/zero", timeout=10)).stdout) == MAX_OUTPUT


async def test_a_connection_that_breaks_halfway_leaves_the_outcome_unknown(server: Sshd, tmp_path: Path) -> None:
    async with link_to(server) as link:
        task = asyncio.create_task(link.run(f"echo $$ > {tmp_path}/pid; exec sleep 20", timeout=30))
        await begun(tmp_path / "pid")
        server.stop()
        with pytest.raises(ConnectionBroken) as caught:
            await task
        assert caught.value.maybe_done


async def test_the_login_shell_does_not_see_the_command(server: Sshd) -> None:
    async with link_to(server) as link:
        nasty = "printf '%s|' \"$0\" 'a'\"'\"'b' \"line\n2\" '$(x)'"
        assert (await link.run(nasty, timeout=5)).stdout == "sh|a'b|line\n2|$(x)|"


# Streams of lines


async def test_lines_come_as_they_are_printed_from_both_streams(server: Sshd) -> None:
    async with link_to(server) as link:
        got = [line async for line in link.stream("echo one\necho two >&2\nprintf 'three'")]
        assert got == ["one", "two", "three"]


async def test_a_stream_that_is_closed_early_ends_its_command(server: Sshd, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    async with link_to(server) as link:
        async with aclosing(link.stream(f"echo $$ > {mark}; while :; do echo x; sleep 0.01; done")) as lines:
            async for line in lines:
                assert line == "x"
                break
        while Path(f"/proc/{mark.read_text().strip()}").exists():
            await asyncio.sleep(0.02)


async def test_a_stream_says_when_its_connection_broke(server: Sshd) -> None:
    async with link_to(server) as link:
        with pytest.raises(ConnectionBroken):
            async for line in link.stream("echo up; sleep 20"):
                assert line == "up"
                server.stop()


# Forwarding


@asynccontextmanager
async def echo_server(folder: Path) -> AsyncIterator[tuple[int, Path]]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    path = folder / "echo.sock"
    tcp = await asyncio.start_server(echo, "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(echo, path)
    try:
        yield tcp.sockets[0].getsockname()[1], path
    finally:
        tcp.close()
        unix.close()


async def test_a_socket_and_a_port_are_forwarded(server: Sshd, tmp_path: Path) -> None:
    async with echo_server(tmp_path) as (port, path), link_to(server) as link:
        for reader, writer in (await link.open_socket(str(path)), await link.open_tcp(port)):
            writer.write(b"hello")
            assert await reader.read(100) == b"hello"
            writer.close()
            await writer.wait_closed()


async def test_a_closed_port_is_not_a_broken_link(server: Sshd, tmp_path: Path) -> None:
    async with link_to(server) as link:
        with pytest.raises(PortClosed):
            await link.open_tcp(free_port())
        with pytest.raises(PortClosed):
            await link.open_socket(str(tmp_path / "nothing"))
        assert link.connected


async def test_forbidden_forwarding_is_told_from_a_closed_port(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd", "AllowTcpForwarding no", "AllowStreamLocalForwarding no") as server:
        async with echo_server(tmp_path) as (port, path), link_to(server) as link:
            with pytest.raises(ForwardingRefused):
                await link.open_tcp(port)
            with pytest.raises((ForwardingRefused, PortClosed)):  # OpenSSH does not tell these two apart
                await link.open_socket(str(path))
            assert (await link.run("echo ok", timeout=5)).stdout == "ok\n"


# Seats


async def test_at_most_five_commands_run_at_once_and_a_stop_takes_the_sixth_seat(server: Sshd) -> None:
    async with link_to(server) as link:
        busy = [asyncio.create_task(link.run("sleep 20", timeout=60)) for _ in range(5)]
        await asyncio.sleep(0.4)
        with pytest.raises(NotSent) as caught:
            await link.run("echo no", timeout=0.3)
        assert not caught.value.maybe_done
        assert (await link.run("echo stop", timeout=5, reserved=True)).stdout == "stop\n"
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        assert (await link.run("echo free", timeout=5)).stdout == "free\n"


async def test_log_tails_leave_room_for_a_command(server: Sshd) -> None:
    async with link_to(server) as link:
        tails = [link.stream("echo on; sleep 20") for _ in range(4)]
        assert [await anext(tail) for tail in tails] == ["on"] * 4
        with pytest.raises(NotSent):
            await anext(link.stream("echo no", timeout=0.3))
        assert (await link.run("echo scan", timeout=5)).stdout == "scan\n"
        for tail in tails:
            await tail.aclose()


async def test_a_server_with_fewer_sessions_is_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd", "MaxSessions 1") as server:
        async with link_to(server) as link:
            outcomes = await asyncio.gather(*(link.run("sleep 0.2; echo done", timeout=10) for _ in range(4)))
            assert [o.stdout for o in outcomes] == ["done\n"] * 4
            long = asyncio.create_task(link.run(f"echo $$ > {tmp_path}/pid; exec sleep 20", timeout=60))
            await begun(tmp_path / "pid")
            with pytest.raises(NotSent) as caught:
                await link.run("echo no", timeout=0.5)
            assert not caught.value.maybe_done
            assert link.connects == 1
            long.cancel()
            with suppress(asyncio.CancelledError):
                await long


async def test_orphans_that_use_up_the_sessions_cost_the_connection_not_the_spark(tmp_path: Path) -> None:
    """OpenSSH does not kill root's commands, and a session lasts as long as its command."""
    with serving(tmp_path / "sshd", "MaxSessions 1") as server:
        async with link_to(server) as link:
            with pytest.raises(CommandTimeout):
                await link.run("exec sleep 20", timeout=0.5)
            with suppress(NotSent):  # not for root
                await link.run("true", timeout=0.5)
            assert (await link.run("echo yes", timeout=5)).stdout == "yes\n"


# A Spark that goes silent


async def test_a_silent_spark_is_noticed_when_idle(server: Sshd) -> None:
    """With the defaults: three intervals of 4 s, so 12 s; here twenty times as fast."""
    timing = Timing()
    assert timing.keepalive * (timing.keepalive_count + 1) <= 15
    lost: list[LinkDown] = []
    async with Wire(server.port) as wire:
        spark = spark_of(server, port=wire.port, trust="on-first-use")
        keys = HostKeys([], server.folder / "own")
        async with link_to(server, spark=spark, hostkeys=keys, timing=FAST, on_lost=lost.append) as link:
            await link.connect()
            began = time.monotonic()
            wire.dead = True
            while not lost:
                await asyncio.sleep(0.01)
            assert 0.5 < time.monotonic() - began < 3
            assert lost[0].reason == "ConnectionLost"
            assert not link.connected


@pytest.mark.slow
async def test_a_silent_spark_is_noticed_within_15_seconds_with_the_defaults(server: Sshd) -> None:
    lost: list[LinkDown] = []
    async with Wire(server.port) as wire:
        spark = spark_of(server, port=wire.port, trust="on-first-use")
        keys = HostKeys([], server.folder / "own")
        async with link_to(server, spark=spark, hostkeys=keys, on_lost=lost.append) as link:
            await link.connect()
            began = time.monotonic()
            wire.dead = True
            while not lost:
                await asyncio.sleep(0.05)
            assert 9 < time.monotonic() - began < 15


async def test_every_operation_on_a_silent_spark_is_bounded(server: Sshd, tmp_path: Path) -> None:
    slow = Timing(connect=5.0, keepalive=30.0)  # keepalives must not be what ends the waiting
    async with Wire(server.port) as wire:
        spark = spark_of(server, port=wire.port, trust="on-first-use")
        keys = HostKeys([], server.folder / "own")
        async with link_to(server, spark=spark, hostkeys=keys, timing=slow) as link:
            running = asyncio.create_task(link.run(f"echo $$ > {tmp_path}/pid; exec sleep 20", timeout=3.0))
            await begun(tmp_path / "pid")
            wire.dead = True
            began = time.monotonic()
            with pytest.raises(NotSent):
                await link.run("echo no", timeout=0.3)
            with pytest.raises(NotSent):
                await link.open_tcp(80, timeout=0.3)
            with pytest.raises(NotSent):
                await anext(link.stream("echo no", timeout=0.3))
            with pytest.raises(CommandTimeout):
                await running
            assert time.monotonic() - began < 4


async def test_a_silent_listener_ends_the_attempt_to_connect(server: Sshd) -> None:
    async with Wire(server.port) as wire:
        wire.dead = True
        async with link_to(server, spark=spark_of(server, port=wire.port), timing=FAST) as link:
            began = time.monotonic()
            with pytest.raises(LinkDown) as caught:
                await link.connect()
            assert caught.value.reason == "ConnectTimeout"
            assert time.monotonic() - began < 3


async def test_a_channel_that_opens_too_late_is_closed_again(server: Sshd) -> None:
    """The caller gave up while the server was stopped; its channel must not stay open afterwards."""
    async with link_to(server) as link:
        await link.connect()
        (session,) = server.sessions()
        os.kill(session, signal.SIGSTOP)
        for _ in range(5):
            with pytest.raises(NotSent):
                await link.run("echo late > /dev/null; exit 9", timeout=0.1)
        os.kill(session, signal.SIGCONT)
        outcomes = await asyncio.gather(*(link.run("echo on", timeout=5) for _ in range(5)))
        assert [o.stdout for o in outcomes] == ["on\n"] * 5


async def test_the_next_use_connects_again(server: Sshd) -> None:
    lost: list[LinkDown] = []
    async with link_to(server, on_lost=lost.append) as link:
        await link.run("true", timeout=5)
        server.stop()
        while not lost:
            await asyncio.sleep(0.01)
        with pytest.raises(LinkDown) as caught:
            await link.run("true", timeout=5)
        assert (caught.value.reason, caught.value.maybe_done) == ("ConnectionRefused", False)
        server.start()
        assert (await link.run("echo back", timeout=5)).stdout == "back\n"
        assert (link.connects, len(lost)) == (2, 1)


async def test_closing_ends_commands_and_is_final(server: Sshd, tmp_path: Path) -> None:
    lost: list[LinkDown] = []
    async with link_to(server, on_lost=lost.append) as link:
        task = asyncio.create_task(link.run(f"echo $$ > {tmp_path}/pid; exec sleep 20", timeout=30))
        await begun(tmp_path / "pid")
        await link.close()
        with pytest.raises(ConnectionBroken):
            await task
        with pytest.raises(LinkDown) as caught:
            await link.run("true", timeout=5)
        assert caught.value.reason == "LinkClosed"
    assert not lost
    assert len(asyncio.all_tasks()) == 1


async def test_closing_while_connecting_is_no_cancellation_of_the_caller(server: Sshd) -> None:
    async with Wire(server.port) as wire:
        wire.dead = True
        async with link_to(server, spark=spark_of(server, port=wire.port)) as link:
            task = asyncio.create_task(link.run("true", timeout=5))
            await asyncio.sleep(0.1)
            await link.close()
            with pytest.raises(LinkDown) as caught:
                await task
            assert caught.value.reason == "LinkClosed"


# Why a connection does not come about


async def why_not(link: Link) -> LinkDown:
    with pytest.raises(LinkDown) as caught:
        await link.run("true", timeout=5)
    assert not caught.value.maybe_done
    return caught.value


async def test_nobody_listens(server: Sshd) -> None:
    async with link_to(server, spark=spark_of(server, port=free_port())) as link:
        assert (await why_not(link)).reason == "ConnectionRefused"


async def test_a_name_with_two_addresses_that_nobody_answers(server: Sshd) -> None:
    async with link_to(server, spark=spark_of(server, host="localhost", port=free_port())) as link:
        assert (await why_not(link)).reason == "ConnectionRefused"


async def test_a_name_that_is_not_known(server: Sshd) -> None:
    async with link_to(server, spark=spark_of(server, host="no-such-spark.invalid")) as link:
        assert (await why_not(link)).reason == "NameNotResolved"


async def test_a_key_that_the_spark_does_not_accept(server: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    async with link_to(server, spark=spark_of(server, key=str(tmp_path / "other"))) as link:
        down = await why_not(link)
        assert down.reason == "AuthRefused"
        assert USER in down.message


@pytest.mark.parametrize("content", [None, "not a key", "passphrase"])
async def test_a_key_that_can_not_be_read(server: Sshd, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key"
    if content == "passphrase":
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", path], check=True)
    elif content is not None:
        path.write_text(content)
    async with link_to(server, spark=spark_of(server, key=str(path))) as link:
        down = await why_not(link)
        assert down.reason == "KeyUnreadable"
        assert str(path) in down.message
        assert ("ssh-agent" in down.message) == (content == "passphrase")


async def test_something_that_is_not_ssh(tmp_path: Path, server: Sshd) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2000)
        writer.close()

    other = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with link_to(server, spark=spark_of(server, port=other.sockets[0].getsockname()[1])) as link:
        assert (await why_not(link)).reason in {"ProtocolError", "ConnectionLost"}
    other.close()


async def test_a_mistake_in_the_ssh_config(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Port many\n")
    spark = spark_of(server).model_copy(update={"port": None})
    async with link_to(server, spark=spark, config=(config,)) as link:
        assert (await why_not(link)).reason == "ConfigUnreadable"


# Host keys


async def test_an_unknown_host_key_is_shown_not_trusted(server: Sshd, tmp_path: Path) -> None:
    keys = HostKeys([], tmp_path / "own")
    async with link_to(server, hostkeys=keys) as link:
        down = await why_not(link)
        assert down.reason == "HostKeyUnknown"
        fingerprint, line = await link.fetch_key()
        assert fingerprint in down.message
        assert "sparkkeep trust spark-1" in down.message
        assert line.split() == server.known_line.split()
        keys.trust(line)
        assert (await link.run("echo trusted", timeout=5)).stdout == "trusted\n"


async def test_on_first_use_the_key_is_written_down_and_from_then_on_held_to(server: Sshd, tmp_path: Path) -> None:
    keys = HostKeys([], tmp_path / "own")
    spark = spark_of(server, trust="on-first-use")
    async with link_to(server, hostkeys=keys, spark=spark) as link:
        await link.connect()
    assert (tmp_path / "own").read_text() == server.known_line
    server.stop()
    make_key(server.host_key)
    server.start()
    async with link_to(server, hostkeys=keys, spark=spark) as link:
        down = await why_not(link)
        assert down.reason == "HostKeyChanged"
        assert "ssh-keygen -R" in down.message
        assert "SPARK" not in down.message


async def test_a_key_of_another_kind_is_a_changed_key(server: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path / "rsa", "ssh-rsa")
    kind, data = other.export_public_key().decode().split()[:2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {kind} {data}\n")
    async with link_to(server, hostkeys=HostKeys([tmp_path / "known"], tmp_path / "own")) as link:
        assert (await why_not(link)).reason == "HostKeyChanged"


async def test_a_known_rsa_key_is_asked_for_although_the_server_has_a_newer_kind(tmp_path: Path) -> None:
    rsa = make_key(tmp_path / "rsa", "ssh-rsa")
    with serving(tmp_path / "sshd", f"HostKey {tmp_path / 'rsa'}") as server:
        kind, data = rsa.export_public_key().decode().split()[:2]
        (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {kind} {data}\n")
        async with link_to(server, hostkeys=HostKeys([tmp_path / "known"], tmp_path / "own")) as link:
            await link.connect()


async def test_a_certified_host_key_is_known_by_its_authority(tmp_path: Path) -> None:
    authority = make_key(tmp_path / "ca")
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = Sshd(folder, f"HostCertificate {folder}/hostkey-cert.pub")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "host", "-h", "-n", "127.0.0.1", folder / "hostkey.pub"],
        check=True,
    )
    try:
        server.start()
        line = authority.export_public_key().decode()
        (tmp_path / "known").write_text(f"@cert-authority [127.0.0.1]:{server.port} {line}")
        async with link_to(server, hostkeys=HostKeys([tmp_path / "known"], tmp_path / "own")) as link:
            await link.connect()
    finally:
        server.stop()


# Ways to a Spark


async def test_an_ipv6_address(tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            pytest.skip("this machine has no IPv6")
        raise
    with serving(tmp_path / "sshd", address="::1") as server:
        for host in ("::1", "[::1]"):
            async with link_to(server, spark=spark_of(server, host=host)) as link:
                assert (await link.run("echo six", timeout=5)).stdout == "six\n"


async def test_an_alias_of_the_ssh_config(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host kitchen\n  HostName 127.0.0.1\n  Port {server.port}\n  User {USER}\n  IdentityFile {server.client_key}\n"
    )
    async with link_to(server, spark=Spark(host="kitchen"), config=(config, tmp_path / "absent")) as link:
        assert (await link.run("echo alias", timeout=5)).stdout == "alias\n"
        assert (await link.fetch_key())[1] == server.known_line.strip()


async def test_the_default_key_is_used_where_none_is_named(server: Sshd) -> None:
    spark = spark_of(server).model_copy(update={"key": None})
    async with link_to(server, spark=spark, key_path=server.client_key) as link:
        await link.connect()


async def test_a_key_in_the_agent(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not path.exists():
            await asyncio.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        monkeypatch.setenv("HOME", str(tmp_path))
        subprocess.run(["ssh-add", "-q", server.client_key], check=True)
        spark = spark_of(server).model_copy(update={"key": None})
        async with link_to(server, spark=spark) as link:
            await link.connect()
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.parametrize("by_config", [False, True])
async def test_a_jump_host_is_checked_like_the_spark(server: Sshd, tmp_path: Path, by_config: bool) -> None:
    with serving(tmp_path / "bastion") as bastion:
        (bastion.folder / "authorized_keys").write_text((server.folder / "id.pub").read_text())
        jump = f"{USER}@127.0.0.1:{bastion.port}"
        config = tmp_path / "config"
        config.write_text(f"Host 127.0.0.1\n  ProxyJump none\nHost spark\n  HostName 127.0.0.1\n  ProxyJump {jump}\n")
        spark = spark_of(server, host="spark") if by_config else spark_of(server, jump=jump)
        options: dict[str, Any] = {"spark": spark, "config": (config,) if by_config else ()}
        async with link_to(server, hostkeys=keys_for(server, bastion, folder=tmp_path), **options) as link:
            assert (await link.run("echo $SSH_CONNECTION", timeout=5)).stdout.startswith("127.0.0.1")
            assert len(bastion.sessions()) == 1
        keys = HostKeys([], tmp_path / "own")
        async with link_to(server, hostkeys=keys, **options) as link:
            assert (await why_not(link)).reason == "HostKeyUnknown"
            for expected in (bastion.known_line, server.known_line):  # the jump host's key first, then the Spark's
                _, line = await link.fetch_key()
                assert line == expected.strip()
                keys.trust(line)
            assert (await link.run("echo over", timeout=5)).stdout == "over\n"


async def test_the_jump_hosts_own_key_does_not_vouch_for_the_spark(server: Sshd, tmp_path: Path) -> None:
    """Behind a tunnel asyncssh reports the jump host's address as the Spark's."""
    with serving(tmp_path / "bastion") as bastion:
        (bastion.folder / "authorized_keys").write_text((server.folder / "id.pub").read_text())
        kind, data = server.known_line.split()[1:]
        (tmp_path / "known").write_text(f"{bastion.known_line}[127.0.0.1]:{server.port} {kind} {data}\n")
        keys = HostKeys([tmp_path / "known"], tmp_path / "own")
        spark = spark_of(server, host="localhost", jump=f"{USER}@127.0.0.1:{bastion.port}")
        async with link_to(server, hostkeys=keys, spark=spark) as link:
            assert (await why_not(link)).reason == "HostKeyUnknown"


async def test_jump_hosts_that_lead_to_themselves(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ProxyJump bastion\n")
    async with link_to(server, config=(config,)) as link:
        assert (await why_not(link)).reason == "JumpLoop"


# Reconnecting


def test_the_delays_grow_to_half_a_minute_and_begin_anew() -> None:
    highest = random.Random()
    highest.uniform = lambda _, limit: limit  # type: ignore[method-assign]
    reconnect = Reconnect(highest)
    assert [reconnect.next_delay() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    reconnect.reset()
    assert reconnect.next_delay() == 0.5
    delays = Reconnect(random.Random(3))
    assert all(0 <= delays.next_delay() <= 30 for _ in range(2000))
