"""The journal's events."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

from state.journal_events import CACHE, REPEAT_WINDOW, Correlator
from state.journal_part import Part
from state.journal_rows import Event, Recorded
from state.log_context import current


class EventLog(Part):
    """Events under a `seq` that only rises. A recurrence moves its event to the newest seq."""

    _correlator = Correlator()
    _seq = 0
    _pruned = 0

    @property
    def suppressed(self) -> int:
        """Events dropped since the start because their object said too much."""
        return self._correlator.suppressed

    @property
    def latest_seq(self) -> int:
        """The newest emission; 0 before the first."""
        return self._seq

    @property
    def oldest_seq(self) -> int:
        """From this emission on nothing has been pruned."""
        return self._pruned + 1

    def resumable(self, since_seq: int) -> bool:
        """Whether everything after `since_seq` is still there; where not, the API answers 410."""
        return self._pruned <= since_seq <= self._seq

    def record(self, event: Event) -> int | None:
        """Note an event. Its seq, or None if its object has said too much already."""
        taken = self._correlator.take(event.bounded(), seq=self._seq + 1, now=self._now())
        if taken is None:
            return None
        found, before = taken
        after = replace(found, reconcile=current().reconcile)
        self._seq = after.seq
        gone = before.seq if before is not None else 0

        def job(db: sqlite3.Connection) -> None:
            if gone:
                db.execute("DELETE FROM events WHERE seq = ?", (gone,))
            db.execute("INSERT OR REPLACE INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", after.row())
            self._prune_events(db)

        self._write(job)
        self._bell.ring()
        return after.seq

    async def events(
        self, *, since_seq: int | None = None, limit: int = 500, workload: str | None = None, spark: str | None = None
    ) -> list[Recorded]:
        """In the order of their seq: the first ones after `since_seq`, or without it the newest ones."""
        order = "DESC" if since_seq is None else "ASC"
        query = f"""
            SELECT * FROM events
            WHERE seq > :since
              AND (:workload IS NULL OR (name = :workload AND kind = 'workload'))
              AND (:spark IS NULL OR spark = :spark OR (name = :spark AND kind = 'spark'))
            ORDER BY seq {order} LIMIT :limit
        """  # noqa: S608  # `order` is one of two words
        values = {"since": since_seq or 0, "workload": workload, "spark": spark, "limit": max(0, limit)}
        rows: list[Any] = await self._db.read(lambda db: db.execute(query, values).fetchall(), [])
        return sorted(map(Recorded.from_row, rows), key=lambda recorded: recorded.seq)

    def keep_events(self, most: int) -> None:
        """From now on so many of them, the newest."""
        self._limits = replace(self._limits, events=most)
        self._write(self._prune_events)

    def _prune_events(self, db: sqlite3.Connection) -> None:
        (count,) = db.execute("SELECT count(*) FROM events").fetchone()
        if count <= self._limits.events:
            return
        oldest = "SELECT max(seq) FROM (SELECT seq FROM events ORDER BY seq LIMIT ?)"
        (last,) = db.execute(oldest, (count - self._limits.events,)).fetchone()
        db.execute("DELETE FROM events WHERE seq <= ?", (last,))
        self._forget_before(db, last)

    def _forget_before(self, db: sqlite3.Connection, seq: int) -> None:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('pruned_seq', ?)", (seq,))
        self._pruned = seq

    def _recall_events(self, db: sqlite3.Connection) -> None:
        """Go on where the last process ended; a file that had to be replaced begins above all earlier numbers."""
        told = "SELECT * FROM events WHERE last_at >= ? ORDER BY seq DESC LIMIT ?"  # what is older is never repeated
        rows = db.execute(told, (self._now() - REPEAT_WINDOW, CACHE)).fetchall()
        (newest,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        (pruned,) = db.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'pruned_seq'").fetchone()
        self._correlator = Correlator(map(Recorded.from_row, reversed(rows)))
        self._pruned = pruned
        self._seq = max(pruned, newest)
        if self._db.fresh_start > self._seq:
            self._seq = self._db.fresh_start
            self._forget_before(db, self._seq)
