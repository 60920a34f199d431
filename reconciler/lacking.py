"""What stands between an instance and its launch because its weights are not on its Spark.

Pure. What is lacking was found out before (`world.weights`); a launch that waits carries what its Spark is to fetch
out of the plan, as `Held.want`, and the loop sees to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from reconciler.job import Job, held
from reconciler.memory.estimate import Source
from reconciler.model import Container, Held, Instance, Scan, World
from reconciler.target import Target
from reconciler.weights.cache import Want

PASSING: Final = frozenset({"Pulling", "Building", "CheckingFlags", "WaitingTurn"})


def lacking(
    instance: Instance, scan: Scan, target: Target, world: World, container: Container | None = None
) -> Held | None:
    """The wait for its weights; None if they are there, if nobody knows, or if it could never fit on its Spark."""
    lack = world.weights.get((instance.spark, instance.weights)) if instance.weights is not None else None
    if lack is None or not target.fetch_weights:
        return None
    needed = instance.memory + target.reserves[instance.spark]
    if instance.memory_source != Source.UNKNOWN.value and needed > scan.facts.memory_total:
        return None
    kept = "; its old container keeps running" if container is not None and container.running else ""
    want = _to_fetch(instance, world)
    return held(instance, lack.reason, lack.message + kept, until=lack.until, terminal=lack.terminal, want=want)


def meanwhile(order: Job | Held | None, instance: Instance, world: World) -> Job | Held | None:
    """The same, with its weights coming meanwhile where it waits for something that ends by itself."""
    waits = isinstance(order, Held) and order.reason in PASSING and instance.weights is not None
    return replace(order, want=_to_fetch(instance, world)) if isinstance(order, Held) and waits else order


def _to_fetch(instance: Instance, world: World) -> Want | None:
    """The weights that its Spark should begin to fetch for it."""
    lack = world.weights.get((instance.spark, instance.weights)) if instance.weights is not None else None
    return instance.weights if lack is not None and lack.fetch else None
