"""The journal: what has happened, and the little that must outlive a restart.

Events, actions, when each Spark answered, the operator's overrides, generations, and the last good desired state.
Writing never waits and never raises: what the loop must know at once (overrides, generations, the newest seq) is
held in memory, and the database follows in its own thread. Everything here can be lost without harm to the fleet;
what runs on the Sparks says for itself what it is.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from state.bell import Bell, Follower
from state.journal_db import Database
from state.journal_events import CACHE, Correlator
from state.journal_rows import (
    MAX_COMMAND,
    MAX_MESSAGE,
    MAX_TAIL,
    MAX_WORD,
    Action,
    Connectivity,
    Event,
    Kind,
    Outcome,
    Override,
    Overriding,
    Reach,
    Recorded,
    head,
    tail,
)
from state.sources import Good

__all__ = ["Event", "Journal", "Kind", "Limits", "Override", "Recorded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many rows each table may hold."""

    events: int = 10_000
    actions: int = 5_000
    connectivity: int = 5_000
    overrides: int = 10_000
    generations: int = 20_000


class Journal:
    """Not for several threads: one event loop calls it. `events`, `actions` and `connectivity` are awaited."""

    def __init__(self, path: Path | str, *, now: Callable[[], float] = time.time, limits: Limits | None = None) -> None:
        self._now = now
        self._limits = limits or Limits()
        self._bell = Bell()
        self._db = Database(path, now=now)
        self._overrides: dict[tuple[Override, str], Overriding] = {}
        self._generations: dict[str, tuple[int, str]] = {}
        self._good: dict[str, Good] = {}
        self._reach: dict[str, tuple[Reach, str]] = {}
        self._correlator = Correlator()
        self._seq = self._pruned = self._action = 0
        self._recall()
        self._report_trouble()

    def close(self) -> None:
        """Finish writing."""
        self._db.close()

    @property
    def lost_writes(self) -> int:
        """Writes that the disk refused since the start."""
        return self._db.lost_writes

    @property
    def suppressed(self) -> int:
        """Events that were dropped since the start because their object said too much."""
        return self._correlator.suppressed

    def subscribe(self) -> Follower:
        """Wakes with every event and every action that begins or ends."""
        return self._bell.subscribe()

    # Events

    @property
    def latest_seq(self) -> int:
        """The newest emission."""
        return self._seq

    @property
    def oldest_seq(self) -> int:
        """From this emission on nothing has been pruned."""
        return self._pruned + 1

    def resumable(self, since_seq: int) -> bool:
        """Whether everything after `since_seq` is still there; if not, the API answers 410."""
        return self._pruned <= since_seq <= self._seq

    def record(self, event: Event) -> int | None:
        """Note an event. Its seq, or None if its object has said too much already."""
        self._heal()
        return self._record(event)

    def _record(self, event: Event) -> int | None:
        taken = self._correlator.take(event.bounded(), seq=self._seq + 1, now=self._now())
        if taken is None:
            return None
        after, before = taken
        self._seq = after.seq
        replaced = before.seq if before is not None else 0

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM events WHERE seq = ?", (replaced,))
            db.execute(f"INSERT OR REPLACE INTO events VALUES ({_marks(12)})", after.row())
            self._prune_events(db)

        self._db.write(job)
        self._bell.ring()
        return after.seq

    def _prune_events(self, db: sqlite3.Connection) -> None:
        (count,) = db.execute("SELECT count(*) FROM events").fetchone()
        if count <= self._limits.events:
            return
        (last,) = db.execute(
            "SELECT max(seq) FROM (SELECT seq FROM events ORDER BY seq LIMIT ?)", (count - self._limits.events,)
        ).fetchone()
        db.execute("DELETE FROM events WHERE seq <= ?", (last,))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('pruned_seq', ?)", (last,))
        self._pruned = last

    async def events(
        self, *, since_seq: int | None = None, limit: int = 500, workload: str | None = None, spark: str | None = None
    ) -> list[Recorded]:
        """In the order of their seq: the first ones after `since_seq`, or without it the newest ones."""
        where, values = ["seq > ?"], [since_seq or 0]
