"""The journal's tables. Times are Unix seconds; every table is bounded by rows, every text by its writer.

An event that happens again moves to a new `seq` and keeps its `id`, so that who resumes after the last seq seen
gets it again with its new count. `meta` holds `pruned_seq`, the highest seq that pruning has taken.
"""

from typing import Final

VERSION: Final = 2

MIGRATIONS: Final[dict[int, str]] = {  # from a version to the one after it
    1: """
        ALTER TABLE events ADD COLUMN reconcile TEXT NOT NULL DEFAULT '';
        ALTER TABLE actions ADD COLUMN reconcile TEXT NOT NULL DEFAULT '';
    """,
}

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS events (
    seq      INTEGER PRIMARY KEY,  -- rises with every emission, also of an event that was there before
    id       INTEGER NOT NULL,     -- the seq of its first emission
    source   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    spark    TEXT NOT NULL,
    type     TEXT NOT NULL CHECK (type IN ('Normal', 'Warning')),
    reason   TEXT NOT NULL,
    message  TEXT NOT NULL,
    count    INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at  REAL NOT NULL,
    reconcile TEXT NOT NULL DEFAULT ''     -- the pass that it came from last, if any
);
CREATE INDEX IF NOT EXISTS events_by_name ON events (name, seq);
CREATE INDEX IF NOT EXISTS events_by_spark ON events (spark, seq);

CREATE TABLE IF NOT EXISTS actions (
    id          INTEGER PRIMARY KEY,
    revision    TEXT NOT NULL,
    spark       TEXT NOT NULL,
    workload    TEXT NOT NULL,
    verb        TEXT NOT NULL,
    command     TEXT NOT NULL,
    cause       TEXT NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    exit_status INTEGER,
    outcome     TEXT,              -- NULL while it runs; 'unknown' if we ended before it did
    stdout      TEXT NOT NULL DEFAULT '',
    stderr      TEXT NOT NULL DEFAULT '',
    reconcile   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS actions_by_workload ON actions (workload, id);
CREATE INDEX IF NOT EXISTS actions_by_spark ON actions (spark, id);

CREATE TABLE IF NOT EXISTS connectivity (
    id      INTEGER PRIMARY KEY,
    spark   TEXT NOT NULL,
    from_at REAL NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('reachable', 'unknown')),
    reason  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS connectivity_by_spark ON connectivity (spark, id);

CREATE TABLE IF NOT EXISTS overrides (
    verb  TEXT NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    by_   TEXT NOT NULL,
    why   TEXT NOT NULL,
    at    REAL NOT NULL,
    PRIMARY KEY (verb, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS generations (
    name       TEXT PRIMARY KEY,   -- '' is the desired state as a whole
    generation INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    at         REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS starts (
    id        INTEGER PRIMARY KEY,
    workload  TEXT NOT NULL,
    spark     TEXT NOT NULL,
    spec_hash TEXT NOT NULL,
    seconds   REAL NOT NULL,       -- from the start of the container to its first answer
    peak      INTEGER NOT NULL,    -- bytes by which MemAvailable fell meanwhile, at most
    at        REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS told (
    notification TEXT NOT NULL,
    subject      TEXT NOT NULL,
    reason       TEXT NOT NULL,
    since        REAL NOT NULL,    -- when it began
    at           REAL NOT NULL,    -- when it was last told, and is not told as over
    title        TEXT NOT NULL,
    PRIMARY KEY (notification, subject, reason)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS good (
    origin   TEXT PRIMARY KEY,     -- the file or folder that it was read from
    revision TEXT NOT NULL,
    files    TEXT NOT NULL,        -- JSON
    at       REAL NOT NULL
) WITHOUT ROWID;
"""
