"""A served loop to knock at: Sparks in memory, the real guard and app, a real uvicorn on an ephemeral port of loopback.

It is served with the very settings of `sparkkeep serve`. Below /v1 stands what a proxy will be: it answers with what
it was sent, and claims like an engine would that every page may read that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from starlette.requests import Request
from starlette.responses import Response

from api.app import build
from api.guard.bearer import Token
from api.guard.origins import Origins
from api.serve import Server, _listen, configured
from state.secrets import Secrets
from tests.aside import aside
from tests.unit.api.conftest import DESIRED, Stage, staged

_Value = TypeVar("_Value")
CLAIMS = {"access-control-allow-origin": "*", "access-control-allow-credentials": "true"}
WITH_SECRETS = f"""{DESIRED}\
  gated: {{recipe: {{image: 'keep/echo:1', port: 8002, env: {{HF_TOKEN: {{secret: hf}}, KEY: {{secret: other}}}}}}, run: never}}
"""


@dataclass(frozen=True)
class Answer:
    """What came back over a socket, byte for byte."""

    data: bytes

    @property
    def status(self) -> int:
        """0: the connection was closed without a word."""
        return int(self.data.split(b" ", 2)[1]) if self.data.startswith(b"HTTP/1.1 ") else 0

    @cached_property
    def head(self) -> list[tuple[str, str]]:
        lines = self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["reason"])


class Heard(logging.Handler):
    """Everything that anybody logs, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(levelname)s %(message)s").format(record))


class Door:
    """What a test holds in its hand."""

    def __init__(self, stage: Stage, port: int, loop: asyncio.AbstractEventLoop, heard: Heard) -> None:
        self.stage = stage
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.heard = heard
        self._loop = loop
        # A connection for each request: one that is kept may be closed as idle in the moment in which it is used again.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.Client(base_url=self.url, trust_env=False, timeout=20, limits=limits)

    def close(self) -> None:
        self._client.close()

    def call(self, work: Callable[[], Awaitable[_Value]]) -> _Value:
        """Something, in the server's own thread."""

        async def run() -> _Value:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def raw(self, *lines: str | bytes, body: bytes = b"", keep: bool = False) -> Answer:
        """A request as it stands. `keep`: without the `Connection: close` that ends it."""
        fields = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
        if not keep:
            fields.append(b"Connection: close")
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"\r\n".join(fields) + b"\r\n\r\n" + body)
            return Answer(_all(connection))

    def get(self, target: str, *fields: str) -> Answer:
        """A GET of a target that no client library would send so."""
        return self.raw(f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *fields)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """An ordinary request."""
        return self._client.request(method, path, **options)

    def stands(self) -> tuple[object, ...]:
        """All that a request could have changed."""

        async def look() -> tuple[object, ...]:
            loop, secrets = self.stage.context.loop, self.stage.context.secrets
            assert secrets is not None
            ran = tuple(spark.ran.copy() for spark in self.stage.sparks.values())
            return loop.overrides(), secrets.names(), ran, tuple(self.stage.keys.trusted)

        return self.call(look)


def _all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # refused before all of it was read
    return data


async def _echo(request: Request) -> Response:
    seen = {"body": (await request.body()).decode("latin-1"), "origin": request.headers.get("origin")}
    return Response(json.dumps(seen), headers=CLAIMS)


@asynccontextmanager
async def _door(folder: Path, heard: Heard, origins: tuple[str, ...], token: Token | None) -> AsyncIterator[Door]:
    async with staged(folder, WITH_SECRETS) as stage:
        stage.context.secrets = Secrets(folder / "secrets")
        await stage.settled()
        app = build(stage.context, version="1", allow_hosts=["keep.example"], origins=Origins(origins), token=token)
        app.router.add_route("/v1/echo", _echo, methods=["GET", "POST"])
        server = Server(configured(app))
        with _listen("127.0.0.1", 0) as listener:
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            yield Door(stage, listener.getsockname()[1], asyncio.get_running_loop(), heard)
            stage.context.closing.set()
            server.stop()
            await task


@contextmanager
def opened(folder: Path, *, origins: tuple[str, ...] = (), token: Token | None = None) -> Iterator[Door]:
    """Until the end of the block."""
    heard = Heard()
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        with aside(_door(folder, heard, origins, token)) as door:
            yield door
            door.close()
    finally:
        root.setLevel(level)
        root.removeHandler(heard)
