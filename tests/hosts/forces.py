"""What befalls real hosts in `test_force`: a story of changes, killed and frozen controllers, cuts, restarts of Docker."""

import asyncio
import random
import signal
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.lease import REFUSED
from tests.hosts.shell import wait_for
from tests.hosts.test_kill import Served, counted
from tests.hosts.witness import Held, age, held
from tests.scenarios.play import CANARY, echo, text, world
from tests.scenarios.real import RealStage
from tests.scenarios.stage import Seen

Services = dict[str, Any]
WORKLOADS = {name: 9001 + place for place, name in enumerate(("web", "api", "db", "mail", "search", "slow"))}
STILL = "still"  # is declared once and for all, everywhere
PROBE = {"kind": "http", "path": "/health", "interval": "500ms", "timeout": "5s", "failures": 10}
FOLLOWED = 150.0  # seconds until another controller keeps all hosts: a lease's own time, and a busy machine's
BACK = 120.0  # seconds until all is well after the last force: Docker is up, the link too, failures are tried again


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much befalls the fleet. `fights`: how often each way of taking over; `slow`: how often in a lease's own time."""

    kills: int
    cuts: int
    restarts: int
    fights: int
    slow: int
    longest_cut: float
    calm_every: int

    def alone(self) -> list[str]:
        """What befalls one controller: half of it all."""
        of = {"kill": self.kills, "cut": self.cuts, "restart": self.restarts}
        return [kind for kind, count in of.items() for _ in range(count // 2)]

    def together(self) -> list[str]:
        """What befalls two: the rest and their fights, but for the two kills at the very end."""
        rest = Counter(kill=self.kills - self.fights - 2, cut=self.cuts, restart=self.restarts)
        fights = Counter(killed=self.fights, frozen=self.fights, outlasted=self.slow)
        return [*(rest - Counter(self.alone()) + fights).elements()]


def drawn(rng: random.Random, name: str, sparks: tuple[str, ...]) -> dict[str, Any]:
    """A declaration of the workload. `slow` takes two seconds to stop, so that commands are under way at any time.

    It is always everywhere: what is declared no more gets half a minute to end, whatever it was declared with.
    """
    places: list[str | list[str]] = [*sparks, list(sparks)]
    return echo(
        rng.choice(places) if name != "slow" else list(sparks),
        WORKLOADS[name],
        image=rng.choice(("keep/echo:1", "keep/echo:2")),
        args=("--ignore-term",) if name == "slow" else (),
        env={"TURN": str(rng.randrange(3))},
        restart=rng.choice(("no", "always", "unless-stopped")),
        probe=PROBE,
        stopTimeout="2s",
    )


def everything(rng: random.Random, sparks: tuple[str, ...]) -> Services:
    still = echo(list(sparks), 9000, probe=PROBE)
    return {STILL: still} | {name: drawn(rng, name, sparks) for name in WORKLOADS}


def wanted_on(services: Services, spark: str) -> dict[str, str]:
    """The images of the containers that should be there, by name."""
    return {
        f"sparkkeep-{name}": service["recipe"]["image"]
        for name, service in services.items()
        if spark in ([service["on"]] if isinstance(service["on"], str) else service["on"])
    }


class Controller(Served):
    """`sparkkeep serve` with a data folder and an SSH key of its own."""

    def __init__(self, name: str, stage: RealStage, folder: Path, key: Path) -> None:
        super().__init__(stage, folder)
        self.name = name
        self.folder = folder
        self._env["SSH_KEY_PATH"] = str(key)

    @property
    def holder(self) -> str:
        """Who it is in leases."""
        return f"{(self.folder / 'data/holder').read_text().strip()}@{socket.gethostname()}"

    async def begin(self) -> None:
        await asyncio.to_thread(self.start)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def die_at_birth(self, after: float) -> None:
        """It is started, and killed so many seconds later, wherever it is by then."""
        starting = asyncio.create_task(self.begin())
        while self._process is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(after)
        self.signal(signal.SIGKILL)
        with suppress(AssertionError):  # it never came to serve
            await starting
        await asyncio.to_thread(self.kill)

    def refused(self) -> int:
        """How many of its commands a Spark did not run, since the lease was somebody else's by then."""
        with closing(sqlite3.connect(self.folder / "data/journal.sqlite")) as journal:
            (count,) = journal.execute("SELECT count(*) FROM actions WHERE exit_status = ?", (REFUSED,)).fetchone()
            return int(count)


@dataclass
class Story:
    """What is declared, what befalls the fleet, and when: Unix seconds."""

    stage: RealStage
    amount: Amount
    controllers: tuple[Controller, Controller]
    rng: random.Random
    canaries: dict[str, Seen]
    services: Services = field(default_factory=dict)
    changes: list[tuple[float, str, tuple[str, ...]]] = field(default_factory=list)  # workload and where it may run
    forces: list[tuple[float, str, str]] = field(default_factory=list)  # "" for all Sparks
    befallen: set[tuple[str, str]] = field(default_factory=set)  # cuts and restarts that are going on
    going: set["asyncio.Task[None]"] = field(default_factory=set)
    leases: dict[str, dict[int, Held]] = field(default_factory=dict)  # by Spark and token
    holding: dict[str, Held | None] = field(default_factory=dict)  # as last seen
    unseated: str = ""  # the holder whose leases are made to end early
    restless: asyncio.Event = field(default_factory=asyncio.Event)

    # What is declared

    def declare(self, services: Services) -> None:
        for name in (STILL, *WORKLOADS):
            before, after = self.services.get(name), services.get(name)
            if before != after:
                where = {spark for spark in self.stage.sparks if f"sparkkeep-{name}" in wanted_on(services, spark)}
                self.changes.append((time.time(), name, tuple(sorted(where))))
        self.services = services
        for controller in self.controllers:
            controller.declare(text(self.stage, services))

    async def changing(self) -> None:
        rng = random.Random(self.rng.random())
        while True:
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            await self.restless.wait()
            services = dict(self.services)
            for name in rng.sample(sorted(WORKLOADS), rng.choice((1, 2))):
                if name in services and name != "slow" and rng.random() < 0.2:
                    del services[name]
                else:
                    services[name] = drawn(rng, name, self.stage.sparks)
            self.declare(services)

    # What befalls it

    def note(self, kind: str, spark: str = "") -> None:
        self.forces.append((time.time(), kind, spark))

    async def kill(self, controller: Controller) -> None:
        """Killed, and started again at once; now and then killed again while it starts."""
        self.note("kill")
        await asyncio.to_thread(controller.kill)
        if self.rng.random() < 0.1:
            self.note("kill at birth")
            await controller.die_at_birth(self.rng.uniform(0.0, 1.5))
        await controller.begin()

    async def befall(self, kind: str) -> None:
        """Begin to cut or restart a Spark which that does not befall already; it goes on by itself."""
        while len(free := [s for s in self.stage.sparks if (kind, s) not in self.befallen]) == 0:
            await asyncio.sleep(0.1)
        spark = self.rng.choice(free)
        self.befallen.add((kind, spark))
        seconds = self.rng.uniform(1.0, self.amount.longest_cut)
        work = self.cut(spark, seconds) if kind == "cut" else self.restart(spark)
        task = asyncio.create_task(work)
        self.going.add(task)
        task.add_done_callback(lambda _: self.befallen.discard((kind, spark)))

    async def cut(self, spark: str, seconds: float) -> None:
        self.note("cut", spark)
        await self.stage.cut(spark)
        await asyncio.sleep(seconds)
        await self.stage.heal(spark)
        self.note("heal", spark)

    async def restart(self, spark: str) -> None:
        """Docker itself starts the canary again then, and only then."""
        await self.untouched(spark)
        self.note("restart", spark)
        await self.stage.restart_daemon(spark)
        self.note("restarted", spark)
        async with asyncio.timeout(30):
            while not (canary := (await self.stage.containers(spark))[CANARY]).running:
                await asyncio.sleep(0.05)
        self.canaries[spark] = canary

    async def untouched(self, spark: str) -> None:
        assert (await self.stage.containers(spark))[CANARY] == self.canaries[spark]

    async def healed(self) -> None:
        """What goes on comes to its end, and did what it should."""
        await asyncio.gather(*self.going)
        self.going.clear()

    # The story

    async def part(self, forces: list[str], up: tuple[Controller, ...]) -> None:
        """All these forces, in any order, each at any moment of what the one before set off."""
        self.rng.shuffle(forces)
        async with self.unrest():
            for number, kind in enumerate(forces, start=1):
                await asyncio.sleep(self.rng.uniform(0.0, 1.2))
                match kind:
                    case "kill":
                        await self.kill(self.rng.choice(up))
                    case "cut" | "restart":
                        await self.befall(kind)
                    case _:
                        await self.hand_over(kind, up)
                if number % self.amount.calm_every == 0:
                    await self.calm(up)
        await self.healed()

    @asynccontextmanager
    async def unrest(self) -> AsyncIterator[None]:
        """Declarations change, and leases are looked at, until the end."""
        self.restless.set()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self.changing()), group.create_task(self.looking())]
            yield
            for task in beside:
                task.cancel()

    async def looking(self) -> None:
        """Write down who has the leases: a token never falls, never has two owners, and a live one is never taken."""
        while True:
            for spark in self.stage.sparks:
                known, before = self.leases.setdefault(spark, {}), self.holding.get(spark)
                now = held(self.stage.host(spark))
                self.holding[spark] = now
                if now is not None:
                    assert now.token >= max(known, default=0), (now, known)
                    assert known.setdefault(now.token, now) == now
                if before is not None and now is not None and now.holder != before.holder != self.unseated:
                    assert before.until < time.clock_gettime(time.CLOCK_BOOTTIME), f"{now} was taken from {before}"
            await asyncio.sleep(0.05)

    async def hand_over(self, kind: str, up: tuple[Controller, ...]) -> None:
        """Whoever keeps the first host is killed, or only frozen, until the other one keeps all hosts.

        The frozen one then believes that it still has its leases, and goes on with what it was about to send.
        """
        await self.healed()
        hosts = [self.stage.host(spark) for spark in self.stage.sparks]
        async with asyncio.timeout(60):
            while (lease := held(hosts[0])) is None:
                await asyncio.sleep(0.05)
        victim, other = sorted(up, key=lambda each: each.holder != lease.holder)
        self.note("kill" if kind == "killed" else kind)
        began = time.monotonic()
        if kind == "killed":
            await asyncio.to_thread(victim.kill)
        else:
            victim.signal(signal.SIGSTOP)
        try:
            while any(now is None or now.holder != other.holder for now in self.holding.values()):
                assert time.monotonic() - began < FOLLOWED, f"{other.holder} keeps not all of {self.holding}"
                if kind != "outlasted":
                    self.unseated = victim.holder
                    for host in hosts:
                        await asyncio.to_thread(age, host, victim.holder)
                await asyncio.sleep(0.2)
            print(f"{kind}: followed after {time.monotonic() - began:.1f} s")  # noqa: T201
        finally:
            self.unseated = ""
            if kind == "killed":
                await victim.begin()
            else:
                victim.signal(signal.SIGCONT)

    async def calm(self, up: tuple[Controller, ...]) -> None:
        """Nothing befalls it for once: everything comes to be as declared, once, and the canaries are as they were."""
        self.restless.clear()
        began = time.monotonic()
        await self.healed()
        await asyncio.sleep(1.0)  # what was declared last is known everywhere
        for each in up:
            await asyncio.to_thread(wait_for, each.well, f"{each.name} to be well", seconds=BACK, every=0.2)
        for spark, found in (await world(self.stage)).items():
            await self.untouched(spark)
            there = {name: seen.image for name, seen in found.items() if name != CANARY and seen.running}
            assert there == wanted_on(self.services, spark), spark
            assert len(found) == len(there) + 1, f"{spark} has what nobody declared: {sorted(found)}"
        took, forces = time.monotonic() - began, Counter(kind for _, kind, _ in self.forces)
        print(f"calm after {took:.1f} s; so far {dict(forces)}, {dict(await counted(self.stage))}")  # noqa: T201
        self.restless.set()
