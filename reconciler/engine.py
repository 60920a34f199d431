"""Reading from the Docker Engine through its own socket, forwarded over the SSH connection that is open anyway.

A small HTTP/1.1 client: one kept-alive stream for requests, one at a time, and one more for the event stream. It
only ever asks (GET); what changes a Spark is a quoted command.

Where the SSH server forbids forwarding, `by_cli` says so for the rest of that connection, and the scan asks the docker
command instead. OpenSSH gives the same answer for a forbidden socket and a missing one, so it is the scan that finds
out which it is, and tells by `use_cli`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import h11

from reconciler.linkdown import ForwardingRefused, LinkDown, PortClosed
from reconciler.shell import home_path, quote
from reconciler.ssh import Link, Stream

MAX_BODY: Final = 64 * 2**20  # bytes of one answer
MAX_LINE: Final = 2**20  # bytes of one event
CHUNK: Final = 2**18
HEADERS: Final = [("Host", "docker"), ("User-Agent", "sparkkeep")]


class EngineDown(Exception):
    """Nothing answers at the Engine's socket, or not with what an Engine says."""


class EngineError(Exception):
    """The Engine answered with another status than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the Engine answered {status}: {message}")
        self.status = status
        self.message = message


class _Exchange:
    """HTTP over one stream."""

    def __init__(self, stream: Stream) -> None:
        self._reader, self._writer = stream
        self._http = h11.Connection(h11.CLIENT)

    async def ask(self, target: str) -> h11.Response:
        """Send a request and read the head of its answer."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        request = _request(target)
        try:
            self._writer.write((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        except (OSError, h11.LocalProtocolError) as error:
            raise EngineDown("the Engine closed its socket") from error
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The rest of the answer, as it comes."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                return

    @property
    def reusable(self) -> bool:
        """Another request may follow on this stream."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def close(self) -> None:
        """Close the stream; what is under way on it is given up."""
        self._writer.channel.abort()

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(CHUNK))
        except h11.RemoteProtocolError as error:
            raise EngineDown(f"the Engine's socket closed or did not speak HTTP: {error}") from error
        if isinstance(event, h11.ConnectionClosed):
            raise EngineDown("the Engine closed its socket")
        return event  # type: ignore[return-value]  # NEED_DATA has been dealt with


class Engine:
    """The Engine of one Spark."""

    def __init__(self, link: Link, socket_path: str, *, timeout: float = 10.0) -> None:
        self.socket_path = socket_path
        self._link = link
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._kept: _Exchange | None = None
        self._cli_until = 0  # the number of the connection that forbids forwarding
        self._home = (0, "")

    @property
    def by_cli(self) -> bool:
        """The SSH server does not forward the socket: ask the docker command instead."""
        return self._cli_until == self._link.connects > 0

    def use_cli(self) -> None:
        """Remember that, as long as this connection lasts."""
        self._cli_until = self._link.connects

    async def get(self, path: str) -> Any:
        """The JSON that the Engine answers. Raises EngineError, EngineDown, ChannelRefused, LinkDown."""
        try:
            async with self._lock, asyncio.timeout(self._timeout):
                return json.loads(await self._get(path))
        except TimeoutError as late:
            raise EngineDown(f"the Engine did not answer within {self._timeout:g} s") from late
        except ValueError as error:
            raise EngineDown(f"the Engine answered with something that is not JSON: {error}") from error

    async def events(self, since: float | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Container events from `since` (Unix time) on, until the Engine ends the stream.

        Raises what `get` raises. Close the iterator (`contextlib.aclosing`) to stop early.
        """
        query = {"filters": json.dumps({"type": ["container"]})}
        if since is not None:
            query["since"] = f"{since:.9f}"
        try:
            async with asyncio.timeout(self._timeout):
                exchange = await self._open()
                try:
                    await self._head(exchange, f"/events?{urlencode(query)}")
                except BaseException:
                    exchange.close()
                    raise
        except TimeoutError as late:
            raise EngineDown(f"the Engine did not answer within {self._timeout:g} s") from late
        try:
            async for line in _lines(exchange.body()):
                yield _event(line)
        finally:
            exchange.close()

    async def close(self) -> None:
        """Let go of the kept stream."""
        self._drop()

    async def _get(self, path: str) -> bytes:
        """One answer; on a kept stream that has died in the meantime, asked again on a new one."""
        if self._kept is not None:
            with suppress(EngineDown, LinkDown):
                return await self._on(self._kept, path)
        self._kept = await self._open()
        return await self._on(self._kept, path)

    async def _on(self, exchange: _Exchange, path: str) -> bytes:
        whole = False
        try:
            try:
                await self._head(exchange, path)
                answer = await _whole(exchange.body())
            except EngineError:
                whole = exchange.reusable
                raise
            whole = exchange.reusable
            return answer
        finally:
            if not whole:
                self._drop()

    async def _head(self, exchange: _Exchange, path: str) -> None:
        response = await exchange.ask(path)
        if response.status_code != HTTPStatus.OK:
            text = (await _whole(exchange.body())).decode(errors="replace")
            raise EngineError(response.status_code, _message(text))

    async def _open(self) -> _Exchange:
        try:
            return _Exchange(await self._link.open_socket(await self._path(), timeout=self._timeout))
        except ForwardingRefused:
            self.use_cli()
            raise

    async def _path(self) -> str:
        """The socket's path; a `$HOME` in it is looked up once per connection."""
        if not self.socket_path.startswith("$HOME"):
            return self.socket_path
        if not self._home[1] or self._home[0] != self._link.connects:
            outcome = await self._link.run('printf %s "$HOME"', timeout=self._timeout)
            if not outcome.stdout.startswith("/"):
                raise PortClosed("the Spark does not say where its $HOME is")
            self._home = (self._link.connects, outcome.stdout)
        return self._home[1] + self.socket_path.removeprefix("$HOME")

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


@lru_cache(maxsize=4096)
def _request(target: str) -> h11.Request:
    """The same things are asked for at every scan, and h11 would examine every header each time."""
    return h11.Request(method="GET", target=target, headers=HEADERS)


async def _whole(body: AsyncIterator[bytes]) -> bytes:
    parts, size = list[bytes](), 0
    async for part in body:
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise EngineDown(f"the Engine's answer is longer than {MAX_BODY // 2**20} MiB")
    return b"".join(parts)


async def _lines(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for part in body:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > MAX_LINE:
            raise EngineDown("the Engine sent an event of more than 1 MiB")


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise EngineDown(f"the Engine sent an event that is not JSON: {error}") from error
    return event if isinstance(event, dict) else {}


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:300]


def docker_host(socket_path: str) -> str:
    """A line of shell that points the docker command at this socket; empty for the usual one."""
    if socket_path in {"/var/run/docker.sock", "/run/docker.sock"}:
        return ""
    return f"DOCKER_HOST={quote(home_path(socket_path, before='unix://'))}; export DOCKER_HOST\n"
