"""A real Spark behind the seam of `reconciler.hosts`: one SSH connection, its Engine's socket, its probes."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import asyncssh

from reconciler import events, probe
from reconciler.canaries.exchange import Exchange, Garbled, NobodyListens, NoReply, Reply, Request, headers
from reconciler.engine import Engine, EngineDown, EngineError, docker_host
from reconciler.facts import ScanFailed, end_mark
from reconciler.hosts import Answer
from reconciler.linkdown import ChannelRefused, ConnectionBroken, ForwardingRefused, OutputTooLong, PortClosed
from reconciler.model import ProbeSpec, Scan
from reconciler.scan import DEADLINE, scan
from reconciler.shell import apart, join, piped
from reconciler.ssh import Link, Outcome

CHUNK: Final = 65536
SPARK_ANSWERS: Final = 10.0  # seconds that a Spark has to show that it is there, when its server said nothing
CURL_TIMED_OUT: Final = 28


class RemoteHost:
    """Answers the loop's questions over SSH."""

    def __init__(
        self,
        link: Link,
        socket: str,
        owner: str,
        *,
        deadline: Callable[[], float] = lambda: DEADLINE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`deadline`: seconds that a scan may take, asked for each time."""
        self._link = link
        self._deadline = deadline
        self._clock = clock
        self._now = now
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
            clock=self._clock,
            now=self._now,
            deadline=self._deadline(),
        )

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        """Run a command. Raises NotSent, ConnectionBroken or CommandTimeout."""
        return await self._link.run(self._docker_host + script, timeout=timeout, reserved=reserved)

    async def look(self, script: str, *, timeout: float) -> str:
        """What a small script prints, in the shell that scans are asked in. Raises LinkDown."""
        mark = end_mark(secrets.token_hex(8))
        answer = await self._link.ask(apart(script, mark), mark, timeout=timeout)
        if not answer.endswith(mark):
            raise ConnectionBroken("ConnectionLost", "the Spark ended its shell in the middle of a question")
        return answer.removesuffix(mark)

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
        """Ask an instance whether it serves. Raises LinkDown."""
        try:
            reply = await self.exchange(probe.request(spec), spec.port, timeout=spec.timeout)
        except NobodyListens as nobody:
            return Answer(ready=False, message=f"{nobody} yet")
        except NoReply as none:
            return probe.silence(spec) if none.late else Answer(ready=False, message=f"{probe.where(spec)}: {none}")
        return probe.answer(spec, reply)

    async def exchange(self, request: Request, port: int, *, timeout: float) -> Reply:
        """Over a forwarded connection, or with the Spark's own curl where forwarding is refused. Raises NoReply.

        Raises LinkDown for a Spark that says nothing at all: its silence says nothing about its servers.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._exchange(Exchange(request, port), port)
        except ForwardingRefused:
            return await self._exchange_with_curl(request, port, timeout)
        except PortClosed:
            raise NobodyListens(f"nothing listens on port {port}") from None
        except TimeoutError:
            await self._link.run(join(("true",)), timeout=SPARK_ANSWERS)
            raise _late(timeout) from None
        except Garbled as garbled:
            raise NoReply(str(garbled)) from garbled
        except (OSError, asyncssh.Error) as broken:
            await self._link.run(join(("true",)), timeout=SPARK_ANSWERS)
            raise NoReply(str(broken)) from broken

    async def _exchange(self, exchange: Exchange, port: int) -> Reply:
        reader, writer = await self._link.open_tcp(port)
        try:
            writer.write(exchange.sent)
            reply = None
            while reply is None:
                reply = exchange.feed(await reader.read(CHUNK))
            return reply
        finally:
            writer.close()

    async def _exchange_with_curl(self, asked: Request, port: int, timeout: float) -> Reply:
        """The same bytes, by way of a shell: what goes in and comes out is base64, since it may be sound."""
        named = tuple(word for name, value in headers(asked, port) for word in ("--header", f"{name}: {value}"))
        argv = (
            *("curl", "--silent", "--show-error", "--include", "--raw", "--http1.1", "--noproxy", "*"),
            *("--max-time", f"{timeout:g}", "--request", asked.method, *named),
            *(("--header", "Expect:", "--data-binary", "@-") if asked.body else ()),
            f"http://127.0.0.1:{port}{asked.target}",
        )
        try:
            outcome = await self._link.run(piped(argv, asked.body), timeout=timeout + 5.0)
        except OutputTooLong:
            raise NoReply("its answer has no end") from None
        try:
            return _from_curl(Exchange(asked, port), outcome.stdout)
        except Garbled as garbled:
            said = outcome.stderr.strip()
            if f"({CURL_TIMED_OUT})" in said:
                raise _late(timeout) from None
            raise NoReply(said or str(garbled)) from None

    async def close(self) -> None:
        """Let go of the connection."""
        await self._engine.close()
        await self._link.close()


def _late(seconds: float) -> NoReply:
    return NoReply(f"there was no answer within {seconds:g} s", late=True)


def _from_curl(exchange: Exchange, printed: str) -> Reply:
    try:
        data = base64.b64decode(printed)
    except ValueError as error:
        raise Garbled("what the Spark's curl printed did not arrive whole") from error
    reply = exchange.feed(data) if data else None
    while reply is None:
        reply = exchange.feed(b"")
    return reply
