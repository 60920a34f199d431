"""Follows the models of one Spark while they load: what they say about it, how long it takes, what memory it takes.

Every few seconds the last lines of the log and the Spark's memory are read; `words` is then what a person sees instead
of "does not answer yet". Nothing is decided from it: whether a model serves is the prober's matter, and a log that
can't be read costs nothing but a sentence. A load that was followed from its beginning to its first answer is told, so
that the next one comes with an estimate.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from reconciler import launch
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Instance, Key
from reconciler.progress import Account, account, progress, words
from reconciler.shell import join

EVERY: Final = 5.0  # seconds
TAIL: Final = 100  # lines
FROM_THE_START: Final = 20.0  # seconds; a container that has run for longer when first seen was not followed from there
MEMORY: Final = "sparkkeep-memory"
AVAILABLE: Final = re.compile(rf"^{MEMORY}\nMemAvailable:\s+(\d+) kB$", re.MULTILINE)

Told = Callable[[Instance, float, int], None]  # seconds from start to first answer, bytes that it took at most


class Loading:
    """One container that loads. `began` is of our own steady clock; `age` is how long it ran by then, in seconds."""

    def __init__(self, instance: Instance, container: Container, began: float, age: float, available: int) -> None:
        self.instance = instance
        self.container = container
        self.began = began
        self.whole = 0 <= age <= FROM_THE_START
        self.before = available
        self.least = available
        self.task: asyncio.Task[None] | None = None


class LoadWatch:
    """The loads of one Spark. `past` gives the seconds that earlier ones of an instance took, oldest first.

    `now` is Unix time, as a container's start is; `clock` never jumps, and how long a load takes is read from it.
    """

    def __init__(
        self,
        host: Host,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        past: Callable[[Key], Sequence[float]],
        told: Told,
    ) -> None:
        self._host = host
        self._now = now
        self._clock = clock
        self._past = past
        self._told = told
        self._loads: dict[str, Loading] = {}  # by container id
        self._words: dict[Key, str] = {}
        self._accounts: dict[Key, Account] = {}

    @property
    def accounts(self) -> Mapping[Key, Account]:
        """The same in numbers."""
        return self._accounts

    @property
    def words(self) -> Mapping[Key, str]:
        """How far each model that loads is."""
        return self._words

    def follow(
        self, loading: Iterable[tuple[Instance, Container]], *, ready: Iterable[str] = (), available: int
    ) -> None:
        """Follow exactly these from now on. `ready` are containers that have answered: theirs is told."""
        wanted = {container.id: (instance, container) for instance, container in loading}
        done = set(ready)
        for gone in self._loads.keys() - wanted.keys():
            self._end(self._loads.pop(gone), finished=gone in done)
        for anew in [c for c, load in self._loads.items() if load.container.started_at != wanted[c][1].started_at]:
            self._end(self._loads.pop(anew), finished=False)
        for container_id, (instance, container) in wanted.items():
            if container_id not in self._loads:
                load = Loading(instance, container, self._clock(), self._now() - container.started_at, available)
                self._loads[container_id] = load
                load.task = asyncio.create_task(self._watch(load), name=f"load of {instance.name}")

    async def close(self) -> None:
        """End all."""
        tasks = [load.task for load in self._loads.values() if load.task is not None]
        for task in tasks:
            task.cancel()
        self._loads.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, load: Loading, *, finished: bool) -> None:
        if load.task is not None:
            load.task.cancel()
        self._words.pop((load.instance.workload, load.instance.spark), None)
        self._accounts.pop((load.instance.workload, load.instance.spark), None)
        if finished and load.whole:
            self._told(load.instance, self._clock() - load.began, max(0, load.before - load.least))

    async def _watch(self, load: Loading) -> None:
        key = (load.instance.workload, load.instance.spark)
        logs = join(launch.logs(load.container.id[:12], tail=TAIL))
        script = f"{logs} 2>&1\necho {MEMORY}\ngrep ^MemAvailable /proc/meminfo"
        while True:
            with suppress(LinkDown):
                text = (await self._host.run(script, timeout=10.0)).stdout
                if (match := AVAILABLE.search(text)) is not None:
                    load.least = min(load.least, int(match[1]) * 1024)
                lines = text.partition(MEMORY)[0].splitlines()
                seen, elapsed, past = progress(lines), self._clock() - load.began, self._past(key)
                self._words[key] = words(seen, elapsed, past)
                self._accounts[key] = account(seen, elapsed, past)
            await asyncio.sleep(EVERY)
