"""Two controllers and the same real hosts: `flock`, the kernel's uptime, processes that are killed."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.lease import Identity, Terms
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.hosts.test_kill import Served
from tests.keeper import Keeper, keeping
from tests.scenarios.play import did, echo, passes, text
from tests.scenarios.real import RealStage

TERMS = Terms(look=0.3)
ANNA = Identity(holder="1111@desk", life="a1", terms=TERMS)
BEN = Identity(holder="2222@laptop", life="b1", terms=TERMS)


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


def services(stage: RealStage, **more: Any) -> dict[str, Any]:
    one, two = stage.sparks
    return {"web": echo(one, **more), "api": echo(two, 9001)}


def keeper(
    stage: RealStage, folder: Path, me: Identity, declared: dict[str, Any]
) -> AbstractAsyncContextManager[Keeper]:
    known = {"key": stage.key, "known_hosts": stage.known_hosts}
    return keeping(folder / me.life, text(stage, declared), identity=me, **known)


def line(host: Host) -> list[str]:
    (lease,) = host.leases()
    return lease.read_text().split("\n")[0].split()


def expire(host: Host) -> None:
    """As if its holder had said nothing for a minute."""
    (lease,) = host.leases()
    token, holder, life, *_ = line(host)
    lease.write_text(f"{token} {holder} {life} 0 0 0\n")


def held(running: Keeper, stage: RealStage) -> set[str]:
    return {running.spark(name)["lease"]["reason"] for name in stage.sparks}


async def fences(stage: RealStage, spark: str) -> dict[str, str]:
    return {name: seen.labels["sparkkeep.fence"] for name, seen in (await stage.containers(spark)).items()}


@pytest.mark.timeout(120)
async def test_of_two_that_start_together_one_acts_and_its_end_hands_over(stage: RealStage, tmp_path: Path) -> None:
    declared = services(stage)
    async with AsyncExitStack() as stack, AsyncExitStack() as first:
        anna, ben = await asyncio.gather(
            first.enter_async_context(keeper(stage, tmp_path, ANNA, declared)),
            stack.enter_async_context(keeper(stage, tmp_path, BEN, declared)),
        )
        for each in (anna, ben):
            await each.until(lambda one=each: one.quiet() and one.settled())
            await passes(each, 3)
        for spark in stage.sparks:
            assert await did(stage, spark) == ["run"]
            assert sorted(each.spark(spark)["lease"]["ours"] for each in (anna, ben)) == [False, True]
            assert list((await fences(stage, spark)).values()) == ["1"]
        await first.aclose()
        await ben.until(lambda: held(ben, stage) == {"LeaseOurs"})
        await passes(ben, 3)
        for host in (stage.host(spark) for spark in stage.sparks):
            assert line(host)[1:3] == ["2222@laptop", "b1"]
            assert await did(stage, host.name) == ["run"]


@pytest.mark.timeout(180)
async def test_a_killed_one_is_followed_when_its_lease_and_its_last_command_have_ended(
    stage: RealStage, tmp_path: Path
) -> None:
    """It dies in the middle of a stop that takes ten seconds: nothing is begun beside it."""
    one = stage.sparks[0]
    slow = services(stage, args=("--ignore-term",), stopTimeout="10s")
    served = Served(stage, tmp_path / "served")
    served.declare(text(stage, slow))
    try:
        await asyncio.to_thread(served.start)
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(served.well):
                await asyncio.sleep(0.1)
        own = served.ask("/api/status")["sparks"][one]
        assert (own["lease"]["ours"], own["lease"]["token"]) == (True, 1)
        async with keeper(stage, tmp_path, BEN, services(stage, image="keep/echo:2")) as ben:
            await ben.until(lambda: held(ben, stage) == {"LeaseHeld"})
            await passes(ben, 3)
            assert await did(stage, one) == ["run"]
            served.declare(text(stage, services(stage)))
            async with asyncio.timeout(30):
                while "stop" not in await did(stage, one):
                    await asyncio.sleep(0.05)
            served.kill()
            for host in (stage.host(spark) for spark in stage.sparks):
                expire(host)
            await ben.until(lambda: ben.spark(one)["lease"]["reason"] == "LeaseBusy")
            assert await did(stage, one) == ["run", "stop"]
            await ben.until(lambda: ben.spark(one)["lease"]["ours"])
            web = (await stage.containers(one)).get("sparkkeep-web")
            assert web is None or not web.running or web.labels["sparkkeep.fence"] == "2"
            await ben.until(lambda: ben.quiet() and ben.settled())
            assert (await did(stage, one))[:2] == ["run", "stop"]
            assert (await stage.containers(one))["sparkkeep-web"].image == "keep/echo:2"
            assert await fences(stage, one) == {"sparkkeep-web": "2"}
            assert line(stage.host(one))[:3] == ["2", "2222@laptop", "b1"]
    finally:
        served.kill()


@pytest.mark.timeout(120)
async def test_a_process_that_is_told_to_end_gives_its_sparks_back(stage: RealStage, tmp_path: Path) -> None:
    served = Served(stage, tmp_path / "served")
    served.declare(text(stage, services(stage)))
    try:
        await asyncio.to_thread(served.start)
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(served.well):
                await asyncio.sleep(0.1)
        await asyncio.to_thread(served.end)
        assert [line(stage.host(spark)) for spark in stage.sparks] == [["1", "-", "-", "0", "0", "0"]] * 2
        served.start()
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(served.well):
                await asyncio.sleep(0.1)
        assert {line(stage.host(spark))[0] for spark in stage.sparks} == {"2"}
        served.kill()
        served.start()  # the same data folder waits for nobody
        async with asyncio.timeout(30):
            while {line(stage.host(spark))[0] for spark in stage.sparks} != {"3"}:
                await asyncio.sleep(0.05)
    finally:
        served.kill()
