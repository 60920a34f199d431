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
from collections.abc import Callable, Iterable
from typing import Self

from reconciler.act import Report, Result
from reconciler.binding import bind_floating
from reconciler.history import History
from reconciler.hosts import Host
from reconciler.ledger import Ledger
from reconciler.model import OWNER, Container, Failure, Held, Instance, Plan, Sight, Step, World
from reconciler.place import Placements
from reconciler.plan import approvals, plan
from reconciler.target import Overrides, Target, build
from reconciler.worker import Worker
from state.desired import Spark
from state.journal import Journal, Override
from state.store import DesiredStore

log = logging.getLogger("sparkkeep.loop")

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
    ) -> None:
        self.store = store
        self.history = History(journal)
        self._connect = connect
        self._secret = secret
        self._rng = rng or random.SystemRandom()
        self.now = now
        self._ledger = Ledger(self._rng)
        self.workers: dict[str, Worker] = {}
        self.epoch = 0
        self._ways: dict[str, tuple[object, ...]] = {}  # how each Spark is reached
        self._placements = Placements(on={}, waiting={})
        self._target: Target | None = None
        self._approved: frozenset[str] = frozenset()
        self._restarts: dict[str, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._following = asyncio.create_task(self._follow(), name="follow the desired state")
        self.declared()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self.workers.values()), *self._closing)
        self.workers.clear()

    async def finish(self, grace: float) -> None:
        """Before the end: begin nothing new, and give the commands under way up to `grace` seconds."""
        await asyncio.gather(*(worker.finish(grace) for worker in self.workers.values()))

    async def _follow(self) -> None:
        with self.store.subscribe() as changes:
            async for _ in changes:
                self.declared()

    # What people declared.

    def declared(self) -> None:
        """The desired state changed: hold the workers of the Sparks that it names, and look at all of them."""
        desired = self.store.current.loaded.desired
        ways = {name: _way(spark, desired.settings.owner) for name, spark in desired.sparks.items()}
        leaving = {name: self._dismiss(name) for name in list(self.workers) if self._ways[name] != ways.get(name)}
        for name, way in ways.items():
            if name not in self.workers:
                self._hire(name, desired.sparks[name], after=leaving.get(name))
                self._ways[name] = way
        self._wanted_changed()
        names = set(self.store.current.loaded.resolved)
        self._placements = Placements(
            on={name: spark for name, spark in self._placements.on.items() if name in names}, waiting={}
        )
        self.history.declared(self.store.current, self.store.problems)
        self._tidy()
        self.wake_all()

    def _wanted_changed(self) -> None:
        self._target = None
        self.epoch += 1

    def _hire(self, name: str, spark: Spark, *, after: asyncio.Task[None] | None) -> None:
        worker = Worker(
            name,
            self._connect(name, spark),
            self,
            self._ledger,
            interval=lambda: self.store.current.loaded.desired.settings.scan_interval,
            rng=self._rng,
            now=self.now,
        )
        self.workers[name] = worker
        worker.start(after)

    def _dismiss(self, name: str) -> asyncio.Task[None]:
        """The Spark is no longer declared, or is reached in another way: nothing on it is touched."""
        worker = self.workers.pop(name)
        self._ways.pop(name)
        task = asyncio.create_task(worker.close(), name=f"{name} close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    def _tidy(self) -> None:
        target = self.target()
        keys = {(i.workload, i.spark) for found in target.instances.values() for i in found}
        seen = {c.id for w in self.workers.values() if w.sight.scan for c in w.sight.scan.containers}
        self._ledger.keep_only(keys, seen)
        self._approved &= seen
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
            )
        return self._target

    def overrides(self) -> Overrides:
        """What people asked for by verbs, as the journal keeps it."""
        return self.history.overrides()

    def world(self) -> World:
        """Everything else that a plan depends on."""
        return World(
            sights={name: worker.sight for name, worker in self.workers.items()},
            now=self.now(),
            failures=self._ledger.failures,
            probes={key: result for worker in self.workers.values() for key, result in worker.prober.results.items()},
            pulling=frozenset((name, image) for name, worker in self.workers.items() for image in worker.pulling),
            restarts=self._restarts,
            approved=self._approved,
        )

    def plan(self) -> Plan:
        """The plan for the whole fleet, from what is known now."""
        self._place()
        return plan(self.target(), self.world())

    def _place(self) -> None:
        """Find a Spark for each `on: any`; the target is rebuilt only if one moved."""
        sights = {name: worker.sight for name, worker in self.workers.items()}
        found = bind_floating(self.store.current.loaded, self.target(), sights, self._placements.on)
        if found is not None and found != self._placements:
            self._placements = found
            self._target = None
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
        for worker in self.workers.values():
            for container in worker.sight.scan.containers if worker.sight.scan else ():
                if self.owns(container) and container.workload == workload:
                    self._restarts[container.id] = container.started_at
        self._ledger.forget_workload(workload)
        self.wake_all()

    def reset_backoff(self, workload: str) -> None:
        """Forget failures: try again now."""
        self._ledger.forget_workload(workload)
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
        for worker in self.workers.values():
            worker.due.now()

    # What workers ask of the loop (`worker.Home`).

    def instances(self, spark: str) -> tuple[Instance, ...]:
        """What should be on this Spark."""
        return self.target().instances.get(spark, ())

    def owns(self, container: Container) -> bool:
        """Whether a container is ours to act on."""
        return container.labels.get(OWNER) == self.target().owner

    def secret(self, name: str) -> str:
        """The value of a secret. Raises SecretRefused."""
        return self._secret(name)

    def begun(self, step: Step) -> int:
        """A step is about to run."""
        return self.history.begun(step, self.target().revision)

    def done(self, action: int, step: Step, report: Report) -> None:
        """A step has run, or nobody knows."""
        if report.result is Result.DONE and step.destructive:
            self._approved -= {step.container}
        self.history.done(action, step, report)

    def saw(self, spark: str, before: Sight, after: Sight) -> None:
        """A Spark was looked at, or was lost."""
        self.history.saw(spark, before, after)
        if bool(before.unknown) != bool(after.unknown):
            self._wake_others(spark)

    def _wake_others(self, spark: str) -> None:
        """Placements and guards depend on how many Sparks answer."""
        for name, worker in self.workers.items():
            if name != spark:
                worker.due.hint()

    def failed(self, instance: Instance, failure: Failure) -> None:
        """An instance did not come up, or did not stay up."""
        self.history.failed(instance, failure)

    def reasons(self, spark: str, held: Iterable[Held]) -> None:
        """What was left alone on a Spark, and why."""
        self.history.reasons(spark, tuple(held))


def _way(spark: Spark, owner: str) -> tuple[object, ...]:
    """How a Spark is reached and whose containers are ours: another way takes another worker."""
    return (spark.host, spark.user, spark.port, spark.key, spark.jump, spark.trust, spark.socket, owner)
