"""Models that start when they are asked for, on a practice Spark that can hold two of three."""

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.demand import Outlook, State
from reconciler.loop import Loop
from tests.scenarios.play import echo
from tests.simulation.oracle import check, put_canaries
from tests.simulation.sim import Sim, play
from tests.simulation.stories import ONE, prepare

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other work too

NAMES = ("a", "b", "c")
MODEL: dict[str, Any] = {"memory": "50GiB", "run": "on-demand", "idle": "20m"}


def keeper(sim: Sim) -> Loop:
    assert sim.controller is not None
    assert sim.controller.keeper is not None
    return sim.controller.keeper


def running(sim: Sim) -> set[str]:
    return {c.spec.labels["sparkkeep.workload"] for c in sim.ours(ONE).values() if c.state == "running"}


async def until(sim: Sim, so: Callable[[], bool], seconds: float = 60.0) -> float:
    """How long it took."""
    began = sim.loop.time()
    while not so():
        assert sim.loop.time() - began < seconds, f"not within {seconds:g} s: {sim.picture()}"
        await sim.sleep(0.05)
    return sim.loop.time() - began


def ready(sim: Sim, name: str) -> Callable[[], bool]:
    return lambda: keeper(sim).outlook(name).state is State.READY


async def served(sim: Sim, name: str, seconds: float = 1.0) -> None:
    """One request: it waits until the model is there, is answered, and nobody waits any more."""
    demand = keeper(sim).demand
    demand.ask(name)
    await until(sim, ready(sim, name))
    demand.begin(name)
    demand.withdraw(name)
    await sim.sleep(seconds)
    demand.end(name)


def told(sim: Sim, name: str) -> list[str]:
    """The reasons of its last two events, oldest first."""
    assert sim.controller is not None
    query = "SELECT reason FROM events WHERE name = ? ORDER BY seq DESC LIMIT 2"
    return [reason for (reason,) in sim.controller.journal.connection.execute(query, (name,))][::-1]


def on_one_spark(story: Callable[[Sim], Any], services: dict[str, Any] | None = None, **settings: Any) -> Sim:
    async def whole(sim: Sim) -> None:
        prepare(sim)
        sim.watch_closely()
        canaries = await put_canaries(sim)
        given = services or {name: echo(ONE, 9000 + n, **MODEL) for n, name in enumerate(NAMES)}
        sim.declare(given, settings=settings)
        sim.keep()
        await sim.alive()
        await sim.look(2)
        await story(sim)
        await check(sim, canaries, None, boots=False, crashes=0)

    return play(whole, sparks=1)


def test_two_run_a_third_takes_the_place_of_the_unused_one_and_idle_ends_all() -> None:
    async def story(sim: Sim) -> None:
        assert running(sim) == set()
        assert keeper(sim).outlook("a").state is State.STOPPED
        await served(sim, "a")
        await served(sim, "b")
        assert running(sim) == {"a", "b"}
        await sim.sleep(60)
        await served(sim, "b")  # a is the one that is unused for a minute
        before = len(sim.commands(ONE))
        keeper(sim).demand.ask("c")
        await until(sim, ready(sim, "c"))
        assert running(sim) == {"b", "c"}
        assert [argv[1] for argv in sim.commands(ONE)[before:]] == ["stop", "rm", "run"]
        assert told(sim, "a") == ["Evicted", "Removed"]
        assert told(sim, "c") == ["Asked", "Created"]
        keeper(sim).demand.withdraw("c")
        await sim.sleep(1150)
        assert running(sim) == {"b", "c"}
        await until(sim, lambda: not sim.ours(ONE), 120)
        assert told(sim, "b") == ["Unused", "Removed"]
        await sim.look(3)

    on_one_spark(story)


