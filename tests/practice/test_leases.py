"""Two whole controllers and one fleet: on each Spark only the one that has its lease acts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.lease import Identity, Terms
from reconciler.model import FENCE
from reconciler.practice.clock import Clock
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from reconciler.weights.keeper import Weights
from tests.keeper import Keeper, keeping
from tests.scenarios.stage import changing

TERMS = Terms(look=0.3)
ANNA = Identity(holder="1111@desk", life="a1", terms=TERMS)
BEN = Identity(holder="2222@laptop", life="b1", terms=TERMS)
LEASE = "/run/lock/sparkkeep-sparkkeep.lease"


class Sparks:
    """A practice fleet whose clock can be put forward."""

    def __init__(self, folder: Path) -> None:
        self.later = 0.0
        self.folder = folder
        settings = Settings(pull_seconds=0.02, load_seconds=0.02)
        clock = Clock(lambda: time.time() + self.later)
        self.fleet = PracticeFleet(
            2, folder / "fleet", first_port=0, settings=settings, images=["img:1", "img:2"], clock=clock
        )

    def text(self, **services: Any) -> str:
        sparks = {name: {**there, "reserve": 0} for name, there in self.fleet.desired_sparks().items()}
        return json.dumps({"apiVersion": "sparkkeep/v1", "sparks": sparks, "services": services})

    def keeper(self, me: Identity, **services: Any) -> AbstractAsyncContextManager[Keeper]:
        known = {"key": self.fleet.key_path, "known_hosts": self.fleet.known_hosts_path}
        return keeping(self.folder / me.life, self.text(**services), identity=me, **known)

    def verbs(self, spark: str) -> list[str]:
        return [argv[1] for argv in changing([list(c.argv) for c in self.fleet[spark].commands])]

    def labels(self, spark: str) -> dict[str, str]:
        return {c.name: c.spec.labels.get(FENCE, "none") for c in self.fleet[spark].engine.containers.values()}

    def line(self, spark: str) -> list[str]:
        return self.fleet[spark].engine.files.read(LEASE).decode().split("\n")[0].split()


@pytest.fixture
async def sparks(tmp_path: Path) -> AsyncIterator[Sparks]:
    made = Sparks(tmp_path)
    async with made.fleet:
        yield made


def service(image: str, on: str = "spark-1", port: int = 9000) -> dict[str, Any]:
    return {"recipe": {"image": image, "command": ["--port", str(port)], "port": port}, "on": on}


BOTH = {"web": service("img:1"), "api": service("img:1", "spark-2", 9001)}


@asynccontextmanager
async def dying(keeper: AbstractAsyncContextManager[Keeper]) -> AsyncIterator[Keeper]:
    """One that ends as by `kill -9`: it gives nothing back."""

    async def nothing() -> None:
        return

    async with keeper as running:
        try:
            yield running
        finally:
            for worker in running.loop.workers.values():
                worker.lease.release = nothing  # type: ignore[method-assign]


async def kept(keeper: Keeper, *sparks: str) -> None:
    """It has these leases, and all is as it declares."""
    wanted = sparks or ("spark-1", "spark-2")
    await keeper.until(lambda: all((keeper.spark(name)["lease"] or {})["ours"] for name in wanted))
    await keeper.until(lambda: keeper.quiet() and keeper.settled())


async def looked(keeper: Keeper, times: int = 3) -> None:
    for _ in range(times):
        before = {name: worker.passes for name, worker in keeper.loop.workers.items()}
        keeper.loop.wake_all()
        await keeper.until(lambda seen=before: all(keeper.loop.workers[n].passes > p for n, p in seen.items()))


async def reasons(keeper: Keeper, of: str) -> list[str]:
    return [recorded.event.reason for recorded in await keeper.journal.events(since_seq=0) if recorded.event.name == of]


async def test_of_two_that_start_together_one_acts_on_each_spark(sparks: Sparks) -> None:
    async with AsyncExitStack() as stack:
        both = [stack.enter_async_context(sparks.keeper(me, **BOTH)) for me in (ANNA, BEN)]
        anna, ben = await asyncio.gather(*both)
        for keeper in (anna, ben):
            await keeper.until(lambda one=keeper: one.quiet() and one.settled())
            await looked(keeper)
        for name in sparks.fleet.sparks:
            assert sparks.verbs(name) == ["run"]
            assert sorted(keeper.spark(name)["lease"]["ours"] for keeper in (anna, ben)) == [False, True]
            assert {keeper.spark(name)["lease"]["holder"] for keeper in (anna, ben)} == {
                sparks.line(name)[1].partition("@")[2]
            }
    for name in sparks.fleet.sparks:
        assert sparks.labels(name) == {f"sparkkeep-{'web' if name == 'spark-1' else 'api'}": "1"}


async def test_the_other_one_looks_on_and_takes_over_when_the_first_is_dead(sparks: Sparks) -> None:
    async with AsyncExitStack() as stack:
        async with dying(sparks.keeper(ANNA, **BOTH)) as anna:
            await kept(anna)
            ben = await stack.enter_async_context(
                sparks.keeper(BEN, web=service("img:2"), new=service("img:1", "spark-2", 9002))
            )
            await ben.until(
                lambda: all(ben.spark(name)["lease"]["reason"] == "LeaseHeld" for name in sparks.fleet.sparks)
            )
            await looked(ben)
            assert (ben.workload("web")["sync"], ben.workload("new")["health"]) == ("OutOfSync", "Missing")
            held = {(h.workload, h.reason) for h in ben.loop.plan().held}
            assert held == {("web", "LeaseHeld"), ("new", "LeaseHeld"), ("api", "LeaseHeld")}
            lease = ben.spark("spark-1")["lease"]
            assert (lease["holder"], lease["ours"], lease["token"]) == ("desk", False, 1)
            assert set(lease) == {
                *("holder", "ours", "token", "reason", "message", "takenAt", "renewedAt", "expiresIn"),
            }
            assert 0 < lease["expiresIn"] <= 60
            (condition,) = ben.spark("spark-1")["conditions"]
            assert (condition["type"], condition["status"], condition["reason"]) == ("Leased", "False", "LeaseHeld")
            assert condition["message"].startswith("sparkkeep on desk (since ")
            assert sparks.verbs("spark-1") == sparks.verbs("spark-2") == ["run"]
            (planned,) = await Weights(ben.loop).plans("spark-1")
            assert (planned.plan, planned.reason) == (None, "LeaseHeld")
            assert planned.refused.endswith("this one only looks: nothing is deleted")
        await looked(ben)
        assert sparks.verbs("spark-1") == ["run"]  # it is dead, but its lease is not
        sparks.later += 62
        await kept(ben)
        assert sparks.verbs("spark-1") == ["run", "stop", "rm", "run"]
        assert sparks.verbs("spark-2") == ["run", "stop", "rm", "run"]
        assert sparks.labels("spark-1") == {"sparkkeep-web": "2"}
        assert sparks.labels("spark-2") == {"sparkkeep-new": "2"}
        assert [r for r in await reasons(ben, "spark-1") if r.startswith("Lease")] == ["LeaseHeld", "LeaseTaken"]


async def test_whoever_ends_hands_over_at_once(sparks: Sparks) -> None:
    async with AsyncExitStack() as stack:
        async with sparks.keeper(ANNA, **BOTH) as anna:
            await kept(anna)
            ben = await stack.enter_async_context(sparks.keeper(BEN, **BOTH))
            await ben.until(
                lambda: all(ben.spark(name)["lease"]["reason"] == "LeaseHeld" for name in sparks.fleet.sparks)
            )
        await kept(ben)
        assert sparks.verbs("spark-1") == ["run"]
        assert sparks.line("spark-1")[:3] == ["2", "2222@laptop", "b1"]
    assert sparks.line("spark-1") == ["2", "-", "-", "0", "0", "0"]


async def test_one_that_slept_through_its_lease_is_refused_by_the_spark(sparks: Sparks) -> None:
    asleep = Identity(holder=ANNA.holder, life=ANNA.life, terms=Terms(lasts=600, renew=6000.0, look=0.3))
    async with sparks.keeper(asleep, **BOTH) as anna:
        await kept(anna)
        sparks.later += 602  # to the Spark it has been silent for too long
        async with sparks.keeper(BEN, **BOTH) as ben:
            await kept(ben)
            assert anna.loop.workers["spark-1"].lease.acts  # as far as it knows
            anna.declare(sparks.text(web=service("img:2"), api=BOTH["api"]))
            await anna.until(lambda: anna.spark("spark-1")["lease"]["reason"] == "LeaseHeld")
            await looked(anna)
            assert sparks.verbs("spark-1") == ["run"]
            assert anna.loop.world().failures == {}
            told = await reasons(anna, "spark-1")
            assert [r for r in told if r.startswith("Lease")] == ["LeaseLost", "LeaseHeld"]
            assert "LeaseLost" in await reasons(anna, "web")
            assert anna.spark("spark-2")["lease"]["ours"]  # it did nothing there and has not looked
        await kept(anna, "spark-1")
        assert sparks.verbs("spark-1") == ["run", "stop", "rm", "run"]
        assert sparks.labels("spark-1") == {"sparkkeep-web": "3"}


async def test_the_same_data_folder_takes_over_at_once_and_outranks_what_it_finds(sparks: Sparks) -> None:
    async with dying(sparks.keeper(ANNA, **BOTH)) as anna:
        await kept(anna)
    again = Identity(holder=ANNA.holder, life="a2", terms=TERMS)
    async with dying(sparks.keeper(again, **BOTH)) as anna:
        await kept(anna)
        assert sparks.line("spark-1")[:3] == ["2", "1111@desk", "a2"]
        await sparks.fleet["spark-1"].faults.reboot(0.05)
        await anna.until(lambda: anna.spark("spark-1")["lease"]["token"] == 3)
        await kept(anna)
        assert sparks.line("spark-1")[:2] == ["3", "1111@desk"]
        sparks.fleet["spark-1"].engine.files.remove(LEASE)
    third = Identity(holder=ANNA.holder, life="a3", terms=TERMS)
    async with sparks.keeper(third, web=service("img:1"), api=service("img:1", "spark-1", 9001)) as anna:
        await kept(anna)
        assert sparks.labels("spark-1") == {"sparkkeep-web": "1", "sparkkeep-api": "2"}


async def test_a_spark_that_is_declared_no_more_is_given_back(sparks: Sparks) -> None:
    async with sparks.keeper(ANNA, **BOTH) as anna:
        await kept(anna)
        one = json.loads(sparks.text(web=service("img:1")))
        del one["sparks"]["spark-2"]
        anna.declare(json.dumps(one))
        await anna.until(lambda: sparks.line("spark-2") == ["1", "-", "-", "0", "0", "0"])
        assert sparks.line("spark-1")[:2] == ["1", "1111@desk"]
        assert sparks.labels("spark-2") == {"sparkkeep-api": "1"}


async def test_without_flock_nothing_is_done_and_it_is_said_what_to_do(sparks: Sparks) -> None:
    console = sparks.fleet["spark-1"].console
    console.tools = {name: tool for name, tool in console.tools.items() if name != "flock"}
    async with sparks.keeper(ANNA, **BOTH) as anna:
        await anna.until(lambda: anna.settled("api"))
        await anna.until(lambda: anna.spark("spark-1")["lease"]["reason"] == "LeaseUnavailable")
        await anna.until(lambda: anna.spark("spark-1")["reachable"])  # the lease is asked for before the first look
        assert "install it (sudo apt-get install util-linux)" in anna.spark("spark-1")["lease"]["message"]
        await anna.until(lambda: anna.workload("web")["sync"] == "OutOfSync")
        assert sparks.verbs("spark-1") == []


async def test_it_is_renewed_while_a_pass_has_nothing_to_do(sparks: Sparks) -> None:
    quick = Identity(holder="1@m", life="q", terms=Terms(renew=0.1))
    async with sparks.keeper(quick, **BOTH) as anna:
        await kept(anna)
        until = int(sparks.line("spark-1")[5])
        sparks.later += 40
        await anna.until(lambda: int(sparks.line("spark-1")[5]) >= until + 40)
        assert sparks.line("spark-1")[:2] == ["1", "1@m"]
        sparks.fleet["spark-1"].faults.cut()
        anna.loop.workers["spark-1"].lost("ConnectionLost", "as if it were known")
        before = sparks.line("spark-1")
        sparks.later += 40
        await asyncio.sleep(0.5)
        assert sparks.line("spark-1") == before
        sparks.fleet["spark-1"].faults.heal()
