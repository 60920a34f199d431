"""A real Spark behind the seam of `reconciler.hosts`: one SSH connection, its Engine's socket, its probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import asyncssh

from reconciler import events, probe
from reconciler.engine import Engine, EngineDown, EngineError, docker_host
from reconciler.facts import ScanFailed
from reconciler.hosts import Answer
from reconciler.linkdown import ChannelRefused, ForwardingRefused, PortClosed
from reconciler.model import ProbeSpec, Scan
from reconciler.scan import scan
from reconciler.shell import join
from reconciler.ssh import Link, Outcome

MAX_HEAD = 4096


class RemoteHost:
    """Answers the loop's questions over SSH."""

    def __init__(self, link: Link, socket: str, owner: str) -> None:
        self._link = link
        self._engine = Engine(link, socket)
        self._docker_host = docker_host(socket)
        self._owner = owner

    async def connect(self) -> None:
        """Have a connection. Raises LinkDown."""
        await self._link.connect()

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        """A whole scan. Raises LinkDown or ScanFailed."""
        return await scan(
            self._link,
            self._engine,
            full=full,
            before=before,
            owner=self._owner,
            clock=time.monotonic,
            now=time.time,
        )

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        """Run a command. Raises NotSent, ConnectionBroken or CommandTimeout."""
        return await self._link.run(self._docker_host + script, timeout=timeout, reserved=reserved)

    def stream(self, script: str) -> AsyncIterator[str]:
        """The lines of a command that goes on."""
        return self._link.stream(self._docker_host + script)

    async def watch(self, wake: Callable[[str], None]) -> None:
        """Follow the Engine's events until the stream ends, which raises."""
        try:
            await events.watch(self._link, self._engine, since=None, wake=wake)
        except ChannelRefused:
            return  # the next scan finds out that it has to be the docker command; then it is followed by that
        except (EngineDown, EngineError) as error:
            raise ScanFailed("EngineDown", f"the Docker Engine does not answer: {error}") from error

    async def ask(self, spec: ProbeSpec) -> Answer:
        """Ask over a forwarded connection, or with the Spark's own curl where forwarding is refused.

        Raises LinkDown for a Spark that says nothing at all: its silence says nothing about its servers.
        """
        head: bytes | str = b""
        message = f"no answer on port {spec.port}"
        try:
            async with asyncio.timeout(spec.timeout):
                reader, writer = await self._link.open_tcp(spec.port)
                try:
                    writer.write(probe.request(spec))
                    head = await reader.read(MAX_HEAD)
                finally:
                    writer.close()
        except ForwardingRefused:
            return await self._ask_with_curl(spec)
        except PortClosed:
            return Answer(ready=False, message=f"nothing listens on port {spec.port} yet")
        except TimeoutError:
            message += f" within {spec.timeout:g} s"
        except (OSError, asyncssh.Error) as broken:
            message += f": {broken}"
        if not head:
            await self._link.run(join(("true",)), timeout=spec.timeout)
            return Answer(ready=False, message=message)
        return probe.answer(spec, head if isinstance(head, bytes) else head.encode())

    async def _ask_with_curl(self, spec: ProbeSpec) -> Answer:
        url = f"http://127.0.0.1:{spec.port}{spec.path}"
        argv = ("curl", "--silent", "--include", "--max-time", f"{spec.timeout:g}", "--output", "-", url)
        outcome = await self._link.run(join(argv), timeout=spec.timeout + 5.0)
        if outcome.status == 0:
            return probe.answer(spec, outcome.stdout.encode())
        return Answer(ready=False, message=f"no answer on port {spec.port} (curl status {outcome.status})")

    async def close(self) -> None:
        """Let go of the connection."""
        await self._engine.close()
        await self._link.close()
