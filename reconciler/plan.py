"""The planner: from the target and the world to the ordered steps, with a reason for each and for what is left alone.

Pure: no I/O, no clock (`world.now` is a value), nothing remembered between calls. It decides what to do and
in which order; it does not decide when to look again, what a failure means or how a command is sent. A Spark
whose scan is not current gets no step. Equal input gives equal output, whatever the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler import guards
from reconciler.jobs import Job, SparkView, held, survey
from reconciler.model import OWNER, Held, Plan, Sight, Step, World
from reconciler.sequence import sequence
from reconciler.target import Target


def plan(target: Target, world: World) -> Plan:
    """The plan for the whole fleet."""
    surveys = [_survey(target, world, spark) for spark in target.sparks]
    destroyed = [stopped.id for _, jobs, _ in surveys for job in jobs if (stopped := job.stops)]
    verdict = guards.judge(target, world, destroyed)
    steps: list[Step] = []
    withheld: list[Step] = []
    reasons: list[Held] = [*target.refused]
    for view, jobs, left in surveys:
        reasons += left
        if view is None or not jobs:
            continue
        allowed = jobs
        if verdict is not None:
            kept_back = [job for job in jobs if job.stops and job.stops.id not in world.approved]
            allowed = [job for job in jobs if job not in kept_back]
            reasons += (_guarded(job, verdict) for job in kept_back)
            withheld += sequence(view, kept_back)[0]
        found, waiting = sequence(view, allowed)
        steps += found
        reasons += waiting
    return Plan(
        revision=target.revision,
        steps=tuple(steps),
        held=tuple(reasons),
        withheld=tuple(withheld),
        unknown=tuple(name for name, (view, _, _) in zip(target.sparks, surveys, strict=True) if view is None),
    )


def _survey(target: Target, world: World, spark: str) -> tuple[SparkView | None, list[Job], list[Held]]:
    """What a Spark needs, and what is left alone there. There is no view of one whose scan is not current."""
    sight = world.sights.get(spark, Sight())
    scan = sight.current
    if scan is None:
        why = f"{spark}: {sight.message}"
        return None, [], [held(instance, sight.unknown, why) for instance in target.instances[spark]]
    owned = tuple(c for c in scan.containers if c.labels.get(OWNER) == target.owner)
    view = SparkView(spark=spark, scan=scan, target=target, world=world, owned=owned)
    found = survey(view)
    return view, [e for e in found if isinstance(e, Job)], [e for e in found if isinstance(e, Held)]


def _guarded(job: Job, verdict: guards.Verdict) -> Held:
    return Held(
        spark=job.spark,
        workload=job.workload,
        rank=job.rank,
        reason=verdict.reason,
        message=verdict.message,
        approvable=verdict.reason != "TooManyUnreachable",
    )


def approvals(plans: Iterable[Step]) -> frozenset[str]:
    """The containers that a person gives up by approving these withheld steps."""
    return frozenset(step.container for step in plans if step.destructive)
