"""The accidents that people published, replayed on practice Sparks: what hung their machines is refused or waits.

Each Spark has a DGX Spark's memory. Its servers take their memory late, and more at their peak than they keep, as
vLLM does. Three things are watched at every event of the engine: that memory never falls below the reserve, that no
two models load at once, and which commands were sent at all.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner

from api.app import build
from api.cli import app
from api.context import Context
from api.serve import Server
from reconciler.practice.fleet import PracticeFleet, PracticeSpark
from reconciler.practice.machine import GIB
from reconciler.practice.spark import Settings
from tests.keeper import Keeper
from tests.practice.stage import PracticeStage
from tests.scenarios.play import calm, declare, noticed, passes, reason, watching

TOTAL = 127_601_452 * 1024  # MemTotal of a DGX Spark
RESERVE = 4 * GIB
VLLM = "vllm/vllm-openai:v0.24.0"
QUICK = {"kind": "http", "path": "/health", "interval": "200ms", "timeout": "2s", "failures": 5}
ONE, TWO = "spark-1", "spark-2"

pytestmark = pytest.mark.timeout(120)


@dataclass
class Watch:
    """What was so at each event of one Spark's engine: the event, the memory left, and which models were loading."""

    spark: PracticeSpark
    seen: list[tuple[str, str, int, frozenset[str]]] = field(default_factory=list)

    def look(self, action: str, name: str) -> None:
        loading = {c.name for c in self.spark.engine.running() if c.process and not c.process.ready.is_set()}
        self.seen.append((action, name, self.spark.machine.memory_available, frozenset(loading)))

    def check(self) -> None:
        """The laws of every story here."""
        assert self.spark.machine.overcommits == 0
        assert self.spark.machine.memory_lowest >= RESERVE
        assert all(left >= RESERVE for _, _, left, _ in self.seen)
        assert all(len(loading) <= 1 for _, _, _, loading in self.seen)


