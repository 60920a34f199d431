"""An hour at load: what sparkkeep holds does not grow.

`python -m tests.datapath.soak [--minutes 60] [--apps 16] [--seed N]`: sparkkeep as a process of its own, as people start
it, practice Sparks and apps in this one. Apps ask without rest, streams and whole answers, and others leave in the middle
of theirs: while they wait, while a stream flows. Memory, descriptors, sockets and threads are read from /proc a hundred
times. The memory of the last third may not be more than a twentieth above that of the second, and once nobody asks there
may be no socket more than before.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.bench.figures import Table, p50
from tests.datapath.asking import PATIENCE, Apps, Asked, counted
from tests.datapath.grounds import Ground, practice
from tests.datapath.mixed import ALWAYS, MEMORY, MODELS, desired, excused
from tests.datapath.serving import Serving, kept

SAMPLES = 100
GROWTH = 0.05  # of the memory, from the second third to the last
CALM = 90.0  # seconds after which no connection is kept for another request


@dataclass(frozen=True)
class Sample:
    """What the process holds. `memory` in MiB."""

    memory: float
    descriptors: int
    sockets: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        status = Path(f"/proc/{pid}/status").read_text()
        open_ones = []
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                open_ones.append(str(link.readlink()))
        return cls(
            memory=_number(status, "VmRSS") / 1024,
            descriptors=len(open_ones),
            sockets=sum(each.startswith("socket:") for each in open_ones),
            threads=_number(status, "Threads"),
        )


def _number(status: str, name: str) -> int:
    return int(status.partition(f"\n{name}:")[2].split()[0])


@dataclass
class Leavers:
    """Apps that do not hear their answers to the end."""

    url: str
    rng: random.Random
    left: int = 0

    async def run(self, resting: asyncio.Event) -> None:
        """One after the other."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE) as http:
            while not resting.is_set():
                patience = self.rng.uniform(0.0, 0.3)
                with suppress(TimeoutError, httpx2.TransportError):
                    async with asyncio.timeout(patience):
                        await self._ask(http)
                self.left += 1

    async def _ask(self, http: httpx2.AsyncClient) -> None:
        words = " ".join(f"word-{number}" for number in range(24))
        said = {"messages": [{"role": "user", "content": words}], "stream": self.rng.random() < 0.8}
        body = {"model": self.rng.choice(MODELS), **said}
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for _ in answer.aiter_bytes():
                pass


@dataclass
class Soak:
    """What was seen. `before`: without load; `samples`: under it; `after`: once it was over."""

    asked: list[Asked]
    left: int
    before: Sample
    samples: list[Sample]
    after: Sample
    faults: list[Asked]
    complaints: list[str]

    def growth(self) -> float:
        """Of the memory, from the median of the second third to that of the last."""
        third = len(self.samples) // 3
        second, last = self.samples[third : 2 * third], self.samples[2 * third :]
        return p50([each.memory for each in last]) / p50([each.memory for each in second]) - 1

    def leaked(self) -> int:
        """Sockets that nobody uses any more."""
        return self.after.sockets - self.before.sockets

    def problems(self) -> list[str]:
        """What must not be."""
        found = [f"{len(self.faults)} answers without excuse, such as {self.faults[0]}"] if self.faults else []
        if self.growth() > GROWTH:
            found.append(f"memory grew by {self.growth():.1%} from the second third to the last")
        if self.leaked() > 0:
            found.append(f"{self.leaked()} sockets are left over")
        return found + self.complaints

    def table(self) -> Table:
        """For people."""
        table = Table("Soak", ("", "before", *(f"third {number}" for number in (1, 2, 3)), "after"))
        third = len(self.samples) // 3
        parts = [self.samples[:third], self.samples[third : 2 * third], self.samples[2 * third :]]
        columns = [[self.before], *parts, [self.after]]
        table.add("memory, MiB", *(f"{p50([s.memory for s in part]):.1f}" for part in columns))
        table.add("descriptors", *(str(max(s.descriptors for s in part)) for part in columns))
        table.add("sockets", *(str(max(s.sockets for s in part)) for part in columns))
        table.add("threads", *(str(max(s.threads for s in part)) for part in columns))
        verdicts = ", ".join(f"{number:,} {what}" for what, number in counted(self.asked).most_common())
        table.notes.append(f"{len(self.asked):,} requests ({verdicts}), {self.left:,} left before the end.")
        table.notes.append(
            f"Memory is the median of each third ({self.growth():+.1%} from the second to the last), the others the "
            "most that there were."
        )
        return table


async def soak(folder: Path, *, seconds: float, apps: int, seed: int) -> Soak:
    """The whole of it."""
    async with (
        practice(folder / "sparks", MEMORY) as ground,
        kept(ground, folder / "sparkkeep", desired(ground)) as one,
    ):
        return await _loaded(ground, one, seconds, apps, random.Random(seed))


async def _loaded(ground: Ground, one: Serving, seconds: float, apps: int, rng: random.Random) -> Soak:
    await asyncio.to_thread(one.until_healthy, *ALWAYS)
    before = Sample.of(one.pid)
    load = Apps(one.url, MODELS, ground.right, rng)
    leavers = [Leavers(one.url, random.Random(rng.random())) for _ in range(max(1, apps // 4))]
    asking = [asyncio.create_task(load.run(apps)), *(asyncio.create_task(each.run(load.resting)) for each in leavers)]
    samples = []
    try:
        for _ in range(SAMPLES):
            await asyncio.sleep(seconds / SAMPLES)
            samples.append(Sample.of(one.pid))
    finally:
        load.resting.set()
        await asyncio.gather(*asking)
    after = await _calm(one, before)
    faults = [each for each in load.asked if not excused(each, ground.able, one.away)]
    return Soak(load.asked, sum(each.left for each in leavers), before, samples, after, faults, one.complaints())


async def _calm(one: Serving, before: Sample) -> Sample:
    """As soon as it has come down to what it was, or after a while."""
    until = time.monotonic() + CALM
    while (after := Sample.of(one.pid)).sockets > before.sockets and time.monotonic() < until:
        await asyncio.sleep(0.5)
    return after


def shown(found: Soak, problems: Sequence[str]) -> str:
    return "".join([found.table().markdown(), *(f"  ! {problem}\n" for problem in problems)])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.datapath.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--apps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    sys.stdout.write(f"{' '.join(['python -m tests.datapath.soak', *sys.argv[1:]])}, seed {asked.seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(soak(Path(folder), seconds=asked.minutes * 60, apps=asked.apps, seed=asked.seed))
    problems = found.problems()
    sys.stdout.write(shown(found, problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
