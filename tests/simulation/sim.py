"""A fleet of practice Sparks, whoever keeps them now, and the operator: one seeded world.

A controller is started, crashes (at the await it was told to, or when asked), and is started anew half a second
later, as a service manager does. Its journal outlives it as far as it was written; the files of the desired state are
real ones. The operator's and the world's doings are not part of any controller's life.
"""

import asyncio
import gc
import json
import logging
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from reconciler.hosts import Host
from reconciler.lease import Identity, Terms
from reconciler.loop import Loop
from reconciler.model import OWNER, Scan
from reconciler.practice.clock import Clock
from reconciler.practice.containers import Container
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from reconciler.practice.spark import Settings, Spark
from reconciler.remote import RemoteHost
from reconciler.status import Status
from state.journal import Journal
from state.problems import Invalid
from state.store import DesiredStore
from tests.scenarios.stage import READS
from tests.simulation.laws import Doorman, Watched
from tests.simulation.life import Life, Mortal, mortal
from tests.simulation.virtual import VirtualLoop
from tests.simulation.wire import SimLink, Wire

RESTART = 0.5  # seconds from a crash to the next start
REREAD = 30.0
PATIENCE = 60.0  # seconds that a person waits for a docker command


class Disk:
    """What a crash leaves of a journal."""

    image = b""


class SimJournal(Journal):
    """A journal in memory that can be left behind on a `Disk`."""

    def __init__(self, disk: Disk, now: Callable[[], float]) -> None:
        super().__init__(":memory:", now=now)
        self.disk = disk
        if disk.image:
            self.connection.deserialize(disk.image)
            self._recall()

    @property
    def connection(self) -> sqlite3.Connection:
        return self._db._connection

    def writable(self) -> None:
        """The disk has room again."""
        with suppress(sqlite3.ProgrammingError):  # its process is gone
            self.connection.execute("PRAGMA query_only = OFF")

    def leave(self) -> None:
        """Whatever was written stays."""
        self.disk.image = self.connection.serialize()


class SimHost(RemoteHost):
    """A Spark as a controller sees it, whose events and scans may be tampered with."""

    def __init__(self, sim: "Sim", name: str, socket: str, owner: str) -> None:
        link = cast("Any", SimLink(sim.wires[name]))
        super().__init__(link, socket, owner, clock=sim.loop.time, now=sim.now)
        self._sim = sim
        self._name = name
        self._past = list[Scan]()

    async def watch(self, wake: Callable[[str], None]) -> None:
        def tampered(action: str) -> None:
            for delay in self._sim.events(self._name, action):
                asyncio.get_running_loop().call_later(delay, wake, action)

        await super().watch(tampered)

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        fresh = await super().scan(full=full, before=before)
        self._past = [*self._past[-5:], fresh]
        return self._sim.stale(self._name, self._past)


class Controller:
    """One process of sparkkeep."""

    def __init__(self, sim: "Sim", name: str, folder: Path, disk: Disk, fatal: int = 0, desk: str = "desk") -> None:
        self.sim = sim
        self.desk = desk
        self.folder = folder
        self.life = Life(name, fatal, self._died, sim.stepped)
        self.journal = SimJournal(disk, sim.now)
        self.store = DesiredStore(
            folder / "desired.yaml", generations=self.journal, now=sim.now, watch=sim.watching, reread=sim.reread
        )
        self.keeper: Loop | None = None
        self.status: Status | None = None
        self.ended = asyncio.Event()

    def begin(self) -> None:
        self.life.begin(self._live())

    async def _live(self) -> None:
        """A process that can't start says so and ends; a service manager starts it again."""
        try:
            await self._run()
        except Invalid:
            self.sim.counts["refused to start"] += 1
        except Exception as error:
            self.sim.broken.append(f"{self.life.name} ended: {error!r}")
            raise
        finally:
            self.life.end()

    async def _run(self) -> None:
        await self.store.open()
        loop = Watched(
            self.store,
            self.journal,
            lambda name, spark: cast(
                "Host", self.sim.host(self.sim, name, spark.socket, self.store.current.loaded.desired.settings.owner)
            ),
            secret=lambda _: "s3cr3t",
            rng=random.Random(self.sim.rng.random()),
            now=self.sim.now,
            mods=[self.folder / "mods"],
            identity=Identity(holder=f"sim@{self.desk}", life=self.life.name.replace(" ", "-"), terms=self.sim.terms),
        )
        loop.broken, loop.ordinary = self.sim.broken, {}
        async with loop:
            self.keeper, self.status = loop, Status(loop)
            await self.store.run()

    def _died(self) -> None:
        self.journal.leave()
        self.ended.set()

    def crash(self) -> None:
        """As by `kill -9`."""
        self.life.end()

    def bury(self) -> None:
        """Its tasks and frames go. Their `finally` blocks run now, when nothing they do matters any more."""
        before = sys.unraisablehook
        sys.unraisablehook = lambda _: None
        disabled = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            for task in list(self.life.open):
                cast("Any", task)._log_destroy_pending = False
                with suppress(Exception):
                    cast("Any", task.get_coro()).bury()
            self.life.open.clear()
            self.journal.close()
        finally:
            logging.disable(disabled)
            sys.unraisablehook = before

    @property
    def alive(self) -> bool:
        return not self.life.dead

    def still(self) -> bool:
        """Whether it has looked at every Spark and sees nothing left to do."""
        if not self.alive or self.keeper is None or self.store.current.revision != self.sim.revision:
            return False
        plan = self.keeper.plan()
        return not plan.steps and all(
            not w.sight.unknown and w.sight.scan is not None and not w.pulling and not w.asking
            for w in self.keeper.workers.values()
        )


