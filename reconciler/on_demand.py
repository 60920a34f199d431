"""What runs on demand: when it is to start, when nobody needs it any more, and when it may be stopped for another.

Pure. One that is asked for is planned like any other, so here stands only what differs. What is stopped here comes
back when it is asked for: such a stop is the ordinary course of things, and no guard has a word in it. A request under
way protects what answers it, whatever else is wanted; so does being started for somebody who still waits.
"""

from __future__ import annotations

from typing import Final

from reconciler.job import Job, Kind, held
from reconciler.model import NO_WISH, Container, Held, Instance, ProbeResult, Wish, World
from reconciler.place import gib
from reconciler.target import Target
from state.fields import written_duration

ON_DEMAND: Final = "OnDemand"
UNUSED, EVICTED, NOBODY_WAITS = "Unused", "Evicted", "NobodyWaits"
ORDINARY: Final = frozenset({UNUSED, EVICTED, NOBODY_WAITS})  # the events of such stops
MAKING_ROOM: Final = "MakingRoom"  # what runs on demand is stopped for a rank of a group
MINUTE: Final = 60.0


def wish_of(instance: Instance, world: World) -> Wish:
    """What apps want of it."""
    return world.wishes.get(instance.workload, NO_WISH)


def rests(instance: Instance, world: World) -> bool:
    """It runs on demand, and nothing asks for a start of it now.

    A replica comes back while requests to the others are under way: what they ask for is all of it.
    """
    if not instance.on_demand:
        return False
    wish = wish_of(instance, world)
    return not wish.wanted and not (wish.under_way and instance.replicas > 1)


def needed(instance: Instance, world: World) -> bool:
    """Somebody waits for it, or a request to it is under way."""
    wish = wish_of(instance, world)
    return wish.wanted or wish.under_way > 0


def resting(instance: Instance, world: World, how: str = "") -> Held:
    """Why it is not started. `how` it ended, if a container of it is still there."""
    wish = wish_of(instance, world)
    when = "when those that it gave way to have had their turn" if wish.turn else "when it is asked for"
    return held(instance, ON_DEMAND, f"{instance.workload} starts {when}{f' ({how})' if how else ''}")


def unneeded(instance: Instance, container: Container | None, world: World) -> tuple[str, str] | None:
    """Why a running one is to be stopped although nothing is wrong with it: the event's reason, and the cause."""
    wish = world.wishes.get(instance.workload)
    if wish is None or wish.under_way or wish.turn:
        return None
    probe = world.probes.get((instance.workload, instance.head or instance.spark))
    if not _answered(instance, container, probe):
        return (NOBODY_WAITS, "nobody waits for it any more, and it has not served yet") if wish.abandoned else None
    if instance.idle is None or (seconds := unused(wish, probe, world.clock, world.now)) < instance.idle:
        return None
    return UNUSED, f"unused for {_span(seconds)} (idle: {written_duration(instance.idle)})"


def yields(instance: Instance, container: Container, target: Target, world: World) -> bool:
    """Whether a running one may be stopped to make room: nobody uses it, or whoever decides on turns says so."""
    wish = world.wishes.get(instance.workload)
    if wish is None or wish.busy or not instance.on_demand or instance.workload in target.suspended:
        return False
    probe = world.probes.get((instance.workload, instance.head or instance.spark))
    if not _answered(instance, container, probe):
        return False
    return wish.yields or unused(wish, probe, world.clock, world.now) >= target.evict_after


def unload(
    instance: Instance, container: Container, event: str, cause: str, *, failing: bool = False, sake: str = ""
) -> Job:
    """Stop it and remove its container; `sake` is the on-demand workload that it makes room for."""
    at = (instance.spark, instance.workload, instance.rank)
    return Job(Kind.UNLOAD, *at, cause, instance, container, failing, event, sake)


def made_way(asked: Instance, missing: int) -> str:
    """The cause of a stop that makes room for another."""
    why = "is asked for" if asked.on_demand else "is to run always"
    return f"stopped for {asked.workload}, which {why}: needs {gib(asked.memory)}, {gib(missing)} are missing"


def unused(wish: Wish, probe: ProbeResult | None, clock: float, now: float) -> float:
    """For how many seconds nobody has used what serves: by our own steady clock, but not longer than it has answered.

    Loading is no idleness. `now` is Unix time, as `ready_at` is: a clock that was set never makes it longer.
    """
    if wish.busy:
        return 0.0
    since = max(0.0, clock - wish.last)
    return min(since, max(0.0, now - probe.ready_at)) if probe is not None and probe.ready_at else since


def _answered(instance: Instance, container: Container | None, probe: ProbeResult | None) -> bool:
    """It has answered since its start; what can't be asked has as soon as it runs. A group's head answers for all."""
    if instance.probe.kind == "none" and instance.ranks == 1:
        return True
    same = probe is not None and container is not None and (probe.container == container.id or instance.rank > 0)
    return same and probe is not None and probe.ready_at > 0


def _span(seconds: float) -> str:
    """For people: `45 s`, `20 min`, `3 h`."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 180 * MINUTE else f"{seconds / 3600:.0f} h"
