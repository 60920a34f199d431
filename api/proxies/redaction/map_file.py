"""The map's SQLite file. All of it runs in one thread of the vault's.

No row says anything without the key: names of conversations, owners and originals are keyed hashes or sealed. What is
deleted is overwritten as well, in the file and in its log.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from api.proxies.redaction.placeholders import Entry
from api.proxies.redaction.sealing import Seal, VaultRefused, make_key, read_key

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS checks (sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session BLOB NOT NULL UNIQUE, name BLOB NOT NULL, used REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS conversations_name ON conversations (name);
CREATE INDEX IF NOT EXISTS conversations_used ON conversations (used);
CREATE TABLE IF NOT EXISTS entries (
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    number INTEGER NOT NULL, lookup BLOB NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY (conversation, number), UNIQUE (conversation, lookup)
);
"""
CHECK: Final = b"this key opens this map"
CHECK_PLACE: Final = b"check"


class MapFile:
    """Open from `__init__` to `close`. Every method raises VaultRefused where the file can't do it."""

    def __init__(self, path: Path, key_file: Path) -> None:
        self._path = path
        try:
            self._db = _prepared(path)
        except (sqlite3.Error, OSError) as error:
            raise VaultRefused(_why(path, error)) from error
        try:
            self._seal = self._unlocked(key_file)
        except BaseException:
            self._db.close()
            raise

    def load(self, owner: str, name: str, now: float, ttl: float) -> list[Entry]:
        """What was issued in it, in that order; nothing where its time is over. Its time begins anew."""
        session = self._seal.name("session", owner, name)
        with self._working():
            found = self._db.execute("SELECT id, used FROM conversations WHERE session = ?", (session,)).fetchone()
            if found is None:
                return []
            number, used = found
            if used + ttl < now:
                self._delete([number])
                return []
            self._db.execute("UPDATE conversations SET used = ? WHERE id = ?", (now, number))
            rows = self._db.execute(
                "SELECT lookup, sealed FROM entries WHERE conversation = ? ORDER BY number", (number,)
            ).fetchall()
        return [_entry(self._seal.opened(sealed, session + lookup)) for lookup, sealed in rows]

    def save(self, owner: str, name: str, entries: Iterable[Entry], first: int, now: float) -> None:
        """Add what was issued since, numbered from `first`. Its time begins anew."""
        session = self._seal.name("session", owner, name)
        rows = []
        for number, entry in enumerate(entries, first):
            lookup = self._seal.name("value", entry.placeholder, entry.original)
            rows.append((number, lookup, self._seal.sealed(_told(entry), session + lookup)))
        with self._working():
            self._db.execute(
                "INSERT INTO conversations (session, name, used) VALUES (?, ?, ?)"
                " ON CONFLICT (session) DO UPDATE SET used = max(used, excluded.used)",
                (session, self._seal.name("name", name), now),
            )
            (owned,) = self._db.execute("SELECT id FROM conversations WHERE session = ?", (session,)).fetchone()
            self._db.executemany(
                "INSERT INTO entries (conversation, number, lookup, sealed) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [(owned, *row) for row in rows],
            )

    def forget(self, name: str, owner: str | None) -> int:
        """How many there were."""
        with self._working():
            if owner is None:
                found = self._db.execute(
                    "SELECT id FROM conversations WHERE name = ?", (self._seal.name("name", name),)
                )
            else:
                session = self._seal.name("session", owner, name)
                found = self._db.execute("SELECT id FROM conversations WHERE session = ?", (session,))
            gone = [number for (number,) in found.fetchall()]
            self._delete(gone)
        self._empty_log(gone)
        return len(gone)

    def sweep(self, before: float) -> int:
        """Delete what nobody used since. How many."""
        with self._working():
            found = self._db.execute("SELECT id FROM conversations WHERE used < ?", (before,)).fetchall()
            gone = [number for (number,) in found]
            self._delete(gone)
        self._empty_log(gone)
        return len(gone)

    def close(self) -> None:
        """The log goes into the file, and is gone."""
        self._db.close()

    def _delete(self, gone: list[int]) -> None:
        self._db.executemany("DELETE FROM entries WHERE conversation = ?", [(number,) for number in gone])
        self._db.executemany("DELETE FROM conversations WHERE id = ?", [(number,) for number in gone])

    def _empty_log(self, gone: list[int]) -> None:
        """The log still has the pages as they were, sealed as they are."""
        if gone:
            with self._working(transaction=False):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _working(self, *, transaction: bool = True) -> _Working:
        return _Working(self._db, self._path, transaction=transaction)

    def _unlocked(self, key_file: Path) -> Seal:
        """With the key in its file; a new one only for a map that has none."""
        with self._working():
            found = self._db.execute("SELECT sealed FROM checks").fetchone()
            key = read_key(key_file)
            if found is None:
                seal = Seal(key or make_key(key_file))
                self._db.execute("INSERT INTO checks VALUES (?)", (seal.sealed(CHECK, CHECK_PLACE),))
                return seal
        if key is None:
            raise VaultRefused(f"the key {key_file} of the map {self._path} is gone: bring it back, or delete the map")
        seal = Seal(key)
        try:
            seal.opened(found[0], CHECK_PLACE)
        except VaultRefused as error:
            raise VaultRefused(f"the key {key_file} is not the one that the map {self._path} was made with") from error
        return seal


class _Working:
    """A transaction, whose errors are refusals."""

    def __init__(self, db: sqlite3.Connection, path: Path, *, transaction: bool) -> None:
        self._db = db
        self._path = path
        self._transaction = transaction

    def __enter__(self) -> None:
        if self._transaction:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise VaultRefused(_why(self._path, error)) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.Error as again:
            error = again
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise VaultRefused(_why(self._path, error)) from error


def _prepared(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # two processes would number the same conversation twice
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may lose the last requests' rows, which had no answer yet
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA journal_size_limit = 4194304")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it is of a later version ({version})")  # noqa: TRY301  # closed below
        db.executescript(SCHEMA)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.close()
        raise
    return db


def _why(path: Path, error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return f"another process holds the map {path}"
    return f"can't use the map {path}: {error}"


def _told(entry: Entry) -> bytes:
    return json.dumps([entry.placeholder, entry.original, entry.type]).encode()


def _entry(plain: bytes) -> Entry:
    return Entry(*json.loads(plain))
