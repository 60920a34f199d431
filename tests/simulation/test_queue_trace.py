"""Five on-demand models, memory for two: fewer starts and shorter waits than in first-come order, none beyond the bound."""

from __future__ import annotations

import pytest

from tests.simulation.queue_trace import TRACES, played


@pytest.mark.parametrize("kind", TRACES)
def test_the_queue_starts_less_and_keeps_people_waiting_less(kind: str) -> None:
    first, ours = played(kind, "first come"), played(kind, "the queue")
    assert ours.starts < first.starts
    assert ours.mean < first.mean
    assert ours.p95 < first.p95
    assert ours.of_bound <= 1
