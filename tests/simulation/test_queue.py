"""Requests for on-demand models on one practice Spark that holds two of three, through Holds over the real loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.proxies.calls import Backend, Call, Decision, Refused
from api.proxies.queue.holds import Held, Holds
from api.proxies.queue.over import holds_over
from reconciler.demand import State
from tests.scenarios.play import echo
from tests.simulation.oracle import check, put_canaries
from tests.simulation.sim import Sim, play
from tests.simulation.stories import ONE, prepare
from tests.simulation.test_on_demand import MODEL, NAMES, keeper, running, told, until

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other work too


class Front:
    """What stands between the clients and the loop: `Holds`, and a router that knows one instance of each."""

    def __init__(self, sim: Sim) -> None:
        self.loop = keeper(sim)
        self.holds: Holds = holds_over(self.loop)
        self.loop.told.add(self.holds.changed)

    def decide(self, name: str) -> Decision | None:
        if self.loop.outlook(name).state is not State.READY:
            return None
        return Decision(backend=Backend(workload=name, spark=ONE, host="127.0.0.1", port=1, model=name), why="one")

    def hold(self, name: str, who: str = "someone") -> Held:
        call = Call(method="POST", path="/v1/chat/completions", model=name, who=who)
        return self.holds.hold(call, name, lambda: self.decide(name))

    async def ask(self, sim: Sim, name: str, seconds: float) -> None:
        """As the wire does."""
        decision = self.decide(name) if self.holds.may_go(name) else None
        if decision is None:
            decision = await self.hold(name).decided
        self.holds.began(decision)
        until = sim.loop.time() + seconds
        while sim.loop.time() < until:
            assert name in running(sim), f"{name} was stopped while it served"
            await sim.sleep(0.25)
        self.holds.ended(decision)


def on_one_spark(story: Callable[[Sim, Front], Any], services: dict[str, Any] | None = None, **settings: Any) -> None:
    async def whole(sim: Sim) -> None:
        prepare(sim)
        sim.watch_closely()
        canaries = await put_canaries(sim)
        given = services or {name: echo(ONE, 9000 + n, **MODEL) for n, name in enumerate(NAMES)}
        sim.declare(given, settings=settings)
        sim.keep()
        await sim.alive()
        await sim.look(2)
        front = Front(sim)
        await story(sim, front)
        await sim.sleep(5)
        assert front.holds.queues() == []
        wishes = keeper(sim).demand.wishes().values()
        assert not any(wish.turn or wish.yields or wish.under_way for wish in wishes)
        await check(sim, canaries, None, boots=False, crashes=0)

    play(whole, sparks=1)


def created(sim: Sim) -> list[str]:
    """The names of what was started, in order."""
    return [argv[argv.index("--name") + 1] for argv in sim.commands(ONE) if "--name" in argv and argv[1] == "run"]


def test_three_models_in_room_for_two_answer_everybody_with_one_start_for_all_who_wait() -> None:
    async def story(sim: Sim, front: Front) -> None:
        async with asyncio.TaskGroup() as group:
            for name in "aaabbbccc":
                group.create_task(front.ask(sim, name, 3.0))
        assert sorted(created(sim)) == ["sparkkeep-a", "sparkkeep-b", "sparkkeep-c"]
        assert running(sim) in ({"a", "c"}, {"b", "c"}, {"a", "b"})

    on_one_spark(story)


def test_a_stream_of_requests_for_three_models_is_answered_and_nothing_is_stopped_while_it_serves() -> None:
    async def story(sim: Sim, front: Front) -> None:
        async def client(names: str, pause: float) -> None:
            for name in names:
                await front.ask(sim, name, 2.0)
                await sim.sleep(pause)

        async with asyncio.TaskGroup() as group:
            group.create_task(client("ababababab", 1.0))
            group.create_task(client("abcabcabc", 3.0))
            group.create_task(client("cccaaabbb", 2.0))
        assert len(created(sim)) < 12  # of 28 requests

    on_one_spark(story, queue={"patience": 1, "shortestStay": "10s"})


def test_the_container_is_stopped_when_the_last_has_left_during_its_load() -> None:
    async def story(sim: Sim, front: Front) -> None:
        sim.sparks[ONE].faults.loading("sparkkeep-a")
        first, second = front.hold("a"), front.hold("a")
        await until(sim, lambda: running(sim) == {"a"})
        await sim.sleep(5)
        assert first.told().endswith("you are 1st of 2")
        first.leave()
        await sim.sleep(5)
        assert running(sim) == {"a"}
        second.leave()
        assert await until(sim, lambda: not sim.ours(ONE)) < 2.0
        await until(sim, lambda: told(sim, "a") == ["NobodyWaits", "Removed"])
        assert created(sim) == ["sparkkeep-a"]

    on_one_spark(story)


def test_what_can_never_start_is_refused_with_the_loops_own_words() -> None:
    async def story(sim: Sim, front: Front) -> None:
        held = front.hold("big")
        with pytest.raises(Refused) as found:
            await held.decided
        assert (found.value.status, found.value.reason) == (503, "InsufficientMemory")
        assert "GiB" in found.value.message

    on_one_spark(story, {"big": echo(ONE, 9000, memory="900GiB", run="on-demand")})


def test_a_model_that_is_to_run_always_and_is_made_anew_is_waited_for() -> None:
    async def story(sim: Sim, front: Front) -> None:
        await until(sim, lambda: front.decide("web") is not None)
        await sim.sparks[ONE].faults.oom("sparkkeep-web")
        await until(sim, lambda: front.decide("web") is None)
        await front.ask(sim, "web", 1.0)
        assert not keeper(sim).demand.asked("web")

    on_one_spark(story, {"web": echo(ONE, 9000)})