class Sim:
    """See the module. `fatal`: the step before which the first controller, the second, ... crashes."""

    def __init__(
        self,
        loop: VirtualLoop,
        folder: Path,
        *,
        sparks: int = 2,
        seed: int = 0,
        fatal: Sequence[int] = (),
        fast: bool = False,
        host: "type[SimHost] | None" = None,
        terms: Terms | None = None,
        reread: float = REREAD,
    ) -> None:
        self.loop = loop
        self.folder = folder
        self.rng = random.Random(seed)
        self.fatal = list(fatal)
        self.host = host or SimHost
        self.terms = terms or Terms()
        self.reread = reread
        self.revision = ""
        self.counts = Counter[str]()
        self.drop_event: Callable[[str, str], Sequence[float]] = lambda _, __: (0.0,)
        self.pick_scan: Callable[[str, Sequence[Scan]], Scan] = lambda _, past: past[-1]
        clock = Clock(loop.wall)
        settings = Settings(seed=str(seed), serve=False, pull_seconds=0.5, load_seconds=0.3)
        names = [f"spark-{number}" for number in range(1, sparks + 1)]
        self.sparks = {name: Spark(name, number, settings, clock) for number, name in enumerate(names, 1)}
        self.wires = {
            name: Wire(spark, random.Random(self.rng.random()), fast=fast) for name, spark in self.sparks.items()
        }
        self.disk = Disk()
        self.forget_journal = False
        self.clock_offset = 0.0
        self.off = set[str]()  # Sparks without power, or whose daemon restarts
        self.rivals = 0
        self.powered_off = False
        self.text = ""  # the last whole declaration
        self.broken = list[str]()  # laws, and what broke them
        self.doormen = list[Doorman]()
        self.controller: Controller | None = None
        self.all = list[Controller]()
        self._stir = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def watch_closely(self, *, strict: bool = False) -> None:
        """Have every command looked at when it reaches its Spark."""
        self.doormen = [
            Doorman(spark, self._wanted, serves=self._serves, strict=strict) for spark in self.sparks.values()
        ]

    def _wanted(self, spark: str, name: str) -> str | None:
        """The digest of what should run there by that name, whoever asks, as the controller has it."""
        keeper = self.controller.keeper if self.controller is not None else None
        instances = keeper.target().instances.get(spark, ()) if keeper is not None else ()
        return next((i.spec_hash for i in instances if i.name == name and not i.on_demand), None)

    def _serves(self, container: str) -> bool:
        keeper = self.controller.keeper if self.controller is not None and self.controller.alive else None
        workload = cast("Watched", keeper).ordinary.get(container) if keeper is not None else None
        return workload is not None and keeper is not None and keeper.demand.under_way(workload) > 0

    each_step: Callable[["Sim"], None] | None = None

    def stepped(self) -> None:
        """A controller is about to take a step."""
        if self.each_step is not None:
            self.each_step(self)

    def traces(self) -> tuple[object, ...]:
        """All that a controller leaves outside of itself: what was sent, done and answered, and what it wrote."""
        wires = [(wire.sent, wire.answered, len(wire.spark.commands)) for wire in self.wires.values()]
        return (*wires, self.all[-1].journal.connection.total_changes)

    def deeds(self) -> tuple[object, ...]:
        """Of its traces those that stay: commands on their way or done, and what it wrote.

        The question of a scan leaves nothing behind, and an answer that nobody is there to hear neither.
        """
        wires = [(wire.ordered, wire.done, len(wire.spark.commands)) for wire in self.wires.values()]
        return (*wires, self.all[-1].journal.connection.total_changes)

    # What controllers see of the world.

    def now(self) -> float:
        """Unix seconds, as a controller's machine has them."""
        return self.loop.wall() + self.clock_offset

    def events(self, spark: str, action: str) -> Sequence[float]:
        """After how many seconds each copy of an event arrives."""
        return self.drop_event(spark, action)

    def stale(self, spark: str, past: Sequence[Scan]) -> Scan:
        return self.pick_scan(spark, past)

    async def watching(self, paths: Sequence[Path], *, every: float) -> AsyncGenerator[None, None]:
        """The files' folder in virtual time."""
        del paths
        yield
        while True:
            try:
                async with asyncio.timeout(every):
                    await self._stir.wait()
            except TimeoutError:
                pass
            self._stir.clear()
            yield

    # The controller's keeper.

    def keep(self) -> None:
        """Start a controller, and another one whenever it crashes."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            if self.forget_journal:
                self.disk, self.forget_journal = Disk(), False
            fatal = self.fatal.pop(0) if self.fatal else 0
            self.controller = Controller(self, f"controller {self.counts['crash'] + 1}", self.folder, self.disk, fatal)
            self.all.append(self.controller)
            self.controller.begin()
            await self.controller.ended.wait()
            self.counts["crash"] += 1
            await asyncio.sleep(RESTART)

    def abandon(self) -> None:
        """Nobody starts a controller any more."""
        if self._keeping is not None:
            self._keeping.cancel()

    async def rival(self, seconds: float, *, graceful: bool) -> None:
        """A second controller on another machine keeps the same fleet, too, for so long."""
        self.rivals += 1
        other = Controller(self, f"rival {self.rivals}", self.folder, Disk(), desk=f"desk-{self.rivals}")
        self.all.insert(0, other)
        other.begin()
        await asyncio.sleep(seconds)
        if graceful and other.keeper is not None and other.alive:
            other.life.cancel()
            await other.ended.wait()
        other.crash()

    # The operator.

    def declare(self, services: Mapping[str, Any], **rest: Any) -> None:
        """Write the desired state whole. JSON is YAML."""
        sparks = {
            name: {"host": spark.address, "user": spark.user, "reserve": 0, **rest.get("each", {})}
            for name, spark in self.sparks.items()
        }
        rest.pop("each", None)
        document = {"apiVersion": "sparkkeep/v1", "sparks": sparks, "services": dict(services), **rest}
        self.text = json.dumps(document, indent=1)
        self.write(self.text)

    def write(self, text: str) -> None:
        """A file in place of the old one."""
        from state.load import load_sources
        from state.sources import Source

        file = self.folder / "desired.yaml"
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(file)
        try:
            digest = load_sources((Source("desired.yaml", text.encode()),), ()).digest
            self.revision = f"sha256:{digest[:12]}"
        except Invalid:
            pass
        self._stir.set()

    async def docker(self, spark: str, *argv: str) -> str:
        """As a person would, on the Spark. It is not counted among what controllers do."""
        engine = self.sparks[spark].engine
        log = self.sparks[spark].console.docker
        own = type(log)(engine)
        out, error = Buffer(), Buffer()

        async def work() -> None:
            await own(Shell({}, engine.files, {}), ["docker", *argv], Io(Input(), out, error))

        if spark in self.off:
            return ""
        working = self.wires[spark].on_spark(work())
        await asyncio.wait({working}, timeout=PATIENCE)
        working.cancel()
        return out.text or error.text

    async def alive(self) -> None:
        """Until somebody keeps the fleet."""
        while self.controller is None or not self.controller.alive or self.controller.keeper is None:
            await asyncio.sleep(0.1)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def reboot(self, spark: str, seconds: float = 5.0) -> None:
        """Off and on again."""
        await self.power_off(spark)
        await asyncio.sleep(seconds)
        await self.power_on(spark)

    def heal(self, spark: str) -> None:
        """The link passes packets again, if there is a machine at its end."""
        if spark not in self.off:
            self.sparks[spark].faults.heal()

    async def power_off(self, spark: str) -> None:
        """As by pulling the plug."""
        if spark not in self.off:
            self.powered_off = True
            self.off.add(spark)
            await self.wires[spark].spawn(self.sparks[spark].faults.power_off())

    async def power_on(self, spark: str) -> None:
        """It boots."""
        if spark in self.off:
            self.off.discard(spark)
            await self.wires[spark].spawn(self.sparks[spark].faults.boot())

    async def calm(self, seconds: float = 900.0, *, approving: bool = False) -> None:
        """Until a controller sees nothing left to do, twice with a look at everything between. Raises AssertionError.

        `approving`: somebody agrees to what guards hold back.
        """
        end = self.loop.time() + seconds
        quiet, pause = 0, 0.25
        while quiet < 2:
            if self.loop.time() > end:
                raise AssertionError(f"not calm within {seconds:g} s: {self.picture()}")
            still = self.controller is not None and self.controller.still() and self.served()
            if not still:
                quiet = 0
                if approving:
                    self._approve()
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, 10.0)
                continue
            quiet += 1
            await self.look(1)

    def _approve(self) -> None:
        keeper = self.controller.keeper if self.controller is not None and self.controller.alive else None
        if keeper is not None and (plan := keeper.plan()).withheld:
            keeper.approve(plan.digest)

    def served(self) -> bool:
        """Whether every workload is as it should be, in the controller's own words."""
        assert self.controller is not None
        assert self.controller.status is not None
        found = self.controller.status.build()["workloads"].values()
        return all(
            (w["sync"] == "Synced" and w["health"] in {"Healthy", "Suspended"})
            or "suspended" in w["message"].lower()
            or any(c["type"] == "Ready" and c["reason"] == "OnDemand" for c in w["conditions"])
            for w in found
        )

    async def look(self, passes: int) -> None:
        """Have every Spark that answers looked at so often."""
        for _ in range(passes):
            controller = self.controller
            if controller is None or controller.keeper is None or not controller.alive:
                return
            before = {n: w.passes for n, w in controller.keeper.workers.items() if not w.sight.unknown}
            controller.keeper.wake_all()
            for _ in range(400):
                if not controller.alive or all(
                    controller.keeper.workers[n].passes > p
                    for n, p in before.items()
                    if n in controller.keeper.workers and not controller.keeper.workers[n].sight.unknown
                ):
                    break
                await asyncio.sleep(0.05)

    # Looking at the world itself.

    def containers(self, spark: str) -> dict[str, Container]:
        return {c.name: c for c in self.sparks[spark].engine.containers.values()}

    def ours(self, spark: str) -> dict[str, Container]:
        return {n: c for n, c in self.containers(spark).items() if c.spec.labels.get(OWNER) == "sparkkeep"}

    def commands(self, spark: str) -> list[tuple[str, ...]]:
        """Every docker command of controllers that does more than look."""
        return [c.argv for c in self.sparks[spark].commands if len(c.argv) > 1 and c.argv[1] not in READS]

    def picture(self) -> str:
        lines = [""]
        if self.controller is not None and self.controller.status is not None and self.controller.alive:
            built = self.controller.status.build()
            lines += [f"{n}: {w['sync']} {w['health']} {w['message']}" for n, w in built["workloads"].items()]
            lines += [f"{n}: {s['reason']} {s['message']}" for n, s in built["sparks"].items()]
        for spark in self.sparks:
            lines += [f"{spark} has {n}: {c.spec.image} {c.state}" for n, c in self.containers(spark).items()]
            lines += [f"{spark} ran {' '.join(argv[:4])}" for argv in self.commands(spark)[-6:]]
        return "\n  ".join(lines)

    async def close(self) -> None:
        self.abandon()
        if self._keeping is not None:
            await asyncio.gather(self._keeping, return_exceptions=True)
        for controller in self.all:
            controller.crash()
        for wire in self.wires.values():
            await wire.close()


