"""What the scans measured, kept in memory for a day: half a minute apart for an hour, five minutes apart before that.

The first scan in each half minute of the clock counts, and each five minutes are the mean of theirs. Nothing here looks
at a Spark: `api.trends.sampler` reads now and then what the loop saw last, whether or not anybody watches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

from reconciler.model import Scan

STEP: Final = 30  # seconds
COARSE: Final = 300
HOUR: Final = 3600
DAY: Final = 86_400
GRACE: Final = 300  # seconds by which an hour may be longer: the clock of who asks may be another one

BYTES: Final = ("memoryAvailable", "memoryFree", "diskFree")
COLUMNS: Final = (*BYTES, "gpuUtilization", "temperature", "power", "scanSeconds")
Values = tuple[float | None, ...]  # in the order of COLUMNS; None: the Spark did not say


def measured(scan: Scan) -> Values:
    """What a scan says. Of several GPUs the mean of how busy they are, the hottest, and all the power."""
    facts = scan.facts
    busy = [gpu.utilization for gpu in facts.gpus if gpu.utilization is not None]
    heat = [gpu.temperature for gpu in facts.gpus if gpu.temperature is not None]
    power = [gpu.power for gpu in facts.gpus if gpu.power is not None]
    return (
        facts.memory_available,
        facts.memory_free,
        facts.disk_free,
        round(fmean(busy), 1) if busy else None,
        max(heat) if heat else None,
        round(sum(power), 1) if power else None,
        round(scan.ended - scan.began, 4),
    )


@dataclass(slots=True)
class Bucket:
    """Five minutes: how many said something of each column, and the sum of it."""

    at: int
    counts: list[int] = field(default_factory=lambda: [0] * len(COLUMNS))
    sums: list[float] = field(default_factory=lambda: [0.0] * len(COLUMNS))

    def take(self, values: Values) -> None:
        """Count another sample."""
        for column, value in enumerate(values):
            if value is not None:
                self.counts[column] += 1
                self.sums[column] += value

    def mean(self) -> Values:
        """Of each column."""
        return tuple(
            None if not count else round(total / count) if name in BYTES else round(total / count, 4)
            for name, count, total in zip(COLUMNS, self.counts, self.sums, strict=True)
        )


@dataclass(slots=True)
class Track:
    """One Spark."""

    fine: deque[tuple[float, Values]] = field(default_factory=lambda: deque(maxlen=(HOUR + GRACE) // STEP + 1))
    coarse: deque[Bucket] = field(default_factory=lambda: deque(maxlen=DAY // COARSE + 1))

    def take(self, at: float, values: Values) -> None:
        """What was measured at a time. What lies after it was written by a clock that has been set back."""
        while self.fine and self.fine[-1][0] > at:
            self.fine.pop()
        while self.coarse and self.coarse[-1].at > at:
            self.coarse.pop()
        if self.fine and self.fine[-1][0] // STEP == at // STEP:
            return
        self.fine.append((at, values))
        bucket = int(at // COARSE) * COARSE
        if not self.coarse or self.coarse[-1].at != bucket:
            self.coarse.append(Bucket(bucket))
        self.coarse[-1].take(values)

    def told(self, since: float, now: float) -> dict[str, Any]:
        """What came after a time, in columns; of the five minutes that it falls into, all."""
        near = since >= now - HOUR - GRACE
        oldest = now - (HOUR + GRACE if near else DAY)
        rows = list(self.fine) if near else [(float(bucket.at), bucket.mean()) for bucket in self.coarse]
        rows = [(at, values) for at, values in rows if at > max(since, oldest) - (0 if near else COARSE)]
        columns = {name: [values[number] for _, values in rows] for number, name in enumerate(COLUMNS)}
        return {"step": STEP if near else COARSE, "t": [round(at, 1) for at, _ in rows], **columns}


class Series:
    """Of all Sparks."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}

    def take(self, spark: str, scan: Scan) -> None:
        """A scan; the same one again makes no difference."""
        self._tracks.setdefault(spark, Track()).take(scan.taken_at, measured(scan))

    def keep_only(self, sparks: Iterable[str]) -> None:
        """Forget the others."""
        there = set(sparks)
        self._tracks = {name: track for name, track in self._tracks.items() if name in there}

    def told(self, spark: str, since: float, now: float) -> dict[str, Any]:
        """One Spark's, from a time on."""
        return self._tracks.get(spark, Track()).told(since, now)
