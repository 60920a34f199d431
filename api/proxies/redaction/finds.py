"""What finds personal data, and what it says: the seam between detection and all that masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Find:
    """One piece of personal data: [start, end) in code points of its text."""

    start: int
    end: int
    type: str
    """PERSON, EMAIL, PHONE, CARD, …: upper case and underscores, no digits."""
    score: float
    """From 0 to 1."""


class Detector(Protocol):
    """Whatever finds."""

    async def find(self, texts: Sequence[str]) -> list[list[Find]]:
        """For each text its finds, sorted, never overlapping. Raises DetectorBusy (queue full), DetectorDown."""


class DetectorBusy(Exception):
    """More waits than may. `retry_after`: seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"personal data is looked for in as many texts as may wait; try again in {retry_after:g} s")
        self.retry_after = retry_after


class DetectorDown(Exception):
    """Nothing can be said of this text: it must not be taken for clean."""


def joined(finds: Sequence[Find], length: int) -> list[Find]:
    """In order and inside a text of this length; those that overlap are one, of the first's type."""
    found: list[Find] = []
    for find in sorted(finds, key=lambda find: (find.start, -find.end)):
        start, end = max(0, find.start), min(length, find.end)
        if start >= end:
            continue
        if found and start < found[-1].end:
            last = found[-1]
            found[-1] = Find(last.start, max(last.end, end), last.type, max(last.score, find.score))
        else:
            found.append(Find(start, end, find.type, find.score))
    return found
