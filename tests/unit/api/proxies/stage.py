"""A data path to knock at: the real uvicorn with the real front, raw backends on loopback that do what a test says."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from api.guard.addressed import Hosts
from api.guard.bearer import Token
from api.guard.middleware import Guard
from api.guard.origins import Origins
from api.proxies.calls import Backend, Call, Decision, Hold, Refused
from api.proxies.embeddings.way import Way
from api.proxies.limits import Limits
from api.proxies.wire import Wire
from api.serve import Server, _listen, configured

CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Seen:
    """A request as a backend saw it."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: bytes = b""

    def named(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.fields if given == name]


Does = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def read_request(reader: asyncio.StreamReader) -> Seen:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    seen = Seen(first, [(n.lower(), v.strip()) for n, _, v in (line.partition(b":") for line in lines)])
    if seen.named(b"transfer-encoding"):
        pieces = []
        while size := int((await reader.readuntil(b"\r\n"))[:-2].split(b";")[0], 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        seen.body = b"".join(pieces)
        seen.trailers = await reader.readuntil(b"\r\n")
    elif length := seen.named(b"content-length"):
        seen.body = await reader.readexactly(int(length[0]))
    return seen


@dataclass
class FakeBackend:
    """Answers each request with what `does` writes. `ended`: when a connection ended under a request, or after it."""

    name: str
    does: Does
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    gone_at: float = 0.0
    engine: str = "container"
    way: Way | None = None

    @property
    def backend(self) -> Backend:
        where = {"spark": "s1", "host": "127.0.0.1", "port": self.port, "engine": self.engine, "way": self.way}
        return Backend(workload=self.name, model=f"served/{self.name}", **where)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await read_request(reader)
                self.seen.append(request)
                self.asked.set()
                doing = asyncio.ensure_future(self.does(request, reader, writer))
                try:
                    if await doing == "close":
                        break
                finally:
                    doing.cancel()
        self.gone_at = time.monotonic()
        self.gone.set()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.open -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeBackend]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            async with asyncio.timeout(5):
                while self.open:
                    await asyncio.sleep(0.002)


