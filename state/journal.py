"""The journal: what has happened, and the little that must outlive a restart.

Events, actions, when each Spark answered, how long models took to start, what notifications told, the operator's
overrides, generations, and the last good desired state.
Writing never waits and never raises: what the loop must know at once is held in memory, and the database follows in
its own thread. Everything here can be lost without harm to the fleet, since what runs on the Sparks says for itself
what it is; that it was lost is an event.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from state.journal_actions import ActionLog
from state.journal_db import Database
from state.journal_keep import Keep
from state.journal_log import EventLog
from state.journal_part import Limits
from state.journal_rows import Action, Connectivity, Event, Kind, Override, Overriding, Recorded
from state.journal_starts import Started, StartLog
from state.journal_told import Told, ToldLog

__all__ = [
    "Action",
    "Connectivity",
    "Event",
    "Journal",
    "Kind",
    "Limits",
    "Override",
    "Overriding",
    "Recorded",
    "Started",
    "Told",
]


class Journal(EventLog, ActionLog, StartLog, ToldLog, Keep):
    """One SQLite file, or `:memory:`. Called from one event loop; the lists (`events`, ...) are awaited."""

    def __init__(self, path: Path | str, *, now: Callable[[], float] = time.time, limits: Limits | None = None) -> None:
        super().__init__(Database(path, now=now), now=now, limits=limits or Limits())
        self._overrides, self._generations, self._good, self._reach, self._starts = {}, {}, {}, {}, {}
        self._told = {}
        self._recall()

    def close(self) -> None:
        """Finish writing."""
        self._db.close()

    async def check(self) -> str:
        """What is wrong with it: empty if what is written now is there to be read, and will outlive this process."""
        asked = time.time_ns()

        def read(db: sqlite3.Connection) -> int:
            (found,) = db.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'checked'").fetchone()
            return int(found)

        self._write(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES ('checked', ?)", (asked,)))
        if await self._db.read(read, 0) != asked:
            return f"{self._db.path} can't be written to: is its disk full, or read-only?"
        return f"{self._db.path}: {self._db.trouble}" if not self._db.lasting else ""

    @property
    def lost_writes(self) -> int:
        """Writes that the disk refused since the start."""
        return self._db.lost_writes

    def _recall(self) -> None:
        parts = (self._recall_events, self._recall_actions, self._recall_starts, self._recall_told, self._recall_kept)
        for part in parts:
            self._db.read_now(part, None)
        if self._db.broken:  # sound enough to open, not to read
            self._start_over(self._db.broken)
        elif self._db.trouble:
            self._report()

    def _start_over(self, reason: str) -> None:
        """A new file in place of one that broke while in use; what is in memory is written into it."""
        self._db.reopen(reason)  # clears `broken`; a file that breaks again at once is begun anew by the next write
        self._db.write(lambda db: self._forget_before(db, self._seq))
        self._save_kept()
        self._save_told()
        self._report()

    def _report(self) -> None:
        message = f"{self._db.path}: {self._db.trouble}"
        self.record(Event(kind=Kind.SELF, name="journal", type="Warning", reason="JournalReplaced", message=message))
