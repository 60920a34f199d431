"""The planner: from the target and the world to the ordered steps, with a reason for each and for what is left alone.

Pure: no I/O, no clock (`world.now` is a value), nothing remembered between calls. It decides what to do and
in which order; it does not decide when to look again, what a failure means or how a command is sent. A Spark
whose scan is not current gets no step, nor does one whose lease is not ours. Equal input gives equal output,
whatever the order of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler import groups, guards, rolling
from reconciler.job import Job, Kind, held
from reconciler.jobs import NO_ORDERS, SparkView, survey
from reconciler.model import NEVER_SEEN, OWNER, Held, Key, Plan, Scan, Step, World
from reconciler.sequence import sequence
from reconciler.target import Target

ROLLED: Final = frozenset({Kind.RECREATE, Kind.RESTART})
Turns = Mapping[Key, Held]


@dataclass(slots=True)
class Draft:
    """One Spark's part of the plan.

    It is put in order as soon as it is surveyed, so that the jobs of one Spark are gone before those of the
    next are made. Only where something would be taken down are they kept: a guard may have a word there.
    """

    steps: Sequence[Step] = ()
    held: Sequence[Held] = ()
    withheld: Sequence[Step] = ()
    at_risk: tuple[SparkView, list[Job], list[Held]] | None = None


def plan(target: Target, world: World) -> Plan:
    """The plan for the whole fleet."""
    scans = {spark: world.sights.get(spark, NEVER_SEEN).current for spark in target.sparks}
    orders = groups.orders(target, world, scans)
    turns: Turns = {}
    drafts = _drafts(target, world, scans, orders, turns)
    while True:
        if orders and (revised := _revised(target, orders, scans, drafts)) is not None:
            orders = revised
        elif more := _turns(target, world, drafts, turns):
            turns = {**turns, **more}
        else:
            return _joined(target, scans, drafts)
        drafts = _drafts(target, world, scans, orders, turns)


def _turns(target: Target, world: World, drafts: Sequence[Draft], before: Turns) -> Turns:
    """The replicas that have to wait for another one, beyond those of which that was known."""
    steps = [step for draft in drafts for step in draft.steps]
    found = rolling.turns(target, world, steps, [reason for draft in drafts for reason in draft.held])
    return {key: reason for key, reason in found.items() if key not in before}


def _revised(
    target: Target, orders: groups.Orders, scans: Mapping[str, Scan | None], drafts: Sequence[Draft]
) -> groups.Orders | None:
    """The orders of groups, once each Spark has said what it can hold and would stop; None if they stand."""
    unfit = groups.unfit(target.groups, orders, (h for draft in drafts for h in draft.held))
    revised = groups.without(target.groups, orders, unfit, scans)
    if revised == orders:
        revised = groups.evicted(target.groups, orders, (s for draft in drafts for s in draft.steps), scans)
    return None if revised == orders else revised


def part(target: Target, world: Callable[[str], World], spark: str) -> Plan:
    """What `plan` says of one Spark, and perhaps of others: all that a look at that Spark needs.

    Where nothing would be taken down there, and no group spans Sparks, the others have no say in it, so its cost does
    not grow with the fleet. `world` gives what concerns the Spark of that name, and everything by the name "".
    """
    if target.groups:
        return plan(target, world(""))
    own = world(spark)
    scan = own.sights.get(spark, NEVER_SEEN).current
    if scan is None:
        return plan(target, world(""))
    draft = _draft(target, own, spark, scan, NO_ORDERS, {})
    if draft.at_risk or rolling.replaces(target, own, draft.steps, draft.held):
        return plan(target, world(""))
    return _joined(target, {spark: scan}, [draft])


def _drafts(
    target: Target, world: World, scans: Mapping[str, Scan | None], orders: groups.Orders, turns: Turns
) -> list[Draft]:
    """Each Spark's part, after the guards had their word."""
    ours: dict[str, dict[str, Job | Held | None]] = {}
    for (spark, name), order in orders.items():
        ours.setdefault(spark, {})[name] = order
    drafts = [
        _unseen(target, world, spark)
        if scan is None
        else _draft(target, world, spark, scan, ours.get(spark, NO_ORDERS), turns)
        for spark, scan in scans.items()
    ]
    destroyed = [stopped for draft in drafts if draft.at_risk for stopped in _destroyed(draft.at_risk[1])]
    verdict = guards.judge(target, world, destroyed)
    return drafts if verdict is None else [_guarded(draft, verdict) for draft in drafts]


