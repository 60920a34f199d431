"""How a connection to a Spark comes about.

What `desired.yaml` declares comes first; ~/.ssh/config says the rest: where the Spark is, as whom, and through which
jump hosts. Each of these is checked against the known host keys like the Spark itself. The key is the one that was
named, or else the agent's and the default ones. All of it has one time limit, and what failed is told in plain words.

A Spark that drops every packet is noticed by keepalives: three silent intervals of 4 s, and the connection counts as
lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh
from asyncssh.constants import MSG_IGNORE

from reconciler.hostkeys import FAST_KEX, Checker, HostKeys, HostKeyUnknown
from reconciler.linkdown import LinkDown, explain
from state.desired import Spark

FAST_CIPHER: Final = "^aes128-gcm@openssh.com"  # a third less work per packet than asyncssh's own first choice
MAX_HOPS: Final = 4  # jump hosts in a row; more is a loop in ~/.ssh/config

Connection = asyncssh.SSHClientConnection


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests shorten them."""

    connect: float = 8.0
    keepalive: float = 4.0
    keepalive_count: int = 2


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


class Dialer:
    """The way to one Spark. `key` is the path of the one key to show."""

    def __init__(
        self, name: str, spark: Spark, hostkeys: HostKeys, key: str | None, config: Sequence[Path], timing: Timing
    ) -> None:
        self._name = name
        self._spark = spark
        self._hostkeys = hostkeys
        self._key = key
        self._config = tuple(file.expanduser() for file in config)
        self._timing = timing

    async def dial(self) -> tuple[Connection, Checker, list[Connection]]:
        """A new connection, the owner that hears of its end, and those to its jump hosts. Raises LinkDown."""
        hops: list[Connection] = []
        try:
            async with asyncio.timeout(self._timing.connect):
                conn, owner = await self._dial(self._target(), hops, None, 0)
        except BaseException as error:
            await close(hops)
            if isinstance(error, (asyncssh.Error, OSError, ValueError)):
                raise explain(error, self._name, self._spark.host) from error
            raise
        return conn, owner, hops

    async def whereabouts(self) -> tuple[str, int, str, bool]:
        """Host, port, user, and whether another machine stands in between. Raises LinkDown."""
        target = self._target()
        try:
            found = await self._resolve(target)
        except (asyncssh.Error, OSError, ValueError) as error:
            raise explain(error, self._name, self._spark.host) from error
        jump = target.jump or found.tunnel
        between = (bool(jump) and jump != "none") or bool(found.proxy_command)
        return found.host, found.port, found.username, between

    async def fetch_key(self) -> tuple[str, str]:
        """The fingerprint and known_hosts line that the Spark shows now; its jump host's, if that is not known yet."""
        hops: list[Connection] = []
        try:
            async with asyncio.timeout(2 * self._timing.connect):
                target = self._target()
                tunnel = await self._tunnel(target, await self._resolve(target), hops, 0)
                return await self._hostkeys.fetch(self._spark, config=self._config_files(), tunnel=tunnel)
        except LinkDown as down:
            if isinstance(down.__cause__, HostKeyUnknown):
                return down.__cause__.fingerprint, down.__cause__.key_line
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            raise explain(error, self._name, self._spark.host) from error
        finally:
            await close(hops)

    def _target(self) -> _Target:
        spark = self._spark
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
        owner = Checker(self._hostkeys, self._spark.trust, tunneled=tunnel is not None)
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
                encryption_algs=FAST_CIPHER,
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
            what = f"{self._name} ({target.host}) {owner.refusal}".replace("SPARK", self._name)
            raise LinkDown(type(owner.refusal).__name__, what) from owner.refusal
        _to_the_point(conn)
        return conn, owner

    async def _tunnel(
        self, target: _Target, resolved: asyncssh.SSHClientConnectionOptions, hops: list[Connection], depth: int
    ) -> Connection | None:
        """The connection to the last jump host before the target, each one checked like the Spark itself."""
        jump = target.jump or resolved.tunnel
        if not isinstance(jump, str) or not jump or jump == "none":
            return None
        if depth >= MAX_HOPS:
            what = f"the way to {self._name} has more than {MAX_HOPS} jump hosts; does ProxyJump lead back to itself?"
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
                what = f"the key {path} has a passphrase: add it to ssh-agent and name no key for {self._name}"
            raise LinkDown("KeyUnreadable", what) from error


def _to_the_point(conn: Connection) -> None:
    """Leave out the empty message that asyncssh sends before every other: half of its packets, each with a system call.

    It makes up for a weakness of CBC ciphers, and asyncssh offers none of those unless it is told to.
    """
    send = conn.send_packet

    def send_packet(pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != MSG_IGNORE:
            send(pkttype, *args, handler=handler)

    conn.send_packet = send_packet  # type: ignore[method-assign]


async def close(conns: list[Connection]) -> None:
    """Drop connections, the last one first, and wait until nothing of them is left."""
    for conn in reversed(conns):
        conn.abort()
    for conn in reversed(conns):
        await conn.wait_closed()
