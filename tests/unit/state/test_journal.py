import asyncio
import errno
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.journal import Event, Journal, Kind, Limits, Override
from state.journal_db import MAX_PENDING
from state.journal_rows import MAX_COMMAND, MAX_MESSAGE, MAX_TAIL
from state.sources import Good, Source


class Clock:
    def __init__(self):
        self.time = 1_000_000.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "file"])
def journal(request, tmp_path, clock):
    path = ":memory:" if request.param == "memory" else tmp_path / "data" / "journal.db"
    journal = Journal(path, now=clock)
    yield journal
    journal.close()


def event(name="w", message="m", **more):
    return Event(kind=more.pop("kind", Kind.WORKLOAD), name=name, reason="R", message=message, **more)


def act(journal, spark="s", workload="w", **more):
    return journal.begin_action(spark=spark, workload=workload, verb="create", command="docker create x", **more)


# Events


async def test_events_in_order_and_filtered(journal):
    journal.record(event("a", spark="s1"))
    journal.record(event("b", spark="s2"))
    journal.record(event("s1", kind=Kind.SPARK))
    journal.record(event("a", spark="s1"))
    assert [(e.event.name, e.seq, e.count) for e in await journal.events()] == [("b", 2, 1), ("s1", 3, 1), ("a", 4, 2)]
    assert [e.seq for e in await journal.events(since_seq=2)] == [3, 4]
    assert [e.seq for e in await journal.events(since_seq=0, limit=1)] == [2]
    assert [e.seq for e in await journal.events(limit=1)] == [4]
    assert [e.seq for e in await journal.events(workload="a")] == [4]
    assert [e.seq for e in await journal.events(workload="s1")] == []
    assert [e.seq for e in await journal.events(spark="s1")] == [3, 4]
    assert await journal.events(limit=0) == []
    assert journal.latest_seq == 4
    assert (await journal.events())[-1].as_dict()["object"] == {"kind": "workload", "name": "a", "spark": "s1"}


async def test_a_resume_sees_recurrences_and_knows_when_it_came_too_late(clock, tmp_path):
    journal = Journal(":memory:", now=clock, limits=Limits(events=3))
    assert journal.resumable(0)
    assert (journal.latest_seq, journal.oldest_seq) == (0, 1)
    assert not journal.resumable(1)
    for name in "abca":
        journal.record(event(name))
    assert journal.resumable(0)
    assert [e.event.name for e in await journal.events(since_seq=3)] == ["a"]
    for name in "de":
        journal.record(event(name))
    assert not journal.resumable(1)
    assert journal.resumable(3)
    assert journal.oldest_seq == 4
    assert [e.event.name for e in await journal.events(since_seq=3)] == ["a", "d", "e"]
    journal.close()


@pytest.mark.parametrize(("absence", "count"), [(60, 2), (3 * 3600, 1)])
async def test_a_start_goes_on_with_numbers_and_counts_on_what_may_still_be_repeated(clock, tmp_path, absence, count):
    first = Journal(tmp_path / "journal.db", now=clock)
    first.record(event("a"))
    first.record(event("b"))
    first.close()
    clock.time += absence
    again = Journal(tmp_path / "journal.db", now=clock)
    assert again.latest_seq == 2
    assert again.record(event("a")) == 3
    found = await again.events()
    assert [(e.event.name, e.seq, e.count) for e in found][-1] == ("a", 3, count)
    assert len(found) == 4 - count  # one that is repeated moves, and one from long ago stays
    again.close()


async def test_followers_wake_and_find_what_they_were_woken_for(journal):
    with journal.subscribe() as follower:
        journal.record(event())
        assert await follower.wait(10)
        assert len(await journal.events()) == 1
        act(journal)
        assert await follower.wait(10)
        assert len(await journal.actions()) == 1


async def test_texts_are_bounded(journal):
    journal.record(event("n" * 5000, "x" * 5000 + "\ud800", spark="s" * 5000))
    (found,) = await journal.events()
    assert len(found.event.message) == MAX_MESSAGE
    action = journal.begin_action(spark="s", workload="w", verb="v" * 999, command="c" * 99_999, cause="\ud800" * 9999)
    journal.end_action(action, outcome="failed", stdout="é" * 9999, stderr="\ud800tail")
    (done,) = await journal.actions()
    assert len(done.command) == MAX_COMMAND
    assert len(done.stdout.encode()) <= MAX_TAIL
    assert done.stdout.endswith("é")
    assert done.stderr == "?tail"
    assert journal.lost_writes == 0


