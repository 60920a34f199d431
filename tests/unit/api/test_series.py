"""The curves and the slots of the last day: what is kept, how finely, and that it is bounded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.series import SeriesShape, UptimeShape
from api.trends import sampler
from api.trends.series import COARSE, COLUMNS, DAY, HOUR, STEP, Series, Track, measured
from api.trends.slots import SLOT, SLOTS, Healths, answered, begin
from reconciler.model import Facts, Gpu, Scan
from state.journal import Connectivity
from tests.unit.api.conftest import Stage

NOW = 1_800_000_000.0
FACTS = Facts(boot_id="b", memory_total=8, memory_available=4, listeners=frozenset())


def scan(at: float = NOW, **facts: object) -> Scan:
    told = replace(FACTS, **facts)  # type: ignore[arg-type]  # whatever a test says
    return Scan(began=1.0, ended=1.25, taken_at=at, containers=(), images={}, facts=told)


def row(said: dict[str, list[float | None]], number: int = -1) -> dict[str, float | None]:
    return {name: said[name][number] for name in COLUMNS}


def test_what_a_scan_says() -> None:
    gpus = (
        Gpu(name="a", utilization=50, temperature=61, power=20.25),
        Gpu(name="b", utilization=100, temperature=None, power=10),
    )
    series = Series()
    series.take("s1", scan(memory_free=2, disk_free=3, gpus=gpus))
    assert row(series.told("s1", 0, NOW)) == {
        "memoryAvailable": 4, "memoryFree": 2, "diskFree": 3, "gpuUtilization": 75.0, "temperature": 61,
        "power": 30.2, "scanSeconds": 0.25,
    }  # fmt: skip
    series.take("s2", scan())
    assert [name for name, value in row(series.told("s2", 0, NOW)).items() if value is None] == [
        "memoryFree", "diskFree", "gpuUtilization", "temperature", "power",
    ]  # fmt: skip


def test_a_day_of_scans() -> None:
    """Every ten seconds for two days: an hour of every third, a day of means, and no more than that."""
    track = Track()
    for number in range(2 * DAY // 10):
        at = NOW - 2 * DAY + number * 10
        track.take(at, measured(scan(at, memory_available=number)))
    near = track.told(NOW - HOUR, NOW)
    assert near["step"] == STEP
    assert len(near["t"]) == HOUR // STEP - 1, "what came after"
    assert {b - a for a, b in zip(near["t"], near["t"][1:], strict=False)} == {STEP}
    far = track.told(0, NOW)
    assert far["step"] == COARSE
    assert len(far["t"]) == DAY // COARSE
    assert all(len(far[name]) == len(far["t"]) for name in COLUMNS)
    last = [number for number in range(2 * DAY // 10) if far["t"][-1] <= NOW - 2 * DAY + number * 10][::3]
    assert far["memoryAvailable"][-1] == round(sum(last) / len(last))
    assert len(track.fine) + len(track.coarse) < 500


def test_who_asks_again_gets_what_is_new() -> None:
    """Of means the one that still changes comes again."""
    track = Track()
    for at in range(0, 3000, 30):
        track.take(NOW - 6000 + at, measured(scan()))
    said = track.told(NOW - HOUR, NOW)
    assert track.told(said["t"][-1], NOW)["t"] == []
    assert track.told(said["t"][-3], NOW)["t"] == said["t"][-2:]
    means = track.told(NOW - DAY, NOW)
    assert track.told(NOW - HOUR - 600, NOW)["t"][0] > NOW - HOUR - 600 - COARSE
    assert means["t"][-1] <= said["t"][-1]


def test_the_same_scan_counts_once_and_a_clock_set_back_waits_for_nothing() -> None:
    track = Track()
    for _ in range(5):
        track.take(NOW, measured(scan()))
    assert len(track.fine) == 1
    assert track.coarse[-1].counts[0] == 1
    track.take(NOW - 7200, measured(scan()))
    assert [at for at, _ in track.fine] == [NOW - 7200]
    assert [bucket.at for bucket in track.coarse] == [NOW - 7200]


def test_what_is_no_longer_there_is_forgotten() -> None:
    series, healths = Series(), Healths()
    for name in ("a", "b"):
        series.take(name, scan())
        healths.take(name, "Healthy", NOW)
    series.keep_only(["a"])
    healths.keep_only(["a"])
    assert series.told("a", 0, NOW)["t"]
    assert not series.told("b", 0, NOW)["t"]
    assert healths.told("a", NOW)[-1] == "Healthy"
    assert healths.told("b", NOW) == [None] * SLOTS


def test_the_worst_of_a_slot() -> None:
    healths = Healths()
    for seconds, health in ((0, "Healthy"), (10, "Degraded"), (20, "Healthy"), (SLOT, "Healthy")):
        healths.take("a", health, NOW + seconds)
    assert healths.told("a", NOW + SLOT)[-3:] == [None, "Degraded", "Healthy"]
    later = NOW + 86_400
    assert healths.told("a", later)[0] == "Healthy", "the other one lies more than a day back"
    healths.take("a", "Missing", later)
    assert healths.told("a", later) == ["Healthy", *[None] * (SLOTS - 2), "Missing"]


def test_when_a_spark_answered() -> None:
    assert answered([], NOW) == [None] * SLOTS
    start = begin(NOW)
    assert start <= NOW - 86_400 + SLOT
    changes = [
        Connectivity(spark="a", from_at=start + 2 * SLOT, state="reachable"),
        Connectivity(spark="a", from_at=start + 4.5 * SLOT, state="unknown"),
        Connectivity(spark="a", from_at=start + 6 * SLOT, state="reachable"),
    ]
    expected = [None, None, "Reachable", "Reachable", "Unknown", "Unknown"]
    assert answered(changes, NOW) == expected + ["Reachable"] * (SLOTS - 6)
    assert answered([replace(changes[0], from_at=0.0)], NOW) == ["Reachable"] * SLOTS
    absent = replace(changes[1], reason="NotRunning")
    nobody = [None, None, "Reachable", "Reachable", "Reachable", None]
    assert answered([changes[0], absent, changes[2]], NOW) == nobody + ["Reachable"] * (SLOTS - 6)


@given(
    st.lists(
        st.tuples(st.integers(-20, 4 * SLOTS - 1), st.sampled_from(["reachable", "unknown"])),
        max_size=8,
        unique_by=lambda c: c[0],
    )
)
def test_any_changes_give_sixty_words(found: list[tuple[int, str]]) -> None:
    """Against a look at each quarter of each slot."""
    found.sort(key=lambda change: change[0])
    changes = [
        Connectivity(spark="a", from_at=begin(NOW) + quarter * SLOT / 4, state=state)  # type: ignore[arg-type]
        for quarter, state in found
    ]
    quarters = [
        next((state for quarter, state in reversed(found) if quarter <= number), None) for number in range(4 * SLOTS)
    ]
    for number, word in enumerate(answered(changes, NOW)):
        seen = set(quarters[4 * number : 4 * number + 4])
        assert word == ("Unknown" if "unknown" in seen else "Reachable" if "reachable" in seen else None)


async def test_the_loop_is_noted_while_nobody_watches(
    stage: Stage, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "EVERY", 0.02)
    signs: list[None] = []
    monkeypatch.setattr(stage.context.journal, "alive", lambda: signs.append(None))
    async with sampler.sampling(stage.context), asyncio.timeout(5):
        while not stage.context.healths.told("echo", stage.context.loop.now())[-1]:
            await asyncio.sleep(0.01)
    assert len(signs) >= 2, "a sign of life at first, and at the end"
    body = (await http.get("/api/series")).json()
    SeriesShape.model_validate(body)
    assert list(body["sparks"]) == ["s1", "s2"]
    assert body["sparks"]["s1"]["memoryAvailable"] == [100 * 2**30]
    assert list((await http.get("/api/series?spark=s2")).json()["sparks"]) == ["s2"]
    assert (await http.get("/api/series?since=0")).json()["sparks"]["s1"]["step"] == COARSE
    assert (await http.get("/api/series?spark=s9")).status_code == 404
    for wrong in ("nan", "-1", "1e12", "x"):
        assert (await http.get(f"/api/series?since={wrong}")).status_code == 422
    body = (await http.get("/api/uptime")).json()
    UptimeShape.model_validate(body)
    assert body["workloads"]["echo"] == [None] * (SLOTS - 1) + ["Healthy"]
    assert body["sparks"]["s1"][-1] == "Reachable"


async def test_a_spark_that_does_not_answer_adds_nothing(stage: Stage) -> None:
    """An old number must not look like a new one."""
    worker = stage.context.loop.workers["s1"]
    worker.lost("ConnectTimeout", "no route")
    sampler.note(stage.context)
    now = stage.context.loop.now()
    assert not stage.context.series.told("s1", 0, now)["t"]
    assert stage.context.series.told("s2", 0, now)["t"]


async def test_it_stays_small(stage: Stage, http: httpx2.AsyncClient) -> None:
    """A day of one Spark, over the wire."""
    now = stage.context.loop.now()
    for number in range(DAY // 30):
        at = now - DAY + number * 30
        gpu = Gpu(name="a", utilization=number % 100, temperature=60 + number % 9, power=20.5)
        stage.context.series.take("s1", scan(at, memory_available=2**36 + number, memory_free=number, gpus=(gpu,)))
    answer = await http.get("/api/series?spark=s1&since=0")
    assert len(answer.content) < 25_000
    assert len(json.loads(answer.content)["sparks"]["s1"]["t"]) <= DAY // COARSE + 1
