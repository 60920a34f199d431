"""Requests over on-demand models on one Spark, played through the queue in virtual time, or in plain first-come order."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from api.proxies.calls import Call, Decision, Refused
from api.proxies.queue.holds import Holds
from api.proxies.queue.rules import Rules
from tests.simulation.queue_world import Model, Spark
from tests.simulation.virtual import EPOCH, VirtualLoop


@dataclass(frozen=True, kw_only=True)
class Request:
    """`leaves`: its client goes away after so many seconds, wherever it is by then."""

    at: float
    model: str
    service: float = 5.0
    who: str = "someone"
    leaves: float | None = None


@dataclass
class Told:
    """What became of a request. `went` is when it was sent on, `ended` when it was over."""

    request: Request
    went: float | None = None
    ended: float | None = None
    refused: Refused | None = None
    refused_at: float | None = None

    @property
    def waited(self) -> float:
        assert self.went is not None
        return self.went - self.request.at


class Policy(Protocol):
    async def go(self, request: Request) -> Decision: ...

    def ended(self, decision: Decision) -> None: ...

    def close(self) -> None: ...


class Queued:
    """As the router does it."""

    def __init__(self, spark: Spark, rules: Rules, limits: Mapping[str, int]) -> None:
        loop = asyncio.get_running_loop()
        self.spark = spark
        self.holds = Holds(
            demand=spark.demand,
            outlook=spark.outlook,
            known=spark.known,
            rules=lambda: rules,
            limit=limits.get,
            wall=lambda: EPOCH + loop.time(),
        )
        spark.changed.append(self.holds.changed)

    async def go(self, request: Request) -> Decision:
        name = request.model
        decision = self.spark.decide(name) if self.holds.may_go(name) else None
        if decision is None:
            hold = self.holds.hold(
                Call(method="POST", path="/v1/x", who=request.who), name, lambda: self.spark.decide(name)
            )
            try:
                decision = await asyncio.shield(hold.decided)
            except asyncio.CancelledError:
                hold.leave()
                raise
        self.holds.began(decision)
        return decision

    def ended(self, decision: Decision) -> None:
        self.holds.ended(decision)

    def close(self) -> None:
        self.holds.close()


class FirstCome:
    """Nobody overtakes: whoever came first is served first, and its model is started when it is its turn."""

    def __init__(self, spark: Spark, rules: Rules, limits: Mapping[str, int]) -> None:
        del rules, limits
        self.spark = spark
        self.line: deque[tuple[str, asyncio.Future[Decision]]] = deque()
        self.asked = ""
        spark.changed.append(self.look)

    async def go(self, request: Request) -> Decision:
        future = asyncio.get_running_loop().create_future()
        self.line.append((request.model, future))
        self.look()
        return await future

    def look(self) -> None:
        demand = self.spark.demand
        while self.line:
            name, future = self.line[0]
            decision = self.spark.decide(name)
            if decision is None:
                for other in self.spark.models:
                    demand.yields(other, other != name)
                demand.ask(name)
                self.asked = name
                return
            self.line.popleft()
            demand.begin(name)
            if self.asked == name:
                demand.withdraw(name)
            future.set_result(decision)

    def ended(self, decision: Decision) -> None:
        self.spark.demand.end(decision.backend.workload)

    def close(self) -> None:
        return


Make = Callable[[Spark, Rules, Mapping[str, int]], Policy]


@dataclass
class Outcome:
    """How it went."""

    told: list[Told]
    spark: Spark
    policy: Policy

    @property
    def starts(self) -> int:
        return len(self.spark.starts)

    @property
    def waits(self) -> list[float]:
        return sorted(each.waited for each in self.told if each.went is not None)


def play(
    requests: Sequence[Request],
    models: Mapping[str, Model],
    *,
    memory: int = 2,
    rules: Rules | None = None,
    limits: Mapping[str, int] | None = None,
    make: Make = Queued,
    rest: float = 30.0,
) -> Outcome:
    """All of it, and `rest` seconds more."""

    async def story() -> Outcome:
        loop = asyncio.get_running_loop()
        spark = Spark(models, memory)
        policy = make(spark, rules or Rules(), limits or {})
        told = [Told(request) for request in requests]

        async def one(each: Told) -> None:
            request = each.request
            await asyncio.sleep(request.at)
            try:
                async with asyncio.timeout(request.leaves):
                    decision = await policy.go(request)
                    each.went = loop.time()
                    try:
                        await asyncio.sleep(request.service)
                    finally:
                        policy.ended(decision)
                    each.ended = loop.time()
            except Refused as refused:
                each.refused, each.refused_at = refused, loop.time()
            except TimeoutError:
                each.ended = loop.time()

        async with asyncio.TaskGroup() as group:
            for each in told:
                group.create_task(one(each))
        await asyncio.sleep(rest)
        return Outcome(told, spark, policy)

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story())
    finally:
        loop.close()
        gc.collect()
