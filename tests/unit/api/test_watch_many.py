"""Many who watch, come and go at random and come back, while the world and what is wanted of it change.

At the end what each one has folded is what a fresh read says, and it has had every event of the journal since it came.
200 of them; with `SPARKKEEP_LONG=1` 1,000.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import build
from api.watch.hub import Watch
from state.journal import Event, Kind, Recorded
from state.journal_rows import Override
from tests.aside import aside
from tests.unit.api.conftest import DESIRED, Stage, serving, staged
from tests.unit.api.watcher import Watcher, all_gone, where

LONG = "SPARKKEEP_LONG" in os.environ
WATCHERS = 1000 if LONG else 200
LEAST = 4  # times that each one comes
SECONDS = 30.0 if LONG else 4.0  # for which the world changes
OTHER = DESIRED.replace("echo:", "other:").replace("on: [s1, s2]", "on: s2, run: never")


@dataclass
class Room:
    """The server, in a thread of its own."""

    stage: Stage
    hub: Watch
    url: str
    loop: asyncio.AbstractEventLoop

    async def call(self, work: Any) -> Any:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def change(self, rng: random.Random, number: int) -> None:
        """Something happens."""
        loop, sparks = self.stage.context.loop, self.stage.sparks
        match rng.randrange(6):
            case 0:
                loop.override(Override.CORDON, rng.choice(["s1", "s2"]), on=rng.random() < 0.5, by="me")
            case 1:
                await self.stage.rewrite(rng.choice([DESIRED, OTHER, DESIRED + "# again", "services: ["]))
            case 2:
                spark = sparks[rng.choice(["s1", "s2"])]
                spark.down = "" if spark.down else "no route"
                loop.wake_all()
            case 3:
                containers = sparks["s1"].containers
                if containers:
                    del containers[rng.choice(list(containers))]
                loop.wake_all()
            case _:
                for again in range(rng.randrange(5)):
                    self.say(f"w{number}-{again}")
                self.say("often")

    def say(self, name: str) -> None:
        self.stage.context.journal.record(Event(kind=Kind.WORKLOAD, name=name, reason="Said", message="hello"))

    async def rest(self) -> None:
        """Everything is as declared, and all of it told."""
        for spark in self.stage.sparks.values():
            spark.down = ""
        await self.stage.rewrite(DESIRED)
        for name in self.stage.context.loop.workers:
            self.stage.context.loop.hurry(name)
        async with asyncio.timeout(60):
            while any(w.sight.unknown for w in self.stage.context.loop.workers.values()):
                await asyncio.sleep(0.05)
        await self.stage.settled()
        self.say("the end")

    async def told(self) -> str:
        """Where everybody gets to who reads on, once the newest event is there too."""
        while self.hub.log.head.seq < self.stage.context.journal.latest_seq:
            await asyncio.sleep(0.02)
        return str(self.hub.mark(self.hub.log.head))

    async def recorded(self) -> list[Recorded]:
        return await self.stage.context.journal.events(since_seq=0, limit=10_000)


@asynccontextmanager
async def _room(folder: Path) -> AsyncIterator[Room]:
    async with staged(folder) as stage:
        stage.context.heartbeat = 3.0
        await stage.settled()
        app = build(stage.context, version="1")
        async with serving(stage, app) as url:
            yield Room(stage, app.state.watch, url, asyncio.get_running_loop())


@pytest.fixture(autouse=True)
async def nobody_stays() -> AsyncIterator[None]:
    yield
    await all_gone()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with aside(_room(tmp_path)) as made:
        yield made


async def come_and_go(one: Watcher, rng: random.Random, over: asyncio.Event) -> None:
    """Read a little, be gone, come back where it was; at the end stay."""
    await asyncio.sleep(rng.random() * SECONDS / 4)
    await one.connect()
    await one.until(lambda: one.status, 60)
    while one.connects < LEAST or not over.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(rng.expovariate(1.0) * SECONDS / 8):  # and gone in the middle of anything
                while await one.read():
                    pass
        one.drop()
        await asyncio.sleep(rng.random() * SECONDS / 8)
        await one.connect()


@pytest.mark.timeout(300)
async def test_what_each_one_has_folded_is_a_fresh_read(room: Room) -> None:
    rng = random.Random(5)
    watchers = [Watcher(room.url) for _ in range(WATCHERS)]
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for one in watchers:
            group.create_task(come_and_go(one, random.Random(rng.random()), over))
        clock, number = asyncio.get_running_loop().time, 0
        end = clock() + SECONDS
        while clock() < end:
            number += 1
            await room.call(room.change(rng, number))
            await asyncio.sleep(0.02)
        over.set()
    await room.call(room.rest())
    recorded: list[Recorded] = []
    while not recorded or any(one.seqs[-1] < recorded[-1].seq for one in watchers):  # something still happened
        await all_told(room, watchers)
        recorded = await room.call(room.recorded())
    for one in watchers:
        had = set(one.seqs)
        came = one.seqs[0] - 1
        assert not [r.seq for r in recorded if r.seq > came and r.seq not in had], "an event was missed"
        latest = {event["id"]: event for event in one.events}
        assert all(latest[r.id] == r.as_dict() for r in recorded if r.id in latest)
        assert not one.resets
        one.drop()
    assert sum(one.kinds.count("patch") for one in watchers) > WATCHERS
    whole, came = (sum(one.kinds.count("status") for one in watchers), sum(one.connects for one in watchers))
    assert whole < came / 2, "who comes back is told what it missed, not everything"
    print(f"{WATCHERS} watchers came {came} times, {whole} whole statuses, {recorded[-1].seq} events")  # noqa: T201  # with -s


async def all_told(room: Room, watchers: list[Watcher]) -> None:
    """Everybody reads on until there is nothing more; then a fresh read is what everybody has."""
    async with asyncio.timeout(120), httpx2.AsyncClient() as client:
        while True:
            mark = await room.call(room.told())
            async with asyncio.TaskGroup() as group:
                for one in watchers:
                    group.create_task(one.until(lambda one=one, mark=mark: where(one.id) >= where(mark), 100))
            fresh = (await client.get(f"{room.url}/api/status")).json()
            if await room.call(room.told()) == mark and all(one.id == mark for one in watchers):
                break
    assert all(one.status == fresh for one in watchers)
