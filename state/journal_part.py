"""What the parts of the journal share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from state.bell import Bell, Follower
from state.journal_db import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many rows each table may hold."""

    events: int = 10_000
    actions: int = 5_000
    connectivity: int = 5_000
    overrides: int = 10_000
    starts: int = 5_000
    generations: int = 20_000


class Part:
    """One part of the journal: it writes without waiting and without raising."""

    def __init__(self, db: Database, *, now: Callable[[], float], limits: Limits) -> None:
        self._db = db
        self._now = now
        self._limits = limits
        self._bell = Bell()

    def subscribe(self) -> Follower:
        """Wakes with every event and every action that begins or ends."""
        return self._bell.subscribe()

    def _write(self, job: Callable[[sqlite3.Connection], object]) -> None:
        if self._db.broken:
            self._start_over(self._db.broken)
        self._db.write(job)

    def _start_over(self, reason: str) -> None:
        """The file was lost while running; `Journal` begins a new one."""
        raise NotImplementedError