Story = Callable[[Sim], Coroutine[Any, Any, None]]


def play(story: Story, **settings: Any) -> Sim:
    """Tell one story in a world of its own, and give what is left of it."""
    loop = VirtualLoop()
    mortal(loop)
    folder = Path(tempfile.mkdtemp(prefix="sparkkeep-sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))

    made = list[Sim]()

    async def told() -> Sim:
        sim = Sim(loop, folder, **settings)
        made.append(sim)
        try:
            await story(sim)
        finally:
            await sim.close()
        return sim

    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what goes wrong here is meant to
    before, sys.unraisablehook = sys.unraisablehook, lambda _: None  # tasks of a machine without power end unasked
    try:
        with patch("reconciler.scan.secrets.token_hex", lambda size: "5eed" * (size // 2)):
            return loop.run_until_complete(told())
    finally:
        _bury(made[0] if made else None, loop)
        if made and made[0].powered_off:
            gc.collect()  # what such a machine left behind goes now, and not in the middle of another test
        sys.unraisablehook = before
        logging.disable(disabled)
        shutil.rmtree(folder, ignore_errors=True)


def _bury(sim: Sim | None, loop: VirtualLoop) -> None:
    """What of the world still goes on ends; the dead leave tasks that never do."""
    while rest := [task for task in asyncio.all_tasks(loop) if not isinstance(task.get_coro(), Mortal)]:
        for task in rest:  # one that ends may begin another, as a restart policy does
            task.cancel()
        loop.run_until_complete(_ended(rest))
    loop.close()
    for controller in sim.all if sim is not None else ():
        controller.bury()


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
