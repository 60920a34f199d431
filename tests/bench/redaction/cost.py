"""How long finding takes, in this process and on one core."""

from __future__ import annotations

import time
from itertools import cycle
from pathlib import Path

from tests.bench.figures import Table, ms, p50, p99
from tests.bench.redaction.finders import OURS, PATTERNS, VANILLA, Look

ROOT = Path(__file__).parents[3]
SENTENCES = (
    "Please send the invoice to Ada Lovelace, 12 High Street, Springfield, or call her at (212) 555-0187. ",
    "The second delivery came late, and two of the boxes were damaged when we opened them in the morning. ",
    "Her colleague Krisztián Szöllösy (k.szollosy@lovelace-works.org) will be in Berlin on 12 March 2026. ",
    "We would like to know whether the part can be had again, and how long that would take. ",
)


def text(size: int) -> str:
    said: list[str] = []
    for sentence in cycle(SENTENCES):
        if sum(map(len, said)) >= size:
            return "".join(said)[:size]
        said.append(sentence + ("\n" if len(said) % 5 == 4 else ""))
    raise AssertionError


def table(found: dict[str, Look], rounds: int) -> Table:
    from api.proxies.redaction.detect.split import pieces

    made = Table("Redaction: what finding costs", ("text", "who", "p50", "p99", "runs"))
    for size in (1_000, 10_000, 100_000):
        whole = text(size)
        cut = [whole[piece.start : piece.end] for piece in pieces(whole)]
        runs = max(3, rounds * 1_000 // size)
        for name in (VANILLA, OURS, PATTERNS):
            took = []
            for _ in range(runs):
                start = time.perf_counter()
                for part in [whole] if name == VANILLA else cut:
                    found[name](part)
                took.append(time.perf_counter() - start)
            made.add(f"{size // 1000} KB", name, ms(p50(took)), ms(p99(took)), str(runs))
    made.notes.append(
        "Letters with a name, an address, a number and a date in every second sentence; one process. Ours is cut in pieces as "
        "the pool does it. With few runs p99 is the slowest of them."
    )
    return made
