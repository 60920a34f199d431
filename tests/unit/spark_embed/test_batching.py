"""What is computed together: by tokens, the oldest first, little padding, nobody twice and nobody forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from spark_embed.batching import MOST_PADDING, SMALL, buckets, pack, packed


@dataclass(frozen=True)
class One:
    length: int
    number: int
    dropped: bool = False


LINES = st.lists(st.tuples(st.integers(1, 600), st.booleans()), max_size=40).map(
    lambda drawn: [One(length, number, dropped and number % 3 == 0) for number, (length, dropped) in enumerate(drawn)]
)


@given(LINES, st.integers(1, 8000), st.integers(1, 20))
def test_everybody_is_in_the_batch_waits_or_was_dropped(line: list[One], tokens: int, inputs: int) -> None:
    batch, rest, dropped = pack(line, tokens=tokens, inputs=inputs)
    live = [one for one in line if not one.dropped]
    assert sorted([*batch, *rest], key=lambda one: one.number) == live
    assert dropped == len(line) - len(live)
    assert bool(batch) == bool(live)


@given(LINES, st.integers(1, 8000), st.integers(1, 20))
def test_a_batch_keeps_its_bounds_and_has_the_oldest(line: list[One], tokens: int, inputs: int) -> None:
    batch, _, _ = pack(line, tokens=tokens, inputs=inputs)
    if not batch:
        return
    assert len(batch) <= inputs
    size = packed(batch)
    assert len(batch) == 1 or size.padded <= tokens
    assert size.padded <= max(SMALL, batch[-1].length) or size.padded - size.tokens <= MOST_PADDING * size.padded
    assert min(one.number for one in line if not one.dropped) in {one.number for one in batch}


@given(LINES, st.integers(1, 8000), st.integers(1, 20))
def test_a_batch_is_sorted_and_of_neighbours_in_length(line: list[One], tokens: int, inputs: int) -> None:
    batch, rest, _ = pack(line, tokens=tokens, inputs=inputs)
    lengths = [one.length for one in batch]
    assert lengths == sorted(lengths)
    assert not any(lengths[0] < one.length < lengths[-1] for one in rest)


@given(LINES, st.integers(1, 8000), st.integers(1, 20))
def test_all_are_computed_in_the_end(line: list[One], tokens: int, inputs: int) -> None:
    """Among them those that are larger than a batch may be."""
    waiting, done = list(line), list[One]()
    while waiting:
        batch, waiting, _ = pack(waiting, tokens=tokens, inputs=inputs)
        done += batch
    assert {one.number for one in done} == {one.number for one in line if not one.dropped}


def test_like_goes_with_like() -> None:
    short, long = [One(10, n) for n in range(1, 9)], [One(500, n) for n in range(9, 12)]
    batch, rest, _ = pack([*long, *short], tokens=16384, inputs=512)
    assert batch == short
    assert [one.number for one in pack(rest, tokens=16384, inputs=512)[0]] == [9, 10, 11]


def test_the_oldest_takes_the_nearest_and_of_equals_the_older() -> None:
    line = [One(100, 5), One(110, 0), One(120, 4), One(90, 6), One(130, 7)]
    assert [one.number for one in pack(line, tokens=110 * 2, inputs=9)[0]] == [5, 0]
    assert [one.number for one in pack(line, tokens=120 * 2, inputs=2)[0]] == [0, 4]


def test_lengths_that_are_tried_before_anybody_is_served() -> None:
    assert buckets(8192) == [64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert buckets(300) == [64, 128, 256, 300]
    assert buckets(20) == [20]
