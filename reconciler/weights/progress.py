"""How far a fetch is, how fast it goes and how long it will take. Pure: bytes and moments in, figures out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 30.0  # seconds over which the rate is taken
MIN_SPAN: Final = 1.0  # seconds that must have passed before a rate is said


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` bytes lie on the disk, `rate` come in a second, `eta` seconds are left (None: unknown)."""

    done: int
    total: int
    files_done: int
    files: int
    source: str
    rate: float = 0.0
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """The last moments at which the bytes were counted, oldest first."""

    samples: tuple[tuple[float, int], ...] = ()

    def then(self, now: float, done: int) -> Pace:
        """With one more count. A count below the last (a bad file was thrown away) begins anew."""
        if self.samples and (done < self.samples[-1][1] or now < self.samples[-1][0]):
            return Pace(((now, done),))
        kept = [sample for sample in self.samples if now - sample[0] <= WINDOW]
        return Pace((*kept, (now, done)))

    @property
    def rate(self) -> float:
        """Bytes per second over the window; 0 while that can't be said."""
        if not self.samples:
            return 0.0
        (began, first), (now, last) = self.samples[0], self.samples[-1]
        return (last - first) / (now - began) if now - began >= MIN_SPAN else 0.0

    def progress(self, total: int, *, files_done: int, files: int, source: str) -> Progress:
        """The figures at the last count."""
        done = min(self.samples[-1][1], total) if self.samples else 0
        rate = self.rate
        eta = 0.0 if done >= total else (total - done) / rate if rate > 0 else None
        return Progress(done, total, files_done, files, source, rate, eta)


def bytes_done(whole: Iterable[int], parts: Iterable[tuple[int, int]]) -> int:
    """The bytes that count: sizes of whole files, and of each part (bytes, size of the file) no more than the file."""
    return sum(whole) + sum(min(have, size) for have, size in parts)
