"""Asks the instances of one Spark, again and again, whether they serve.

One small task per container: quick while it starts, at its probe's own interval once it is ready. A result
belongs to one start of one container; another container, or the same one started anew, starts from nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Instance, Key, ProbeResult

FIRST: Final = 0.1  # seconds after a start until the first question
SLOWEST: Final = 2.0  # seconds between questions to one that is still starting
GROWTH: Final = 1.5
RETRY: Final = 1.0  # seconds between questions to a ready one that just failed to answer


class Prober:
    """The probes of one Spark. `changed` is called when a result says something new."""

    def __init__(
        self, host: Host, *, now: Callable[[], float], rng: random.Random, changed: Callable[[Key], None]
    ) -> None:
        self._host = host
        self._now = now
        self._rng = rng
        self._changed = changed
        self._tasks: dict[tuple[str, float], asyncio.Task[None]] = {}  # container id, its start
        self._results: dict[Key, ProbeResult] = {}

    @property
    def results(self) -> Mapping[Key, ProbeResult]:
        """The last word on each instance that is probed."""
        return self._results

    def follow(self, running: Iterable[tuple[Instance, Container]]) -> None:
        """Probe exactly these from now on; what is probed already goes on undisturbed."""
        wanted = {(c.id, c.started_at): i for i, c in running if i.probe.kind != "none"}
        gone = self._tasks.keys() - wanted.keys()
        for start in gone:
            self._tasks.pop(start).cancel()
        keys = {(i.workload, i.spark) for i in wanted.values()}
        ended = {container for container, _ in gone}
        self._results = {
            k: result for k, result in self._results.items() if k in keys and result.container not in ended
        }
        for start, instance in wanted.items():
            task = self._tasks.get(start)
            if task is None or task.done():
                self._tasks[start] = asyncio.create_task(self._probe(instance, start[0]), name=f"probe {instance.name}")

    async def close(self) -> None:
        """End every probe."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, instance: Instance, container: str) -> None:
        key = (instance.workload, instance.spark)
        known = self._results.get(key)
        result = (
            known
            if known is not None and known.container == container
            else ProbeResult(container=container, ready=False)
        )
        pause = FIRST
        while True:
            await asyncio.sleep(pause if not result.ready else 0)
            try:
                answer = await self._host.ask(instance.probe)
            except LinkDown:
                return  # the Spark is Unknown now; the first scan after it starts the probe again
            before, result = result, self._judge(result, ready=answer.ready, message=answer.message)
            self._results[key] = result
            if _news(before, result, instance.probe.failures):
                self._changed(key)
            if result.ready:
                await asyncio.sleep(instance.probe.interval * self._rng.uniform(0.9, 1.1))
            elif result.ready_at:
                pause = min(RETRY, instance.probe.interval)
            else:
                pause = min(pause * GROWTH, SLOWEST)

    def _judge(self, before: ProbeResult, *, ready: bool, message: str) -> ProbeResult:
        now = self._now()
        if ready:
            return replace(
                before, ready=True, ready_at=before.ready_at or now, failing_since=0.0, failures=0, message=message
            )
        since = before.failing_since or now
        return replace(before, ready=False, failing_since=since, failures=before.failures + 1, message=message)


def _news(before: ProbeResult, after: ProbeResult, limit: int) -> bool:
    return before.ready != after.ready or (before.failures < limit <= after.failures)
