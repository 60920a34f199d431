"""The planner: from the target and the world to the ordered steps, with a reason for each and for what is left alone.

Pure: no I/O, no clock (`world.now` is a value), nothing remembered between calls. It decides what to do and
in which order; it does not decide when to look again, what a failure means or how a command is sent. A Spark
whose scan is not current gets no step. Equal input gives equal output, whatever the order of the input.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler import guards
from reconciler.jobs import Job, SparkView, held, survey
from reconciler.model import Held, Plan, Sight, Step, World
from reconciler.sequence import sequence
from reconciler.target import Target


def plan(target: Target, world: World) -> Plan:
    """The plan for the whole fleet."""
    surveys = {spark: _survey(target, world, spark) for spark in target.sparks}
    destroyed = [job.stops.id for found in surveys.values() for job in found if isinstance(job, Job) and job.stops]
    verdict = guards.judge(target, world, destroyed)
    steps: list[Step] = []
    withheld: list[Step] = []
    reasons: list[Held] = [*target.refused]
    for spark, found in surveys.items():
        jobs = [entry for entry in found if isinstance(entry, Job)]
        reasons += (entry for entry in found if isinstance(entry, Held))
        if not jobs:
            continue
        view = _view(target, world, spark)
        assert view is not None, "jobs come only from a current scan"  # noqa: S101  # a law of _survey, not input
        allowed = [job for job in jobs if not _withhold(job, verdict, world)]
        kept_back = [job for job in jobs if _withhold(job, verdict, world)]
        if verdict is not None:
            reasons += (_guarded(job, verdict) for job in kept_back)
            withheld += sequence(view, kept_back)[0]
        found_steps, waiting = sequence(view, allowed)
        steps += found_steps
        reasons += waiting
    return Plan(revision=target.revision, steps=tuple(steps), held=tuple(reasons), withheld=tuple(withheld))


def _view(target: Target, world: World, spark: str) -> SparkView | None:
    scan = world.sights.get(spark, Sight()).current
    return None if scan is None else SparkView(spark=spark, scan=scan, target=target, world=world)


def _survey(target: Target, world: World, spark: str) -> list[Job | Held]:
    view = _view(target, world, spark)
    if view is not None:
        return list(survey(view))
    sight = world.sights.get(spark, Sight())
    return [held(instance, sight.unknown, f"{spark}: {sight.message}") for instance in target.instances[spark]]


def _withhold(job: Job, verdict: guards.Verdict | None, world: World) -> bool:
    return verdict is not None and job.stops is not None and job.stops.id not in world.approved


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