# Actions and connectivity


async def test_an_action_from_begin_to_end(journal, clock):
    one = act(journal, revision="r1", cause="not there")
    two = act(journal, spark="t", workload="x")
    clock.time += 5
    journal.end_action(one, outcome="ok", exit_status=0, stdout="id\n")
    first, second = await journal.actions()
    assert (first.id, first.outcome, first.exit_status, first.stdout) == (one, "ok", 0, "id\n")
    assert first.ended_at - first.started_at == 5
    assert (second.id, second.outcome, second.ended_at) == (two, None, None)
    assert [a.id for a in await journal.actions(spark="t")] == [two]
    assert [a.id for a in await journal.actions(workload="w")] == [one]
    assert [a.id for a in await journal.actions(limit=1)] == [two]
    assert [a.id for a in await journal.actions(before=two)] == [one]


async def test_connectivity_holds_changes_only(journal, clock):
    assert journal.note_connectivity("s", "reachable")
    assert not journal.note_connectivity("s", "reachable")
    clock.time += 60
    assert journal.note_connectivity("s", "unknown", "Timeout")
    assert journal.note_connectivity("t", "reachable")
    assert [(c.state, c.reason) for c in await journal.connectivity("s")] == [("reachable", ""), ("unknown", "Timeout")]
    assert len(await journal.connectivity()) == 3


async def test_between_two_runs_nobody_looked(tmp_path, clock):
    """Known from the last sign of life on; a short absence, or a journal without such signs, says nothing."""
    path = tmp_path / "journal.db"

    async def another_run(absence):
        clock.time += absence
        journal = Journal(path, now=clock)
        found = [(c.spark, c.from_at, c.state, c.reason) for c in await journal.connectivity()]
        return journal, found

    first = Journal(path, now=clock)
    first.note_connectivity("s", "reachable")
    first.close()
    second, found = await another_run(86_400)
    assert len(found) == 1
    second.alive()
    second.close()
    alive = clock.time
    third, found = await another_run(100)
    assert len(found) == 1
    third.note_connectivity("t", "unknown", "Timeout")
    third.close()
    changed = clock.time
    fourth, found = await another_run(7200)
    assert alive < changed
    absent = [("s", changed, "unknown", "NotRunning"), ("t", changed, "unknown", "NotRunning")]
    assert found[2:] == absent
    fourth.alive()
    fourth.close()
    fifth, found = await another_run(7200)
    assert found[2:] == absent, "it is known already"
    assert fifth.note_connectivity("s", "reachable")
    assert fifth.note_connectivity("t", "unknown", "Timeout")
    fifth.close()


# What outlives a restart


def test_overrides(journal, clock):
    journal.set_override(Override.SUSPEND, "w", by="me", why="noise")
    journal.set_override(Override.CORDON, "s")
    assert journal.overrides(Override.SUSPEND)["w"].why == "noise"
    assert list(journal.overrides(Override.DRAIN)) == []
    assert journal.clear_override(Override.SUSPEND, "w")
    assert not journal.clear_override(Override.SUSPEND, "w")
    assert journal.overrides(Override.SUSPEND) == {}
    with pytest.raises(ValueError, match="name"):
        journal.set_override(Override.CORDON, "")


def test_overrides_are_bounded(clock):
    journal = Journal(":memory:", now=clock, limits=Limits(overrides=2))
    journal.set_override(Override.SUSPEND, "a")
    journal.set_override(Override.SUSPEND, "b")
    journal.set_override(Override.SUSPEND, "b", "again")
    with pytest.raises(ValueError, match="2 overrides"):
        journal.set_override(Override.SUSPEND, "c")
    journal.close()


