"""A loop over Sparks in memory, its API behind a real uvicorn on loopback, and a client of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import uvicorn

from api.app import build
from api.context import Context
from api.serve import Server
from reconciler.loop import Loop
from reconciler.status import Status
from state.journal import Journal, Limits
from state.store import DesiredStore
from tests.unit.api.stub import MemorySpark

IMAGE = "keep/echo:1"
DESIRED = """\
sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}
services:
  echo: {recipe: {image: 'keep/echo:1', port: 8000, probe: none}, on: s1}
  twice: {recipe: {image: 'keep/echo:1', port: 8001, probe: none}, on: [s1, s2]}
"""


class Keys:
    """Host keys that are what they are told to be."""

    def __init__(self) -> None:
        self.fingerprint = "SHA256:first"
        self.trusted: list[str] = []

    async def shown(self, spark: str) -> tuple[str, str]:
        return self.fingerprint, f"{spark} ssh-ed25519 {self.fingerprint}"

    def trust(self, line: str) -> None:
        self.trusted.append(line)


@dataclass
class Stage:
    """What a test holds in its hand."""

    context: Context
    sparks: dict[str, MemorySpark]
    desired: Path
    keys: Keys
    url: str = ""
    call: Callable[..., object] = field(default=lambda: None)

    async def settled(self) -> None:
        """Wait until there is nothing left to do."""
        async with asyncio.timeout(10):
            while any(w.passes == 0 for w in self.context.loop.workers.values()) or self.context.loop.plan().steps:
                await asyncio.sleep(0.01)

    async def rewrite(self, text: str) -> None:
        self.desired.write_text(text)
        await self.context.loop.store.reload()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def staged(folder: Path, text: str = DESIRED, *, limits: Limits | None = None) -> AsyncIterator[Stage]:
    desired = folder / "desired.yaml"
    desired.write_text(text)
    sparks = {name: MemorySpark(IMAGE, "keep/echo:2") for name in ("s1", "s2", "s3")}
    journal = Journal(":memory:", limits=limits)
    store = DesiredStore(desired, generations=journal)
    await store.open()
    try:
        async with Loop(store, journal, lambda name, _: sparks[name], secret=lambda name: name) as loop:
            keys = Keys()
            context = Context(loop=loop, status=Status(loop), keys=keys, heartbeat=0.2)
            yield Stage(context, sparks, desired, keys)
    finally:
        journal.close()


@asynccontextmanager
async def serving(stage: Stage) -> AsyncIterator[str]:
    """Its API on a real port."""
    config = uvicorn.Config(build(stage.context, version="1"), port=0, log_config=None, lifespan="off", ws="none")
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        stage.context.closing.set()
        server.should_exit = True
        await task


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        await made.settled()
        yield made


@pytest.fixture
async def http(stage: Stage) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that goes straight into the app."""
    app = build(stage.context, version="1")
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as client:
        yield client


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Stage]:
    """The same in a thread of its own, for the command line, which waits for its answers."""
    ready: list[Stage] = []
    started, done = threading.Event(), threading.Event()

    async def run() -> None:
        async with staged(tmp_path) as made, serving(made) as url:
            await made.settled()
            loop = asyncio.get_running_loop()
            made.url = url
            made.call = lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(20)
            ready.append(made)
            started.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert started.wait(20)
        yield ready[0]
    finally:
        done.set()
        thread.join(20)
