"""Asks the instances of one Spark, again and again, whether they serve.

One small task per container. It asks for the health page, quickly while the server starts, at its probe's own
interval once it is ready; and beside that, seldom, for the canary of its kind. What the answers mean is
`reconciler.liveness`'s matter. A result belongs to one start of one container; another container, or the same one
started anew, starts from nothing; and so does one whose question was corrected.

Results tell times by the clock on the wall, since people read them. Where somebody sets that clock, the times of what
was known before are moved with it: a start of a minute ago stays one of a minute ago, and nothing looks hung or unused
that is not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from reconciler import liveness, probe
from reconciler.canaries.exchange import NoReply, Reply, Request
from reconciler.hosts import Answer, Host
from reconciler.linkdown import LinkDown
from reconciler.meters import Meters
from reconciler.model import Container, Instance, Key, ProbeResult, ProbeSpec

SET: Final = 1.0  # seconds by which a clock must be off for somebody to have set it
CANARIES_AT_ONCE: Final = 2  # on one Spark: each holds a channel for as long as its server thinks

Start = tuple[str, float, ProbeSpec]  # container id, its start, what it is asked


class Prober:
    """The probes of one Spark. `changed` is called when a result says something new."""

    def __init__(
        self,
        host: Host,
        *,
        now: Callable[[], float],
        rng: random.Random,
        changed: Callable[[Key], None],
        meters: Meters | None = None,
    ) -> None:
        self._host = host
        self._meters = meters or Meters()
        self._now = now
        self._rng = rng
        self._changed = changed
        self._tasks: dict[Start, asyncio.Task[None]] = {}
        self._results: dict[Key, ProbeResult] = {}
        self._ahead: float | None = None  # of our own steady clock, what the one on the wall shows; as last seen
        self._room = asyncio.Semaphore(CANARIES_AT_ONCE)

    @property
    def results(self) -> Mapping[Key, ProbeResult]:
        """The last word on each instance that is probed."""
        self._follow_clock()
        return self._results

    def _follow_clock(self) -> None:
        ahead = self._now() - asyncio.get_running_loop().time()
        before, moved = self._ahead, 0.0 if self._ahead is None else ahead - self._ahead
        if before is None or abs(moved) > SET:
            self._ahead = ahead
            self._results = {key: _moved(result, moved) for key, result in self._results.items()}

    def follow(self, running: Iterable[tuple[Instance, Container]]) -> None:
        """Probe exactly these from now on; what is probed already goes on undisturbed."""
        wanted = self._wanted(running)
        gone = self._tasks.keys() - wanted.keys()
        for start in gone:
            self._tasks.pop(start).cancel()
        keys = {(i.workload, i.spark) for i in wanted.values()}
        same = {_question(start) for start in wanted}
        ended = {start[0] for start in gone if _question(start) not in same}
        self._results = {
            k: result for k, result in self._results.items() if k in keys and result.container not in ended
        }
        for start, instance in wanted.items():
            task = self._tasks.get(start)
            if task is None or task.done():
                self._tasks[start] = asyncio.create_task(self._probe(instance, start[0]), name=f"probe {instance.name}")

    def _wanted(self, running: Iterable[tuple[Instance, Container]]) -> dict[Start, Instance]:
        """By what is asked. A container that is to be replaced goes on with the probe of its own time."""
        asked, wanted = {start[:2]: start[2] for start in self._tasks}, dict[Start, Instance]()
        for instance, container in running:
            start, spec = (container.id, container.started_at), instance.probe
            if container.spec_hash != instance.spec_hash:
                spec = asked.get(start, spec)
            if spec.kind != "none":
                wanted[(*start, spec)] = instance if spec is instance.probe else replace(instance, probe=spec)
        return wanted

    async def close(self) -> None:
        """End every probe."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, instance: Instance, container: str) -> None:
        """Ask one container until it is no longer followed, or its Spark is lost: then a scan begins this anew."""
        key, spec, loop = (instance.workload, instance.spark), instance.probe, asyncio.get_running_loop()
        known = self.results.get(key)
        if known is None or known.container != container:
            known = ProbeResult(container=container, ready=False)
        life = liveness.begin(spec, known)
        page_at, canary_at = loop.time() + life.pause, loop.time()
        canary: asyncio.Task[tuple[Answer, float | None]] | None = None
        try:
            while True:
                if canary is None and life.answers and probe.has_canary(spec) and loop.time() >= canary_at:
                    canary = asyncio.create_task(self._canary(instance), name=f"canary {instance.name}")
                until = page_at if canary or not (life.answers and probe.has_canary(spec)) else min(page_at, canary_at)
                await _either(canary, until - loop.time())
                if canary is not None and canary.done():
                    answer, done = canary.result()
                    life = self._remembered(key, life)
                    life = self._noted(key, spec, life, liveness.canary(life, spec, answer, done, self._now()))
                    canary, canary_at = None, loop.time() + life.canary_pause * self._jitter()
                if loop.time() >= page_at:
                    answer = await self._ask(instance, "page", probe.health(spec))
                    life = self._remembered(key, life)
                    life = self._noted(key, spec, life, liveness.page(life, spec, answer, self._now()))
                    page_at = loop.time() + life.pause * (self._jitter() if life.answers else 1.0)
        except LinkDown:
            return
        finally:
            if canary is not None:
                canary.cancel()
                await asyncio.gather(canary, return_exceptions=True)

    async def _canary(self, instance: Instance) -> tuple[Answer, float | None]:
        """The canary's answer; if it was left waiting, also how much the server has done. Raises LinkDown."""
        async with self._room:
            answer = await self._ask(instance, "canary", probe.canary(instance.probe))
            done = (await self._host.ask(probe.work(instance.probe))).work if answer.busy else None
            return answer, done

    async def question(self, request: Request, port: int, *, timeout: float) -> Reply:
        """A person's question, in line with the canaries. Raises NoReply, LinkDown."""
        try:
            async with asyncio.timeout(timeout):
                await self._room.acquire()
        except TimeoutError:
            raise NoReply(f"other questions have kept it busy for {timeout:g} s", late=True) from None
        try:
            return await self._host.exchange(request, port, timeout=timeout)
        finally:
            self._room.release()

    async def check(self, spec: ProbeSpec) -> Answer:
        """Ask once, now, whether it serves: the canary of its kind, or its page. Raises LinkDown."""
        asked = probe.canary(spec) if probe.has_canary(spec) else spec
        async with self._room:
            return await self._host.ask(asked)

    async def _ask(self, instance: Instance, what: str, question: ProbeSpec) -> Answer:
        began = asyncio.get_running_loop().time()
        answer = await self._host.ask(question)
        took = asyncio.get_running_loop().time() - began
        failure = "" if answer.ready else "busy" if answer.busy else "refused"
        self._meters.probed(instance.workload, instance.spark, what, failure, took)
        return answer

    def _remembered(self, key: Key, life: liveness.Life) -> liveness.Life:
        """With the times of today's clock."""
        result = self.results.get(key, life.result)
        return (
            life if result is life.result or result.container != life.result.container else replace(life, result=result)
        )

    def _noted(self, key: Key, spec: ProbeSpec, before: liveness.Life, after: liveness.Life) -> liveness.Life:
        self._results[key] = after.result
        if _news(before.result, after.result, spec.failures):
            self._changed(key)
        return after

    def _jitter(self) -> float:
        return self._rng.uniform(0.9, 1.1)


def _moved(result: ProbeResult, seconds: float) -> ProbeResult:
    """The same so many seconds later. What has no time stays without."""
    return replace(
        result,
        ready_at=result.ready_at and result.ready_at + seconds,
        failing_since=result.failing_since and result.failing_since + seconds,
    )


async def _either(canary: asyncio.Task[tuple[Answer, float | None]] | None, seconds: float) -> None:
    """Wait for the canary, if there is one, but not longer than this."""
    if canary is None:
        await asyncio.sleep(max(0.0, seconds))
    else:
        await asyncio.wait({canary}, timeout=max(0.0, seconds))


def _question(start: Start) -> tuple[object, ...]:
    """What of it an answer depends on: other pauses between the questions make no other server."""
    container, began, spec = start
    return container, began, spec.kind, spec.port, spec.path, spec.health, spec.model, spec.voice, spec.known_answer


def _news(before: ProbeResult, after: ProbeResult, limit: int) -> bool:
    return before.ready != after.ready or (before.failures < limit <= after.failures)
