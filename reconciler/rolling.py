"""One replica at a time: of several that serve, none is replaced while another is on its way back.

Pure, and said after every Spark has planned for itself, since only then it is known which replica would really be
stopped: one that lacks an image, memory or its turn keeps no other waiting. A change that its first replica doesn't
survive therefore reaches no second one. What can't come back by itself (its Spark is lost or cordoned) is not waited
for, or nothing could be changed for as long as it is away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reconciler.draining import STOPS
from reconciler.job import held
from reconciler.model import NEVER_SEEN, OWNER, Container, Held, Instance, Key, Step, World
from reconciler.on_demand import needed
from reconciler.outlook import PASSING
from reconciler.target import Target

ROLLING: Final = "Rolling"
COMING: Final = PASSING | {"WaitingTurn", ROLLING}


def replaces(target: Target, world: World, steps: Iterable[Step], left: Iterable[Held]) -> dict[str, dict[str, bool]]:
    """The replicas that would be stopped and come back: by workload and Spark, whether another look comes first."""
    found: dict[str, dict[str, bool]] = {}
    ends = [(s.drains, bool(s.look_first)) for s in steps if s.drains is not None and s.verb in STOPS and not s.event]
    ends += [(h.drains, False) for h in left if h.drains is not None]
    for (workload, spark), later in ends:
        here = next((i for i in replicas(target, workload) if i.spark == spark), None)
        if here is not None and (not here.on_demand or needed(here, world)):
            found.setdefault(workload, {})[spark] = later
    return found


def replicas(target: Target, workload: str) -> Sequence[Instance]:
    """Its instances, if each can answer alone and there are several."""
    bound = target.bound.get(workload)
    if bound is None or len(bound.instances) < 2 or workload in target.suspended:  # noqa: PLR2004  # several
        return ()
    first = bound.instances[0]
    return bound.instances if first.ranks == 1 and first.probe.kind != "none" else ()


def turns(target: Target, world: World, steps: Sequence[Step], left: Sequence[Held]) -> dict[Key, Held]:
    """The replicas that are left as they are for now, each with the reason, by workload and Spark."""
    found: dict[Key, Held] = {}
    for workload, going in replaces(target, world, steps, left).items():
        all_of_it = replicas(target, workload)
        busy = {step.spark for step in steps if step.workload == workload}
        reasons = {each.spark: each for each in left if each.workload == workload}
        coming = [i for i in all_of_it if i.spark not in going and _comes(i, target, world, busy, reasons)]
        line = sorted(going, key=lambda spark: ((workload, spark) not in world.draining, going[spark], spark))
        first, waiting = ("", line) if coming else (line[0], line[1:])
        why = (
            f"{workload} on {first} is replaced first"
            if first
            else f"{workload} on {coming[0].spark} is to serve first"
        )
        for instance in (i for i in all_of_it if i.spark in waiting):
            text = f"{why}: one at a time, so that another serves"
            found[workload, instance.spark] = held(instance, ROLLING, text)
    return found


def _comes(instance: Instance, target: Target, world: World, busy: set[str], reasons: Mapping[str, Held]) -> bool:
    """Whether it does not serve now and is on its way, be it that it fails over and over."""
    spark, key = instance.spark, (instance.workload, instance.spark)
    scan, lease = world.sights.get(spark, NEVER_SEEN).current, world.leases.get(spark)
    if scan is None or (lease is not None and not lease.ours):
        return False
    container = next((c for c in scan.containers if c.name == instance.name), None)
    if container is not None and container.labels.get(OWNER) != target.owner:
        return False
    if key in world.stopping:
        return True
    if container is not None and container.state == "running":
        if _serves(instance, container, world):
            return False
        if container.spec_hash == instance.spec_hash:
            return True
    reason, failure = reasons.get(spark), world.failures.get(key)
    failed = failure is not None and failure.spec_hash == instance.spec_hash
    return spark in busy or (
        reason is not None and (reason.reason in COMING or (failed and reason.reason != "OnDemand"))
    )


def _serves(instance: Instance, container: Container, world: World) -> bool:
    probe = world.probes.get((instance.workload, instance.spark))
    return probe is not None and probe.container == container.id and probe.ready