def _joined(target: Target, scans: Mapping[str, Scan | None], drafts: Sequence[Draft]) -> Plan:
    return Plan(
        revision=target.revision,
        steps=tuple([step for draft in drafts for step in draft.steps]),
        held=(*target.refused, *(reason for draft in drafts for reason in draft.held)),
        withheld=tuple([step for draft in drafts for step in draft.withheld]),
        unknown=tuple([spark for spark, scan in scans.items() if scan is None]),
    )


def _unseen(target: Target, world: World, spark: str) -> Draft:
    """Nothing is done on a Spark whose scan is not current."""
    sight = world.sights.get(spark, NEVER_SEEN)
    why = f"{spark}: {sight.message}"
    return Draft(held=[held(instance, sight.unknown, why) for instance in target.instances[spark]])


def _draft(
    target: Target, world: World, spark: str, scan: Scan, orders: Mapping[str, Job | Held | None], turns: Turns
) -> Draft:
    """What a Spark needs, if no guard holds, and what is left alone there."""
    owned = tuple([c for c in scan.containers if c.labels.get(OWNER) == target.owner])
    view = SparkView(spark=spark, scan=scan, target=target, world=world, owned=owned, orders=orders)
    found = survey(view)
    if turns:
        found = _in_turn(found, turns, lenient=world.lenient)
    if not found:
        return Draft()
    if (lease := world.leases.get(spark)) is not None and not lease.ours:
        return Draft(held=[_not_ours(each, lease.reason, lease.told()) for each in found])
    jobs = [e for e in found if isinstance(e, Job)]
    left = [e for e in found if isinstance(e, Held)] if len(jobs) < len(found) else []
    steps, waiting = sequence(view, jobs)
    return Draft(steps=steps, held=left + waiting, at_risk=(view, jobs, left) if _destroyed(jobs) else None)


def _in_turn(found: Sequence[Job | Held], turns: Turns, *, lenient: bool) -> list[Job | Held]:
    """What is done, once replicas wait for each other. People who ask what would happen are shown the steps too."""
    whole: list[Job | Held] = []
    for each in found:
        reason = turns.get((each.workload, each.spark)) if isinstance(each, Job) and each.kind in ROLLED else None
        if reason is None or lenient:
            whole.append(each)
        if reason is not None:
            whole.append(reason)
    return whole


def _not_ours(found: Job | Held, reason: str, message: str) -> Held:
    """What is not done, since the lease of its Spark is not ours. A reason that needs nothing done stays as it is."""
    if isinstance(found, Held) and found.want is None:
        return found
    return Held(spark=found.spark, workload=found.workload, rank=found.rank, reason=reason, message=message)


def _destroyed(jobs: Iterable[Job]) -> list[str]:
    """The ids of the running containers that these jobs take down."""
    return [stopped.id for job in jobs if job.container and (stopped := job.stops)]


def _guarded(draft: Draft, verdict: guards.Verdict) -> Draft:
    """The part again, without what takes something down that no person has approved."""
    if draft.at_risk is None:
        return draft
    view, jobs, left = draft.at_risk
    allowed: list[Job] = []
    kept_back: list[Job] = []
    for job in jobs:
        stopped = job.stops
        (kept_back if stopped and stopped.id not in view.world.approved else allowed).append(job)
    steps, waiting = sequence(view, allowed)
    refusals = [_refusal(job, verdict) for job in kept_back]
    return Draft(steps=steps, held=left + refusals + waiting, withheld=sequence(view, kept_back, drains=False)[0])


def _refusal(job: Job, verdict: guards.Verdict) -> Held:
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