def says(data: bytes, *more: bytes, close: bool = False, gap: float = 0.0) -> Does:
    """Writes these, one after the other."""

    async def does(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        for piece in (data, *more):
            writer.write(piece)
            await writer.drain()
            if gap:
                await asyncio.sleep(gap)
        return "close" if close else None

    return does


async def until_gone(_: Seen, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> str:
    """Says nothing until its client goes."""
    with suppress(ConnectionError):
        await reader.read()
    return "close"


class Static:
    """`Routing` to these backends, in this order, by the model's name; `hold` waits."""

    def __init__(self, *backends: FakeBackend) -> None:
        self.backends = list(backends)
        self.calls: list[Call] = []
        self.under_way = 0
        self.told: list[tuple[str, bool]] = []
        self.holds: list[FakeHold] = []
        self.holding = False

    def decision(self, backend: FakeBackend) -> Decision:
        return Decision(backend=backend.backend, why="the first of them")

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision | Hold:
        self.calls.append(call)
        if call.model == "unknown":
            raise Refused(404, "NoSuchModel", "no model is named `unknown`", field="model", allowed=["m"])
        if self.holding and not without:
            self.holds.append(FakeHold())
            return self.holds[-1]
        for backend in self.backends:
            if backend.backend.key not in without:
                return self.decision(backend)
        raise Refused(503, "NoneReady", "nothing answers now", retry_after=3)

    def began(self, decision: Decision) -> None:
        self.under_way += 1

    def ended(self, decision: Decision, *, answered: bool) -> None:
        self.under_way -= 1
        self.told.append((decision.backend.key, answered))


class FakeHold:
    def __init__(self) -> None:
        self.decided: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self.left = False
        self.left_at = 0.0

    def told(self) -> str:
        return "position 1, about 30 s"

    def leave(self) -> None:
        self.left = True
        self.left_at = time.monotonic()


@dataclass
class Answer:
    status: int
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes
    head: bytes

    def get(self, name: str) -> str | None:
        return next((value for given, value in self.fields if given == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *lines: str, body: bytes = b"", host: str = "127.0.0.1") -> None:
        fields = [line.encode("latin-1") for line in (lines[0], f"Host: {host}", *lines[1:])]
        self.writer.write(b"\r\n".join(fields) + b"\r\n\r\n" + body)

    def post(self, body: bytes | dict[str, Any], *fields: str, path: str = CHAT) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "Content-Type: application/json"
        self.send(f"POST {path} HTTP/1.1", kind, f"Content-Length: {len(data)}", *fields, body=data)

    async def head(self) -> tuple[bytes, Answer]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 60)
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]
        return head, Answer(int(first.split(" ")[1]), fields, b"", b"", head)

    async def answer(self, method: str = "POST") -> Answer:
        """The next answer that is final; `raw` is its body as it was framed."""
        _, answer = await self.head()
        while answer.status < 200:
            _, answer = await self.head()
        if method == "HEAD" or answer.status in {204, 304}:
            return answer
        if answer.get("transfer-encoding") == "chunked":
            await asyncio.wait_for(self._chunks(answer), 60)
        elif (length := answer.get("content-length")) is not None:
            answer.body = answer.raw = await asyncio.wait_for(self.reader.readexactly(int(length)), 60)
        else:
            answer.body = answer.raw = await asyncio.wait_for(self.reader.read(), 60)
        return answer

    async def _chunks(self, answer: Answer) -> None:
        pieces, raw = [], []
        while True:
            line = await self.reader.readuntil(b"\r\n")
            raw.append(line)
            size = int(re.split(rb"[;\r]", line)[0], 16)
            if not size:
                break
            data = await self.reader.readexactly(size + 2)
            raw.append(data)
            pieces.append(data[:-2])
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            raw.append(line)
        raw.append(b"\r\n")
        answer.body, answer.raw = b"".join(pieces), b"".join(raw)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@dataclass
class Path:
    """What a test holds in its hand."""

    wire: Wire
    routing: Static
    port: int
    server: Server
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def settled(self) -> None:
        """Until nothing is under way."""
        async with asyncio.timeout(5):
            while self.routing.under_way or any(front._exchange for front in self.wire.fronts):
                await asyncio.sleep(0.005)


def app() -> FastAPI:
    made = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False})

    async def echo(request: Request) -> JSONResponse:
        return JSONResponse({"length": len(await request.body())})

    async def at_once(_: Request) -> JSONResponse:
        return JSONResponse({"early": True})

    made.add_route("/api/echo", echo, methods=["GET", "POST"])
    made.add_route("/api/early", at_once, methods=["POST"])
    return made


@asynccontextmanager
async def path(
    *backends: FakeBackend,
    limits: Limits | None = None,
    origins: tuple[str, ...] = (),
    token: Token | None = None,
    **options: Any,
) -> AsyncIterator[Path]:
    """Its backends, and the server before them."""
    routing = Static(*backends)
    wire = Wire(routing, limits=limits, **options)
    hosts = Hosts()
    wire.guarded(hosts=hosts, origins=Origins(origins), token=token)
    guarded = Guard(app(), hosts=hosts, origins=Origins(origins), token=token)
    async with _all(backends):
        server = Server(configured(guarded, wire))
        with _listen("127.0.0.1", 0) as listener:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.002)
            made = Path(wire, routing, listener.getsockname()[1], server)
            try:
                yield made
            finally:
                for client in made.clients:
                    await client.close()
                server.stop()
                await task
                wire.close()
    assert routing.under_way == 0, "each request that began has ended"


@asynccontextmanager
async def _all(backends: tuple[FakeBackend, ...]) -> AsyncIterator[None]:
    async with _each(list(backends)):
        yield


@asynccontextmanager
async def _each(backends: list[FakeBackend]) -> AsyncIterator[None]:
    if not backends:
        yield
        return
    async with backends[0].running(), _each(backends[1:]):
        yield
