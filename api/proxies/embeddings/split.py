"""Cutting a list of inputs into parts that a server takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def parts(sizes: Sequence[int], most: int | None, size: int | None) -> list[range]:
    """Runs of inputs, in order: none has more than `most`, nor more bytes than `size` unless it is one alone."""
    found, start, weight = list[range](), 0, 0
    for at, each in enumerate(sizes):
        full = at > start and ((most is not None and at - start >= most) or (size is not None and weight + each > size))
        if full:
            found.append(range(start, at))
            start, weight = at, 0
        weight += each
    if start < len(sizes):
        found.append(range(start, len(sizes)))
    return found


def halves(part: range) -> list[range]:
    """One part as two; a part of one input can't be."""
    middle = (part.start + part.stop) // 2
    return [each for each in (range(part.start, middle), range(middle, part.stop)) if each]
