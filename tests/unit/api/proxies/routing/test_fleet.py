"""The fleet as the wire sees it: who gets a call, who waits, and who is refused with which words."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api.proxies.calls import Backend, Call, Decision, Refused
from api.proxies.queue.holds import Holds, Known
from api.proxies.queue.rules import Rules
from api.proxies.routing.fleet import Fleet
from api.proxies.routing.offers import Offer, Offers
from api.proxies.routing.ready import Ready
from api.proxies.routing.router import AVOIDED
from reconciler.demand import State
from reconciler.draining import Traffic


def backend(spark: str, workload: str = "m") -> Backend:
    return Backend(workload=workload, spark=spark, host="10.0.0.1", port=8000, model=workload)


def offer(name: str, *sparks: str, **said: Any) -> Offer:
    given = {"state": "ready" if sparks else "stopped", "sparks": sparks, **said}
    return Offer(name=name, backends=tuple(backend(spark, name) for spark in sparks), **given)


def call(model: str = "m", path: str = "/v1/chat/completions", who: str = "me") -> Call:
    return Call(method="POST", path=path, model=model, who=who)


@dataclass
class Asked:
    """What was demanded of the loop."""

    said: list[str] = field(default_factory=list)

    def ask(self, workload: str) -> None:
        self.said.append(f"ask {workload}")

    def withdraw(self, workload: str) -> None:
        self.said.append(f"withdraw {workload}")

    def begin(self, workload: str) -> None:
        self.said.append(f"begin {workload}")

    def end(self, workload: str) -> None:
        self.said.append(f"end {workload}")

    def yields(self, workload: str, yes: bool) -> None:
        self.said.append(f"{workload} yields {yes}")


class Stage:
    def __init__(self, *offers: Offer, queue: bool = True) -> None:
        self.traffic = Traffic(lambda: self.now, lambda _: None)
        loop = SimpleNamespace(traffic=self.traffic)
        self.ready = SimpleNamespace(offers=Offers(), told=set(), renewed=0, loop=loop)
        self.now, self.demand, self.outlooks = 100.0, Asked(), dict[str, Any]()
        holds = Holds(
            demand=self.demand,
            outlook=self.outlook,
            known=lambda _: Known(on_demand=True, places=frozenset({"s1"}), load=1.0),
            rules=Rules,
            limit=self.limit,
        )
        self.fleet = Fleet(
            cast("Ready", self.ready), holds=holds if queue else None, rng=random.Random(1), now=lambda: self.now
        )
        self.become(*offers)

    def become(self, *offers: Offer) -> None:
        self.ready.offers = Offers.of(offers)
        for heard in self.ready.told:
            heard()

    def limit(self, name: str) -> int | None:
        found = self.ready.offers.each[name]
        return None if found.limit is None else found.limit * len(found.backends)

    def outlook(self, name: str) -> Any:
        state = "ready" if self.ready.offers.each[name].backends else self.outlooks.get(name, "stopped")
        return SimpleNamespace(
            state=State(state), reason="Broken", message="it is broken", eta=1.0, blockers=(), retry_at=None
        )

    def go(self, *said: Any, **more: Any) -> Decision:
        found = self.fleet.choose(call(*said), **more)
        assert isinstance(found, Decision)
        self.fleet.began(found)
        return found

    def refused(self, *said: Any, without: tuple[str, ...] = ()) -> Refused:
        with pytest.raises(Refused) as refused:
            self.fleet.choose(call(*said), without=without)
        return refused.value


async def test_by_name_by_alias_and_as_ollamas_programs_say_it() -> None:
    stage = Stage(offer("m", "s1", aliases=("gpt-4o", "o/m:8b")))
    for name in ("m", "gpt-4o", "o/m:8b", "m:latest"):
        assert stage.go(name).backend.key == "m@s1"
    assert stage.fleet.busy(backend("s1")) == 4


async def test_the_only_model_of_its_kind_need_not_be_named() -> None:
    stage = Stage(offer("m", "s1"), offer("v", "s1", kind="embedding"), offer("w", "s1", kind="rerank", state="never"))
    assert stage.go("", "/v1/embeddings").backend.workload == "v"
    assert stage.refused("", "/v1/rerank").reason == "ModelMissing"
    stage.become(offer("m", "s1"), offer("n", "s1"))
    refused = stage.refused("")
    assert (refused.status, refused.field, refused.allowed) == (400, "model", ("m", "n"))


async def test_nobody_is_sent_twice_to_one_that_failed_and_who_has_answered_badly_is_not_waited_for() -> None:
    stage = Stage(offer("m", "s1", "s2"))
    first = stage.go()
    stage.fleet.ended(first, answered=False)
    second = stage.go("m", without=(first.backend.key,))
    assert second.backend != first.backend
    stage.fleet.ended(second, answered=True)
    refused = stage.refused("m", without=(first.backend.key, second.backend.key))
    assert (refused.status, refused.reason, refused.retry_after) == (503, "BackendFailed", 1.0)
    assert "m@s1 and m@s2" in refused.message


async def test_where_all_refuse_connections_a_request_waits_until_one_may_be_asked_again() -> None:
    stage = Stage(offer("m", "s1"))
    first = stage.go()
    stage.fleet.ended(first, answered=False)
    held = stage.fleet.choose(call(), without=("m@s1",))
    assert not isinstance(held, Decision)
    await asyncio.sleep(0.05)
    assert not held.decided.done()
    stage.now += AVOIDED + 0.1
    stage.become(offer("m", "s1"))  # a look
    decision = await asyncio.wait_for(held.decided, 5)
    assert decision.backend.key == "m@s1"
    held.leave()


async def test_a_request_for_what_is_stopped_waits_and_has_it_started() -> None:
    stage = Stage(offer("m"))
    held = stage.fleet.choose(call())
    assert not isinstance(held, Decision)
    await asyncio.sleep(0.05)
    assert stage.demand.said == ["ask m"]
    stage.become(offer("m", "s1"))
    decision = await asyncio.wait_for(held.decided, 5)
    stage.fleet.began(decision)
    assert stage.fleet.busy(backend("s1")) == 1
    stage.fleet.ended(decision, answered=True)
    assert stage.fleet.busy(backend("s1")) == 0
    assert stage.demand.said[:2] == ["ask m", "begin m"] and stage.demand.said[-1] == "end m"


async def test_beyond_its_limit_requests_wait_for_their_turn_and_clients_take_turns() -> None:
    stage = Stage(offer("m", "s1", "s2", limit=1))
    under_way = [stage.go(), stage.go()]
    assert {d.backend.spark for d in under_way} == {"s1", "s2"}
    holds = [stage.fleet.choose(call(who=who)) for who in ("greedy", "greedy", "greedy", "other")]
    order = []
    for _ in range(4):
        stage.fleet.ended(under_way.pop(0), answered=True)
        await asyncio.sleep(0.05)
        for number, held in enumerate(holds):
            if number not in order and held.decided.done():
                order.append(number)
                under_way.append(held.decided.result())
                stage.fleet.began(under_way[-1])
        assert all(stage.fleet.busy(b) <= 1 for b in (backend("s1"), backend("s2")))
    assert order == [0, 3, 1, 2]


async def test_without_a_queue_what_has_no_room_is_refused_at_once() -> None:
    stage = Stage(offer("m", "s1", limit=2), queue=False)
    stage.go()
    stage.go()
    refused = stage.refused("m")
    assert (refused.status, refused.reason, refused.retry_after) == (429, "TooManyRequests", 1.0)


async def test_nobody_waits_for_what_can_not_start() -> None:
    stage = Stage(offer("m", state="failing"))
    stage.outlooks["m"] = "refused"
    refused = stage.refused("m")
    assert (refused.status, refused.reason, refused.message) == (503, "Broken", "it is broken")
