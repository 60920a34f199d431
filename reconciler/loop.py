"""The loop: one worker per Spark, one picture of the world, one planner for all.

The loop owns what the workers share: the target (rebuilt when the declarations, a placement or a person's
override change), the ledger of failures, and the record of what happened. It holds no truth of its own: kill
it at any moment, start it again, and it reads everything back from the Sparks.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Self

from reconciler.access import Shown
from reconciler.act import Report, Result
from reconciler.binding import bind_floating, floats
from reconciler.companions import companions
from reconciler.demand import Demand, Outlook, State
from reconciler.draining import Traffic
from reconciler.fleet import Fleet
from reconciler.groups import LOOK_FIRST
from reconciler.history import History
from reconciler.home import Bringer, Nobody
from reconciler.hosts import Host
from reconciler.knowledge import Knowledge, network
from reconciler.lease import Identity, Lease
from reconciler.leaseholder import Leaseholder
from reconciler.ledger import Ledger
from reconciler.meters import Meters
from reconciler.model import NO_WISH, OWNER, Container, Failure, Held, Instance, Key, Plan, Sight, Step, Verb, World
from reconciler.on_demand import unused
from reconciler.outlook import outlook
from reconciler.place import Placements
from reconciler.plan import approvals, part, plan
from reconciler.preflight.tables import Table
from reconciler.rolling import ROLLING
from reconciler.standings import standing
from reconciler.surveyor import Surveyor
from reconciler.target import Bound, Overrides, Target, build
from reconciler.worker import Worker
from state.contexts import Context
from state.desired import Settings, Spark
from state.journal import Journal, Override
from state.load import Loaded
from state.mods import Mod
from state.recipes import Recipe
from state.store import DesiredStore

log = logging.getLogger("sparkkeep.loop")

MODS_EVERY: Final = 30.0  # seconds
ENDING: Final = frozenset({Verb.STOP, Verb.RESTART, Verb.REMOVE})
LATE: Final = 0.05  # seconds after a moment by which it has surely passed
HostFactory = Callable[[str, Spark], Host]


class PlanMoved(Exception):
    """The plan that was approved is not the plan any more."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("the world moved since this plan was made: look at the new one")
        self.plan = plan


