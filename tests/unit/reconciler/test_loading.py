"""What is told of a model while it loads, and what is remembered of the load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

from reconciler.hosts import Host
from reconciler.loading import MEMORY, LoadWatch
from reconciler.model import Container, Instance, LaunchSpec
from reconciler.ssh import Outcome
from state.journal import Journal
from tests.unit.reconciler.builders import declare

GIB = 2**30
INSTANCE = Instance(
    workload="big",
    kind="model",
    spark="s1",
    name="sparkkeep-big",
    spec=LaunchSpec(image="v:1"),
    spec_hash="h",
    engine="vllm",
)


class Talker:
    """A host whose log and memory are what the test says."""

    def __init__(self, *answers: tuple[str, float]) -> None:
        self._answers: Iterator[tuple[str, float]] = iter(answers)
        self.scripts: list[str] = []

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        self.scripts.append(script)
        log, gib = next(self._answers, ("", 0.0))
        return Outcome(0, f"{log}\n{MEMORY}\nMemAvailable:   {int(gib * 2**20)} kB\n", "")


def container(started_at: float) -> Container:
    return Container(id="c" * 64, name="sparkkeep-big", image="v:1", state="running", started_at=started_at)


def watch(host: Talker, clock: list[float], told: list[Any], past: tuple[float, ...] = ()) -> LoadWatch:
    return LoadWatch(
        cast("Host", host),
        now=lambda: clock[0],
        clock=lambda: clock[0] - 900.0,
        past=lambda _: past,
        told=lambda *what: told.append(what),
    )


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_person_sees_how_far_it_is_and_how_long_it_may_take() -> None:
    clock, told = [1000.0], list[Any]()
    host = Talker(("(Worker) Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:10<00:08]", 60))
    loads = watch(host, clock, told, past=(300.0, 320.0))
    loads.follow([(INSTANCE, container(999.0))], available=100 * GIB)
    await turns()
    assert loads.words == {("big", "s1"): "loads the weights, 56 % (5 of 9); about 5 min left"}
    assert host.scripts == [
        f"docker logs --tail 100 cccccccccccc 2>&1\necho {MEMORY}\ngrep ^MemAvailable /proc/meminfo"
    ]
    await loads.close()


async def test_a_load_that_ended_in_an_answer_is_remembered_with_its_time_and_memory() -> None:
    clock, told = [1000.0], list[Any]()
    loads = watch(Talker(("", 41)), clock, told)
    loads.follow([(INSTANCE, container(999.0))], available=100 * GIB)
    await turns()
    clock[0] = 1090.0
    loads.follow([], ready=["c" * 64], available=40 * GIB)
    assert told == [(INSTANCE, 90.0, 59 * GIB)]
    assert loads.words == {}


async def test_what_was_not_followed_from_its_start_or_never_answered_is_not_remembered() -> None:
    clock, told = [1000.0], list[Any]()
    loads = watch(Talker(), clock, told)
    loads.follow([(INSTANCE, container(400.0))], available=0)
    loads.follow([], ready=["c" * 64], available=0)
    loads.follow([(INSTANCE, container(999.0))], available=0)
    loads.follow([], available=0)
    assert told == []


def test_the_journal_keeps_the_latest_starts_over_a_restart(tmp_path: Any) -> None:
    journal = Journal(tmp_path / "journal.db", now=lambda: 5.0)
    for seconds in range(12):
        journal.record_start(workload="big", spark="s1", spec_hash="h", seconds=float(seconds), peak=GIB)
    journal.close()
    again = Journal(tmp_path / "journal.db", now=lambda: 6.0)
    assert [start.seconds for start in again.starts("big", "s1")] == [4, 5, 6, 7, 8, 9, 10, 11]
    assert again.starts("big", "s2") == ()
    again.close()


def test_what_an_earlier_start_took_corrects_an_estimate_and_no_statement() -> None:
    recipe = "engine: vllm, model: a/b, image: 'v:1', flags: {gpu-memory-utilization: 0.1}"

    def bound(more: str = "", **known: Any) -> Instance:
        (found,) = declare(f"models: {{big: {{recipe: {{{recipe}{more}}}, on: s1}}}}", **known).instances["s1"]
        return found

    guess = bound()
    assert (guess.memory_source, guess.memory < 40 * GIB) == ("estimated", True)
    peaks = {("big", "s1"): (guess.spec_hash, 50 * GIB)}
    assert (bound(peaks=peaks).memory_source, bound(peaks=peaks).memory) == ("measured", 50 * GIB)
    stated = bound(", memory: 9GiB", peaks=peaks)
    assert (stated.memory_source, stated.memory) == ("stated", 9 * GIB)
    assert bound(", env: {A: b}", peaks=peaks).memory_source == "estimated"


async def test_a_container_that_was_restarted_while_it_loaded_is_followed_from_its_new_start() -> None:
    """Else the time of both starts was remembered as that of one, and the next estimate was twice too long."""
    clock, told = [1000.0], list[Any]()
    loads = watch(Talker(("", 60), ("", 41)), clock, told)
    loads.follow([(INSTANCE, container(999.0))], available=100 * GIB)
    await turns()
    clock[0] = 2801.0
    loads.follow([(INSTANCE, container(2800.0))], available=100 * GIB)
    await turns()
    assert told == []
    assert loads.words == {("big", "s1"): "starts; since 1 s"}
    clock[0] = 2891.0
    loads.follow([], ready=["c" * 64], available=40 * GIB)
    assert told == [(INSTANCE, 90.0, 59 * GIB)]
