"""Whether a start fits on a Spark now, said as a colleague would, and whom to stop if it does not.

Pure. What counts as free is MemAvailable: the page cache is not counted as used, since the kernel gives it back
(CUDA's own "free memory" does count it, and then refuses what would fit: vllm#48140). What starting workloads were
promised but have not taken yet is counted as gone (two starts at once charge each other: vllm#55827).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from reconciler.memory.estimate import Need
from reconciler.place import gib

MOST_WEIGHED: Final = 12  # on-demand workloads of one Spark among which every choice is weighed


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A workload that holds memory on the Spark, in bytes. `idle`: it may be stopped; `unused` in seconds."""

    workload: str
    memory: int
    run: str = "always"  # always | on-demand
    idle: bool = False
    unused: float = 0.0
    priority: int = 0
    ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A workload that is starting, with the bytes that it was admitted with. All of it counts until it is ready.

    Or something else that may take memory now: `doing` then says what it does.
    """

    workload: str
    memory: int
    doing: str = "is starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A Spark's memory as scanned now, in bytes. `returning`: what stops that are already decided give back."""

    spark: str
    total: int
    available: int  # MemAvailable
    reserve: int
    promised: tuple[Promise, ...] = ()
    holders: tuple[Holder, ...] = ()
    returning: int = 0

    @property
    def free(self) -> int:
        """What a start may take, in bytes; may be negative."""
        return self.available + self.returning - self.reserve - sum(each.memory for each in self.promised)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether it fits. `missing` bytes are 0 if it does; `reason` is empty then, else a CamelCase word."""

    fits: bool
    message: str
    missing: int = 0
    reason: str = ""


def admit(workload: str, need: Need, room: Room) -> Verdict:
    """Whether the workload may start there now, with the arithmetic in one or two sentences."""
    if need.size is None:
        text = f"how much memory {workload} needs is not known: state it in its recipe, such as memory: 60GiB"
        return Verdict(fits=False, message=text, reason="MemoryUnknown")
    missing = max(0, need.size - room.free)
    start = f"{workload} needs about {need.words}, {told(room)}"
    if not missing:
        return Verdict(fits=True, message=f"{start}: it fits, {gib(room.free - need.size)} stay free")
    sentences = [f"{start}: {gib(missing)} are missing", *_held(room)]
    if need.size + room.reserve > room.total:
        sentences.append(f"It would not fit on {room.spark} with nothing else there either ({gib(room.total)} in all)")
    return Verdict(fits=False, message=". ".join(sentences), missing=missing, reason="InsufficientMemory")


def evict(need: Need, room: Room, *, priority: int) -> tuple[Holder, ...]:
    """The idle on-demand workloads of no higher priority to stop so that the need fits: few, low, long unused first.

    Empty if it fits already, or if all of them together would not do. Never one that is to run always, nor one in use.
    """
    if need.size is None or need.size <= room.free:
        return ()
    missing = need.size - room.free
    yielding = [h for h in room.holders if _may_go(h, priority) and h.memory > 0]
    yielding = sorted(yielding, key=lambda h: (-h.memory, h.priority, h.workload))
    if sum(h.memory for h in yielding) < missing:
        return ()
    few = next(n for n in range(1, len(yielding) + 1) if sum(h.memory for h in yielding[:n]) >= missing)
    if len(yielding) > MOST_WEIGHED:
        return tuple(yielding[:few])
    enough = [chosen for chosen in combinations(yielding, few) if sum(h.memory for h in chosen) >= missing]
    return min(enough, key=_cost)


def _may_go(holder: Holder, priority: int) -> bool:
    return holder.ours and holder.run == "on-demand" and holder.idle and holder.priority <= priority


def _cost(chosen: Sequence[Holder]) -> tuple[list[int], list[float], int, list[str]]:
    """The highest priority as low as can be, then the last use as long ago, then the least memory, then by name."""
    priorities = sorted((h.priority for h in chosen), reverse=True)
    uses = sorted((-h.unused for h in chosen), reverse=True)
    return priorities, uses, sum(h.memory for h in chosen), sorted(h.workload for h in chosen)


def told(room: Room) -> str:
    """Its arithmetic for a sentence: `spark-1 has 61.3 GiB available now, 4.0 GiB of it reserved`."""
    parts = [f"{room.spark} has {gib(room.available)} available now"]
    if room.returning:
        parts.append(f"gets {gib(room.returning)} back from what stops")
    parts += [f"{each.workload} {each.doing} and may take {gib(each.memory)}" for each in room.promised if each.memory]
    if room.reserve:
        parts.append(f"{gib(room.reserve)} of it reserved" if len(parts) == 1 else f"{gib(room.reserve)} are reserved")
    return ", ".join(parts)


def _held(room: Room) -> Iterable[str]:
    """Who holds memory there, largest first, as far as it is worth telling."""
    for holder in sorted(room.holders, key=lambda h: (-h.memory, h.workload))[:4]:
        if not holder.ours:
            yield f"{holder.workload}, which is not ours, holds {gib(holder.memory)} there"
            continue
        state = f"{'idle' if holder.idle else 'busy'}, priority {holder.priority}"
        kind = f"on-demand, {state}" if holder.run == "on-demand" else f"{holder.run}, priority {holder.priority}"
        yield f"{holder.workload} holds {gib(holder.memory)} there ({kind})"
