"""The weights of all Sparks, as people handle them: fetching, and deleting what nothing needs.

One per process, beside the loop: it asks the loop which Sparks there are, what is declared and what runs, and writes
into its journal what it does to a Spark.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final, Literal, Self

from reconciler.fabric import fabrics
from reconciler.hosts import Host
from reconciler.loop import Loop
from reconciler.weights import collection
from reconciler.weights.ahead import Ahead
from reconciler.weights.cache import Want
from reconciler.weights.collection import Collected, Needs, PlanChanged, SparkPlan
from reconciler.weights.failures import gib
from reconciler.weights.fetch import fetch
from reconciler.weights.fetches import Bring, Fetches, Fetching, State
from reconciler.weights.gc import GcPlan
from reconciler.weights.peer import Peer
from state.journal import Event, Kind
from state.secrets import SecretRefused

HUB_TOKEN: Final = "hf"  # noqa: S105  # the secret's name


class LoopFleet:
    """`reconciler.weights.fetches.Fleet` of a running loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def host(self, spark: str) -> Host:
        """A Spark. Raises KeyError if it is not declared."""
        return self._loop.workers[spark].host

    def token(self) -> str:
        """The value of the secret `hf`; nothing where there is none, or none that is fit to be used."""
        try:
            return self._loop.secret(HUB_TOKEN)
        except SecretRefused:
            return ""

    def peers(self, spark: str, want: Want) -> Sequence[Peer]:
        """Sparks that answer, whose last survey found the revision whole, and that have an address in the fabric."""
        declared = self._loop.store.current.loaded.desired.sparks
        workers = self._loop.workers
        known = fabrics(declared, {name: worker.sight for name, worker in workers.items()})
        return [
            Peer(name, worker.host, known[name].address)
            for name, worker in sorted(workers.items())
            if name != spark and not worker.sight.unknown and self._has(name, want)
            if name in known and known[name].address
        ]

    def _has(self, spark: str, want: Want) -> bool:
        surveyor = self._loop.workers[spark].surveyor
        survey = surveyor.seen.survey if surveyor is not None else None
        models = [model for model in survey.models if model.repo == want.repository] if survey is not None else []
        revisions = [revision for model in models for revision in model.revisions]
        return any(r.complete and want.revision in {r.commit, *r.refs} for r in revisions)

    def began(self, fetching: Fetching) -> int:
        """Note that a fetch begins."""
        want, by = fetching.want, f"weights fetch, asked for by {fetching.by or 'somebody'}"
        launch = f"{fetching.workload} is to start on {fetching.spark}, and its weights are not whole there"
        return self._loop.history.journal.begin_action(
            spark=fetching.spark,
            workload=fetching.workload,
            verb="fetch",
            command=f"fetch {want.repository} at {want.revision} into {want.cache}",
            cause=launch if fetching.workload else by,
        )

    def ended(self, number: int, fetching: Fetching) -> None:
        """Note how it ended, and have the disk looked at."""
        spark, name = fetching.spark, fetching.want.repository
        done = fetching.state is State.DONE
        why = fetching.why.message if fetching.why is not None else "it was cancelled"
        outcome = fetching.outcome
        size = f" ({gib(outcome.total)}, from {outcome.source or 'nowhere: it was there'})" if outcome else ""
        text = f"{name} is on {spark}{size}" if done else f"{name} did not come to {spark}: {why}"
        self._loop.history.journal.end_action(
            number,
            outcome="ok" if done else "failed",
            stdout="\n".join(outcome.notes) if outcome else "",
            stderr="" if done else why,
        )
        self.tell(spark, "WeightsFetched" if done else "WeightsNotFetched", text, good=done)
        self.look(spark)
        self._loop.wake_all()  # on another Spark a launch may wait for this one's copy

    def tell(self, spark: str, reason: str, text: str, *, good: bool) -> None:
        """An event about a Spark."""
        kind: Literal["Normal", "Warning"] = "Normal" if good else "Warning"
        self._loop.history.journal.record(
            Event(kind=Kind.SPARK, name=spark, spark=spark, type=kind, reason=reason, message=text)
        )

    def look(self, spark: str) -> None:
        """Have the disk of a Spark looked at, if it is still there."""
        worker = self._loop.workers.get(spark)
        if worker is not None and worker.surveyor is not None:
            worker.surveyor.look()


