"""Apps ask, and meanwhile models are moved, recreated, killed and evicted, Sparks cut off and sparkkeep restarted.

`python -m tests.datapath.mixed [--hosts practice|real] [--minutes 10] [--apps 24] [--seed N]` does it for so long, on
practice Sparks or on real hosts (root on Debian), and prints what was asked, what became of it, and what was done
meanwhile. sparkkeep is a process of its own, started as people start it. No answer may be wrong and no stream end
without a word. An app may be refused, or told that its stream broke, only if at some moment of its wait no instance
could have served it, or one that could went away; and it may find nobody, or be told to ask again, only while
sparkkeep itself is away. What was under way when that was told to end comes whole.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.bench.figures import Table, ms, p50, p99
from tests.datapath.able import Able
from tests.datapath.asking import RESTARTING, Apps, Asked, counted
from tests.datapath.grounds import CHAT, GIB, Ground, practice, real
from tests.datapath.serving import DRAIN, Away, Serving, kept
from tests.hosts import images
from tests.hosts.fleet import Fleet

MEMORY = {"pair": GIB, "single": GIB, "cold-1": 70 * GIB, "cold-2": 70 * GIB}  # KiB: of the cold ones one fits
ALWAYS = ("pair", "single")
MODELS = ("pair", "pair", "single", "single", "cold-1", "cold-2")  # of which apps take theirs in turn
REST = 20.0  # seconds between the last disturbance and the end, so that everybody gets an answer
LONG_CUT = 25.0  # seconds after which a Spark is known not to answer
SLACK = 1.0  # seconds by which the end of the drain may be missed


def desired(ground: Ground) -> dict[str, Any]:
    """A model on both Sparks, one on the first, and two on the second that start when they are asked for, in turns."""
    one, two = ground.sparks
    places: dict[str, dict[str, Any]] = {
        "pair": {"on": [one, two]},
        "single": {"on": one},
        "cold-1": {"on": two, "run": "on-demand"},
        "cold-2": {"on": two, "run": "on-demand"},
    }
    models = {
        name: {"recipe": _recipe(name, 18201 + number), **place} for number, (name, place) in enumerate(places.items())
    }
    settings = {"queue": {"shortestStay": "4s", "longestPatience": "15s"}}  # so that they take turns often
    return {"apiVersion": "sparkkeep/v1", "sparks": ground.desired(), "models": models, "settings": settings}


def _recipe(name: str, port: int) -> dict[str, Any]:
    return {
        "engine": "container",
        "image": CHAT,
        "port": port,
        "memory": f"{MEMORY[name] // GIB}GiB",
        "command": ["--port", str(port), "--served-model-name", name],
        "probe": {"kind": "chat", "interval": "1s", "timeout": "2s", "failures": 2},
    }


@dataclass
class Disturber:
    """What happens to the fleet, and to sparkkeep."""

    ground: Ground
    sparkkeep: Serving
    rng: random.Random
    seconds: float
    done: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """One thing after the other, each kind at least once; a restart, after which all begins anew, in every third round."""
        deeds: list[Callable[[], Awaitable[None]]] = []
        kinds = [self.move, self.recreate, self.kill, self.cut]
        until, rounds = time.monotonic() + self.seconds, 0
        while time.monotonic() < until or deeds:
            if not deeds:
                deeds = [*kinds, *([self.restart] if rounds % 3 == 0 else [])]
                self.rng.shuffle(deeds)
                rounds += 1
            deed = deeds.pop()
            await deed()
            self.done[deed.__name__] += 1
            await asyncio.sleep(self.rng.uniform(0.5, 3.0))

    async def move(self) -> None:
        """The single one goes to the other Spark."""
        here = self.done["move"] % 2 == 0
        await self._patch("single", {"on": self.ground.sparks[here]})

    async def recreate(self) -> None:
        """Another environment: a new container."""
        await self._patch(self.rng.choice(ALWAYS), {"env": {"ROUND": str(self.done.total())}})

    async def kill(self) -> None:
        """A container ends, as by `docker kill`."""
        spark = self.rng.choice(self.ground.sparks)
        if names := self.ground.running(spark):
            await self.ground.kill(spark, self.rng.choice(names))

    async def cut(self) -> None:
        """A Spark can't be reached for some seconds, now and then for so long that it is noticed."""
        spark = self.rng.choice(self.ground.sparks)
        noticed = self.done["cut"] % 4 == 3 and self.seconds > 4 * LONG_CUT
        await self.ground.cut(spark)
        await asyncio.sleep(LONG_CUT if noticed else self.rng.uniform(0.2, 4.0))
        await self.ground.heal(spark)

    async def restart(self) -> None:
        """sparkkeep is told to end, and started again."""
        await self.sparkkeep.restart()

    async def _patch(self, name: str, change: dict[str, Any]) -> None:
        async with httpx2.AsyncClient(base_url=self.sparkkeep.url, timeout=30) as http:
            (await http.patch(f"/api/desired/models/{name}", json=change)).raise_for_status()


