"""Holds over a loop: what is declared of a workload, and how long its starts take."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Final

from api.proxies.queue.holds import Holds, Known
from api.proxies.queue.rules import Rules
from reconciler.loop import Loop

UNKNOWN_LOAD: Final = 60.0  # seconds, until a first start was seen


def holds_over(loop: Loop, *, limit: Callable[[str], int | None] = lambda _: None) -> Holds:
    """Those who wait for what this loop keeps. `limit`: how many requests a workload takes at a time, all together."""
    return Holds(
        demand=loop.demand,
        outlook=loop.outlook,
        known=partial(known, loop),
        rules=lambda: Rules.of(loop.store.current.loaded.desired.settings),
        limit=limit,
        wall=loop.now,
    )


def known(loop: Loop, workload: str) -> Known:
    """As declared now; one that is to be found a Spark may be anywhere until it has one."""
    target = loop.target()
    bound = target.bound.get(workload)
    placed = frozenset(instance.spark for instance in bound.instances) if bound is not None else frozenset[str]()
    sparks = placed or frozenset(loop.workers)
    past = [seconds for spark in sorted(sparks) for seconds in loop.past((workload, spark))]
    return Known(
        on_demand=bound is not None and bound.declaration.workload.run == "on-demand",
        places=sparks,
        load=statistics.median(past) if past else UNKNOWN_LOAD,
        guess=not past,
    )
