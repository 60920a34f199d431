"""Memory that was freed is awaited for a while, and less of it the more has come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.returning import LONGEST, Returning


def test_what_comes_back_is_awaited_no_longer() -> None:
    memory = Returning()
    memory.stopped(50, available=20, now=0.0)
    assert [memory.left(available, 1.0) for available in (20, 45, 70, 90)] == [50, 25, 0, 0]
    assert memory.left(20, LONGEST) == 0


def test_what_is_taken_meanwhile_makes_it_no_more() -> None:
    memory = Returning()
    memory.stopped(50, available=20, now=0.0)
    assert memory.left(5, 1.0) == 50


def test_two_stops_add_up_from_the_first_and_a_later_one_begins_anew() -> None:
    memory = Returning()
    memory.stopped(50, available=20, now=0.0)
    memory.stopped(30, available=30, now=5.0)
    assert memory.left(30, 6.0) == 70
    assert memory.left(100, 6.0) == 0
    memory.stopped(10, available=100, now=7.0)
    assert memory.left(100, 8.0) == 10
    assert memory.left(100, 7.0 + LONGEST) == 0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200), st.floats(0, 20)), max_size=8))
def test_never_more_than_was_stopped_and_never_less_than_nothing(stops: list[tuple[int, int, float]]) -> None:
    memory, now = Returning(), 0.0
    for size, available, pause in stops:
        memory.stopped(size, available, now)
        now += pause
        assert 0 <= memory.left(available, now) <= sum(size for size, _, _ in stops)
