"""One Spark with less memory than its models want, in virtual time: what the loop does for on-demand models, in small.

`Demand` is the real one. A start takes its time and is the only one under way, a stop takes a moment, memory has to be
back before it is given out again; whoever asked first is served first, for whom only models are stopped that give way
or were unused for long. A model that serves is never stopped: that would be an AssertionError here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from api.proxies.calls import Backend, Decision
from api.proxies.queue.holds import Known
from reconciler.demand import Demand, Outlook, State

UNUSED = 60.0  # seconds after which a model gives way unasked
STOP = 2.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Model:
    """`fails`: how often a start of it goes wrong before one goes well. `again`: then it is tried again so much later."""

    memory: int = 1
    load: float = 40.0
    on_demand: bool = True
    fails: int = 0
    again: float | None = 10.0


@dataclass
class Spark:
    """`memory` in whatever models are measured in."""

    models: Mapping[str, Model]
    memory: int = 2
    changed: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.demand = Demand(self._loop.time, lambda _: self._soon())
        self.demand.declared([name for name, model in self.models.items() if model.on_demand])
        self.ready: set[str] = set()
        self.starting: dict[str, asyncio.TimerHandle] = {}
        self.until: dict[str, float] = {}
        self.stopping: set[str] = set()
        self.failed: dict[str, float | None] = {}  # and when it is tried again
        self.starts: list[tuple[float, str]] = []
        self.stops: list[tuple[float, str]] = []
        self.failures = dict.fromkeys(self.models, 0)
        self._due: asyncio.Handle | None = None
        self._soon()

    # What happens.

    def _soon(self) -> None:
        if self._due is None:
            self._due = self._loop.call_soon(self._pass)

    def _news(self) -> None:
        for told in self.changed:
            told()  # type: ignore[operator]

    def _pass(self) -> None:
        self._due = None
        wishes = self.demand.wishes()
        for name in [n for n in self.starting if self.models[n].on_demand and wishes[n].abandoned]:
            self.starting.pop(name).cancel()
            self._stopped_soon(name)
        for name in self._wanted():
            if self._tried_again(name) or self.starting:
                continue
            if self.models[name].memory <= self._free():
                self._start(name)
            elif self.models[name].memory > self._free() + self._returning():
                for each in self._victims(name, self._idle()):
                    self.stop(each)
        self._news()

    def _wanted(self) -> list[str]:
        wishes = self.demand.wishes()
        there = self.ready | self.starting.keys() | self.stopping
        asked = sorted((w.turn, name) for name, w in wishes.items() if w.turn and not w.yields)
        always = [name for name, model in self.models.items() if not model.on_demand]
        return [name for name in (*always, *(name for _, name in asked)) if name not in there]

    def _tried_again(self, name: str) -> bool:
        """Whether it has failed, and its time has not come."""
        return name in self.failed

    def _free(self) -> int:
        return self.memory - sum(self.models[n].memory for n in self.ready | self.starting.keys() | self.stopping)

    def _returning(self) -> int:
        return sum(self.models[n].memory for n in self.stopping)

    def _idle(self) -> list[str]:
        """Those that may be stopped, the longest unused first."""
        wishes = self.demand.wishes()
        free = [n for n in self.ready if self.models[n].on_demand and not wishes[n].under_way]
        free = [n for n in free if wishes[n].yields or (not wishes[n].turn and self.demand.unused(n) >= UNUSED)]
        return sorted(free, key=lambda n: (wishes[n].last, n))

    def _victims(self, name: str, among: Sequence[str]) -> tuple[str, ...]:
        """As few of these as make room for it; none if all of them would not do."""
        missing = self.models[name].memory - self._free() - self._returning()
        for count in range(1, len(among) + 1):
            for chosen in combinations(among, count):
                if sum(self.models[n].memory for n in chosen) >= missing:
                    return chosen
        return ()

    def _start(self, name: str) -> None:
        load = self.models[name].load
        self.starts.append((self._loop.time(), name))
        self.until[name] = self._loop.time() + load
        self.starting[name] = self._loop.call_later(load, self._started, name)
        self._soon()

    def _started(self, name: str) -> None:
        del self.starting[name]
        model = self.models[name]
        if self.failures[name] < model.fails:
            self.failures[name] += 1
            self.failed[name] = None if model.again is None else self._loop.time() + model.again
            if model.again is not None:
                self._loop.call_later(model.again, self._again, name)
        else:
            self.ready.add(name)
        self._soon()

    def _again(self, name: str) -> None:
        del self.failed[name]
        self._soon()

    def stop(self, name: str) -> None:
        """For another, or since it crashed while nobody used it."""
        assert not self.demand.under_way(name), f"{name} was stopped while it served"
        self.ready.remove(name)
        self._stopped_soon(name)

    def _stopped_soon(self, name: str) -> None:
        self.stops.append((self._loop.time(), name))
        self.stopping.add(name)
        self._loop.call_later(STOP, self._stopped, name)
        self._soon()

    def _stopped(self, name: str) -> None:
        self.stopping.remove(name)
        self._soon()

    # What is asked of it.

    def outlook(self, name: str) -> Outlook:
        now, model = self._loop.time(), self.models[name]
        if name in self.ready:
            return Outlook(state=State.READY, reason="Serving", message=f"{name} serves", eta=0.0)
        if name in self.starting:
            message = f"{name} is being started on spark-1"
            return Outlook(state=State.STARTING, reason="Loading", message=message, eta=self.until[name] - now)
        if name in self.failed:
            message = f"the start of {name} went wrong"
            return Outlook(state=State.FAILED, reason="BadFlag", message=message, retry_at=self.failed[name])
        if model.on_demand and not self.demand.asked(name):
            return Outlook(state=State.STOPPED, reason="NotAsked", message=f"{name} is stopped", eta=model.load)
        if self.starting:
            blockers = tuple(self.starting)
            return Outlook(state=State.BLOCKED, reason="OneStart", message="another starts", blockers=blockers)
        if model.memory <= self._free() + self._returning():
            message = f"room is made for {name} on spark-1"
            return Outlook(state=State.STARTING, reason="MakingRoom", message=message, eta=STOP + model.load)
        wishes = self.demand.wishes()
        serving = [n for n in self.ready if self.models[n].on_demand]
        serving.sort(key=lambda n: (not wishes[n].yields, bool(wishes[n].under_way), wishes[n].last, n))
        blockers = self._victims(name, serving)
        return Outlook(state=State.BLOCKED, reason="InsufficientMemory", message="no memory", blockers=blockers)

    def known(self, name: str) -> Known:
        model = self.models[name]
        return Known(on_demand=model.on_demand, places=frozenset({"spark-1"}), load=model.load)

    def decide(self, name: str) -> Decision | None:
        """As the router would."""
        if name not in self.ready:
            return None
        backend = Backend(workload=name, spark="spark-1", host="127.0.0.1", port=8000, model=name)
        return Decision(backend=backend, why="the only instance that answers")
