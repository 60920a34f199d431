"""`python -m tests.simulation.queue_trace`: the queue against first-come order, over five on-demand models on one Spark.

Memory for two of them at a time, starts of 20 to 90 s, answers of 2 to 20 s. In virtual time; prints a table.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from api.proxies.queue.rules import Rules
from tests.simulation.queue_play import FirstCome, Make, Outcome, Queued, Request, play
from tests.simulation.queue_world import STOP, Model

MODELS = {
    "qwen3": Model(load=45),
    "llama": Model(load=60),
    "gemma": Model(load=20),
    "gpt-oss": Model(load=90),
    "coder": Model(load=35),
}
LASTS = 3600.0  # seconds
PATIENT = Rules(longest=86_400.0, length=10_000, total=10_000)  # so that waits can be compared, nobody is refused
HASTY = replace(PATIENT, patience=0.0, most_patience=0.0, stay=0.0, linger=0.0)  # who asks has a right at once
SLACK = 5.0  # seconds: between a change and its being seen


def poisson(rng: random.Random, *, every: float = 25.0) -> list[Request]:
    """Whoever comes next, and for whatever; two of the models are asked for more than the others."""
    names, weights = list(MODELS), [4, 3, 1, 1, 1]
    return [_request(rng, at, rng.choices(names, weights)[0]) for at in _times(rng, every)]


def bursty(rng: random.Random) -> list[Request]:
    """Agents and batches: ten or so for one model within half a minute, then another."""
    found = []
    for at in _times(rng, 60.0):
        name = rng.choice(list(MODELS))
        found += [_request(rng, at + rng.uniform(0, 30), name) for _ in range(rng.randrange(4, 16))]
    return sorted(found, key=lambda request: request.at)


def alternating(rng: random.Random) -> list[Request]:
    """A B C A B C, every twelve seconds: the worst for whoever swaps as he is asked."""
    names = list(MODELS)[:3]
    return [_request(rng, turn * 12.0, names[turn % 3]) for turn in range(int(LASTS / 12))]


def one_busy(rng: random.Random) -> list[Request]:
    """One that somebody asks all the time, and the others now and then."""
    found = [_request(rng, at, "qwen3") for at in _times(rng, 4.0)]
    for name in MODELS:
        found += [_request(rng, at, name) for at in _times(rng, 240.0) if name != "qwen3"]
    return sorted(found, key=lambda request: request.at)


def _times(rng: random.Random, every: float) -> list[float]:
    found, at = [], 0.0
    while (at := at + rng.expovariate(1 / every)) < LASTS:
        found.append(at)
    return found


TRACES: dict[str, Callable[[random.Random], list[Request]]] = {
    "Poisson": poisson,
    "bursts": bursty,
    "A B C A B C": alternating,
    "one busy": one_busy,
}


def _request(rng: random.Random, at: float, name: str) -> Request:
    return Request(at=at, model=name, service=rng.uniform(2, 20), who=f"client-{rng.randrange(4)}")


def bound(requests: list[Request], rules: Rules, name: str) -> float:
    """How long a request for a model can wait at most where nothing limits its concurrency (docs/adr/0024)."""
    service = max(request.service for request in requests)
    swap = {each: service + STOP + model.load + SLACK for each, model in MODELS.items()}
    stay = {each: rules.stay_for(model.load) for each, model in MODELS.items()}
    others = [each for each in MODELS if each != name]
    before = max(MODELS[each].load + stay[each] for each in others)
    turns = sum(swap[each] + stay[each] for each in others)
    return rules.patience_for(MODELS[name].load) + before + turns + swap[name]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one trace, in one order. Waits in seconds; `of_bound`: the longest as a share of what it may be."""

    number: int
    starts: int
    mean: float
    p95: float
    longest: float
    of_bound: float


def figures(found: Outcome) -> Figures:
    waits, requests = found.waits, [each.request for each in found.told]
    return Figures(
        number=len(requests),
        starts=found.starts,
        mean=statistics.mean(waits),
        p95=waits[int(0.95 * len(waits))],
        longest=waits[-1],
        of_bound=max(each.waited / bound(requests, PATIENT, each.request.model) for each in found.told),
    )


ORDERS: dict[str, tuple[Make, Rules]] = {
    "first come": (FirstCome, PATIENT),
    "the queue": (Queued, PATIENT),
    "the queue, without patience": (Queued, HASTY),
}


def played(kind: str, order: str, seed: int = 1) -> Figures:
    """The same requests for every order."""
    make, rules = ORDERS[order]
    return figures(play(TRACES[kind](random.Random(seed)), MODELS, rules=rules, make=make))


def main(seed: int = 1) -> None:
    print("| requests | order | number | starts | mean wait, s | p95, s | longest, s | longest / bound |")
    print("|-|-|-|-|-|-|-|-|")
    for kind in TRACES:
        for order in ORDERS:
            got = played(kind, order, seed)
            waits = f"{got.mean:.0f} | {got.p95:.0f} | {got.longest:.0f} | {got.of_bound:.2f}"
            print(f"| {kind} | {order} | {got.number} | {got.starts} | {waits} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
