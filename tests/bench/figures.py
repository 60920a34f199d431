"""Numbers and tables: medians, 99th percentiles, and the Markdown that is printed and kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


def percentile(samples: Sequence[float], part: float) -> float:
    """The smallest sample that at least `part` of them do not exceed (nearest rank: never made up)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def p50(samples: Sequence[float]) -> float:
    return percentile(samples, 0.5)


def p99(samples: Sequence[float]) -> float:
    return percentile(samples, 0.99)


def ms(seconds: float) -> str:
    """Milliseconds with three significant figures."""
    value = seconds * 1000
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}"


def against(goal: float, value: float, text: str) -> str:
    """The goal, and whether the value holds it."""
    return f"{text}: {'held' if value <= goal else 'MISSED'}"


@dataclass
class Table:
    """One item's figures. `notes` say how they were taken."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        assert len(cells) == len(self.columns), cells
        self.rows.append(cells)

    def markdown(self) -> str:
        widths = [max(len(row[at]) for row in (self.columns, *self.rows)) for at in range(len(self.columns))]

        def line(cells: Sequence[str]) -> str:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            return f"| {' | '.join(padded)} |"

        rule = line(["-" * width for width in widths])
        body = "\n".join([line(self.columns), rule, *map(line, self.rows)])
        notes = "".join(f"\n\n{note}" for note in self.notes)
        return f"## {self.title}\n\n{body}{notes}\n"