class Loop:
    """Keeps all declared Sparks. Use as `async with Loop(...) as loop`."""

    def __init__(
        self,
        store: DesiredStore,
        journal: Journal,
        connect: HostFactory,
        *,
        secret: Callable[[str], str],
        rng: random.Random | None = None,
        now: Callable[[], float] = time.time,
        surveys: bool = False,
        mods: Sequence[Path] = (),
        contexts: Sequence[Path] = (),
        identity: Identity | None = None,
        meters: Meters | None = None,
    ) -> None:
        """With `surveys` the disks of the Sparks are looked through too, now and then.

        For `mods` and `contexts` see `Knowledge`. `identity` is who takes the leases of the Sparks; without one they
        are shared with nobody.
        """
        self.store = store
        self.meters = meters or Meters()
        self._surveys = surveys
        self.history = History(journal)
        self._connect = connect
        self._identity = identity
        self._secret = secret
        self._rng = rng or random.SystemRandom()
        self.now = now
        self._ledger = Ledger(
            self._rng,
            longest=lambda: self._settings.longest_backoff,
            forgets=lambda: self._settings.forget_failures,
        )
        self._shown = Shown(secret)
        self.demand = Demand(_clock, self._demanded)
        self.traffic = Traffic(_clock, self._free)
        self._left: dict[str, tuple[Held, ...]] = {}  # what the last pass of each Spark left alone
        self._fleet = Fleet(self._hire)
        self.workers: Mapping[str, Worker] = self._fleet.workers
        self.epoch = 0
        self._placements = Placements(on={}, waiting={})
        self._floating = False  # whether a Spark is to be found for anything
        self._across = False  # whether anything spans Sparks
        self.knowledge = Knowledge(mods, contexts)
        self.bringer: Bringer = Nobody()
        self._folders_of: tuple[Loaded, list[Recipe]] | None = None  # of what was declared: who names folders here
        self._target: Target | None = None
        self._bound: Mapping[str, Bound] = {}  # what the last target was made of
        self._approved: frozenset[str] = frozenset()
        self._restarts: dict[str, float] = {}
        self._led: frozenset[str] = frozenset()
        self._guarded = False  # whether the last plan kept something back
        self.told: set[Callable[[], None]] = set()  # called at once when something may answer now, or no longer
        self.leaving: set[Key] = set()  # instances that a command ends now; until the next look

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="follow the desired state")
        await self.knowledge.read(self._with_folders())
        self.declared()
        self._reading = asyncio.create_task(self._follow_folders(), name="read mods and build contexts")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        self._reading.cancel()
        await asyncio.gather(self._following, self._reading, return_exceptions=True)
        await self._fleet.close()

    async def finish(self, grace: float) -> None:
        """Before the end: begin nothing new, and give the commands under way up to `grace` seconds."""
        await self._fleet.finish(grace)

    async def _follow(self) -> None:
        with self.store.subscribe() as changes:
            async for _ in changes:
                await self.knowledge.read(self._with_folders())
                self.declared()

    async def _follow_folders(self) -> None:
        """Files of mods and of build contexts change without a word."""
        while True:
            await asyncio.sleep(MODS_EVERY)
            await self.read_folders()

    async def read_folders(self) -> None:
        """Read the declared mods and build contexts again: another content is another target."""
        if await self.knowledge.read(self._with_folders()):
            self._wanted_changed()
            self.wake_all()

    def _with_folders(self) -> list[Recipe]:
        """Asked for time and again, and the same for as long as the same is declared."""
        loaded = self.store.current.loaded
        if self._folders_of is None or self._folders_of[0] is not loaded:
            self._folders_of = loaded, [recipe for recipe in self._recipes() if recipe.mods or recipe.build]
        return self._folders_of[1]

    # What people declared.

    @property
    def _settings(self) -> Settings:
        """Those in force. Whoever needs one asks for it when it is needed, so that a change counts at once."""
        return self.store.current.loaded.desired.settings

    def declared(self) -> None:
        """The desired state changed: hold the workers of the Sparks that it names, and look at all of them."""
        desired = self.store.current.loaded.desired
        self._fleet.declared(desired.sparks, desired.settings.owner)
        self._wanted_changed()
        self.knowledge.seen(desired.sparks, self._fleet.sights())
        declarations = self.store.current.loaded.resolved.values()
        self._floating = any(map(floats, declarations))
        self._across = any(declaration.workload.across for declaration in declarations)
        names = set(self.store.current.loaded.resolved)
        self._placements = Placements(
            on={name: spark for name, spark in self._placements.on.items() if name in names}, waiting={}
        )
        self.history.declared(self.store.current, self.store.problems)
        self.demand.declared({d.name for d in declarations if d.workload.run == "on-demand"})
        self._tidy()
        self._resettled()
        self._surveyed()
        self.wake_all()

    def _resettled(self) -> None:
        """What waits under an old setting waits no longer than the new one says."""
        self._ledger.shorten()
        for worker in self.workers.values():
            if worker.surveyor is not None:
                worker.surveyor.sooner()

    def _wanted_changed(self) -> None:
        self._target = None
        self.epoch += 1
        self._tell()

    def _tell(self) -> None:
        """Let those know who follow what answers."""
        for heard in tuple(self.told):
            heard()

    def _hire(self, name: str, spark: Spark) -> Worker:
        host = self._connect(name, spark)
        return Worker(
            name,
            host,
            self,
            self._ledger,
            interval=lambda: self._settings.scan_interval,
            rng=self._rng,
            now=self.now,
            surveyor=self._surveyor(name) if self._surveys else None,
            lease=self._leaseholder(name, host),
            meters=self.meters,
        )

    def _surveyor(self, name: str) -> Surveyor:
        return Surveyor(
            name,
            recipes=self._recipes,
            every=lambda: self._settings.survey_interval,
            now=self.now,
            told=self._surveyed,
        )

    def _leaseholder(self, name: str, host: Host) -> Leaseholder | None:
        if self._identity is None:
            return None
        owner = self._settings.owner
        told = partial(self.leased, name)
        return Leaseholder(name, owner, self._identity, host, rng=self._rng, now=self.now, told=told)

    def _recipes(self) -> Iterable[Recipe]:
        return [declaration.recipe for declaration in self.store.current.loaded.resolved.values()]

    def _surveyed(self) -> None:
        """What lies on the disks decides about memory that no recipe states, about places, and about groups."""
        surveys = {name: w.surveyor.seen.survey for name, w in self.workers.items() if w.surveyor is not None}
        if self.knowledge.surveyed(self.store.current.loaded.resolved.values(), surveys) or self.bringer.waiting:
            self._target = None
            self.wake_all()

    def _tidy(self) -> None:
        target = self.target()
        keys = {(i.workload, i.spark) for found in target.instances.values() for i in found}
        seen = {container.id for container in self._fleet.containers()}
        self._ledger.keep_only(keys, seen)
        self._shown.keep_only(keys)
        self.meters.keep_only(self.workers.keys(), set(self.store.current.loaded.resolved))
        self._left = {spark: held for spark, held in self._left.items() if spark in self.workers}
        self.traffic.keep_only(self.workers.keys())
        self._approved &= seen
        self._led &= seen
        self._restarts = {container: at for container, at in self._restarts.items() if container in seen}

    # The picture that plans are made from.

    def target(self) -> Target:
        """What should run where, now."""
        if self._target is None:
            current = self.store.current
            self._target = build(
                current.loaded.desired,
                current.loaded.resolved.values(),
                revision=current.revision,
                generations=self.store.generations_of(),
                overrides=self.overrides(),
                placements=self._placements,
                known=self.knowledge.known(self.history.peaks()),
                before=self._bound,
            )
            self._bound = self._target.bound
        return self._target

    def overrides(self) -> Overrides:
        """What people asked for by verbs, as the journal keeps it."""
        return self.history.overrides()

    def world(self, spark: str = "", *, lenient: bool = False) -> World:
        """Everything else that a plan depends on; with a name, as far as it concerns that Spark."""
        workers = self.workers if not spark else {name: self.workers[name] for name in [spark] if name in self.workers}
        return World(
            sights={name: worker.sight for name, worker in workers.items()},
            now=self.now(),
            failures=self._ledger.failures,
            probes={key: result for worker in workers.values() for key, result in worker.prober.results.items()},
            loads={key: words for worker in workers.values() for key, words in worker.loads.words.items()},
            pulling=frozenset((name, image) for name, worker in workers.items() for image in worker.pulling),
            building=frozenset((name, image) for name, worker in workers.items() for image in worker.building),
            restarts=self._restarts,
            approved=self._approved,
            led=self._led,
            lenient=lenient,
            leases={name: lease for name, worker in workers.items() if (lease := worker.lease.lease)},
            commits=self.knowledge.commits,
            weights=self.bringer.lacks(),
            answers=self.knowledge.answers.known,
            asking=frozenset((name, *asked) for name, worker in workers.items() for asked in worker.asking),
            wishes=self.demand.wishes(),
            clock=_clock(),
            returning={name: back for name, worker in workers.items() if (back := worker.returning)},
            under_way=dict(self.traffic.under_way),
            draining=self.traffic.draining,
            stopping=frozenset(self.leaving),
        )

    def plan(self, looking: str = "") -> Plan:
        """The plan for the whole fleet, from what is known now; or that part of it which a pass of `looking` needs."""
        self._place()
        target = self.target()
        for instance, failure in self._shown.renew(looking, target, self._ledger, self.now()):
            self.history.renewed(instance, failure)
        if looking:
            found = part(target, self.world, looking)
            self._guarded = self._guarded or bool(found.withheld)
        else:
            found = plan(target, self.world(lenient=True))
            self._guarded = bool(found.withheld)
        if looking and target.groups:
            self._rouse(found, {group[0].workload for group in target.groups}, looking)
        return found

    def _rouse(self, found: Plan, grouped: set[str], looking: str) -> None:
        """Ranks depend on each other's Sparks: what a look at one makes possible on another begins there now."""
        due = {step.spark for step in found.steps if step.workload in grouped}
        due |= {held.spark for held in found.held if held.reason == LOOK_FIRST}
        self._fleet.hint(due - {looking})

    def _place(self) -> None:
        """Find a Spark for each `on: any`; the target is rebuilt only if one moved."""
        if not self._floating:
            return
        found = bind_floating(
            self.store.current.loaded,
            self.target(),
            self._fleet.sights(),
            self._placements.on,
            holding=self.knowledge.holding,
            files=self.knowledge.files,
            wishes=self.demand.wishes(),
            world=self.world,
        )
        if found is not None and found != self._placements:
            self._placements = found
            self._target = None
            self._tell()
            self.wake_all()

    # What people ask for.

    def approve(self, digest: str) -> Plan:
        """Release what a guard holds back in exactly this plan. Raises PlanMoved if it is not the plan any more."""
        current = self.plan()
        if current.digest != digest:
            raise PlanMoved(current)
        self._approved |= approvals(current.withheld)
        self.history.approved(current)
        self.wake_all()
        return current

    def restart(self, workload: str) -> None:
        """Restart every container of a workload once."""
        for container in self._fleet.containers():
            if self.owns(container) and container.workload == workload:
                self._restarts[container.id] = container.started_at
        self._ledger.forget_workload(workload)
        if self._on_demand(workload):
            self.demand.touch(workload)
        self.wake_all()

    def reset_backoff(self, workload: str) -> None:
        """Forget failures: try again now."""
        self._ledger.forget_workload(workload)
        self.bringer.again(workload)
        self.wake_all()

    def override(self, verb: Override, name: str, *, on: bool, by: str) -> None:
        """Suspend a workload, cordon or drain a Spark, or undo it."""
        self.history.override(verb, name, on=on, by=by)
        self._wanted_changed()
        self.wake_all()

    def hurry(self, name: str) -> None:
        """A person mended something about this Spark: try to reach it now, not when its pause is over."""
        self.workers[name].hurry()

    def wake_all(self) -> None:
        """Look at every Spark now."""
        self._fleet.wake(self.workers)

    # What apps ask for (`demand.Demand`).

    def _on_demand(self, workload: str) -> bool:
        bound = self.target().bound.get(workload)
        return bound is not None and bound.declaration.workload.run == "on-demand"

    def _demanded(self, workload: str) -> None:
        """The demand of a workload changed: look at its Sparks now, or at all where one is to be found for it."""
        if not self._on_demand(workload):
            return
        if self.demand.asked(workload) and self.outlook(workload).state is not State.READY:
            self.history.asked(workload)
        bound = self.target().bound[workload]
        if floats(bound.declaration) or not bound.instances:
            self.wake_all()
        else:
            self._fleet.wake(sorted({i.spark for i in bound.instances}))

    def outlook(self, workload: str) -> Outlook:
        """What becomes of a workload that somebody wants: from what is known now, without a plan."""
        target = self.target()
        bound = target.bound.get(workload)
        if bound is None:
            return Outlook(state=State.REFUSED, reason="NotDeclared", message=f"{workload} is not declared")
        return outlook(
            [
                standing(
                    i,
                    target,
                    self.workers,
                    self._ledger.failures,
                    self._left,
                    self.past,
                    self.leaving,
                    self.traffic.draining,
                )
                for i in bound.instances
                if i.spark in self.workers  # one that was declared this moment has no worker yet
            ],
            self.demand.wishes().get(workload, NO_WISH),
            next(iter(bound.refused), None),
            suspended=workload in target.suspended,
        )

    # What workers ask of the loop (`home.Home`).

    def stands(self, step: Step) -> bool:
        """Whether a step is still right at this moment: who uses what it stops, or waits for it, may have come."""
        return self.demand.allows(step) and self.traffic.allows(step, self.target().drain)

    def planned(self, spark: str, plan: Plan) -> None:
        """What a pass of this Spark is about to do: what it drains is offered to nobody from now on."""
        if self.traffic.passed(spark, plan):
            self._tell()

    def _free(self, key: Key) -> None:
        """What is being drained has ended its last request."""
        self._fleet.wake(self.traffic.waited_for_by(key))

    def unused_in(self, spark: str) -> float | None:
        """Seconds until something there has been unused for long enough to be stopped."""
        probes, wishes, clock = self.workers[spark].prober.results, self.demand.wishes(), _clock()
        resting = [i for i in self.instances(spark) if i.idle is not None and i.workload in wishes]
        waits = [
            (i.idle or 0.0) - unused(wishes[i.workload], probes.get((i.workload, spark)), clock, self.now())
            for i in resting
            if not wishes[i.workload].busy
        ]
        return min((wait + LATE for wait in waits if wait > 0), default=None)

    def instances(self, spark: str) -> tuple[Instance, ...]:
        """What should be on this Spark."""
        return self.target().instances.get(spark, ())

    def owns(self, container: Container) -> bool:
        """Whether a container is ours to act on."""
        return container.labels.get(OWNER) == self.target().owner

    def secret(self, name: str) -> str:
        """The value of a secret. Raises SecretRefused."""
        return self._secret(name)

    def mod(self, digest: str) -> Mod | None:
        """The mod of this content, if it is wanted."""
        return self.knowledge.mods.content(digest)

    def context(self, digest: str) -> Context | None:
        """The build context of this content, if it is wanted."""
        return self.knowledge.contexts.content(digest)

    def begun(self, step: Step) -> int:
        """A step is about to run."""
        if step.verb in ENDING:
            bound = self.target().bound.get(step.workload)
            ranks = bound.instances if bound is not None and bound.grouped else ()  # a group without one is none
            self.leaving |= {(step.workload, step.spark), *((i.workload, i.spark) for i in ranks)}
            self._tell()
        self._shown.begun(step)
        return self.history.begun(step, self.target().revision)

    def done(self, action: int, step: Step, report: Report) -> None:
        """A step has run, or nobody knows."""
        if report.result is Result.DONE and step.destructive:
            self._approved -= {step.container}
        self.history.done(action, step, report)

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark was looked at, or was lost."""
        self.leaving = {key for key in self.leaving if key[1] != spark}
        self._tell()
        self.history.saw(spark, before, after)
        sparks = self.store.current.loaded.desired.sparks
        if network(before) != network(after) and self.knowledge.seen(sparks, self._fleet.sights()):
            self._target = None
            if self._across:  # ranks get each other's addresses
                self._fleet.hint_others(spark)
        if bool(before.unknown) != bool(after.unknown) and self._counts_sparks():
            self._fleet.hint_others(spark)
        elif groups := self.target().groups:
            names, led = companions(groups, self._fleet.sights(), spark, before, after)
            self._led |= led
            self._fleet.hint(names)

    def _counts_sparks(self) -> bool:
        """Whether anything waits for how many Sparks answer: a place that is looked for, or what a guard keeps back."""
        return bool(self._placements.on or self._placements.waiting or self._guarded)

    def leased(self, spark: str, before: Lease, after: Lease) -> None:
        """Who may act on a Spark, or what is known of it, has changed."""
        self.history.leased(spark, before, after)

    def answered(self, engine: str, image: str, table: Table | None) -> None:
        """An image has said which flags it knows, or that it can't say."""
        self.knowledge.answers.keep(engine, image, table)
        self.wake_all()

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance did not come up, or did not stay up."""
        self.history.failed(instance, failure)

    def started(self, instance: Instance, seconds: float, peak: int) -> None:
        """A model answers for the first time since its start."""
        self.history.started(instance, seconds, peak)
        self.meters.answers(instance.workload, seconds)

    def past(self, key: Key) -> Sequence[float]:
        """How long earlier starts took, in seconds."""
        return self.history.past(key)

    def probed(self, key: Key) -> None:
        """What an instance answers to its probes has turned."""
        self._tell()
        self._fleet.hint(
            s
            for s, left in self._left.items()
            if left and any(h.reason == ROLLING and h.workload == key[0] for h in left)
        )

    def reasons(self, spark: str, held: Iterable[Held]) -> None:
        """What was left alone on a Spark, and why."""
        self._left[spark] = tuple(held)
        self.history.reasons(spark, tuple(held))
        self.bringer.asked(spark, tuple(held))


def _clock() -> float:
    return asyncio.get_running_loop().time()
