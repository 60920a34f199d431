"""What is computed together. Pure.

A batch costs what its longest input costs, times the number of inputs: the rest is padding. So inputs of a like length
go together, and how many is decided by tokens, not by count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple, Protocol, TypeVar

LENGTH = attrgetter("length")
SMALL: Final = 1024  # tokens: a batch up to this size costs little, however much of it is padding
MOST_PADDING: Final = 0.25  # of a larger one


class Waiting(Protocol):
    """One input that waits. `number` rises in the order of arrival."""

    @property
    def length(self) -> int:
        """In tokens."""

    @property
    def number(self) -> int:
        """Its place in the order of arrival."""

    @property
    def dropped(self) -> bool:
        """Nobody waits for it any more."""


T = TypeVar("T", bound=Waiting)


class Packed(NamedTuple):
    """The tokens of a batch: those of its inputs, and with the padding."""

    tokens: int
    padded: int


def pack(waiting: Iterable[T], *, tokens: int, inputs: int) -> tuple[list[T], list[T], int]:
    """The next batch, sorted by length; those that still wait; and how many were dropped.

    The one that has waited longest is always in the batch, so nobody waits for ever for others of a like length. It
    takes the neighbours in length with it, for as long as they fit and not too much is padding, and of two the one that
    costs less. One that is larger than a whole batch goes alone.
    """
    every = list(waiting)
    live = sorted((each for each in every if not each.dropped), key=LENGTH)
    if not live:
        return [], [], len(every)
    oldest = min(range(len(live)), key=lambda at: live[at].number)
    low = high = oldest
    size = live[oldest].length
    while high - low + 1 < inputs:
        count = high - low + 2
        below = low > 0 and _fits(live[high].length * count, size + live[low - 1].length, tokens)
        above = high + 1 < len(live) and _fits(live[high + 1].length * count, size + live[high + 1].length, tokens)
        if not (below or above):
            break
        if above and (not below or _costs_less(live, low, high)):
            high += 1
            size += live[high].length
        else:
            low -= 1
            size += live[low].length
    return live[low : high + 1], live[:low] + live[high + 1 :], len(every) - len(live)


def _fits(padded: int, size: int, tokens: int) -> bool:
    """Whether a batch of so many tokens, with and without padding, may be computed at once."""
    return padded <= tokens and (padded <= SMALL or padded - size <= MOST_PADDING * padded)


def _costs_less(live: Sequence[T], low: int, high: int) -> bool:
    """Whether the next longer one brings less padding than the next shorter one; between equals the older goes."""
    longer = (live[high + 1].length - live[high].length) * (high - low + 1)
    shorter = live[high].length - live[low - 1].length
    if longer == shorter:
        return live[high + 1].number < live[low - 1].number
    return longer < shorter


def packed(batch: Sequence[Waiting]) -> Packed:
    """What a batch holds."""
    lengths = [each.length for each in batch]
    return Packed(sum(lengths), max(lengths, default=0) * len(lengths))


def buckets(longest: int) -> list[int]:
    """The lengths that are tried before anybody is served: 64, 128, ... and the longest itself."""
    found, length = list[int](), 64
    while length < longest:
        found.append(length)
        length *= 2
    return [*found, longest]
