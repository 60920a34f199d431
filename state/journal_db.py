"""One SQLite file, one thread, and a loop that never waits for a disk.

Writes are handed to the thread and forgotten; one that fails is counted and logged. Reads go through the same
thread, so they see every write made before them. A file that is no database any more is moved aside and a new one
begun; where no file can be had, memory takes its place. `:memory:` runs without a thread, for simulations.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from state.journal_schema import MIGRATIONS, SCHEMA, VERSION

log = logging.getLogger(__name__)

MAX_PENDING: Final = 10_000
MAX_BATCH: Final = 200
KEEP_ASIDE: Final = 3
MEMORY: Final = ":memory:"
BROKEN: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY_DBMOVED}

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]


class Database:
    """`broken` says why the file must be begun anew (`reopen`); `trouble` what happened at the last opening."""

    def __init__(self, path: Path | str, *, now: Callable[[], float]) -> None:
        self.path = str(path)
        self.lost_writes = 0
        self.broken = ""
        self.trouble = ""
        self.lasting = True  # False: the file could not be had, and memory takes its place
        self.fresh_start = 0  # the time, if a file had to be replaced
        self._now = now
        self._pending = 0
        self._batch = 0
        self._lock = threading.Lock()
        inline = self.path == MEMORY
        self._thread = None if inline else ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._connection = sqlite3.connect(MEMORY, check_same_thread=False)
        self.reopen("")

    def reopen(self, reason: str) -> None:
        """Open the file; with a `reason` the old one is moved aside first. Waits for the thread."""
        self.broken = ""
        if self._thread is None:
            self._open(reason)
        else:
            self._thread.submit(self._open, reason).result()

    def write(self, job: Job[object]) -> None:
        """Run the job in a transaction, soon. Never raises and never waits."""
        with self._lock:
            if self._pending >= MAX_PENDING:
                self.lost_writes += 1
                return
            self._pending += 1
        if self._thread is None:
            self._write(job)
        else:
            self._thread.submit(self._write, job)

    async def read(self, job: Job[T], default: T) -> T:
        """The job's result after all earlier writes; `default` if the database can't say."""
        if self._thread is None:
            return self._read(job, default)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, job, default)

    def read_now(self, job: Job[T], default: T) -> T:
        """The same, waiting for it; for start-up."""
        return (
            self._read(job, default) if self._thread is None else self._thread.submit(self._read, job, default).result()
        )

    def close(self) -> None:
        """Finish what is pending and close the file."""
        if self._thread is not None:
            self._thread.submit(self._connection.close).result()
            self._thread.shutdown()
        else:
            self._connection.close()

    def _write(self, job: Job[object]) -> None:
        """One job, in one transaction with those that wait behind it: a commit costs a trip to the disk."""
        db = self._connection
        try:
            if not db.in_transaction:
                self._batch = 0
                db.execute("BEGIN IMMEDIATE")
            self._batch += 1
            db.execute("SAVEPOINT job")
            job(db)
            db.execute("RELEASE job")
            if self._pending <= 1 or self._batch >= MAX_BATCH:
                db.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed("write", error)
            self._undo()
        finally:
            with self._lock:
                self._pending -= 1

    def _undo(self) -> None:
        """Take back the job that failed; or the whole batch, where SQLite or the disk gives no choice."""
        db = self._connection
        try:
            db.execute("ROLLBACK TO job")  # fails if the transaction is gone, or its commit was what failed
            db.execute("RELEASE job")
            self._batch -= 1
            self.lost_writes += 1
            if self._pending <= 1:
                db.execute("COMMIT")
        except sqlite3.Error:
            self.lost_writes += max(1, self._batch)
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")

    def _read(self, job: Job[T], default: T) -> T:
        try:
            return job(self._connection)
        except sqlite3.Error as error:
            self._failed("read", error)
            return default

    def _failed(self, what: str, error: sqlite3.Error) -> None:
        log.warning("journal %s: can't %s: %s", self.path, what, error)
        if getattr(error, "sqlite_errorcode", None) in BROKEN:
            self.broken = str(error)

    def _open(self, reason: str) -> None:
        """The file; or a new one with the old one moved aside; or memory."""
        self._connection.close()
        self.trouble = reason
        self.lasting = True
        if self.path == MEMORY:
            self._connection = _prepared(MEMORY)
            return
        if not reason:
            try:
                self._connection = _prepared(self.path)
            except (sqlite3.Error, OSError) as error:
                self.trouble = reason = str(error)
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                    self._in_memory("another process holds it")
                    return
            else:
                return
        self.fresh_start = int(self._now())
        try:
            aside = _move_aside(Path(self.path), self.fresh_start)
            self._connection = _prepared(self.path)
            self.trouble = f"{reason}; the old file is kept as {aside.name}" if aside else reason
        except (sqlite3.Error, OSError) as error:
            self._in_memory(str(error))

    def _in_memory(self, reason: str) -> None:
        self.trouble = f"{reason}; nothing will outlive this process"
        self.lasting = False
        self._connection = _prepared(MEMORY)


def _prepared(path: str) -> sqlite3.Connection:
    """A connection to a sound database of our schema. Raises sqlite3.Error or OSError."""
    if path != MEMORY:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # commands and logs are nobody else's business
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a suspended workload stays suspended after a power cut
        connection.execute("PRAGMA journal_size_limit = 4194304")
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if said != "ok" or version > VERSION:
            raise sqlite3.DatabaseError(said if said != "ok" else f"it is of a later version ({version})")
        for old in range(version or VERSION, VERSION):
            connection.executescript(f"BEGIN; {MIGRATIONS[old]} PRAGMA user_version = {old + 1}; COMMIT;")
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version = {VERSION}")  # a write, which shows whether it can be written
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _move_aside(path: Path, at: int) -> Path | None:
    """Keep the unusable file, but no more than a few of them."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if not path.exists():
        return None
    aside = path.with_name(f"{path.name}.corrupt-{at}")
    path.rename(aside)
    kept = sorted(path.parent.glob(f"{path.name}.corrupt-*"))
    for old in kept[:-KEEP_ASIDE]:
        if old.is_file():
            old.unlink()
    return aside