@dataclass
class Story:
    """What was asked, what was done, and the answers that nothing excuses."""

    asked: list[Asked]
    done: Counter[str]
    faults: list[Asked]
    complaints: list[str]

    def table(self) -> Table:
        """For people."""
        times = [each.ended - each.began for each in self.asked]
        kinds = ", ".join(f"{kind} {number} times" for kind, number in sorted(self.done.items()))
        table = Table("Mixed load", ("", "requests"))
        table.add("all", f"{len(self.asked):,}")
        for what, number in counted(self.asked).most_common():
            table.add(what, f"{number:,}")
        table.add("without excuse", f"{len(self.faults):,}")
        table.notes.append(f"Disturbances: {kinds}.")
        table.notes.append(
            f"Half within {ms(p50(times))}, 99 % within {p99(times):.1f} s, the longest {max(times):.1f} s."
        )
        return table

    def whole(self) -> bool:
        """Nothing was wrong."""
        return not self.faults and not self.complaints


def excused(asked: Asked, able: Able, away: list[Away]) -> bool:
    """Whether it is right, or could not have been."""
    if asked.verdict == "right":
        return True
    for one in away:
        if asked.verdict == "gone" and one.told <= asked.began <= one.back:
            return True
        if RESTARTING in asked.reason and asked.began <= one.back and asked.ended >= one.told:
            drained = asked.ended >= one.told + DRAIN - SLACK
            if asked.verdict == "refused" or (asked.verdict == "told" and drained):
                return True
    return asked.verdict in {"refused", "told"} and able.excused(asked.model, asked.began, asked.ended)


async def story(
    ground: AbstractAsyncContextManager[Ground], folder: Path, *, seconds: float, apps: int, seed: int
) -> Story:
    """The whole story."""
    async with ground as where, kept(where, folder, desired(where)) as sparkkeep:
        await asyncio.to_thread(sparkkeep.until_healthy, *ALWAYS)
        load = Apps(sparkkeep.url, MODELS, where.right, random.Random(seed))
        disturber = Disturber(where, sparkkeep, random.Random(seed + 1), seconds)
        asking = asyncio.create_task(load.run(apps))
        try:
            await disturber.run()
            await asyncio.sleep(min(REST, seconds / 4))
        finally:
            load.resting.set()
            await asking
        disturber.done["evict"] = await asyncio.to_thread(_evictions, sparkkeep)
        faults = [each for each in load.asked if not excused(each, where.able, sparkkeep.away)]
        return Story(load.asked, disturber.done, faults, sparkkeep.complaints())


def _evictions(sparkkeep: Serving) -> int:
    found = [event for name in MEMORY for event in sparkkeep.ask(f"/api/events?since=0&workload={name}")["events"]]
    return sum(event["count"] for event in found if event["reason"] == "Evicted")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.datapath.mixed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", choices=["practice", "real"], default="practice")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--apps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    sys.stdout.write(f"{' '.join(['python -m tests.datapath.mixed', *sys.argv[1:]])}, seed {asked.seed}\n")
    amount = {"seconds": asked.minutes * 60, "apps": asked.apps, "seed": asked.seed}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.hosts == "practice":
            told = asyncio.run(story(practice(folder / "sparks", MEMORY), folder / "sparkkeep", **amount))
        else:
            with Fleet.up(2, folder / "hosts", name="mixed", network="10.97") as fleet:
                images.load_all(fleet)
                told = asyncio.run(story(real(fleet, MEMORY), folder / "sparkkeep", **amount))
    sys.stdout.write(told.table().markdown())
    for line in [*map(str, told.faults[:20]), *told.complaints[:20]]:
        sys.stdout.write(f"  ! {line}\n")
    return 0 if told.whole() else 1


if __name__ == "__main__":
    sys.exit(main())
