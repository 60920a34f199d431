"""Who could have answered, as the world itself knows it and nobody else: written down whenever it changes."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

LATE: Final = 1.0  # seconds by which the world can come later to be told than what it tells


@dataclass
class Able:
    """For each workload, which of its instances could serve, and since when. Times are of `time.monotonic`."""

    _turns: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=lambda: defaultdict(list))

    def note(self, name: str, there: frozenset[str], at: float | None = None) -> None:
        """From then on (from now on) these instances listen, and can be reached."""
        turns = self._turns[name]
        if not turns or turns[-1][1] != there:
            turns.append((time.monotonic() if at is None else at, there))

    def now(self, name: str) -> frozenset[str]:
        """Those that can serve."""
        turns = self._turns[name]
        return turns[-1][1] if turns else frozenset()

    def excused(self, name: str, since: float, until: float) -> bool:
        """Whether at some moment of that time nobody could serve it, or an instance that could have been asked left."""
        turns = self._turns[name]
        first = bisect_right(turns, since, key=lambda turn: turn[0])
        before = turns[first - 1][1] if first else frozenset[str]()
        if not before:
            return True
        for at, there in turns[first:]:
            if at > until + LATE:
                return False
            if before - there or not there:
                return True
            before = there
        return False