@dataclass
class Room:
    """A fleet under control, to be driven by a story."""

    stage: PracticeStage
    keeper: Keeper

    @property
    def one(self) -> PracticeSpark:
        return self.stage.spark(ONE)

    @property
    def two(self) -> PracticeSpark:
        return self.stage.spark(TWO)

    async def declare(self, **workloads: Any) -> None:
        """Models, but for `services`."""
        services = workloads.pop("services", {})
        sparks = {name: {"reserve": RESERVE} for name in self.stage.sparks}
        await declare(self.stage, self.keeper, services, models=workloads, sparks=sparks)

    def said(self, workload: str) -> str:
        """The message of its Synced condition, as `get` and `describe` show it."""
        conditions = self.keeper.workload(workload)["conditions"]
        return next(str(c["message"]) for c in conditions if c["type"] == "Synced")

    async def refused(self, workload: str, why: str = "InsufficientMemory") -> str:
        """Wait for this reason, and look on for a while: it stays, once the image was asked which flags it knows."""
        await reason(self.keeper, workload, why)
        await passes(self.keeper, 3)
        await reason(self.keeper, workload, why)
        return self.said(workload)

    async def describe(self, workload: str) -> str:
        """What a person reads who types `sparkkeep describe WORKLOAD`, without its line breaks."""
        context = Context(loop=self.keeper.loop, status=self.keeper.status, keys=None)
        server = Server(uvicorn.Config(build(context, version="1"), port=0, log_config=None, lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve())
        await self.keeper.until(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        done = await asyncio.to_thread(CliRunner().invoke, app, ["describe", workload, "--server", url])
        context.closing.set()
        server.stop()
        await task
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())


def model(share: float, port: int = 8000, *, keeps: float = 0, peak: float = 0, **more: Any) -> dict[str, Any]:
    """A vLLM with this share of the memory. `keeps` and `peak` in GiB: what its server really takes."""
    beside = {key: more.pop(key) for key in ("on", "across", "priority", "run") if key in more}
    env = {"PRACTICE_MEMORY": int(keeps * GIB), "PRACTICE_PEAK": int(peak * GIB)} if peak else {}
    recipe = {
        "engine": "vllm",
        "model": "owner/name",
        "image": VLLM,
        "flags": {"gpu-memory-utilization": share, **more.pop("flags", {})},
        "env": env,
        "port": port,
        "probe": QUICK,
        "stopTimeout": "5s",
        **more,
    }
    return {"recipe": recipe, **(beside if "across" in beside else {"on": ONE, **beside})}


@asynccontextmanager
async def staged(folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    settings = Settings(memory_total=TOTAL, pull_seconds=0.02, load_seconds=1.2)
    async with PracticeFleet(2, folder / "practice", first_port=0, settings=settings) as fleet:
        stage = PracticeStage(fleet)
        watches = [Watch(spark) for spark in fleet.sparks.values()]
        for watch in watches:
            machine, events = watch.spark.machine, watch.spark.engine.events
            machine.load_seconds_per_gib, machine.memory_lowest = 0, machine.memory_available
            watch.spark.engine.images.add(VLLM)
            _listen(events, watch, patch)
        async with watching(stage, folder) as keeper:
            await calm(keeper)
            yield Room(stage, keeper)
            await passes(keeper, 2)
        for watch in watches:
            watch.check()


def _listen(events: Any, watch: Watch, patch: pytest.MonkeyPatch) -> None:
    tell = events.tell

    def told(kind: str, action: str, subject: str, attributes: Any) -> Any:
        watch.look(action, attributes.get("name", ""))
        return tell(kind, action, subject, attributes)

    patch.setattr(events, "tell", told)


@pytest.fixture
async def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


def changes(spark: PracticeSpark) -> list[tuple[str, str, float]]:
    """What was done to containers of ours, in order: verb, the name of those created, and the Spark's time.

    Asking an image for its flags (`docker run --rm`) starts nothing and is not among it.
    """
    sent = [command for command in spark.commands if command.argv[1] in {"run", "start", "restart", "stop", "rm"}]
    named = [(c, c.argv[c.argv.index("--name") + 1] if "--name" in c.argv else "") for c in sent]
    return [(c.argv[1], name, c.at) for c, name in named if "--rm" not in c.argv]


def runs(spark: PracticeSpark) -> list[tuple[str, float]]:
    """The containers that were created, each with the time, in order."""
    return [(name, at) for verb, name, at in changes(spark) if verb == "run"]


def verbs(spark: PracticeSpark) -> list[str]:
    return [verb for verb, _, _ in changes(spark)]


async def test_vllm_46307_a_share_of_0_70_that_peaks_at_112_gib(room: Room) -> None:
    """112 of 119 GiB were in use while it measured itself, and the host hung. Counted with its peak it does not start."""
    await room.declare(gemma=model(0.7, keeps=83, peak=112, memory="112GiB"))
    assert await room.refused("gemma") == (
        "gemma needs about 112.0 GiB (stated), spark-1 has 115.7 GiB available now, 4.0 GiB of it reserved: "
        "317 MiB are missing"
    )
    assert runs(room.one) == []
    await room.declare(gemma=model(0.6, keeps=71, peak=100, memory="100GiB"))
    await calm(room.keeper)
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-gemma"]
    assert room.one.machine.memory_lowest == TOTAL - 6 * GIB - 100 * GIB


async def test_vllm_46307_is_what_these_sparks_would_suffer(tmp_path: Path) -> None:
    """The same two by hand, with nobody to refuse: the machine is over-committed, so the watch above can fail."""
    settings = Settings(memory_total=TOTAL, serve=False, load_seconds=0.1)
    async with PracticeFleet(1, tmp_path, settings=settings, images=[VLLM]) as fleet:
        stage, machine = PracticeStage(fleet), fleet[ONE].machine
        taking = ("--env", f"PRACTICE_MEMORY={40 * GIB}", "--env", f"PRACTICE_PEAK={112 * GIB}", "--env", "PORT=8000")
        await stage.docker(ONE, "run", "-d", "--name", "embed", "--env", f"PRACTICE_MEMORY={8 * GIB}", VLLM)
        await stage.docker(ONE, "run", "-d", "--name", "gemma", "--network", "host", *taking, VLLM)
        async with asyncio.timeout(10):
            while not machine.overcommits:
                await asyncio.sleep(0.01)
        assert machine.memory_lowest == TOTAL - (6 + 8) * GIB


async def test_vllm_48140_the_page_cache_takes_nothing_from_a_start(room: Room) -> None:
    """A model's files fill 63 GiB of cache. It is not refused for that; vLLM's own check is told in words, not hidden."""
    room.one.faults.page_cache(63 * GIB)
    await room.declare(coder=model(0.7))
    await reason(room.keeper, "coder", "MemoryTakenAtStart")
    assert [name for name, _ in runs(room.one)][:1] == ["sparkkeep-coder"]
    told = await room.describe("coder")
    assert "less memory was free at its start than its gpu-memory-utilization asks for" in told
    assert "Drop the page cache" in told
    room.one.faults.page_cache(0)
    room.keeper.loop.reset_backoff("coder")
    await calm(room.keeper)


async def test_vllm_48140_the_page_cache_is_dropped_before_a_start_where_sudo_allows_it(room: Room) -> None:
    room.one.faults.page_cache(63 * GIB)
    room.one.faults.page_cache_may_be_dropped()
    await noticed(room.keeper)
    await room.declare(coder=model(0.7))
    await calm(room.keeper)
    assert room.one.faults.counts["page_cache_dropped"] == 1
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-coder"]


async def test_vllm_48140_what_does_not_fit_is_refused_by_what_is_available(room: Room) -> None:
    """52 GiB available at a moment when CUDA called 2.77 GiB free: a share of 0.70 waits, a small one starts."""
    room.one.faults.memory_taken(TOTAL - (6 + 52) * GIB)
    room.one.faults.page_cache(49 * GIB)
    await noticed(room.keeper)
    await room.declare(coder=model(0.7))
    assert await room.refused("coder") == (
        "coder needs about 90.2 GiB (estimated), spark-1 has 52.0 GiB available now, 4.0 GiB of it reserved: "
        "42.2 GiB are missing"
    )
    assert runs(room.one) == []
    await room.declare(small=model(0.7, memory="47GiB", flags={"gpu-memory-utilization": None}))
    await calm(room.keeper)
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-small"]


async def test_vllm_55827_two_models_at_once_start_one_after_the_other(room: Room) -> None:
    """Each would be charged for what the other takes; the second's KV cache came to -3.21 GiB."""
    await room.declare(
        asr=model(0.35, 8001, keeps=42, peak=45, priority=1), aligner=model(0.2, 8002, keeps=24, peak=27)
    )
    assert await room.refused("aligner", "WaitingTurn") == "asr is starting on spark-1; models start one at a time"
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-asr"]
    await calm(room.keeper)
    (first, _), (second, at) = runs(room.one)
    assert (first, second) == ("sparkkeep-asr", "sparkkeep-aligner")
    assert room.keeper.loop.workers[ONE].prober.results["asr", ONE].ready_at <= at


async def test_vllm_55827_a_start_under_way_counts_with_all_that_it_may_take(room: Room) -> None:
    """A service does not wait for its turn, but for its memory: the model has taken nothing yet, and it will."""
    service = {"recipe": {"image": VLLM, "port": 8002, "memory": "60GiB", "probe": QUICK}, "on": ONE}
    await room.declare(asr=model(0.5, 8001, keeps=50, peak=60, memory="60GiB"))
    await room.keeper.until(lambda: bool(runs(room.one)))
    await room.declare(asr=model(0.5, 8001, keeps=50, peak=60, memory="60GiB"), services={"tool": service})
    await reason(room.keeper, "tool", "InsufficientMemory")
    assert room.said("tool") == (
        "tool needs about 60.0 GiB (stated), spark-1 has 115.7 GiB available now, asr is starting and may take "
        "60.0 GiB, 4.0 GiB are reserved: 8.3 GiB are missing"
    )
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-asr"]
    await calm(room.keeper)
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-asr", "sparkkeep-tool"]


async def test_vllm_50011_two_that_would_sleep_in_turn_are_not_both_started(room: Room) -> None:
    """Shares of 0.50 and 0.55, one asleep at a time; waking hung the host. Nothing is put to sleep or woken here."""
    flags = {"enable-sleep-mode": True}
    awake, asleep = model(0.5, 8001, flags=flags), model(0.55, 8002, flags=flags)
    await room.declare(a=awake)
    await calm(room.keeper)
    await room.declare(a=awake, b=asleep)
    said = (
        "b needs about 71.9 GiB (estimated), spark-1 has 49.8 GiB available now, 4.0 GiB of it reserved: "
        "26.1 GiB are missing. a holds 65.8 GiB there (always, priority 0)"
    )
    assert await room.refused("b") == said
    assert said in await room.describe("b")
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-a"]
    asked = dict(room.one.servers[8001].requests)
    assert set(asked) == {"/health"}
    await room.declare(b=asleep)
    await calm(room.keeper)
    assert verbs(room.one) == ["run", "stop", "rm", "run"]
    assert [name for name, _ in runs(room.one)] == ["sparkkeep-a", "sparkkeep-b"]


async def test_memory_that_is_slow_to_come_back_is_awaited(room: Room) -> None:
    """The driver gives it back seconds after the stop; the next start waits for MemAvailable, not for the command."""
    room.one.faults.memory_slow_release(3.0)
    await room.declare(a=model(0.7))
    await calm(room.keeper)
    await room.declare(a=model(0.7, flags={"max-model-len": 4096}))
    await room.keeper.until(lambda: "rm" in verbs(room.one))
    removed = next(at for verb, _, at in changes(room.one) if verb == "rm")
    await reason(room.keeper, "a", "MemoryReturning")
    assert room.said("a") == (
        "a needs 90.2 GiB, and the memory of what was stopped comes back to spark-1: 90.2 GiB are awaited"
    )
    await calm(room.keeper)
    assert verbs(room.one) == ["run", "stop", "rm", "run"]
    assert runs(room.one)[1][1] - removed > 2
    assert room.one.faults.counts["memory_slow_release"]


async def test_a_group_whose_second_spark_is_full_starts_on_neither(room: Room) -> None:
    room.two.faults.memory_taken(100 * GIB)
    await noticed(room.keeper)
    await room.declare(big=model(0.7, across=[ONE, TWO]))
    assert await room.refused("big") == (
        "a group starts as a whole; rank 1 on spark-2: big needs about 90.2 GiB (estimated), spark-2 has 15.7 GiB "
        "available now, 4.0 GiB of it reserved: 78.5 GiB are missing"
    )
    assert runs(room.one) == runs(room.two) == []
    room.two.faults.memory_taken(0)
    await calm(room.keeper)
    (head,), (worker,) = runs(room.one), runs(room.two)
    assert (head[0], worker[0]) == ("sparkkeep-big_0", "sparkkeep-big_1")
    assert worker[1] < head[1]


async def test_a_process_of_somebody_else_holds_the_memory(room: Room) -> None:
    """It is no container, so nobody can be named; the numbers say it, and the start comes once it has ended."""
    room.one.faults.memory_taken(80 * GIB)
    await noticed(room.keeper)
    await room.declare(a=model(0.5))
    assert await room.refused("a") == (
        "a needs about 65.8 GiB (estimated), spark-1 has 35.7 GiB available now, 4.0 GiB of it reserved: "
        "34.2 GiB are missing"
    )
    assert runs(room.one) == []
    room.one.faults.memory_taken(0)
    await calm(room.keeper)
    assert len(runs(room.one)) == 1