def test_it_is_begun_at_once_and_stopped_as_soon_as_it_was_unused_for_long_enough() -> None:
    async def story(sim: Sim) -> None:
        keeper(sim).demand.ask("a")
        assert await until(sim, lambda: bool(sim.ours(ONE))) < 1.0
        await until(sim, ready(sim, "a"))
        keeper(sim).demand.begin("a")
        keeper(sim).demand.withdraw("a")
        await sim.sleep(3 * 3600)
        assert running(sim) == {"a"}
        keeper(sim).demand.end("a")
        assert 1200 <= await until(sim, lambda: not sim.ours(ONE), 1300) < 1202

    on_one_spark(story, scanInterval="5m")


def test_a_load_that_nobody_waits_for_ends_and_another_may_come() -> None:
    async def story(sim: Sim) -> None:
        sim.sparks[ONE].faults.loading("sparkkeep-a")
        demand = keeper(sim).demand
        demand.ask("a")
        await until(sim, lambda: running(sim) == {"a"})
        await sim.sleep(5)
        assert keeper(sim).outlook("a").state is State.STARTING
        demand.withdraw("a")
        assert await until(sim, lambda: not sim.ours(ONE)) < 2.0
        assert told(sim, "a") == ["NobodyWaits", "Removed"]
        await served(sim, "b")

    on_one_spark(story)


def test_what_serves_stays_and_who_asks_meanwhile_is_told_who_is_in_the_way() -> None:
    async def story(sim: Sim) -> None:
        demand = keeper(sim).demand
        for name in ("a", "b"):
            demand.ask(name)
            await until(sim, ready(sim, name))
            demand.begin(name)
            demand.withdraw(name)
        demand.ask("c")
        await sim.sleep(300)
        assert running(sim) == {"a", "b"}
        blocked = keeper(sim).outlook("c")
        assert (blocked.state, blocked.reason, blocked.blockers) == (State.BLOCKED, "InsufficientMemory", ("a",))
        demand.end("a")
        demand.yields("a", True)
        await until(sim, ready(sim, "c"), 5)
        assert running(sim) == {"b", "c"}

    on_one_spark(story)


def test_memory_that_comes_back_slowly_costs_nobody_else_its_place() -> None:
    async def story(sim: Sim) -> None:
        for name in ("a", "b"):
            await served(sim, name)
        sim.sparks[ONE].faults.memory_slow_release(20.0)
        await sim.sleep(120)
        keeper(sim).demand.ask("c")
        await sim.sleep(10)
        waits: Outlook = keeper(sim).outlook("c")
        assert (waits.state, waits.reason) == (State.STARTING, "MemoryReturning")
        await until(sim, ready(sim, "c"))
        assert running(sim) == {"b", "c"}

    on_one_spark(story)


def test_a_crash_is_made_good_while_somebody_waits_and_let_be_otherwise() -> None:
    async def story(sim: Sim) -> None:
        demand = keeper(sim).demand
        demand.ask("a")
        await until(sim, ready(sim, "a"))
        await sim.sparks[ONE].faults.oom("sparkkeep-a")
        await until(sim, lambda: running(sim) == set())
        await until(sim, ready(sim, "a"))
        demand.begin("a")
        demand.withdraw("a")
        await sim.sparks[ONE].faults.oom("sparkkeep-a")
        demand.end("a")
        await sim.sleep(120)
        assert running(sim) == set()
        assert keeper(sim).outlook("a").state is State.STOPPED
        await served(sim, "a")

    on_one_spark(story)


def test_a_controller_that_is_started_anew_keeps_what_runs_and_counts_its_idleness_anew() -> None:
    async def story(sim: Sim) -> None:
        await served(sim, "a")
        await sim.sleep(1100)
        assert sim.controller is not None
        before, first = sim.containers(ONE)["sparkkeep-a"].id, sim.controller
        first.crash()
        await until(sim, lambda: sim.controller is not first)
        await sim.alive()
        await until(sim, ready(sim, "a"))
        await sim.sleep(1100)
        assert sim.containers(ONE)["sparkkeep-a"].id == before
        await until(sim, lambda: not sim.ours(ONE), 120)

    on_one_spark(story)
