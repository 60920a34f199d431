"""Every story with a crash before every step of its controller, and the short ones with two.

`python -m tests.simulation.crashes [--every N] [--pairs] [STORY...]` prints a table of what was tried and each
violation with the steps that show it again.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from api.collector import settle
from tests.simulation.forks import Fatal, crashed_at
from tests.simulation.sim import Sim
from tests.simulation.stories import ALL, SHORTEST, alone, run

PIECE = 100  # points that one process tries before it takes others


@dataclass
class Tried:
    """What came of one story."""

    story: str
    points: int = 0
    crashes: int = 0
    violations: list[str] = field(default_factory=list)


def tried(name: str, points: Sequence[Fatal]) -> Tried:
    """Tell the story with each of these crashes; those with the same beginning from one telling of it."""
    reference, done = alone(ALL[name]), Tried(name)
    for before, group in groupby(points, lambda fatal: fatal[:-1]):
        steps = [fatal[-1] for fatal in group]
        found = crashed_at(name, before, steps, reference)
        done.points += len(steps)
        done.crashes += sum(verdict.crashes for verdict in found.values())
        done.violations += [verdict.problem for verdict in found.values() if verdict.problem]
        done.violations += [
            f"{name} {(*before, step)}: it never came to that" for step in steps if (*before, step) not in found
        ]
    return done


def singles(name: str, every: int) -> list[Fatal]:
    """Before each step, or each `every`-th."""
    return [(step,) for step in range(1, alone(ALL[name]).steps + 1, every)]


def distinct(name: str, before: Fatal = (), *, traces: Callable[[Sim], object] = Sim.traces) -> list[int]:
    """The steps of the last life at which a crash leaves something else behind than one step earlier."""
    marks = list[tuple[int, object]]()

    def mark(sim: Sim) -> None:
        life = sim.all[-1].life
        if len(sim.all) == len(before) + 1:
            marks.append((life.steps + 1, traces(sim)))

    run(ALL[name], None, before, each_step=mark)
    return [step for (step, now), (_, earlier) in zip(marks[1:], marks, strict=False) if now != earlier]


def pairs(name: str) -> list[Fatal]:
    """Twice: at each moment of the first life at which anything was sent, done, answered or written, and at each of the
    second's at which a command was sent or done, or something written. Between two of these a crash is the same crash.
    """
    return [(first, second) for first in distinct(name) for second in distinct(name, (first,), traces=Sim.deeds)]


def explore(work: Iterable[tuple[str, list[Fatal]]], workers: int) -> Iterator[Tried]:
    """All of it, side by side, in pieces. Each tells its story once to where its points are, and forks there."""
    pieces = [(name, points[i : i + PIECE]) for name, points in work for i in range(0, len(points), PIECE)]
    with ProcessPoolExecutor(workers, initializer=settle) as pool:
        yield from pool.map(tried, *zip(*pieces, strict=True))


def main() -> int:
    """The table, and 1 if anything was broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("stories", nargs="*", default=[])
    asked = parser.parse_args()
    began = time.monotonic()
    names = asked.stories or list(ALL)
    if asked.pairs:
        names = asked.stories or list(SHORTEST)
        work = [(name, pairs(name)[:: asked.every]) for name in names]
    else:
        work = [(name, singles(name, asked.every)) for name in names]
    found = {name: Tried(name) for name in names}
    for done in explore(work, os.cpu_count() or 1):
        total = found[done.story]
        total.points += done.points
        total.crashes += done.crashes
        for problem in done.violations:
            print(problem, flush=True)
        total.violations += done.violations
    print(f"{'story':32} {'points':>7} {'crashes':>8} {'violations':>11}")
    for total in found.values():
        print(f"{total.story:32} {total.points:7} {total.crashes:8} {len(total.violations):11}")
    points, broken = (sum(f.points for f in found.values()), sum(len(f.violations) for f in found.values()))
    print(f"{'all':32} {points:7} {sum(f.crashes for f in found.values()):8} {broken:11}")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
