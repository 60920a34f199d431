"""Random histories: 50 things happen to a fleet, one after the other, and then nothing more; all must be well again.

A history is its seed and nothing else. `python -m tests.simulation.histories --count 10000 [--first SEED]` tells so
many and prints the seed of each that breaks something; `--seed N` tells one, aloud.
"""

import argparse
import contextvars
import os
import random
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from api.collector import settle
from reconciler.demand import State
from reconciler.loop import Loop
from reconciler.model import OWNER
from state.journal import Override
from tests.scenarios.play import echo
from tests.simulation import faults
from tests.simulation.oracle import Violation, check, put_canaries
from tests.simulation.sim import Sim, play
from tests.simulation.stories import prepare

STEPS = 50
NAMES = 5
TOLD = 250  # histories between two words on how far it is
PROBE = {"kind": "http", "path": "/health", "interval": "30s", "timeout": "2s", "failures": 2}
SETTINGS = {"scanInterval": "60s", "evictAfter": "5s"}
MODELS = ("d0", "d1", "d2")
MEMORY = "50GiB"  # of each: a Spark holds two
IDLE = 40.0  # seconds


def services(sim: Sim, rng: random.Random) -> dict[str, Any]:
    """Some workloads on some Sparks. Each name has its own port, so that no two can clash.

    What the small ones need may change without another spec, so even what they needed before leaves room for two models.
    """
    made = {}
    for number in range(NAMES):
        if rng.random() < 0.3:
            continue
        more: dict[str, Any] = {}
        if rng.random() < 0.3:
            more["restart"] = rng.choice(["no", "always", "unless-stopped", "on-failure"])
        if rng.random() < 0.2:
            more["env"] = {"A": str(rng.randrange(3))}
        if rng.random() < 0.1:
            more["suspend"] = True
        if rng.random() < 0.3:
            more["memory"] = rng.choice(["64MiB", "1GiB", "2GiB"])
        if rng.random() < 0.1:
            more |= {"run": "on-demand", "idle": f"{IDLE:g}s"}
        on = rng.choice([*sorted(sim.sparks), "any"])
        made[f"w{number}"] = echo(on, 9000 + number, image=rng.choice(faults.IMAGES), probe=PROBE, **more)
    for number, name in enumerate(MODELS):
        if rng.random() < 0.6:
            more = {"memory": MEMORY, "run": "on-demand"}  # the more important ones leave by themselves
            more |= {"idle": f"{IDLE:g}s", "priority": rng.randrange(2)} if rng.random() < 0.5 else {}
            more |= {"run": "always"} if name == "d0" and rng.random() < 0.2 else {}
            on = rng.choice([*sorted(sim.sparks), "any"])
            made[name] = echo(on, 9010 + number, image=rng.choice(faults.IMAGES), probe=PROBE, restart="no", **more)
    return made


