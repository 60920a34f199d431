"""Where models run that apps ask: practice Sparks in this process, or real hosts with a chat model of few words.

Either ground knows by itself which containers serve and writes it down in `able`; sparkkeep is not asked.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.model_answers import reply
from reconciler.practice.spark import Settings
from tests.bench.outside import Event, Outside
from tests.datapath.able import Able
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host

TICK: Final = 0.01  # seconds
OURS: Final = "sparkkeep-"
GIB: Final = 2**20  # KiB
WHOLE: Final = 119 * GIB  # a Spark's memory
CHAT: Final = "keep/echo:1"


class Ground(Protocol):
    """A fleet whose containers can be killed and whose Sparks cut off."""

    able: Able

    @property
    def key(self) -> Path: ...

    @property
    def known_hosts(self) -> Path: ...

    @property
    def sparks(self) -> tuple[str, ...]: ...

    def desired(self) -> dict[str, Any]:
        """The `sparks` section that leads there."""

    def right(self, model: str, body: Mapping[str, Any]) -> str:
        """What the model has to answer."""

    def running(self, spark: str) -> list[str]:
        """The names of our containers that run there."""

    async def kill(self, spark: str, container: str) -> None:
        """Its process ends at once. Nothing, if it is gone already."""

    async def cut(self, spark: str) -> None:
        """Nothing reaches it, and no connection breaks."""

    async def heal(self, spark: str) -> None:
        """It can be reached again."""


class PracticeGround:
    """Practice Sparks, looked at every few milliseconds."""

    def __init__(self, fleet: PracticeFleet, models: tuple[str, ...]) -> None:
        self.able = Able()
        self.key, self.known_hosts = fleet.key_path, fleet.known_hosts_path
        self._fleet, self._models = fleet, models

    @property
    def sparks(self) -> tuple[str, ...]:
        return tuple(self._fleet.sparks)

    def desired(self) -> dict[str, Any]:
        return {name: {**there, "reserve": 0} for name, there in self._fleet.desired_sparks().items()}

    def right(self, model: str, body: Mapping[str, Any]) -> str:
        return "".join(reply(model, dict(body), chat=True, now=0).tokens)

    def running(self, spark: str) -> list[str]:
        found = self._fleet[spark].engine.containers.values()
        return sorted(c.name for c in found if c.state == "running" and c.name.startswith(OURS))

    async def kill(self, spark: str, container: str) -> None:
        if container in self.running(spark):
            await self._fleet[spark].faults.kill(container)

    async def cut(self, spark: str) -> None:
        self._fleet[spark].faults.cut()

    async def heal(self, spark: str) -> None:
        self._fleet[spark].faults.heal()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            there = self._there()
            for name in self._models:
                self.able.note(name, frozenset(there.get(name, ())))
            await asyncio.sleep(TICK)

    def _there(self) -> dict[str, set[str]]:
        """The instances whose server listens on a Spark that can be reached."""
        found = defaultdict[str, set[str]](set)
        for spark in self._fleet.sparks.values():
            for server in spark.servers.values() if spark.link.open.is_set() else ():
                container = server.process.container
                if server.process.unfrozen.is_set():
                    found[container.spec.labels.get("sparkkeep.workload", "")].add(f"{spark.name}/{container.id}")
        return found


@dataclass
class RealGround:
    """Real hosts, whose engines tell what happens. Each has a Spark's memory, as far as /proc says so."""

    fleet: Fleet
    models: Mapping[str, int]
    """With the KiB that each takes where it runs."""
    able: Able = field(default_factory=Able)
    _running: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """By host, containers that run, and which of their name this one is."""
    _cut: set[str] = field(default_factory=set)
    _count: int = 0

    @property
    def key(self) -> Path:
        return self.fleet.key

    @property
    def known_hosts(self) -> Path:
        return self.fleet.known_hosts

    @property
    def sparks(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.fleet.hosts)

    def desired(self) -> dict[str, Any]:
        return {host.name: {"host": host.address, "user": "root", "reserve": 0} for host in self.fleet.hosts}

    def right(self, model: str, body: Mapping[str, Any]) -> str:
        return f"{model} heard: {body['messages'][-1]['content']}"

    def running(self, spark: str) -> list[str]:
        return sorted(self._running[spark])

    async def kill(self, spark: str, container: str) -> None:
        await asyncio.to_thread(self._host(spark).docker, "kill", container, check=False)

    async def cut(self, spark: str) -> None:
        self._cut.add(spark)
        self._note(time.monotonic())
        await asyncio.to_thread(self._host(spark).cut)

    async def heal(self, spark: str) -> None:
        await asyncio.to_thread(self._host(spark).heal)
        self._cut.discard(spark)
        self._note(time.monotonic())

    async def follow(self, host: Host) -> None:
        """Until cancelled."""
        async with Outside.of(host) as outside:
            async for event in outside.news():
                self._heard(host, event)

    def _heard(self, host: Host, event: Event) -> None:
        if not event.name.startswith(OURS) or event.action not in {"start", "die"}:
            return
        if event.action == "start":
            self._count += 1
            self._running[host.name][event.name] = self._count
        else:
            self._running[host.name].pop(event.name, None)
        self._note(event.at - time.time() + time.monotonic())
        self.remember(host)

    def _note(self, at: float) -> None:
        for model in self.models:
            found = {
                f"{spark}/{running[OURS + model]}"
                for spark, running in self._running.items()
                if OURS + model in running and spark not in self._cut
            }
            self.able.note(model, frozenset(found), at)

    def remember(self, host: Host) -> None:
        """What the host says of its memory. Written in place, in one piece: it lies over /proc/meminfo."""
        taken = sum(self.models.get(name.removeprefix(OURS), 0) for name in self._running[host.name])
        rows = {
            "MemTotal": WHOLE,
            "MemFree": WHOLE - taken,
            "MemAvailable": WHOLE - taken,
            "SwapTotal": 0,
            "SwapFree": 0,
        }
        text = "".join(f"{name + ':':<15} {size:>9} kB\n" for name, size in rows.items())
        with (host.control / "meminfo").open("r+b") as file:
            file.write(text.encode())

    def _host(self, spark: str) -> Host:
        return next(host for host in self.fleet.hosts if host.name == spark)


@asynccontextmanager
async def practice(folder: Path, models: Mapping[str, int], sparks: int = 2) -> AsyncIterator[PracticeGround]:
    """Practice Sparks in this event loop."""
    settings = Settings(pull_seconds=0.05, load_seconds=0.3)
    async with PracticeFleet(sparks, folder, first_port=0, settings=settings, images=[CHAT]) as fleet:
        ground = PracticeGround(fleet, tuple(models))
        watching = asyncio.create_task(ground.watch())
        try:
            yield ground
        finally:
            await _end(watching)


@asynccontextmanager
async def real(fleet: Fleet, models: Mapping[str, int]) -> AsyncIterator[RealGround]:
    """Real hosts that are up, without containers."""
    ground = RealGround(fleet, models)
    for host in fleet.hosts:
        (host.control / "meminfo").touch()
        ground.remember(host)
        await asyncio.to_thread(host.run, ["mount", "--bind", "/run/keep/meminfo", "/proc/meminfo"])
    following = [asyncio.create_task(ground.follow(host)) for host in fleet.hosts]
    try:
        yield ground
    finally:
        await _end(*following)
        for host in fleet.hosts:
            await asyncio.to_thread(host.run, ["umount", "/proc/meminfo"])


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
