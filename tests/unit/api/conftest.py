"""A loop over Sparks in memory, its API behind a real uvicorn on loopback, and a client of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import build
from api.assemble import Store
from api.context import Context
from api.environment import Completion
from api.serve import Server
from reconciler.loop import Loop
from reconciler.status import Status
from state.journal import Journal, Limits
from tests.aside import aside
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

    async def at_rest(self) -> None:
        """Wait until nobody looks, or will before the next round: from then on the status changes only if a test does."""
        now, calm = asyncio.get_running_loop().time, 0
        async with asyncio.timeout(10):
            while calm < 5:  # looks: what woke a worker may still be on its way to it
                ahead = [worker.due._at - now() for worker in self.context.loop.workers.values()]
                calm = calm + 1 if all(5 < seconds < math.inf for seconds in ahead) else 0
                await asyncio.sleep(0.01)

    async def rewrite(self, text: str) -> None:
        self.desired.write_text(text)
        await self.context.loop.store.reload()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def staged(
    folder: Path,
    text: str = DESIRED,
    *,
    limits: Limits | None = None,
    complete: Completion | None = None,
    whole: bool = False,
) -> AsyncIterator[Stage]:
    """`complete`: what the environment says. `whole`: the desired state is the folder, with the files that are there."""
    desired, complete = folder if whole else folder / "desired.yaml", complete or Completion({})
    if not whole:
        desired.write_text(text)
    sparks = {name: MemorySpark(IMAGE, "keep/echo:2") for name in ("s1", "s2", "s3")}
    journal = Journal(":memory:", limits=limits)
    store = Store(desired, generations=journal, recipes=(), complete=complete)
    await store.open()
    try:
        async with Loop(store, journal, lambda name, _: sparks[name], secret=lambda name: name) as loop:
            keys = Keys()
            context = Context(
                loop=loop, status=Status(loop), keys=keys, heartbeat=0.2, complete=complete, base=complete.base
            )
            yield Stage(context, sparks, desired, keys)
    finally:
        journal.close()


@asynccontextmanager
async def serving(stage: Stage, app: FastAPI | None = None, *, port: int = 0) -> AsyncIterator[str]:
    """Its API on a real port."""
    app = app or build(stage.context, version="1")
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off", ws="none")
    server = Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        stage.context.closing.set()
        server.stop()
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


@asynccontextmanager
async def _far(folder: Path) -> AsyncIterator[Stage]:
    async with staged(folder) as made, serving(made) as url:
        await made.settled()
        loop = asyncio.get_running_loop()
        made.url = url
        made.call = lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(20)
        yield made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Stage]:
    """The same in a thread of its own, for the command line, which waits for its answers."""
    with aside(_far(tmp_path)) as made:
        yield made