class Teller:
    """One history."""

    def __init__(self, sim: Sim, rng: random.Random) -> None:
        self.sim = sim
        self.rng = rng
        self.happened = list[str]()
        self.picture = ""

    def bit(self) -> Counter[str]:
        """What really met a command, a connection or a container, and how often."""
        wires = self.sim.wires.values()
        return sum(
            (Counter({f"  {n}": c for n, c in (w.counts + w.spark.faults.counts).items()}) for w in wires), Counter()
        )

    async def tell(self) -> None:
        sim, rng = self.sim, self.rng
        prepare(sim)
        sim.watch_closely()
        canaries = await put_canaries(sim)
        sim.declare(services(sim, rng), settings=SETTINGS)
        sim.keep()
        for _ in range(STEPS):
            await self._happen()
            await sim.sleep(rng.choice((0.0, 0.01, 0.1, 1.0, 10.0, 60.0)) * rng.random())
        try:
            await self._end()
            await check(sim, canaries, None, boots=True, crashes=0)
            self._as_declared()
        except BaseException:
            self.picture = sim.picture()
            raise

    async def _happen(self) -> None:
        what = self.rng.choice(("fault", "fault", "fault", "edit", "verb", "wait", "demand", "demand"))
        if what == "fault":
            what = self.rng.choice(sorted(faults.ALL))
            self.happened.append(what)
            await faults.ALL[what](self.sim, self.rng)
        elif what == "edit":
            self.happened.append(what)
            self.sim.declare(services(self.sim, self.rng), settings=SETTINGS)
        elif what == "verb":
            self._verb()
        elif what == "demand":
            self._demand()

    def _verb(self) -> None:
        """Whoever asks while nobody listens gets no answer, and asks no more."""
        controller, rng = self.sim.controller, self.rng
        verb, on = rng.choice(list(Override)[:3]), rng.random() < 0.5
        spark, name = rng.choice(sorted(self.sim.sparks)), f"w{rng.randrange(NAMES)}"
        if controller is None or not controller.alive or controller.keeper is None:
            return
        self.happened.append(f"{verb} {on}")
        if rng.random() < 0.3:
            controller.keeper.restart(name)
        else:
            controller.keeper.override(verb, name if verb is Override.SUSPEND else spark, on=on, by="somebody")

    def _demand(self) -> None:
        """What apps do, by the rules of whoever routes: requests go only to what answers and is not being stopped."""
        keeper = self.sim.controller.keeper if self.sim.controller is not None and self.sim.controller.alive else None
        if keeper is None:
            return
        name, what = self.rng.choice((*MODELS, "w0")), self.rng.choice(("ask", "ask", "withdraw", "serve", "yield"))
        match what:
            case "serve" if keeper.outlook(name).state is State.READY:
                self._serve(keeper, name)
            case "yield":
                keeper.demand.yields(name, self.rng.random() < 0.5)
            case "ask" | "withdraw":
                getattr(keeper.demand, what)(name)
            case _:
                return
        self.happened.append(what)

    def _serve(self, keeper: Loop, name: str) -> None:
        keeper.demand.begin(name)
        keeper.demand.withdraw(name)
        seconds = self.rng.choice((0.1, 5.0, 90.0))
        self.sim.loop.call_later(seconds, keeper.demand.end, name, context=contextvars.Context())

    async def _end(self) -> None:
        """Everything is mended, a whole declaration is there, and people approve what guards hold back."""
        sim = self.sim
        await sim.sleep(95)  # what undoes itself has done so
        for name, spark in sim.sparks.items():
            for image in faults.IMAGES:
                spark.engine.images.add(image)
            for container, c in sim.containers(name).items():
                if container != "canary" and OWNER not in c.spec.labels:
                    await sim.docker(name, "rm", "-f", container)
        faults.heal(sim)
        self.final = services(sim, self.rng)
        sim.declare(self.final, settings=SETTINGS)
        await sim.alive()
        assert sim.controller is not None
        assert sim.controller.keeper is not None
        for spark in sim.sparks:
            for verb in (Override.CORDON, Override.DRAIN):
                sim.controller.keeper.override(verb, spark, on=False, by="somebody")
        self.asked = self._fitting()
        demand = sim.controller.keeper.demand
        for name in (*self.final, *MODELS, "w0"):
            demand.yields(name, False)
            demand.withdraw(name)
        for name in self.asked:
            demand.ask(name)
        await sim.sleep(2 * IDLE)  # by then what nobody asks for is unused
        await sim.calm(3600.0, approving=True)

    def _fitting(self) -> list[str]:
        """Some of those on demand that fit beside what runs always, wherever that goes."""
        full = dict.fromkeys(self.sim.sparks, 0)
        for name in [name for name in MODELS if self.final.get(name, {}).get("run") == "always"]:
            for spark in full:
                full[spark] += self.final[name]["on"] in {spark, "any"}
        found = list[str]()
        for name, declared in self.final.items():
            if declared.get("run") != "on-demand" or declared["on"] not in full:
                continue
            if name in MODELS:
                full[declared["on"]] += 1
            if full[declared["on"]] <= 2:
                found.append(name)
        return found

    def _as_declared(self) -> None:
        """By the rules that people know, not by the planner's: one of each, where it should be, and nothing else."""
        sim = self.sim
        assert sim.controller is not None
        assert sim.controller.keeper is not None
        verbs = sim.controller.keeper.overrides()
        found = {(name, c.spec.labels["sparkkeep.workload"]): c for name in sim.sparks for c in sim.ours(name).values()}
        for name, declared in self.final.items():
            places = [spark for spark, workload in found if workload == name]
            running = [spark for spark in places if found[spark, name].state == "running"]
            if declared.get("suspend") or name in verbs.suspended:
                continue
            if declared.get("run") == "on-demand" and name not in self.asked:
                if running and "idle" in declared:
                    raise Violation(f"nobody asks for {name}, and it runs on {running}")
                continue
            if len(running) != 1 or (declared["on"] != "any" and running != [declared["on"]]):
                raise Violation(f"{name} should run on {declared['on']} and runs on {running}")
            if found[running[0], name].spec.image != declared["recipe"]["image"]:
                raise Violation(f"{name} runs another image than declared")
        extra = {workload for _, workload in found} - self.final.keys() - verbs.suspended
        if extra:
            raise Violation(f"nobody declared {sorted(extra)}")


def tell(seed: int) -> tuple[str, Counter[str]]:
    """What this history broke, if anything, and what happened in it."""
    rng = random.Random(seed)
    tellers = list[Teller]()

    async def told(sim: Sim) -> None:
        tellers.append(Teller(sim, rng))
        await tellers[0].tell()

    problem = ""
    try:
        play(told, seed=seed, sparks=rng.randrange(1, 4))
    except Exception as error:  # noqa: BLE001  # a bug in the controller is a violation like any other
        where = traceback.extract_tb(error.__traceback__)[-1]
        problem = f"seed {seed}: {type(error).__name__} ({where.name}): {error}{tellers[0].picture}"
    return problem, Counter(tellers[0].happened) + tellers[0].bit()


def main() -> int:
    """The count of what happened, the seeds that broke something, and 1 if any did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    asked = parser.parse_args()
    if asked.seed is not None:
        problem, happened = tell(asked.seed)
        print(dict(happened), problem or "all is well", sep="\n")
        return bool(problem)
    began, happened, broken = time.monotonic(), Counter[str](), 0
    # Histories leave rings of dead tasks behind: what lives for ever need not be looked through for them each time.
    with ProcessPoolExecutor(os.cpu_count(), initializer=settle) as pool:
        seeds_to_tell = range(asked.first, asked.first + asked.count)
        for told, (problem, counts) in enumerate(pool.map(tell, seeds_to_tell, chunksize=10), 1):
            happened += counts
            if told % TOLD == 0:
                print(
                    f"{told} told, {broken} violations, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True
                )
            if problem:
                broken += 1
                print(problem, flush=True)
    for name, count in sorted(happened.items()):
        print(f"{name:28} {count:8}")
    seeds = f"{asked.first} to {asked.first + asked.count - 1}"
    print(
        f"{asked.count} histories of {STEPS} steps, seeds {seeds}: {broken} violations, {time.monotonic() - began:.0f} s"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
