"""A saved setting takes effect at once, on everyone who goes by it: no restart, and nobody with an old copy.

A loop in virtual time keeps a Spark, the settings are saved under it, and what it does then is another thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from api import assemble, reach
from api.environment import Completion
from reconciler import remote
from reconciler.explain import HEALTHY_RESET, LAST_BACKOFF
from reconciler.linkdown import LinkDown
from reconciler.loop import Loop
from reconciler.model import Scan
from reconciler.scan import DEADLINE
from reconciler.ssh import Outcome
from reconciler.surveyor import EVERY
from reconciler.weights.fetch import MARGIN
from reconciler.weights.fetches import Bring
from reconciler.weights.keeper import Weights
from state.desired import Settings, Spark
from state.journal import Event, Journal, Kind, Limits
from tests.unit.reconciler.in_no_time import in_no_time, keeping
from tests.unit.reconciler.test_worker import Played

GIB = 2**30
SPARK = "sparks: {s1: {host: 10.0.0.1}}\n"
ECHO = SPARK + "services: {echo: {recipe: {image: 'keep/echo:1', port: 8000, probe: none}, on: s1}}\n"
MODEL = SPARK + (
    "models: {m: {recipe: {engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 58GiB}, on: s1}}\n"
)


@dataclass
class Machine(Played):
    """A Spark with 64 GiB available; every survey of its disks is counted, and containers may end by themselves."""

    free: int | None = None
    surveys: int = 0

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        seen = await super().scan(full=full, before=before)
        return replace(seen, facts=replace(seen.facts, memory_free=self.free))

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        if script.startswith(("docker ", "mkdir ", "sh -c ")):
            return await super().run(script, timeout=timeout, reserved=reserved)
        self.surveys += 1
        return Outcome(0, "", "")

    async def watch(self, wake: Callable[[str], None]) -> None:
        self.wake = wake
        await asyncio.Event().wait()

    def end_all(self, *, ran: float) -> None:
        now = asyncio.get_running_loop().time()
        for name, container in self.containers.items():
            self.containers[name] = replace(
                container, state="exited", exit_code=1, started_at=now - ran, finished_at=now
            )
        assert self.wake is not None
        self.wake("die")


Story = Callable[[Loop, Machine, Callable[[str], Coroutine[Any, Any, None]]], Coroutine[Any, Any, None]]


def told(folder: Path, text: str, story: Story, **more: Any) -> None:
    """A story of a loop that keeps the text, its Spark, and a way to save other settings."""
    host = Machine()

    async def whole() -> None:
        async with keeping(folder, host, text, **more) as loop:

            async def save(settings: str) -> None:
                (folder / "desired.yaml").write_text(text + settings + "\n")
                assert await loop.store.reload()
                await asyncio.sleep(1)  # the loop follows

            await asyncio.sleep(5)
            await story(loop, host, save)

    in_no_time(whole())


def reasons(loop: Loop) -> list[str]:
    return [held.reason for held in loop.plan().held]


def test_the_next_look_comes_when_the_new_interval_says(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        async def in_ten_minutes() -> int:
            before = host.scans
            await asyncio.sleep(600)
            return host.scans - before

        assert 15 <= await in_ten_minutes() <= 26, "every half minute"
        await save("settings: {scanInterval: 2s}")
        assert await in_ten_minutes() >= 240
        await save("settings: {scanInterval: 1h}")
        assert await in_ten_minutes() <= 1
        await save("settings: {scanInterval: 5s}")
        assert await in_ten_minutes() >= 95, "nor does it wait for the hour to be over"

    told(tmp_path, ECHO, story)


def test_with_another_owner_what_runs_is_somebody_elses_until_it_is_taken_back(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        (before,) = host.containers.values()
        await save("settings: {owner: other}")
        await asyncio.sleep(120)
        assert reasons(loop) == ["NameTaken"]
        assert list(host.containers.values()) == [before], "it runs on, and is not touched"
        await save("settings: {owner: sparkkeep, keepEvents: 2000}")
        await asyncio.sleep(60)
        assert (reasons(loop), loop.plan().steps) == ([], ())
        assert list(host.containers.values()) == [before]
        del host.containers[before.name]
        await save("settings: {owner: other}")
        await asyncio.sleep(60)
        (made,) = host.containers.values()
        assert made.labels["sparkkeep.owner"] == "other"

    told(tmp_path, ECHO, story)


def test_a_model_waits_for_the_new_reserve_and_starts_with_the_next(tmp_path: Path) -> None:
    text = MODEL + "settings: {reserve: 8GiB}\n"

    async def story(loop: Loop, host: Machine, save: Any) -> None:
        assert reasons(loop) == ["InsufficientMemory"], "58 GiB and 8 GiB of 64 GiB"
        (tmp_path / "desired.yaml").write_text(MODEL + "settings: {reserve: 5GiB}\n")
        await loop.store.reload()
        await asyncio.sleep(10)
        assert (reasons(loop), len(host.containers)) == ([], 1)

    told(tmp_path, text, story)


def test_a_sparks_own_reserve_counts_instead(tmp_path: Path) -> None:
    text = MODEL.replace("10.0.0.1}", "10.0.0.1, reserve: 0}")

    async def story(loop: Loop, host: Machine, save: Any) -> None:
        assert len(host.containers) == 1
        await save("settings: {reserve: 20GiB}")
        assert loop.target().reserves == {"s1": 0}

    told(tmp_path, text, story)


def test_the_page_cache_is_dropped_or_left_as_the_setting_says(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        host.free = 3 * GIB

        async def commands_of_a_start(settings: str) -> list[str]:
            host.containers.clear()
            host.commands.clear()
            await save(settings)
            await asyncio.sleep(60)
            assert len(host.containers) == 1
            return [argv[0] for argv in host.commands if argv[1] != "logs"]

        assert await commands_of_a_start("settings: {dropPageCache: false}") == ["mkdir", "docker"]
        assert await commands_of_a_start("settings: {dropPageCache: true}") == ["mkdir", "sh", "docker"]

    told(tmp_path, MODEL, story)


def test_the_disks_are_surveyed_when_the_new_interval_says(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        await save("settings: {surveyInterval: 1h}")
        surveyor = loop.workers["s1"].surveyor
        assert surveyor is not None
        surveyor._retry = 10**9  # the answers here are no surveys: what follows is the interval's doing
        await asyncio.sleep(3600)
        before = host.surveys
        await asyncio.sleep(3600)
        assert host.surveys - before == 1
        await save("settings: {surveyInterval: 1m}")
        before = host.surveys
        await asyncio.sleep(600)
        assert 9 <= host.surveys - before <= 11, "it does not wait for the hour to be over"

    told(tmp_path, ECHO, story, surveys=True)


def test_a_pause_is_no_longer_than_the_new_longest_one(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        async def starts_within(seconds: float) -> int:
            before = len(host.verbs())
            for _ in range(int(seconds)):
                await asyncio.sleep(1)
                if any(container.running for container in host.containers.values()):
                    host.end_all(ran=1)
            return len([verb for verb in host.verbs()[before:] if verb in {"run", "start"}])

        await starts_within(900)
        assert await starts_within(1500) <= 6, "every five minutes by now"
        await save("settings: {longestBackoff: 10s}")
        assert await starts_within(15) >= 1, "nor is the pause under way waited for"
        assert await starts_within(150) >= 10
        await save("settings: {longestBackoff: 20m}")
        await starts_within(1500)
        assert await starts_within(2400) <= 3

    told(tmp_path, ECHO, story)


def test_failures_are_forgotten_when_the_new_setting_says(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        async def forgotten_after(seconds: float) -> bool:
            host.end_all(ran=1)
            await asyncio.sleep(30)
            assert loop.world().failures
            await asyncio.sleep(seconds)
            return not loop.world().failures

        assert not await forgotten_after(480)
        await asyncio.sleep(300)
        assert not loop.world().failures
        await save("settings: {forgetFailures: 2m}")
        assert await forgotten_after(180)
        await save("settings: {forgetFailures: 1d}")
        assert not await forgotten_after(1800)

    told(tmp_path, ECHO, story)


def test_guards_hold_and_release_as_they_are_saved(tmp_path: Path) -> None:
    text = ECHO + "guards: {maxDestructive: 0}\n"

    async def story(loop: Loop, host: Machine, save: Any) -> None:
        async def declare(guards: str, services: str = "services: {}\n") -> None:
            (tmp_path / "desired.yaml").write_text(f"{SPARK}{services}guards: {guards}\n")
            await loop.store.reload()
            await asyncio.sleep(60)

        never = ECHO.removeprefix(SPARK).replace("on: s1", "on: s1, run: never")
        await declare("{maxDestructive: 0}", never)
        assert (reasons(loop), len(host.containers)) == (["TooDestructive"], 1)
        await declare("{}")
        assert (reasons(loop), len(host.containers)) == (["EmptyDesired"], 1)
        await declare("{allowEmpty: true, unreachableFreeze: 0.2}")
        assert (reasons(loop), len(host.containers)) == ([], 0)

    told(tmp_path, text, story)


def test_the_freeze_of_a_fleet_that_is_half_gone_ends_when_its_share_is_raised(tmp_path: Path) -> None:
    machines = {"s1": Machine(), "s2": Machine(down=LinkDown("ConnectTimeout", "it does not answer"))}
    two = "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}\n"
    text = two + ECHO.removeprefix(SPARK)

    async def story() -> None:
        async with keeping(tmp_path, machines, text) as loop:
            await asyncio.sleep(5)
            for share, left in ((0.4, 1), (0.8, 0)):
                never = text.replace("on: s1", "on: s1, run: never") + f"guards: {{unreachableFreeze: {share}}}\n"
                (tmp_path / "desired.yaml").write_text(never)
                await loop.store.reload()
                await asyncio.sleep(60)
                assert len(machines["s1"].containers) == left

    in_no_time(story())


def test_as_many_events_are_kept_as_the_setting_says_and_the_default_again_without_it(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        journal = loop.history.journal
        assert journal._limits.events == Limits().events
        await save("settings: {keepEvents: 1000}")
        assert journal._limits == replace(Limits(), events=1000)
        await save("")
        assert journal._limits == Limits()

    told(tmp_path, ECHO, story)


async def test_a_journal_that_shall_keep_fewer_events_forgets_the_oldest_at_once() -> None:
    journal = Journal(":memory:")
    for number in range(30):
        journal.set_generation("x", number, "d")
        journal.record(_event(f"Reason{number}"))
    journal.keep_events(10)
    kept = await journal.events()
    assert [each.event.reason for each in kept] == [f"Reason{number}" for number in range(20, 30)]
    journal.keep_events(12)
    for number in range(30, 35):
        journal.record(_event(f"Reason{number}"))
    assert len(await journal.events()) == 12
    journal.close()


def _event(reason: str) -> Event:
    return Event(kind=Kind.WORKLOAD, name=reason.lower(), type="Normal", reason=reason, message=reason)


def test_weights_that_the_setting_names_are_kept_from_then_on(tmp_path: Path) -> None:
    async def story(loop: Loop, host: Machine, save: Any) -> None:
        weights = Weights(loop, before_launch=False)
        assert weights._needs().keep == ()
        await save("settings: {keep: [a/b, c/d]}")
        assert weights._needs().keep == ("a/b", "c/d")
        await save("settings: {keep: []}")
        assert weights._needs().keep == ()

    told(tmp_path, ECHO, story)


async def test_a_scan_may_take_as_long_as_the_setting_says_when_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []

    async def scan(*_: Any, deadline: float, **__: Any) -> None:
        allowed.append(deadline)

    monkeypatch.setattr(remote, "scan", scan)
    settings = Settings()
    way = reach.Reach.of({}, Path("/nowhere/known_hosts"))
    host = way.host("s1", Spark(host="10.0.0.1"), lambda: settings)
    await host.scan(full=True, before=None)
    settings = Settings.model_validate({"scanTimeout": "42s"})
    await host.scan(full=True, before=None)
    assert allowed == [DEADLINE, 42.0]


async def test_a_fetch_leaves_as_much_of_the_disk_as_the_setting_says_when_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []

    async def fetch(*_: Any, margin: int, **__: Any) -> None:
        left.append(margin)

    monkeypatch.setattr(assemble, "fetch", fetch)
    file = tmp_path / "desired.yaml"
    file.write_text(ECHO)
    journal = Journal(":memory:")
    store = assemble.Store(file, generations=journal, recipes=(), complete=Completion({}))
    await store.open()
    bring: Bring = assemble._fetching(store)
    for settings in ("", "settings: {diskReserve: 30GiB}\n"):
        file.write_text(ECHO + settings)
        await store.reload()
        await bring(None, None, token="", peers=(), known=None, progress=print)  # type: ignore[arg-type]  # none is asked
    journal.close()
    assert left == [MARGIN, 30 * GIB]


def test_the_defaults_are_those_of_the_parts_themselves() -> None:
    usual = Settings()
    assert (usual.scan_timeout, usual.survey_interval, usual.disk_reserve) == (DEADLINE, EVERY, MARGIN)
    assert (usual.longest_backoff, usual.forget_failures) == (LAST_BACKOFF, HEALTHY_RESET)
    assert usual.keep_events == Limits().events
