"""The little that must outlive a restart: overrides, generations, and the last good desired state.

All of it is held in memory and answers at once; the file follows.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from state.journal_part import Part
from state.journal_rows import MAX_MESSAGE, MAX_WORD, Override, Overriding, head
from state.sources import Good, Source


class Keep(Part):
    """Verbs that are not desired state; how often each object changed; what was in force."""

    _overrides: dict[tuple[Override, str], Overriding]
    _generations: dict[str, tuple[int, str]]
    _good: dict[str, Good]

    def set_override(self, verb: Override, name: str, value: str = "", *, by: str = "", why: str = "") -> None:
        """Suspend a workload, cordon or drain a Spark, ... Raises ValueError for an impossible name or too many."""
        if not name or len(name) > MAX_WORD or len(value) > MAX_MESSAGE:
            raise ValueError(f"an override's name may have 1 to {MAX_WORD} characters, its value {MAX_MESSAGE}")
        if (verb, name) not in self._overrides and len(self._overrides) >= self._limits.overrides:
            raise ValueError(f"there are {len(self._overrides)} overrides already; no more are kept")
        why, by = head(why, MAX_MESSAGE), head(by, MAX_WORD)
        self._overrides[verb, name] = Overriding(verb=verb, name=name, value=value, by=by, why=why, at=self._now())
        self._save_override(self._overrides[verb, name])
        self._bell.ring()

    def clear_override(self, verb: Override, name: str) -> bool:
        """Take it back; False if there was none."""
        if self._overrides.pop((verb, name), None) is None:
            return False
        self._write(lambda db: db.execute("DELETE FROM overrides WHERE verb = ? AND name = ?", (str(verb), name)))
        self._bell.ring()
        return True

    def overrides(self, verb: Override) -> dict[str, Overriding]:
        """Those of one verb, by name."""
        return {name: found for (kind, name), found in self._overrides.items() if kind is verb}

    def generation(self, name: str) -> tuple[int, str] | None:
        """Number and digest last set for a workload; the name "" is the desired state as a whole."""
        return self._generations.get(name)

    def set_generation(self, name: str, generation: int, digest: str) -> None:
        """The oldest names are forgotten first."""
        self._generations.pop(name, None)
        self._generations[name] = (generation, digest)
        row = (name, generation, digest, self._now())
        self._write(lambda db: db.execute("INSERT OR REPLACE INTO generations VALUES (?, ?, ?, ?)", row))
        while len(self._generations) > self._limits.generations:
            oldest = next(name for name in self._generations if name)
            del self._generations[oldest]
            self._write(lambda db, gone=oldest: db.execute("DELETE FROM generations WHERE name = ?", (gone,)))  # type: ignore[misc]  # a lambda's default

    def save_good(self, good: Good) -> None:
        """Keep the files of the state that is now in force."""
        self._good = {good.origin: good}
        text = json.dumps([[[s.name, s.data.decode()] for s in part] for part in (good.desired, good.recipes)])
        row = (good.origin, good.revision, text, self._now())

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM good")
            db.execute("INSERT INTO good VALUES (?, ?, ?, ?)", row)

        self._write(job)

    def last_good(self, origin: str) -> Good | None:
        """What was last in force from that file or folder."""
        return self._good.get(origin)

    def _save_override(self, found: Overriding) -> None:
        row = (str(found.verb), found.name, found.value, found.by, found.why, found.at)
        self._write(lambda db: db.execute("INSERT OR REPLACE INTO overrides VALUES (?, ?, ?, ?, ?, ?)", row))

    def _recall_kept(self, db: sqlite3.Connection) -> None:
        self._overrides, self._generations, self._good = {}, {}, {}
        known = {str(verb): verb for verb in Override}
        for verb, name, value, by, why, at in db.execute("SELECT * FROM overrides").fetchall():
            if verb in known:
                kept = Overriding(verb=known[verb], name=name, value=value, by=by, why=why, at=at)
                self._overrides[known[verb], name] = kept
        for name, generation, digest in db.execute("SELECT name, generation, digest FROM generations ORDER BY at"):
            self._generations[name] = (generation, digest)
        for origin, revision, text in db.execute("SELECT origin, revision, files FROM good").fetchall():
            desired, recipes = (_sources(part) for part in json.loads(text))
            self._good[origin] = Good(origin, revision, desired, recipes)

    def _save_kept(self) -> None:
        """Into a file that was begun anew."""
        for override in self._overrides.values():
            self._save_override(override)
        for name, (generation, digest) in list(self._generations.items()):
            self.set_generation(name, generation, digest)
        for good in list(self._good.values()):
            self.save_good(good)


def _sources(part: list[Any]) -> tuple[Source, ...]:
    return tuple(Source(name, text.encode()) for name, text in part)
