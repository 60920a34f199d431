"""The workers of the Sparks that are declared: hired, woken, and let go when their Spark is declared no more.

A Spark that is reached in another way than before gets another worker; the next one begins when the one before it has
ended, so that never two act on one Spark. Nothing on a Spark is touched because its worker goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from reconciler.model import Container, Sight
from reconciler.worker import Worker
from state.desired import Spark

Hire = Callable[[str, Spark], Worker]


class Fleet:
    """One worker for each Spark, by name. `hire` makes one, which is started here."""

    def __init__(self, hire: Hire) -> None:
        self.workers: dict[str, Worker] = {}
        self._hire = hire
        self._ways: dict[str, tuple[object, ...]] = {}  # how each Spark is reached
        self._closing: set[asyncio.Task[None]] = set()

    def declared(self, sparks: Mapping[str, Spark], owner: str) -> None:
        """Have the workers of these Sparks, and no others."""
        ways = {name: _way(spark, owner) for name, spark in sparks.items()}
        leaving = {name: self._dismiss(name) for name in list(self.workers) if self._ways[name] != ways.get(name)}
        for name, way in ways.items():
            if name not in self.workers:
                self.workers[name] = self._hire(name, sparks[name])
                self.workers[name].start(leaving.get(name))
                self._ways[name] = way

    def _dismiss(self, name: str) -> asyncio.Task[None]:
        worker = self.workers.pop(name)
        self._ways.pop(name)
        task = asyncio.create_task(worker.close(), name=f"{name} close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def finish(self, grace: float) -> None:
        """Before the end: begin nothing new, and give the commands under way up to `grace` seconds."""
        await asyncio.gather(*(worker.finish(grace) for worker in self.workers.values()))

    async def close(self) -> None:
        """End them all."""
        await asyncio.gather(*(worker.close() for worker in self.workers.values()), *self._closing)
        self.workers.clear()

    def wake(self, names: Iterable[str]) -> None:
        """Look at these Sparks now, as far as they have workers."""
        for name in names:
            if name in self.workers:
                self.workers[name].due.now()

    def hint(self, names: Iterable[str]) -> None:
        """Something may have changed there: look soon."""
        for name in names:
            self.workers[name].due.hint()

    def hint_others(self, spark: str) -> None:
        """The same for all but one."""
        self.hint(name for name in self.workers if name != spark)

    def sights(self) -> dict[str, Sight]:
        """What is known of each Spark."""
        return {name: worker.sight for name, worker in self.workers.items()}

    def containers(self) -> list[Container]:
        """What stood on all of them when they were looked at last."""
        scans = [worker.sight.scan for worker in self.workers.values()]
        return [container for scan in scans if scan is not None for container in scan.containers]


def _way(spark: Spark, owner: str) -> tuple[object, ...]:
    """How a Spark is reached and whose containers are ours: another way takes another worker."""
    return (spark.host, spark.user, spark.port, spark.key, spark.jump, spark.trust, spark.socket, owner)