async def test_everything_is_there_after_a_restart(tmp_path, clock):
    path = tmp_path / "journal.db"
    good = Good("/d", "sha256:1", (Source("d.yaml", b"# \xc3\xa9"),), (Source("m.yaml", b""),))
    journal = Journal(path, now=clock)
    journal.record(event())
    journal.record(event("x"))
    left = act(journal)
    ended = act(journal)
    journal.end_action(ended, outcome="ok")
    journal.note_connectivity("s", "reachable")
    journal.set_override(Override.RESTART, "w", "abc", by="me")
    journal.set_generation("", 3, "d3")
    journal.set_generation("w", 2, "d2")
    journal.save_good(Good("/d", "sha256:0", (), ()))
    journal.save_good(good)
    journal.close()
    assert path.stat().st_mode & 0o777 == 0o600

    journal = Journal(path, now=clock)
    assert journal.latest_seq == 2
    assert journal.record(event()) == 3
    assert [(e.event.name, e.count) for e in await journal.events()] == [("x", 1), ("w", 2)]
    assert [(a.id, a.outcome) for a in await journal.actions()] == [(left, "unknown"), (ended, "ok")]
    assert act(journal) == ended + 1
    assert not journal.note_connectivity("s", "reachable")
    assert journal.overrides(Override.RESTART)["w"].value == "abc"
    assert journal.generation("") == (3, "d3")
    assert journal.generation("w") == (2, "d2")
    assert journal.generation("nope") is None
    assert journal.last_good("/d") == good
    assert journal.last_good("/other") is None
    journal.close()


def test_generations_are_bounded_and_the_whole_is_never_forgotten(clock):
    journal = Journal(":memory:", now=clock, limits=Limits(generations=5))
    journal.set_generation("", 1, "d")
    for number in range(20):
        journal.set_generation(f"w{number}", 1, "d")
    assert journal.generation("") == (1, "d")
    assert journal.generation("w19")
    assert journal.generation("w0") is None
    assert rows(journal, "generations") == 5
    journal.close()


def rows(journal, table):
    return journal._db._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608


steps = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 30), st.integers(0, 15)),
        st.tuples(st.just("action"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("reach"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(0, 2000), st.just(0)),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_the_journal_never_exceeds_its_bounds(sequence, bound):
    clock = Clock()
    limits = Limits(events=bound, actions=bound, connectivity=bound)
    journal = Journal(":memory:", now=clock, limits=limits)
    seqs = []
    for kind, one, two in sequence:
        if kind == "event":
            seqs.append(journal.record(event(f"w{one}", f"m{two}")))
        elif kind == "action":
            journal.end_action(act(journal, spark=f"s{one}"), outcome="ok")
        elif kind == "reach":
            journal.note_connectivity(f"s{one}", "unknown" if two else "reachable", f"r{two}")
        else:
            clock.time += one
        for table in ("events", "actions", "connectivity"):
            assert rows(journal, table) <= bound
    emitted = [seq for seq in seqs if seq is not None]
    assert emitted == list(range(1, len(emitted) + 1))
    assert journal.latest_seq == len(emitted)
    kept = asyncio.run(journal.events(since_seq=journal.oldest_seq - 1))
    everything = asyncio.run(journal.events(since_seq=0))
    assert kept == everything
    assert journal.lost_writes == 0
    journal.close()


# Trouble with the file


async def said(journal):
    return [e.event for e in await journal.events() if e.event.reason == "JournalReplaced"]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "later version", "folder", "inner page"])
async def test_a_file_that_is_no_journal_is_kept_aside(tmp_path, clock, damage):
    path = tmp_path / "journal.db"
    if damage == "folder":
        path.mkdir()
    elif damage == "garbage":
        path.write_bytes(b"this is not a database" * 100)
    else:
        journal = Journal(path, now=clock)
        for number in range(300):
            journal.record(event(f"w{number}", "x" * 500))
        journal.close()
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:5000])
        elif damage == "inner page":
            data = bytearray(path.read_bytes())
            data[4096:-4096] = b"\xff" * (len(data) - 8192)
            path.write_bytes(bytes(data))
        else:
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 99")
            db.close()
    journal = Journal(path, now=clock)
    (found,) = await said(journal)
    assert f"journal.db.corrupt-{int(clock.time)}" in found.message
    assert (tmp_path / f"journal.db.corrupt-{int(clock.time)}").exists()
    assert journal.latest_seq > 300  # an old Last-Event-ID is known to be too old
    assert not journal.resumable(300)
    journal.set_override(Override.SUSPEND, "w")
    journal.close()
    journal = Journal(path, now=clock)
    assert journal.overrides(Override.SUSPEND)
    assert len(await said(journal)) == 1
    journal.close()


