"""The stream of the status: folded it is the status, and it goes on where it broke off, or says that it can't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

import api.watch.hub
from api.app import build
from api.watch.hub import Watch
from api.watch.log import Log
from api.watch.patches import diff
from api.watch.snapshot import snapshot
from reconciler.lease import Lease
from reconciler.leaseholder import Unshared
from state.journal import Event, Kind, Limits
from state.journal_rows import Override
from tests.unit.api.conftest import Stage, serving, staged
from tests.unit.api.watcher import Refused, Watcher, all_gone, where

TWICE = "models: {}\nsparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}\nservices:\n  twice: {recipe: {image: 'keep/echo:1', port: 8001, probe: none}, on: [s1, s2]}\n"  # fmt: skip


def say(stage: Stage, *names: str) -> None:
    for name in names:
        stage.context.journal.record(Event(kind=Kind.WORKLOAD, name=name, reason="Said", message="hello"))


def cordon(stage: Stage, *, on: bool = True) -> None:
    stage.context.loop.override(Override.CORDON, "s2", on=on, by="me")


@pytest.fixture(autouse=True)
async def nobody_stays() -> AsyncIterator[None]:
    yield
    await all_gone()


@asynccontextmanager
async def watched(stage: Stage, log: Log | None = None) -> AsyncIterator[tuple[str, Watch]]:
    """Served, with the hub to look at; `log` in place of its own."""
    app = build(stage.context, version="1")
    if log is not None:
        app.state.watch = Watch(stage.context, kept=log)
    await stage.at_rest()
    async with serving(stage, app) as url:
        yield url, app.state.watch


async def folds_to_a_fresh_read(one: Watcher, url: str) -> None:
    """Once nothing happens any more; a look at a Spark may be on its way to those who watch."""
    async with asyncio.timeout(10), httpx2.AsyncClient() as client:
        while one.status != (await client.get(f"{url}/api/status")).json():
            assert await one.read(), "the stream ended"


async def test_the_whole_status_first_then_what_changes(stage: Stage) -> None:
    async with watched(stage) as (url, hub):
        one = Watcher(url, keeps=True)
        await one.connect()
        await one.until(lambda: one.status)
        assert one.kinds == ["status"]
        await one.until(lambda: one.status == hub.status)
        cordon(stage)
        await one.until(lambda: one.status["sparks"]["s2"]["cordoned"])
        await one.until(lambda: any(event["reason"] == "Cordoned" for event in one.events))
        assert one.kinds.count("status") == 1
        assert "patch" in one.kinds
        await one.until(lambda: one.status == hub.status)
        assert one.versions[one.id.rpartition(".")[0]] == one.status
        one.drop()


async def test_while_nothing_differs_only_bookmarks_come(stage: Stage) -> None:
    async with watched(stage) as (url, _):
        one = Watcher(url)
        await one.connect()
        await one.until(lambda: one.kinds.count("bookmark") == 3)
        assert one.kinds == ["status", "bookmark", "bookmark", "bookmark"]
        assert one.id.endswith(f".{stage.context.journal.latest_seq}")
        one.drop()


async def test_without_events(stage: Stage) -> None:
    """Only the status; a bookmark still moves the place on."""
    async with watched(stage) as (url, _):
        one = Watcher(url, query="?events=false")
        await one.connect()
        await one.until(lambda: one.status)
        say(stage, "a", "b")
        await one.until(lambda: where(one.id)[1] == stage.context.journal.latest_seq)
        assert set(one.kinds) == {"status", "bookmark"}
        one.drop()
        say(stage, "c")
        one.query = "?events=true"
        await one.connect()
        await one.until(lambda: one.events)
        assert [event["object"]["name"] for event in one.events] == ["c"]
        one.drop()


async def test_who_comes_back_gets_only_what_it_missed(stage: Stage) -> None:
    """Though nobody listened meanwhile."""
    async with watched(stage) as (url, _):
        one = Watcher(url)
        await one.connect()
        say(stage, "a")
        await one.until(lambda: one.events)
        one.drop()
        cordon(stage)
        say(stage, "b", "c")
        await asyncio.sleep(0.05)
        await one.connect()
        await one.until(lambda: one.status["sparks"]["s2"]["cordoned"] and len(one.events) == 4)
        assert [event["object"]["name"] for event in one.events] == ["a", "s2", "b", "c"]
        assert one.kinds.count("status") == 1
        await folds_to_a_fresh_read(one, url)
        one.drop()


async def test_exactly_or_not_at_all(stage: Stage) -> None:
    """`since` never begins anew by itself."""
    async with watched(stage) as (url, hub):
        one = Watcher(url)
        await one.connect()
        await one.until(lambda: one.status)
        one.drop()
        version, seq = where(one.id)
        strict = Watcher(url, query=f"?since={one.id}", status=one.status)
        await strict.connect()
        say(stage, "a")
        await strict.until(lambda: strict.events)
        assert "status" not in strict.kinds
        strict.drop()
        for gone in (
            f"{'0' * 16}.{version}.{seq}",
            f"{hub.epoch}.{version + 100}.{seq}",
            f"{hub.epoch}.0.{seq}",
            f"{hub.epoch}.{version}.{seq + 100}",
        ):
            with pytest.raises(Refused) as refused:
                await Watcher(url, query=f"?since={gone}").connect()
            body = refused.value.body
            assert (refused.value.status, body["reason"], body["field"]) == (410, "WatchGone", "since")
            assert body["latest"] == str(hub.mark(hub.log.head))
        for wrong in ("x", "1", f"{hub.epoch}.1", f"{one.id}.1", f"{hub.epoch.upper()}X.1.1"):
            with pytest.raises(Refused) as refused:
                await Watcher(url, query=f"?since={wrong}").connect()
            assert refused.value.status == 422


@pytest.mark.parametrize("seen", ["nonsense", "0" * 400, "-1.0.0"])
async def test_a_browser_gets_on_whatever_it_saw_last(stage: Stage, seen: str) -> None:
    async with watched(stage) as (url, _):
        one = Watcher(url, id=seen, query=f"?since={'0' * 16}.1.1")
        await one.connect()
        await one.until(lambda: one.status)
        assert one.kinds == ["status"]
        one.drop()


async def test_another_server_in_its_place(tmp_path: Path) -> None:
    """Another epoch: the status as a whole, and the events since; or `reset` where those are forgotten."""
    async with staged(tmp_path, limits=Limits(events=8)) as stage:
        await stage.settled()
        async with watched(stage) as (url, first):
            one = Watcher(url)
            await one.connect()
            await one.until(lambda: one.status)
            one.drop()
        before = where(one.id)[1]
        say(stage, "a", "b")
        stage.context.closing.clear()
        async with watched(stage) as (url, second):
            assert first.epoch != second.epoch
            one.url, old = url, one.id
            await one.connect()
            await one.until(lambda: len(one.events) == 2)
            assert one.seqs == [before + 1, before + 2]
            assert one.kinds == ["status", "status", "event", "event"]
            assert one.id.startswith(second.epoch)
            one.drop()
            say(stage, *(f"w{number}" for number in range(20)))
            await stage.context.journal.events()  # by then the oldest are forgotten
            late = Watcher(url, id=old)
            await late.connect()
            await late.until(lambda: late.resets)
            assert late.kinds == ["status", "reset"]
            assert late.resets == [stage.context.journal.latest_seq]
            late.drop()


async def test_events_of_a_journal_that_is_lost(stage: Stage) -> None:
    """A seq that there never was: said once, and from then on as ever."""
    async with watched(stage) as (url, _):
        latest = stage.context.journal.latest_seq
        one = Watcher(url, id=f"{'0' * 16}.3.{latest + 1000}")
        await one.connect()
        await one.until(lambda: one.resets)
        assert (one.kinds, one.resets) == (["status", "reset"], [latest])
        one.drop()
        say(stage, "a")
        await one.connect()
        await one.until(lambda: one.events)
        assert (one.kinds, one.seqs) == (["status", "reset", "event"], [latest + 1])
        one.drop()


async def test_more_at_once_than_the_log_holds(stage: Stage) -> None:
    """The whole status again, and the events from the journal."""
    async with watched(stage, Log(entries=20)) as (url, _):
        one = Watcher(url)
        await one.connect()
        await one.until(lambda: one.status)
        latest = stage.context.journal.latest_seq
        say(stage, *(f"w{number}" for number in range(700)))
        await one.until(lambda: len(one.events) >= 700)
        assert one.seqs == list(range(latest + 1, latest + 701))
        assert set(one.kinds) <= {"status", "event", "bookmark"}
        assert one.kinds.count("status") == 2
        one.drop()


async def test_one_that_was_broken_off_amid_owed_events_goes_on_there(stage: Stage) -> None:
    """Its id is of the newest version, and of an event from before that."""
    async with watched(stage) as (url, hub):
        await hub.refresh()
        start = stage.context.journal.latest_seq
        say(stage, "a", "b", "c")
        await hub.refresh()
        cordon(stage)
        await hub.refresh()
        one = Watcher(url, id=f"{'0' * 16}.1.{start}")
        await one.connect()
        await one.until(lambda: one.events)
        one.drop()
        one.events, one.id = one.events[:1], f"{hub.epoch}.{where(one.id)[0]}.{start + 1}"
        await one.connect()
        await one.until(lambda: len(one.events) == 4)
        assert one.seqs == [start + 1, start + 2, start + 3, start + 4]
        assert one.kinds.count("status") == 1
        one.drop()


async def test_the_log_is_bounded_and_who_falls_out_begins_anew(stage: Stage) -> None:
    """One that does not read while more is told than the log and the sockets hold."""
    log = Log(entries=20, size=200_000)
    async with watched(stage, log) as (url, hub):
        slow = Watcher(url)
        await slow.connect(receive=1024)
        await slow.until(lambda: slow.status)
        quick = Watcher(url)
        await quick.connect()
        for number in range(600):
            stage.context.journal.record(
                Event(kind=Kind.WORKLOAD, name=f"w{number}", reason="Said", message=f"{number:04} " * 200)
            )
            if number % 5 == 0:
                await hub._renew()  # as often as there is something
                assert log.end - log.first <= 20
        last = stage.context.journal.latest_seq
        cordon(stage)
        for one in (slow, quick):
            await one.until(lambda one=one: one.seqs[-1:] >= [last] and one.status["sparks"]["s2"]["cordoned"])
            assert one.seqs[:601] == list(range(one.seqs[0], one.seqs[0] + 601)), "none is missing"
            await folds_to_a_fresh_read(one, url)
        assert slow.kinds.count("status") > 1
        assert not slow.resets
        slow.drop()
        quick.drop()


async def test_a_server_that_ends_ends_its_streams_and_looks_no_more(stage: Stage) -> None:
    async with asyncio.timeout(5):
        async with watched(stage) as (url, hub):
            watchers = [Watcher(url) for _ in range(3)]
            for one in watchers:
                await one.connect()
                await one.until(lambda one=one: one.status)
        for one in watchers:
            while await one.read():
                pass
            one.drop()
        assert hub._keeping is None
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("watch")]


async def test_the_status_is_made_once_for_all_and_for_nobody_never(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0

    def look(context: Any) -> Any:
        nonlocal looked
        looked += 1
        return snapshot(context)

    monkeypatch.setattr(api.watch.hub, "snapshot", look)
    async with watched(stage) as (url, hub):
        watchers = [Watcher(url) for _ in range(20)]
        for one in watchers:
            await one.connect()
            await one.until(lambda one=one: one.status)
        looked = 0
        cordon(stage)
        for one in watchers:
            await one.until(lambda one=one: one.status["sparks"]["s2"]["cordoned"])
        assert looked <= 4
        for one in watchers:
            one.drop()
        async with asyncio.timeout(5):
            while hub._keeping is not None:
                await asyncio.sleep(0.01)
        looked = 0
        cordon(stage, on=False)
        await asyncio.sleep(1.2)
        assert looked == 0


async def test_a_clock_alone_is_no_news(stage: Stage) -> None:
    """`expiresIn` is another number each time; with other news it goes along, so a version is of one moment."""
    held = Unshared()
    held.lease = Lease(reason="", token=3, holder="1@here", taken_at=100.0, renewed_at=100.0, expires_at=160.0)
    worker, now = stage.context.loop.workers["s1"], 110.0
    worker.lease = held
    stage.context.loop.now = lambda: now
    hub = Watch(stage.context)
    await hub.refresh()
    version = hub.log.head.version
    assert hub.status["sparks"]["s1"]["lease"]["expiresIn"] == 50.0
    now = 117.0
    await hub.refresh()
    assert hub.log.head.version == version
    assert hub.status["sparks"]["s1"]["lease"]["expiresIn"] == 50.0, "a version stays as it is"
    held.lease = replace(held.lease, renewed_at=117.0)
    await hub.refresh()
    assert hub.log.head.version == version + 1
    assert hub.status == snapshot(stage.context)
    data, _ = hub.log.read(hub.log.end - 1, events=True)
    paths = {change["path"] for change in json.loads(data.decode().split("data: ")[1])}
    assert paths == {"/sparks/s1/lease/renewedAt", "/sparks/s1/lease/expiresIn"}


async def test_no_sentence_ticks(stage: Stage) -> None:
    """With a failed container, one that waits for its next try, a Spark that does not answer and one kept elsewhere."""
    context, loop = stage.context, stage.context.loop
    await stage.rewrite(TWICE + "  more: {recipe: {image: 'keep/none:1', probe: none}, on: s2}\n")
    containers = stage.sparks["s2"].containers
    async with asyncio.timeout(10):
        while not any(held.until for held in loop.plan().held):
            for name, container in containers.items():
                containers[name] = replace(container, state="exited", exit_code=1, finished_at=loop.now())
            loop.wake_all()
            await asyncio.sleep(0.02)
    at = loop.now()
    held, mine = Unshared(), Unshared()
    held.lease = Lease(
        reason="LeaseHeld", message="sparkkeep on desk", taken_at=at - 99, renewed_at=at, expires_at=at + 60
    )
    mine.lease = Lease(reason="", token=2, holder="1@here", taken_at=at - 99, renewed_at=at, expires_at=at + 60)
    loop.workers["s1"].lease, loop.workers["s2"].lease = held, mine
    loop.now = lambda: at
    before = snapshot(context)
    loop.now = lambda: at + 3
    changes = diff(before, snapshot(context))
    assert {change["path"] for change in changes} == {"/sparks/s1/lease/expiresIn", "/sparks/s2/lease/expiresIn"}


async def test_what_the_desired_state_says_is_told(stage: Stage) -> None:
    async with serving(stage) as url:
        one = Watcher(url)
        await one.connect()
        await one.until(lambda: one.status)
        await stage.rewrite(TWICE)
        await one.until(lambda: list(one.status["workloads"]) == ["twice"])
        stage.desired.write_text("services: [")
        await stage.context.loop.store.reload()
        await one.until(lambda: one.status["problems"])
        await folds_to_a_fresh_read(one, url)
        one.drop()
