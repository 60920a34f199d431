"""What people were told by notifications and not yet told to be over: a restart must neither repeat nor forget it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from state.journal_part import Part
from state.journal_rows import MAX_MESSAGE, MAX_WORD, head

_DELETE: Final = "DELETE FROM told WHERE notification = ? AND subject = ? AND reason = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One trouble that one notification has told. `since` is when it began, `at` when it was last told."""

    notification: str
    subject: str
    reason: str
    since: float
    at: float
    title: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one of."""
        return self.notification, self.subject, self.reason


class ToldLog(Part):
    """Held in memory; the file follows."""

    _told: dict[tuple[str, str, str], Told]

    def note_told(self, told: Told) -> None:
        """It was told, perhaps again."""
        self._told[told.key] = told
        words = head(told.notification, MAX_WORD), head(told.subject, MAX_WORD), head(told.reason, MAX_WORD)
        row = (*words, told.since, told.at, head(told.title, MAX_MESSAGE))
        self._write(lambda db: db.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?, ?, ?)", row))

    def forget_told(self, notification: str, subject: str, reason: str) -> None:
        """It was told to be over, or nobody is to be told any more."""
        key = (notification, subject, reason)
        if self._told.pop(key, None) is not None:
            self._write(lambda db: db.execute(_DELETE, key))

    def told(self) -> tuple[Told, ...]:
        """All of it."""
        return tuple(self._told.values())

    def _recall_told(self, db: sqlite3.Connection) -> None:
        rows = db.execute("SELECT notification, subject, reason, since, at, title FROM told").fetchall()
        found = (
            Told(notification=notification, subject=subject, reason=reason, since=since, at=at, title=title)
            for notification, subject, reason, since, at, title in rows
        )
        self._told = {told.key: told for told in found}

    def _save_told(self) -> None:
        """Into a file that was begun anew."""
        for told in list(self._told.values()):
            self.note_told(told)