async def test_no_more_than_a_few_broken_files_are_kept(tmp_path, clock):
    path = tmp_path / "journal.db"
    for _ in range(6):
        clock.time += 10
        path.write_bytes(b"garbage" * 1000)
        Journal(path, now=clock).close()
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 3


async def test_where_no_file_can_be_had_memory_takes_its_place(tmp_path, clock):
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "journal.db", now=clock)
    (found,) = await said(journal)
    assert "nothing will outlive this process" in found.message
    journal.set_override(Override.SUSPEND, "w")
    assert journal.record(event())
    assert journal.lost_writes == 0
    journal.close()


async def test_a_file_that_breaks_while_in_use_is_begun_anew(tmp_path, clock):
    path = tmp_path / "journal.db"
    journal = Journal(path, now=clock)
    journal.set_override(Override.SUSPEND, "w")
    journal.set_generation("w", 7, "d")
    for number in range(50):
        journal.record(event(f"a{number}"))
    await journal.events()
    seq = journal.latest_seq
    await journal._db.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(), None)
    await journal._db.read(lambda db: db.execute("PRAGMA cache_size = 1").fetchall(), None)
    path.write_bytes(b"\xff" * path.stat().st_size)
    for number in range(20):  # SQLite notices when it next reads a page from the file
        journal.record(event(f"b{number}"))
        await journal.events()
    assert journal.lost_writes > 0
    assert journal.latest_seq > seq
    assert not journal.resumable(seq - 1)
    assert len(await said(journal)) == 1
    journal.close()
    journal = Journal(path, now=clock)
    assert journal.overrides(Override.SUSPEND)
    assert journal.generation("w") == (7, "d")
    journal.close()


async def test_a_full_disk_costs_history_and_nothing_else(tmp_path, clock, caplog):
    journal = Journal(tmp_path / "journal.db", now=clock)
    journal.record(event("before"))
    await journal.events()
    pages = await journal._db.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0], 0)
    await journal._db.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone(), None)
    for number in range(200):
        journal.record(event(f"w{number}", "x" * 1000))
        journal.end_action(act(journal), outcome="ok", stdout="x" * 4000)
    journal.set_override(Override.SUSPEND, "w")
    await journal.events()
    assert journal.lost_writes > 0
    assert "full" in caplog.text
    assert journal.overrides(Override.SUSPEND)
    await journal._db.read(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchone(), None)
    lost = journal.lost_writes
    journal.record(event("after"))
    assert [e.event.name for e in await journal.events()][-1] == "after"
    assert journal.lost_writes == lost
    assert "before" in {e.event.name for e in await journal.events()}
    journal.close()


async def test_one_bad_write_does_not_take_its_neighbours_along(tmp_path, clock):
    journal = Journal(tmp_path / "journal.db", now=clock)
    gate = threading.Event()
    journal._db.write(lambda _: gate.wait(10))
    journal.record(event("a"))
    journal._db.write(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    journal.record(event("b"))
    gate.set()
    assert [e.event.name for e in await journal.events()] == ["a", "b"]
    assert journal.lost_writes == 1
    journal.close()


async def test_the_loop_never_waits_and_memory_is_bounded_while_the_disk_hangs(tmp_path, clock):
    journal = Journal(tmp_path / "journal.db", now=clock)
    gate = threading.Event()
    journal._db.write(lambda _: gate.wait(30))
    for number in range(MAX_PENDING + 50):
        journal.note_connectivity("s", "unknown", str(number))
    assert journal.lost_writes == 51
    journal.set_override(Override.SUSPEND, "w")
    assert journal.overrides(Override.SUSPEND)
    gate.set()
    journal.close()


def test_a_file_that_another_process_holds_is_left_alone(tmp_path, clock, monkeypatch):
    path = tmp_path / "journal.db"
    Journal(path, now=clock).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **{**k, "timeout": 0.05}))
    journal = Journal(path, now=clock)
    (found,) = asyncio.run(said(journal))
    assert "another process" in found.message or "locked" in found.message
    journal.close()
    holder.close()
    assert not list(Path(tmp_path).glob("*.corrupt-*"))


async def test_an_oserror_at_opening_is_not_the_end(tmp_path, clock, monkeypatch):
    import os

    def refuse(*_args, **_more):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    journal = Journal(tmp_path / "journal.db", now=clock)
    assert "Read-only" in (await said(journal))[0].message
    journal.close()
