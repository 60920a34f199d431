"""Deep health: a question to everything, now and then and on demand, and a report that a person can act on.

Every workload that should serve is asked its canary, in line with the prober's own; every Spark some commands that
change nothing; and sparkkeep looks at itself. Nothing is started, stopped or written but a mark in the journal. A run
is bounded in time, and there is one at a time: who asks while one goes on gets that one's report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, Final, Self

from reconciler.deep_self import own
from reconciler.deep_spark import SparkCheck
from reconciler.findings import Finding, Report, answered, unasked, unplaced
from reconciler.linkdown import LinkDown
from reconciler.loop import Loop
from reconciler.model import Instance, Plan
from reconciler.target import Target
from reconciler.verdict import Verdict, Verdicts
from state.follow import Follow
from state.journal import Event, Kind
from state.secrets import Secrets

LIMIT: Final = 120.0  # seconds for a whole run
CANARY: Final = 30.0  # seconds for one answer of a model
AGAIN: Final = 60.0  # seconds after a run that failed by a mistake of ours

log = logging.getLogger("sparkkeep.health")
Checking = tuple[Finding, Coroutine[Any, Any, list[Finding]]]  # what to say if time is up, and the check


class DeepHealth:
    """Use as `async with`: until its end it keeps to the schedule of the settings."""

    def __init__(
        self,
        loop: Loop,
        *,
        secrets: Secrets | None = None,
        follow: Callable[[], Follow | None] = lambda: None,
        limit: float = LIMIT,
    ) -> None:
        self.last: Report | None = None
        self.next_at: float | None = None
        self._loop = loop
        self._secrets = secrets
        self._follow = follow
        self._limit = limit
        self._run: asyncio.Task[Report] | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep(), name="deep health")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [task for task in (self._keeping, self._run) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def running(self) -> bool:
        """A run is under way."""
        return self._run is not None and not self._run.done()

    async def check(self, by: str) -> Report:
        """Run it, or wait for the run under way."""
        if self._run is None or self._run.done():
            self._run = asyncio.create_task(self._check(by), name="deep health run")
        return await asyncio.shield(self._run)

    async def _keep(self) -> None:
        """Keep to the schedule, whatever it is by then."""
        clock = asyncio.get_running_loop().time
        last = clock()
        with self._loop.store.subscribe() as changes:
            while True:
                every = self._loop.store.current.loaded.desired.settings.deep_health_every
                left = last + every - clock()
                self.next_at = self._loop.now() + max(0.0, left) if every else None
                if not every or left > 0:
                    await changes.wait(left if every else None)
                    continue
                try:
                    await self.check("the schedule")
                except Exception:  # the root of this task
                    log.exception("a run of deep health failed")
                last = clock()

    async def _check(self, by: str) -> Report:
        loop, clock = self._loop, asyncio.get_running_loop().time
        at, began = loop.now(), clock()
        self._tell("Normal", "DeepHealthStarted", f"asked for by {by}")
        checks = {asyncio.create_task(work): late for late, work in self._checks()}
        try:
            done, late = await asyncio.wait(checks, timeout=self._limit)
        finally:
            for task in checks:
                task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        found = [finding for task in checks if task in done for finding in task.result()]
        found += [checks[task] for task in checks if task in late]
        found += self._unplaced()
        order = ("sparkkeep", "spark", "workload")
        found.sort(key=lambda finding: (order.index(finding.kind), finding.name, finding.spark))
        report = self.last = Report(at=at, seconds=round(clock() - began, 3), by=by, findings=tuple(found))
        good = report.healthy
        self._tell("Normal" if good else "Warning", "DeepHealthPassed" if good else "DeepHealthFailed", str(report))
        return report

    def _tell(self, kind: Any, reason: str, message: str) -> None:
        event = Event(kind=Kind.SELF, name="deep-health", type=kind, reason=reason, message=message)
        self._loop.history.journal.record(event)

    def _checks(self) -> Iterator[Checking]:
        loop = self._loop
        yield self._late("sparkkeep", "sparkkeep", ""), own(loop, self._secrets, self._follow())
        plan, target = loop.plan(), loop.target()
        verdicts = Verdicts(target, loop.world(), plan)
        for name, worker in loop.workers.items():
            instances = target.instances.get(name, ())
            asked = SparkCheck(
                name,
                worker.host,
                clock=asyncio.get_running_loop().time,
                now=loop.now,
                gpu=any(instance.spec.gpus for instance in instances),
                lease=worker.lease.lease,
            )
            yield self._late("spark", name, name), self._spark(name, asked)
            for instance in instances:
                late = self._late("workload", instance.workload, name)
                yield late, self._instance(instance, verdicts.on(instance))

    def _late(self, kind: Any, name: str, spark: str) -> Finding:
        message = f"it was not checked within {self._limit:g} s"
        return Finding(kind=kind, name=name, spark=spark, check="all", outcome="failed", message=message)

    async def _spark(self, name: str, asked: SparkCheck) -> list[Finding]:
        sight = self._loop.workers[name].sight
        if sight.unknown:
            message = sight.message or sight.unknown
            return [Finding(kind="spark", name=name, spark=name, check="ssh", outcome="failed", message=message)]
        return await asked.findings()

    async def _instance(self, instance: Instance, verdict: Verdict) -> list[Finding]:
        if (found := unasked(instance, verdict)) is not None:
            return [found]
        clock = asyncio.get_running_loop().time
        spec = instance.probe
        bounded = replace(spec, canary_timeout=min(spec.canary_timeout, CANARY), timeout=min(spec.timeout, CANARY))
        began = clock()
        try:
            answer = await self._loop.workers[instance.spark].prober.check(bounded)
        except LinkDown as down:
            return [replace(self._late("workload", instance.workload, instance.spark), message=down.message)]
        return [
            answered(
                instance, verdict, ready=answer.ready, busy=answer.busy, message=answer.message, took=clock() - began
            )
        ]

    def _unplaced(self) -> list[Finding]:
        """What should run and is nowhere."""
        plan, target = self._loop.plan(), self._loop.target()
        return [unplaced(name, plan.held) for name in _homeless(self._loop, target, plan)]


def _homeless(loop: Loop, target: Target, plan: Plan) -> Iterator[str]:
    placed = {instance.workload for instances in target.instances.values() for instance in instances}
    held = {each.workload for each in plan.held if each.reason != "OnDemand"}
    for name, declaration in loop.store.current.loaded.resolved.items():
        if name not in placed and name in held and declaration.workload.run == "always":
            yield name
