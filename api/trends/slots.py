"""The last day in sixty slots of 24 minutes, the one that goes on now last: how each workload was, who answered.

Of health the worst in each slot is kept, in memory: the journal does not tell it. When a Spark answered and when not,
the journal does tell, also of the time before this process began.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final, Literal

from reconciler.verdict import WORST_HEALTH, worst
from state.journal import Connectivity
from state.journal_actions import NOT_RUNNING

SLOTS: Final = 60
SLOT: Final = 86_400 // SLOTS  # seconds

Answered = Literal["Reachable", "Unknown"]


def begin(now: float) -> int:
    """When the first of the slots began."""
    return (int(now // SLOT) - SLOTS + 1) * SLOT


class Healths:
    """The worst health of each workload in each slot."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, str]] = {}  # workload -> number of the slot -> health

    def take(self, workload: str, health: str, now: float) -> None:
        """How a workload is now."""
        slots, slot = self._slots.setdefault(workload, {}), int(now // SLOT)
        slots[slot] = worst([health, slots.get(slot, health)], WORST_HEALTH)
        for old in [number for number in slots if not slot - SLOTS < number <= slot]:
            del slots[old]

    def keep_only(self, workloads: Iterable[str]) -> None:
        """Forget the others."""
        known = set(workloads)
        self._slots = {name: slots for name, slots in self._slots.items() if name in known}

    def told(self, workload: str, now: float) -> list[str | None]:
        """Slot by slot; None: nobody looked."""
        slots, first = self._slots.get(workload, {}), begin(now) // SLOT
        return [slots.get(number) for number in range(first, first + SLOTS)]


def answered(changes: Sequence[Connectivity], now: float) -> list[Answered | None]:
    """Of one Spark's changes, oldest first: Unknown where it did not answer for a moment; None: nobody looked."""
    slots: list[Answered | None] = [None] * SLOTS
    start = begin(now)
    ends = [*(change.from_at for change in changes[1:]), start + SLOTS * SLOT]
    for change, end in zip(changes, ends, strict=False):
        if change.reason == NOT_RUNNING:
            continue
        first = max(0, int((change.from_at - start) // SLOT))
        for slot in range(first, min(SLOTS, ceil((end - start) / SLOT))):
            if change.state == "unknown":
                slots[slot] = "Unknown"
            elif slots[slot] is None:
                slots[slot] = "Reachable"
    return slots
