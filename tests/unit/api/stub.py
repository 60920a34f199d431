"""A Spark that lives in memory, behind the loop's seam: enough Docker for a workload to come, go and say something."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from reconciler.hosts import Answer
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Facts, ProbeSpec, Scan
from reconciler.shell import split
from reconciler.ssh import Outcome

GIB = 2**30
NUMBERS = itertools.count(1)


class MemorySpark:
    """`down` makes it unreachable; `ran` is every command it was given."""

    def __init__(self, *images: str) -> None:
        self.images = frozenset(images)
        self.containers: dict[str, Container] = {}
        self.ran: list[str] = []
        self.down = ""
        self.reason = "ConnectTimeout"
        self.slow = 0.0
        self.inspected: dict[str, str] = {}  # id -> what `docker inspect` prints
        self.log = ["one", "two", "three"]
        self._changed: asyncio.Event = asyncio.Event()

    async def connect(self) -> None:
        if self.down:
            raise LinkDown(self.reason, self.down)

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        await self.connect()
        now = asyncio.get_running_loop().time()
        facts = Facts(
            boot_id="b", memory_total=121 * GIB, memory_available=100 * GIB, listeners=frozenset(), disk_free=GIB
        )
        return Scan(
            began=now,
            ended=now,
            taken_at=time.time(),
            containers=tuple(self.containers.values()),
            images=dict.fromkeys(self.images, frozenset[str]()),
            facts=facts,
        )

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        await self.connect()
        self.ran.append(script)
        await asyncio.sleep(self.slow)
        argv = split(script)
        if argv[:2] == ("docker", "inspect"):
            known = self.inspected.get(argv[-1])
            return Outcome(0, known, "") if known is not None else Outcome(1, "[]", "Error: No such object")
        if argv[:2] == ("docker", "run"):
            self._create(argv)
        elif argv[1:2] and argv[1] in {"stop", "restart", "start"}:
            self._set(argv[-1], state="exited" if argv[1] == "stop" else "running")
        elif argv[1:2] == ("rm",):
            del self.containers[self._named(argv[-1])]
        self._changed.set()
        return Outcome(0, "", "")

    def _create(self, argv: tuple[str, ...]) -> None:
        labels = dict(argv[i + 1].split("=", 1) for i, word in enumerate(argv) if word == "--label")
        name = argv[argv.index("--name") + 1]
        image = next(image for image in self.images if image in argv)
        self.containers[name] = Container(
            id=f"{next(NUMBERS):064x}",
            name=name,
            image=image,
            state="running",
            labels=labels,
            started_at=time.time(),
            restart_policy=argv[argv.index("--restart") + 1],
        )

    def _named(self, reference: str) -> str:
        return next(name for name, c in self.containers.items() if name == reference or c.id.startswith(reference))

    def _set(self, reference: str, *, state: str) -> None:
        name = self._named(reference)
        self.containers[name] = replace(self.containers[name], state=state, started_at=time.time())

    async def stream(self, script: str) -> AsyncIterator[str]:
        await self.connect()
        for line in self.log:
            yield line
        if "--follow" in split(script):
            await asyncio.Event().wait()

    async def watch(self, wake: Callable[[str], None]) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            wake("start")

    async def ask(self, probe: ProbeSpec) -> Answer:
        return Answer(ready=True, message="it answers")

    async def close(self) -> None:
        pass
