"""Which Spark a workload with `on: any` goes to.

Pure. A place once found is kept: a Spark that stops answering does not lose its workloads, and a controller
that restarts finds them again by their labels. While a Spark has never been seen, a workload that is not
seen elsewhere may be running there, so it is placed nowhere yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.model import OWNER, Sight


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
) -> Placements:
    """Place `workloads` (name, memory in bytes), largest first.

    `before` is where they were placed earlier in this process, `promised` the memory that other starting
    workloads will take on each Spark.
    """
    sparks = {candidate.name: candidate for candidate in candidates}
    seen_on = _seen(sparks.values(), owner)
    room = {name: _room(spark) - promised.get(name, 0) for name, spark in sparks.items()}
    on: dict[str, str] = {}
    waiting: dict[str, tuple[str, str]] = {}
    for name, memory in sorted(workloads, key=lambda item: (-item[1], item[0])):
        kept = before.get(name) or seen_on.get(name)
        if kept in sparks and kept not in drained:
            on[name] = kept
            continue
        unseen = sorted(s.name for s in sparks.values() if s.sight.scan is None)
        if unseen:
            waiting[name] = (
                "PlacementUnknown",
                f"{', '.join(unseen)} not seen yet; {name} may be running there",
            )
            continue
        found = [s.name for s in sparks.values() if s.open and s.sight.current is not None and room[s.name] >= memory]
        if not found:
            waiting[name] = ("NoSparkFits", _why_nowhere(sparks.values(), room, memory))
            continue
        chosen = min(found, key=lambda spark: (-room[spark], spark))
        room[chosen] -= memory
        on[name] = chosen
    return Placements(on=on, waiting=waiting)


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
