"""The journal's starts: how long each model took to answer, and what memory, so that the next is no surprise."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from state.journal_part import Part
from state.journal_rows import MAX_WORD, head

_INSERT: Final = "INSERT INTO starts (workload, spark, spec_hash, seconds, peak, at) VALUES (?, ?, ?, ?, ?, ?)"
REMEMBERED: Final = 8  # starts of one workload on one Spark


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One start that was followed from its beginning to the first answer. `peak` in bytes, 0 if it was not seen."""

    spec_hash: str
    seconds: float
    peak: int
    at: float


class StartLog(Part):
    """The latest starts by workload and Spark, held in memory; the file follows."""

    _starts: dict[tuple[str, str], list[Started]]

    def record_start(self, *, workload: str, spark: str, spec_hash: str, seconds: float, peak: int) -> None:
        """A model has answered for the first time."""
        started = Started(spec_hash=spec_hash, seconds=seconds, peak=peak, at=self._now())
        kept = self._starts.setdefault((workload, spark), [])
        kept.append(started)
        del kept[:-REMEMBERED]
        row = (head(workload, MAX_WORD), head(spark, MAX_WORD), spec_hash, seconds, peak, started.at)

        def job(db: sqlite3.Connection) -> None:
            db.execute(_INSERT, row)
            db.execute("DELETE FROM starts WHERE id <= (SELECT MAX(id) FROM starts) - ?", (self._limits.starts,))

        self._write(job)

    def starts(self, workload: str, spark: str) -> tuple[Started, ...]:
        """The latest ones, oldest first."""
        return tuple(self._starts.get((workload, spark), ()))

    def peaks(self) -> dict[tuple[str, str], tuple[str, int]]:
        """For each workload and Spark the spec of its latest start, and the most memory that a start of it took."""
        found = {}
        for key, starts in self._starts.items():
            latest = starts[-1].spec_hash
            found[key] = latest, max(start.peak for start in starts if start.spec_hash == latest)
        return found

    def _recall_starts(self, db: sqlite3.Connection) -> None:
        self._starts = {}
        rows = db.execute("SELECT workload, spark, spec_hash, seconds, peak, at FROM starts ORDER BY id").fetchall()
        for workload, spark, spec_hash, seconds, peak, at in rows:
            kept = self._starts.setdefault((workload, spark), [])
            kept.append(Started(spec_hash=spec_hash, seconds=seconds, peak=peak, at=at))
            del kept[:-REMEMBERED]
