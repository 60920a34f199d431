"""Who holds a Spark's memory, and which of them would leave for another: what admission and refusals speak of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import replace

from reconciler.jobs import SparkView
from reconciler.memory.admission import Holder, Room, evict
from reconciler.memory.estimate import Need, Source
from reconciler.model import NEVER_SEEN, NO_WISH, Instance, World
from reconciler.on_demand import unused, yields


def need(instance: Instance) -> Need:
    """What an instance asks for, and how that is known."""
    source = Source(instance.memory_source)
    return Need(size=None if source is Source.UNKNOWN else instance.memory, source=source)


def holders(view: SparkView, told: AbstractSet[str]) -> Iterator[Holder]:
    """Our running containers that hold memory there, but for those workloads that are told of already."""
    declared = {i.workload: i for i in view.target.instances[view.spark]}
    for container in view.owned:
        if not container.running or not container.memory or container.workload in told:
            continue
        instance = declared.get(container.workload)
        if instance is None or not instance.on_demand:
            priority = instance.priority if instance is not None else 0
            yield Holder(workload=container.workload, memory=container.memory, priority=priority)
            continue
        yield Holder(
            workload=container.workload,
            memory=container.memory,
            run="suspended" if container.workload in view.target.suspended else "on-demand",
            idle=container.name == instance.name
            and yields(instance, container, view.target, view.world)
            and _reached(view, instance),
            unused=_unused(view.world, instance),
            priority=instance.priority,
        )


def _unused(world: World, instance: Instance) -> float:
    probe = world.probes.get((instance.workload, instance.head or instance.spark))
    return unused(world.wishes.get(instance.workload, NO_WISH), probe, world.clock, world.now)


def _reached(view: SparkView, instance: Instance) -> bool:
    """Whether all of a group can be stopped: its Sparks answer and are ours."""
    if instance.ranks == 1:
        return True
    sparks = {i.spark for group in view.target.groups if group[0].workload == instance.workload for i in group}
    sights, leases = view.world.sights, view.world.leases
    return all(sights.get(spark, NEVER_SEEN).current is not None for spark in sparks) and all(
        lease.ours for spark in sparks if (lease := leases.get(spark)) is not None
    )


def blockers(instance: Instance, room: Room) -> tuple[str, ...]:
    """What runs on demand and would make room, if it could be stopped."""
    if not any(holder.run == "on-demand" for holder in room.holders):
        return ()
    if_idle = replace(room, holders=tuple(replace(holder, idle=True) for holder in room.holders))
    return tuple(sorted(h.workload for h in evict(need(instance), if_idle, priority=instance.priority)))
