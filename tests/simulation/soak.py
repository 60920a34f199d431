"""A month of fifty Sparks with a fault every minute, in minutes: what leaks shows, and what drifts.

`python -m tests.simulation.soak [--days 30] [--sparks 50] [--seed 0]`. To be quick, a look at a Spark reads the practice
engine itself instead of what SSH and HTTP would carry (the other simulations do that); commands go the long way.
Leases, looks and re-readings are set to the hour, where nothing happens. Every day ends with all mended: then
everything must be as declared, and the tasks, connections, memory and rows of the journal are counted.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.collector import settle
from reconciler.facts import ScanFailed
from reconciler.hosts import Answer
from reconciler.lease import Terms
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Facts, ProbeSpec, Scan
from reconciler.practice import shapes
from reconciler.practice.engine import Engine
from reconciler.scan import Images, container_from_inspect, images_from_list
from tests.scenarios.play import echo
from tests.simulation import faults
from tests.simulation.oracle import silence
from tests.simulation.sim import Sim, SimHost, play
from tests.simulation.stories import prepare

DAY = 86400.0
QUIET = 600.0  # seconds at a day's end in which nothing goes wrong
TERMS = Terms(lasts=43200, renew=14400.0)
SETTINGS = {"scanInterval": 3600}
LEFT_OUT = frozenset(  # what is not over by itself, or stands for people who edit
    {"half_written", "emptied", "gone", "clock_jump", "journal_lost", "somebody_takes_a_name", "pulls_go_wrong"}
)

# A crash leaves a copy of the journal, megabytes in one piece, which no real process would hold. glibc learns from the
# first of them to keep such pieces, and the holes that they leave look like growth of up to a tenth.
MMAP_THRESHOLD, BIG = -3, 2**17

CRASHES = frozenset(
    {"crash_now", "crash_soon", "two_controllers"}
)  # a few each day: a start with so many Sparks is most of the time


class QuickHost(SimHost):
    """Looks at the practice engine without a wire between; connections, cuts and commands are as everywhere."""

    def __init__(self, sim: Sim, name: str, socket: str, owner: str) -> None:
        super().__init__(sim, name, socket, owner)
        self._read: dict[str, tuple[object, Container]] = {}  # by id
        self._images: tuple[object, Images] = (None, {})

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        began = self._sim.loop.time()
        spark = self._sim.sparks[self._name]
        await self.connect()
        try:
            async with asyncio.timeout(10.0):
                await self._sim.wires[self._name].travel()
        except TimeoutError:
            raise ScanFailed("ScanTimeout", "no answer") from None
        if spark.switches.daemon_down:
            raise ScanFailed("EngineDown", "the Engine does not answer")
        engine, machine = spark.engine, spark.machine
        return Scan(
            began=began,
            ended=self._sim.loop.time(),
            taken_at=self._sim.now(),
            containers=self._containers(engine),
            images=self._listed(engine),
            facts=Facts(
                boot_id=machine.boot_id,
                memory_total=machine.memory_total,
                memory_available=machine.memory_available,
                memory_free=machine.memory_free,
                listeners=frozenset(machine.listeners),
                disk_free=machine.disk_total - machine.disk_used,
                disk_total=machine.disk_total,
                gpu=True,
            ),
        )

    def _containers(self, engine: Engine) -> tuple[Container, ...]:
        """Each is read again only where what can be read of it has changed."""
        before, self._read = self._read, {}
        for c in engine.containers.values():
            when, how = (c.state, c.pid, c.started, c.finished), (c.exit_code, c.oom_killed, c.error, c.restarts)
            mark = (when, how, c.name, c.spec.policy, len(c.ports))
            known = before.get(c.id)
            same = known is not None and known[0] == mark
            self._read[c.id] = known if known and same else (mark, container_from_inspect(shapes.inspected(c)))
        return tuple(container for _, container in self._read.values())

    def _listed(self, engine: Engine) -> Images:
        """Likewise, all of them."""
        found = engine.images.all.values()
        mark = [(image.id, frozenset(image.tags), frozenset(image.digests)) for image in found]
        if self._images[0] != mark:
            self._images = mark, images_from_list([shapes.image(image) for image in found])
        return self._images[1]

    async def watch(self, wake: Callable[[str], None]) -> None:
        await self.connect()
        spark = self._sim.sparks[self._name]
        if spark.switches.daemon_down:
            raise ScanFailed("EngineDown", "the Engine does not answer")
        wire, heard = self._sim.wires[self._name], asyncio.Queue[str | Exception]()

        async def listen() -> None:
            async for event in spark.engine.events.follow({"type": ["container"]}, None):
                heard.put_nowait(event.action)
            heard.put_nowait(ScanFailed("EngineDown", "the Engine ended its events"))

        async def lose() -> None:
            await wire.broken()
            heard.put_nowait(LinkDown("ConnectionLost", "the connection broke"))

        ears = [wire.spawn(listen()), wire.spawn(lose())]  # the world's: a controller that dies can't close them
        try:
            while isinstance(said := await heard.get(), str):
                wake(said)
            raise said
        finally:
            for ear in ears:
                ear.cancel()

    async def ask(self, probe: ProbeSpec) -> Answer:
        await self.connect()
        there = probe.port in self._sim.sparks[self._name].servers
        return Answer(ready=there, message="it listens" if there else "nothing listens")


@dataclass
class Day:
    """What was counted at the end of one."""

    number: int
    faults: int
    commands: int
    tasks: int
    connections: int
    rows: int
    megabytes: float
    objects: int
    seconds: float

    def line(self) -> str:
        return (
            f"{self.number:4} {self.faults:7} {self.commands:9} {self.tasks:6} {self.connections:12} {self.rows:7} "
            f"{self.megabytes:8.1f} {self.objects:9} {self.seconds:7.1f}"
        )


HEAD = f"{'day':>4} {'faults':>7} {'commands':>9} {'tasks':>6} {'connections':>12} {'rows':>7} {'MiB':>8} {'objects':>9} {'s':>7}"


def declared(sim: Sim) -> dict[str, Any]:
    """Two workloads on each Spark."""
    probe = {"kind": "http", "path": "/health", "interval": "1h", "timeout": "2s", "failures": 2}
    return {
        f"w{2 * number + each}": echo(spark, 9000 + each, probe=probe)
        for number, spark in enumerate(sim.sparks)
        for each in (0, 1)
    }


async def month(sim: Sim, days: int, tell: Callable[[Day], None]) -> list[Day]:
    """Live through it. Raises Violation, or AssertionError where it does not become well again."""
    prepare(sim)
    rng, happened, commands = random.Random(sim.rng.random()), Counter[str](), 0
    names = [*sorted(faults.ALL.keys() - LEFT_OUT - CRASHES) * 30, *sorted(CRASHES)]
    sim.declare(declared(sim), settings=SETTINGS)
    sim.keep()
    await sim.calm()
    found = list[Day]()
    began = time.monotonic()
    for number in range(1, days + 1):
        end = number * DAY
        while sim.loop.time() < end - QUIET:
            name = rng.choice(names)
            happened[name] += 1
            await faults.ALL[name](sim, rng)
            await sim.sleep(rng.expovariate(1 / 60.0))
            await bury(sim)
        await sim.sleep(95)
        faults.heal(sim)
        await sim.sleep(30)
        await sim.alive()
        await sim.calm(7200.0, approving=True)
        await silence(sim, 3)
        commands += sum(map(len, map(sim.commands, sim.sparks)))
        _forget(sim)
        await bury(sim)
        found.append(_counted(sim, number, sum(happened.values()), commands, time.monotonic() - began))
        tell(found[-1])
        await sim.sleep(max(0.0, end - sim.loop.time()))
    return found


def _forget(sim: Sim) -> None:
    """What the practice world keeps for tests to look at."""
    for spark in sim.sparks.values():
        spark.console.scripts.clear()
        spark.commands.clear()
        spark.api.requests.clear()


async def bury(sim: Sim) -> None:
    """The dead go at once, as the memory of a killed process does: each has a journal and a picture of the whole fleet."""
    if all(controller.alive for controller in sim.all):
        return
    for controller in sim.all:
        if not controller.alive:  # in no task: what ends there must not take this one for its own
            sim.loop.call_soon(controller.bury)
    del controller
    sim.all = [controller for controller in sim.all if controller.alive]
    await sim.sleep(1)
    gc.collect()


def _counted(sim: Sim, number: int, happened: int, commands: int, seconds: float) -> Day:
    gc.collect()
    assert sim.controller is not None
    tables = sim.controller.journal.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    rows = sum(
        sim.controller.journal.connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608
        for (name,) in tables
    )
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return Day(
        number=number,
        faults=happened,
        commands=commands,
        tasks=len(sim.controller.life.open),
        connections=sum(wire.open_connections for wire in sim.wires.values()),
        rows=rows,
        megabytes=pages * os.sysconf("SC_PAGESIZE") / 2**20,
        objects=len(gc.get_objects()),
        seconds=seconds,
    )


def live(days: int, sparks: int, seed: int, tell: Callable[[Day], None] = lambda _: None) -> list[Day]:
    """A soak of so many days."""
    found = list[Day]()

    async def story(sim: Sim) -> None:
        found.extend(await month(sim, days, tell))

    play(story, sparks=sparks, seed=seed, fast=True, host=QuickHost, terms=TERMS, reread=3600.0)
    return found


def main() -> int:
    """A line for each day."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--sparks", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    settle()  # as a server does
    with suppress(AttributeError):  # only glibc has it, and only it needs it
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, BIG)
    print(HEAD)
    days = live(asked.days, asked.sparks, asked.seed, lambda day: print(day.line(), flush=True))
    settled, last = days[min(4, len(days) - 1)], days[-1]
    growth = (last.megabytes / settled.megabytes - 1) * 100
    print(f"memory from day {settled.number} to day {last.number}: {growth:+.1f} %")
    return 0 if abs(growth) <= 5 else 1


if __name__ == "__main__":
    sys.exit(main())
