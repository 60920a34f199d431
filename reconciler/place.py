"""Which Spark a workload with `on: any` goes to.

Pure. It has to fit; among those on which it fits, one that has the weights already is preferred, then the emptiest.
A place once found is kept: a Spark that stops answering does not lose its workloads, and a controller
that restarts finds them again by their labels. While a Spark has never been seen, a workload that is not
seen elsewhere may be running there, so it is placed nowhere yet.

What always runs and fits nowhere goes where there is room once what nobody uses has been stopped.

What runs on demand and is not asked for takes no room from anything, and is given a place where it fits by itself.
Once it is asked for and does not run, its place is looked at again: it goes elsewhere if only there is room, or could
be made by stopping what nobody uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from reconciler.model import OWNER, Sight

NOTHING_HELD: Final[Mapping[str, frozenset[str]]] = {}
NOTHING_SPARE: Final[Mapping[str, Mapping[str, int]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A Spark that workloads may be placed on, as the placement sees it. Sizes in bytes."""

    name: str
    sight: Sight
    reserve: int
    open: bool  # neither cordoned nor drained


@dataclass(frozen=True, slots=True, kw_only=True)
class Placements:
    """Where each `any` workload goes, and why those that go nowhere don't: (reason, message)."""

    on: Mapping[str, str]
    waiting: Mapping[str, tuple[str, str]]


def place(
    workloads: Iterable[tuple[str, int]],
    candidates: Iterable[Candidate],
    *,
    owner: str,
    before: Mapping[str, str],
    promised: Mapping[str, int],
    drained: frozenset[str] = frozenset(),
    holding: Mapping[str, frozenset[str]] = NOTHING_HELD,
    resting: AbstractSet[str] = frozenset(),
    spare: Mapping[str, Mapping[str, int]] = NOTHING_SPARE,
    staying: AbstractSet[str] = frozenset(),
) -> Placements:
    """Place `workloads` (name, memory in bytes), largest first.

    `before` is where they were placed earlier in this process, `promised` the memory that other starting
    workloads will take on each Spark, `holding` the Sparks on which the weights of each workload lie. `resting` run on
    demand and are not asked for. `spare` says what each Spark could give back for those that are, and for those that
    always run and have no place yet; these are `staying`, where they are once they have one.
    """
    sparks = {candidate.name: candidate for candidate in candidates}
    seen_on = _seen(sparks.values(), owner)
    room = {name: _room(spark) - promised.get(name, 0) for name, spark in sparks.items()}
    on: dict[str, str] = {}
    waiting: dict[str, tuple[str, str]] = {}
    unseen = ", ".join(sorted(s.name for s in sparks.values() if s.sight.scan is None))
    for name, memory in sorted(workloads, key=lambda item: (-item[1], item[0])):
        kept = before.get(name) or seen_on.get(name)
        if kept in sparks and kept not in drained:
            on[name] = kept
            if name in spare and name not in staying and _starts_anew(name, sparks[kept], owner):
                has, could = holding.get(name, frozenset()), _with(room, spare[name])
                on[name] = chosen = _better(kept, memory, sparks.values(), room, could, has)
                room[chosen] -= memory
            continue
        if unseen:
            waiting[name] = ("PlacementUnknown", f"{unseen} not seen yet; {name} may be running there")
            continue
        room_then = _alone(sparks.values()) if name in resting else _with(room, spare.get(name, {}))
        found = _fits(memory, sparks.values(), room) or _fits(memory, sparks.values(), room_then)
        if not found:
            waiting[name] = ("NoSparkFits", _why_nowhere(sparks.values(), room_then, memory))
            continue
        on[name] = chosen = _chosen(found, room, holding.get(name, frozenset()))
        room[chosen] -= 0 if name in resting else memory
    return Placements(on=on, waiting=waiting)


def _fits(memory: int, sparks: Iterable[Candidate], room: Mapping[str, int]) -> list[str]:
    return [s.name for s in sparks if s.open and s.sight.current is not None and room[s.name] >= memory]


def _chosen(found: Iterable[str], room: Mapping[str, int], has: frozenset[str]) -> str:
    return min(found, key=lambda spark: (spark not in has, -room[spark], spark))


def _with(room: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    return {spark: size + more.get(spark, 0) for spark, size in room.items()} if more else room


def _alone(sparks: Iterable[Candidate]) -> Mapping[str, int]:
    """What each Spark could hold if nothing else ran there."""
    return {s.name: s.sight.current.facts.memory_total - s.reserve if s.sight.current else -1 for s in sparks}


def _starts_anew(name: str, kept: Candidate, owner: str) -> bool:
    """It is seen not to run where it was placed: another place costs nothing but what lies there."""
    scan = kept.sight.current
    if scan is None:
        return False
    return not any(c.running and c.workload == name and c.labels.get(OWNER) == owner for c in scan.containers)


def _better(
    kept: str,
    memory: int,
    sparks: Iterable[Candidate],
    room: Mapping[str, int],
    could: Mapping[str, int],
    has: frozenset[str],
) -> str:
    """Where it starts: where it was, if there is room or could be; else where there is, else where there could be."""
    every = list(sparks)
    at_once, later = _fits(memory, every, room), _fits(memory, every, could)
    if kept in later or not later:
        return kept
    return _chosen(at_once or later, room, has)


def _seen(sparks: Iterable[Candidate], owner: str) -> dict[str, str]:
    """Where each workload's container was last seen; a running one counts more than a stopped one."""
    found: dict[str, tuple[bool, str]] = {}
    for spark in sorted(sparks, key=lambda s: s.name):
        for container in spark.sight.scan.containers if spark.sight.scan else ():
            if container.labels.get(OWNER) != owner:
                continue
            held = found.get(container.workload)
            if held is None or (container.running and not held[0]):
                found[container.workload] = (container.running, spark.name)
    return {workload: spark for workload, (_, spark) in found.items()}


def _room(spark: Candidate) -> int:
    scan = spark.sight.current
    return -1 if scan is None else scan.facts.memory_available - spark.reserve


def _why_nowhere(sparks: Iterable[Candidate], room: Mapping[str, int], memory: int) -> str:
    parts = []
    for spark in sparks:
        if not spark.open:
            parts.append(f"{spark.name} takes nothing new")
        elif spark.sight.current is None:
            parts.append(f"{spark.name} does not answer")
        else:
            parts.append(f"{spark.name} has {gib(room[spark.name])} to give, {gib(memory)} needed")
    return "; ".join(parts) or "no Spark is declared"


def gib(size: int) -> str:
    """A size for people: `3.5 GiB`, `512 MiB`."""
    return f"{size / 2**30:.1f} GiB" if abs(size) >= 2**30 else f"{size / 2**20:.0f} MiB"