class Weights:
    """`async with` a loop's weights: at the end all fetches are ended."""

    def __init__(
        self,
        loop: Loop,
        *,
        bring: Bring = fetch,
        clock: Callable[[], float] = time.monotonic,
        before_launch: bool = True,
    ) -> None:
        """With `before_launch` the loop's launches wait for the weights that they need, and those are fetched."""
        self._loop = loop
        self._fleet = LoopFleet(loop)
        self._clock = clock
        self.fetches = Fetches(self._fleet, bring, now=loop.now)
        self._ahead = Ahead(loop, self._fleet, self.fetches) if before_launch else None

    async def __aenter__(self) -> Self:
        if self._ahead is not None:
            self._loop.bringer = self._ahead
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ahead is not None:
            await self._ahead.close()
        await self.fetches.close()

    async def plans(self, spark: str | None = None) -> tuple[SparkPlan, ...]:
        """What would be deleted now from one Spark, or from all. Raises KeyError for an unknown one."""
        names = sorted(self._loop.workers) if spark is None else [spark]
        return tuple(await asyncio.gather(*[self._plan(name, self._fleet.host(name)) for name in names]))

    async def _plan(self, spark: str, host: Host) -> SparkPlan:
        lease = self._loop.workers[spark].lease.lease
        if lease is not None and not lease.ours:  # what its keeper needs is not known here
            return SparkPlan(spark, refused=f"{lease.told()}: nothing is deleted", reason=lease.reason)
        socket = self._loop.store.current.loaded.desired.sparks[spark].socket
        return await collection.plan(host, spark, self._needs(), socket=socket, clock=self._clock)

    def _needs(self) -> Needs:
        """What may not go now. What any Spark fetches counts on all: another one's copy may be where it comes from."""
        loaded = self._loop.store.current.loaded
        return Needs(
            declared={name: declaration.recipe for name, declaration in loaded.resolved.items()},
            keep=tuple(loaded.desired.settings.keep),
            fetching=tuple(each.want.repository for each in self.fetches.all() if not each.over),
        )

    async def collect(self, digest: str, *, spark: str | None = None, by: str = "") -> tuple[Collected, ...]:
        """Delete what the plan with this digest says. Raises PlanChanged if it is not the plan any more, KeyError."""
        async with AsyncExitStack() as stack:
            for name in sorted(self._loop.workers) if spark is None else [spark]:
                await stack.enter_async_context(self.fetches.none_begins(name))
            needs = self._needs()
            plans = await self.plans(spark)
            if self._needs() != needs:  # looking takes seconds: a workload that was declared meanwhile is in no plan
                raise PlanChanged(await self.plans(spark))
            if collection.digest(plans) != digest:
                raise PlanChanged(plans)
            return tuple(await asyncio.gather(*[self._delete(planned, by) for planned in _with_deletions(plans)]))

    async def _delete(self, planned: GcPlan, by: str) -> Collected:
        spark, journal = planned.spark, self._loop.history.journal
        what = ", ".join(deletion.what for deletion in planned.deletions)
        action = journal.begin_action(
            spark=spark,
            workload="",
            verb="delete",
            command="\n".join(f"rm -rf -- {planned.root}/{path}" for d in planned.deletions for path in d.paths),
            cause=f"weights gc, asked for by {by or 'somebody'}: nothing refers to {what}",
        )
        fence = self._loop.workers[spark].lease.fence
        done = await collection.carry_out(self._fleet.host(spark), planned, clock=self._clock, fence=fence)
        problems = "\n".join(done.problems)
        journal.end_action(action, outcome="failed" if problems else "ok", stderr=problems)
        text = f"deleted from {spark} ({gib(planned.bytes)}): {what}"
        self._fleet.tell(spark, "WeightsDeleted", f"{text}; {problems}" if problems else text, good=not problems)
        self._fleet.look(spark)
        return done


def _with_deletions(plans: Sequence[SparkPlan]) -> Iterator[GcPlan]:
    return (each.plan for each in plans if each.plan is not None and each.plan.deletions)
