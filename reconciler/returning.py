"""Memory that we have freed and that is not back yet.

No I/O. A stopped model's memory comes back seconds after its container has ended. Until then a look at the Spark shows
too little, and whoever needs room would have one more stopped for it that need not go. So what a stop should give back
is awaited for a while, less what has come since; what has not come by then was never there.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = 30.0  # seconds


class Returning:
    """Of one Spark. Sizes in bytes; times on the loop's own clock, given by the caller."""

    def __init__(self) -> None:
        self._awaited = 0
        self._before = 0
        self._until = 0.0

    def stopped(self, memory: int, available: int, now: float) -> None:
        """A container of so much memory is being stopped; `available` is what its Spark had at the last look."""
        if not self.left(available, now):
            self._awaited, self._before = 0, available
        self._awaited += memory
        self._until = now + LONGEST

    @property
    def awaits(self) -> bool:
        """Whether anything may still come. Every plan asks this of every Spark, and mostly nothing may."""
        return self._awaited > 0

    def left(self, available: int, now: float) -> int:
        """What is still to come, now that the Spark has so much available."""
        if now >= self._until:
            self._awaited = 0
            return 0
        return max(0, self._awaited - max(0, available - self._before))
