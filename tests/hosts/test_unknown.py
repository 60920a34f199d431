"""A Spark that says nothing is Unknown, soon, and alone: nothing waits for it, nothing on it is touched."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.keeper import Keeper
from tests.scenarios.play import calm, declare, echo, eventually, nothing_done, passes, quiet, settled, watching, world
from tests.scenarios.real import RealStage

NOTICED = 15.0  # seconds until a Spark that drops every packet must be Unknown
BACK = 45.0


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


async def repairs(stage: RealStage, keeper: Keeper, spark: str, until: asyncio.Event) -> list[float]:
    """Remove a container by hand again and again; how long it took each time until another one ran."""
    took = []
    while not until.is_set():
        before = (await stage.containers(spark))["sparkkeep-far"]
        began = time.monotonic()
        await stage.docker(spark, "rm", "--force", before.name)

        async def back(gone: str = before.id) -> bool:
            found = (await stage.containers(spark)).get("sparkkeep-far")
            return found is not None and found.id != gone and found.running

        await eventually(back, keeper)
        took.append(time.monotonic() - began)
        await asyncio.sleep(1)
    return took


@pytest.mark.timeout(150)
async def test_a_silent_spark_is_unknown_and_the_other_is_kept(stage: RealStage, tmp_path: Path) -> None:
    one, two = stage.sparks
    services = {"web": echo(one), "far": echo(two), "killed": echo(two, 9001)}
    async with watching(stage, tmp_path) as keeper:
        before = await settled(stage, keeper, services)
        stage.clear()
        seen = keeper.loop.workers[two].passes
        await stage.cut(one)
        cut_at = time.monotonic()
        enough = asyncio.Event()
        repairing = asyncio.create_task(repairs(stage, keeper, two, enough))
        await keeper.until(lambda: not keeper.spark(one)["reachable"], NOTICED + 5)
        noticed = time.monotonic() - cut_at
        assert noticed <= NOTICED
        assert keeper.workload("web")["sync"] == keeper.workload("web")["health"] == "Unknown"
        assert keeper.workload("killed")["health"] == "Healthy"

        await stage.docker(two, "kill", "sparkkeep-killed")
        await declare(stage, keeper, services | {"web": echo(one, env={"A": "b"})})
        await keeper.until(lambda: keeper.settled("killed"))
        enough.set()
        took = await repairing
        assert took
        assert keeper.loop.workers[two].passes > seen + len(took)
        assert await stage.commands(one) == [], "what is Unknown is not acted on, whatever is declared"
        await declare(stage, keeper, services)
        stage.clear()

        await stage.heal(one)
        healed_at = time.monotonic()
        await calm(keeper, BACK)
        print(  # noqa: T201
            f"unknown after {noticed:.1f} s; back after {time.monotonic() - healed_at:.1f} s; "
            f"{len(took)} repairs beside it, slowest {max(took):.2f} s"
        )
        await nothing_done(stage)
        assert await stage.containers(one) == before[one]
        await quiet(stage, keeper)


@pytest.mark.timeout(150)
async def test_a_step_on_a_spark_that_falls_silent_is_bounded(stage: RealStage, tmp_path: Path) -> None:
    """The answer to a stop gets lost. It is given up, called unknown, and what is found later is built upon."""
    one, two = stage.sparks
    stubborn = echo(one, args=("--ignore-term",), stopTimeout="4s")
    async with watching(stage, tmp_path) as keeper:
        await settled(stage, keeper, {"web": stubborn, "far": echo(two)})
        stage.clear()
        await declare(stage, keeper, {"web": echo(one), "far": echo(two)})

        async def stopping() -> bool:
            return bool(await stage.commands(one))

        await eventually(stopping, keeper)
        await stage.cut(one)
        cut_at = time.monotonic()
        await keeper.until(lambda: not keeper.spark(one)["reachable"], NOTICED + 5)
        assert time.monotonic() - cut_at <= NOTICED

        async def given_up() -> bool:
            return any(action.outcome == "unknown" for action in await keeper.journal.actions(limit=10))

        await eventually(given_up, keeper, NOTICED)
        assert [command[1] for command in await stage.commands(one)] == ["stop"]
        await passes(keeper)
        await stage.heal(one)
        await calm(keeper, BACK)
        assert [command[1] for command in await stage.commands(one)] == ["stop", "rm", "run"]
        await quiet(stage, keeper)


@pytest.mark.timeout(120)
async def test_fifty_further_passes_do_nothing(stage: RealStage, tmp_path: Path) -> None:
    one, two = stage.sparks
    services = {"web": echo([one, two]), "api": echo(one, 9001, restart="always"), "off": echo(two, 9002, run="never")}
    async with watching(stage, tmp_path) as keeper:
        await settled(stage, keeper, services)
        before = {name: worker.passes for name, worker in keeper.loop.workers.items()}
        await quiet(stage, keeper, 50)
        assert all(worker.passes >= before[name] + 50 for name, worker in keeper.loop.workers.items())
        assert all(seen.running for containers in (await world(stage)).values() for seen in containers.values())
