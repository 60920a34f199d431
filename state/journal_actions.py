"""The journal's actions (every command that changed something), and when each Spark answered."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from state.journal_part import Part
from state.journal_rows import (
    MAX_COMMAND,
    MAX_MESSAGE,
    MAX_TAIL,
    MAX_WORD,
    Action,
    Connectivity,
    Outcome,
    Reach,
    head,
    tail,
)
from state.log_context import current

_BEGIN = """
    INSERT OR REPLACE INTO actions (id, revision, spark, workload, verb, command, cause, started_at, reconcile)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_END = """
    UPDATE actions SET ended_at = ?, exit_status = ?, outcome = ?, stdout = ?, stderr = ? WHERE id = ?
"""


NOT_RUNNING: Final = "NotRunning"  # why nobody knows whether a Spark answered: nobody looked
SHORT: Final = 180.0  # seconds without a sign of life that mean nothing


class ActionLog(Part):
    """Commands with their outcome, newest last."""

    _action = 0
    _reach: dict[str, tuple[Reach, str]]

    def begin_action(
        self, *, spark: str, workload: str, verb: str, command: str, cause: str = "", revision: str = ""
    ) -> int:
        """A command is about to be sent. `command` is free of secrets: they travel on stdin."""
        self._action += 1
        words = (head(word, MAX_WORD) for word in (revision, spark, workload, verb))
        told = head(command, MAX_COMMAND), head(cause, MAX_MESSAGE)
        row = (self._action, *words, *told, self._now(), current().reconcile)

        def job(db: sqlite3.Connection) -> None:
            db.execute(_BEGIN, row)
            _prune(db, "actions", self._limits.actions)

        self._write(job)
        self._bell.ring()
        return self._action

    def end_action(
        self, action: int, *, outcome: Outcome, exit_status: int | None = None, stdout: str = "", stderr: str = ""
    ) -> None:
        """It has ended, or we stopped waiting (`timeout`), or the connection took the answer along (`unknown`)."""
        tails = tail(stdout, MAX_TAIL), tail(stderr, MAX_TAIL)
        row = (self._now(), exit_status, outcome, *tails, action)
        self._write(lambda db: db.execute(_END, row))
        self._bell.ring()

    async def actions(
        self, *, limit: int = 100, workload: str | None = None, spark: str | None = None, before: int | None = None
    ) -> list[Action]:
        """The newest ones (before the id `before`), in the order they began."""
        query = """
            SELECT * FROM actions
            WHERE (:before IS NULL OR id < :before)
              AND (:workload IS NULL OR workload = :workload)
              AND (:spark IS NULL OR spark = :spark)
            ORDER BY id DESC LIMIT :limit
        """
        values = {"before": before, "workload": workload, "spark": spark, "limit": max(0, limit)}
        rows: list[Any] = await self._db.read(lambda db: db.execute(query, values).fetchall(), [])
        return [Action(**dict(zip(Action.__dataclass_fields__, row, strict=True))) for row in reversed(rows)]

    def note_connectivity(self, spark: str, state: Reach, reason: str = "", message: str = "") -> bool:
        """A Spark answers, or doesn't. True if that is news, which alone is written down.

        The `message` is for who else keeps a log of it: the journal has it as an event.
        """
        del message
        reason = head(reason, MAX_MESSAGE)
        if self._reach.get(spark) == (state, reason):
            return False
        self._reach[spark] = (state, reason)
        row = (head(spark, MAX_WORD), self._now(), state, reason)

        def job(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO connectivity (spark, from_at, state, reason) VALUES (?, ?, ?, ?)", row)
            _prune(db, "connectivity", self._limits.connectivity)

        self._write(job)
        return True

    def alive(self) -> None:
        """Somebody looks at the Sparks: said now and then, and at the end, so that the next run knows until when."""
        at = int(self._now())
        self._write(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES ('alive_at', ?)", (at,)))

    async def connectivity(self, spark: str | None = None, *, limit: int = 500) -> list[Connectivity]:
        """The newest changes of one Spark or of all, oldest first."""
        query = """
            SELECT spark, from_at, state, reason FROM connectivity
            WHERE :spark IS NULL OR spark = :spark ORDER BY id DESC LIMIT :limit
        """
        values = {"spark": spark, "limit": max(0, limit)}
        rows: list[Any] = await self._db.read(lambda db: db.execute(query, values).fetchall(), [])
        return [Connectivity(spark=s, from_at=at, state=state, reason=why) for s, at, state, why in reversed(rows)]

    def _recall_actions(self, db: sqlite3.Connection) -> None:
        """What ran when the last process ended: nobody knows what came of it."""
        db.execute("UPDATE actions SET outcome = 'unknown' WHERE outcome IS NULL")
        (newest,) = db.execute("SELECT coalesce(max(id), 0) FROM actions").fetchone()
        self._action = max(newest, self._db.fresh_start)
        rows = db.execute("SELECT spark, state, reason FROM connectivity ORDER BY id").fetchall()
        self._reach = {spark: (state, reason) for spark, state, reason in rows}
        self._recall_absence(db)

    def _recall_absence(self, db: sqlite3.Connection) -> None:
        """Between two runs nobody looked: from the last sign of life on nothing is known of any Spark."""
        (alive,) = db.execute("SELECT max(value) FROM meta WHERE name = 'alive_at'").fetchone()
        (changed,) = db.execute("SELECT max(from_at) FROM connectivity").fetchone()
        if alive is None or self._now() - max(alive, changed or 0) < SHORT:
            return
        for spark in [spark for spark, (_, reason) in self._reach.items() if reason != NOT_RUNNING]:
            row = (spark, max(alive, changed), "unknown", NOT_RUNNING)
            db.execute("INSERT INTO connectivity (spark, from_at, state, reason) VALUES (?, ?, ?, ?)", row)
            self._reach[spark] = ("unknown", NOT_RUNNING)


def _prune(db: sqlite3.Connection, table: str, most: int) -> None:
    """Forget the oldest rows beyond `most`."""
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # the name is ours
    if count > most:
        oldest = f"SELECT id FROM {table} ORDER BY id LIMIT ?"  # noqa: S608  # the name is ours
        db.execute(f"DELETE FROM {table} WHERE id IN ({oldest})", (count - most,))  # noqa: S608  # the name is ours
