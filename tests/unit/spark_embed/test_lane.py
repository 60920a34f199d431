"""The queue and its three threads, with a model that needs no torch."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import pytest

from spark_embed.lane import BROKEN_AFTER, Busy, Lane, Row, WrongInput
from spark_embed.metrics import Counts, Metrics


class Letters:
    """Its tokens are letters; what is answered is the text again. Computing waits for `gate`."""

    name, longest = "letters", 50

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[int]] = []
        self.fails = 0
        self.computing = threading.Event()

    def tokenise(self, inputs: Sequence[Any], limit: int | None) -> list[Row | str]:
        if "poison" in inputs:
            raise ValueError("poison")
        cut = [text if limit is None else text[: self.longest if limit < 0 else limit] for text in inputs]
        return [
            f"it has {len(text)} tokens" if len(text) > self.longest else Row(len(text), {"ids": [*map(ord, text)]})
            for text in cut
        ]

    def compute(self, rows: Sequence[Row]) -> Any:
        self.computing.set()
        self.gate.wait(20)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the device is lost")
        self.batches.append([row.length for row in rows])
        return ["".join(map(chr, row.features["ids"])) for row in rows]

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[Any]:
        return [text[:length] for text, length in zip(computed, wanted, strict=True)]


@contextmanager
def running(model: Letters, *, most: int = 100, tokens: int = 200) -> Iterator[tuple[Lane, Metrics]]:
    metrics = Metrics()
    lane = Lane(model, Counts(metrics, "embed"), tokens=tokens, inputs=16, most=most)
    try:
        yield lane, metrics
    finally:
        model.gate.set()
        lane.close()
        assert not [thread for thread in threading.enumerate() if thread in lane._threads]


def counted(metrics: Metrics, name: str) -> float:
    line = next(
        line for line in metrics.page({}).decode().splitlines() if line.startswith(f"spark_embed_{name}_total{{")
    )
    return float(line.split()[-1])


def held(model: Letters, lane: Lane) -> Any:
    """A request that is being computed, so that whatever comes now waits."""
    model.gate.clear()
    model.computing.clear()
    first = lane.submit(["first"])
    assert model.computing.wait(10)
    return first


def until(true: Any) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_each_gets_its_own_back_in_its_own_order() -> None:
    model = Letters()
    with running(model, most=1000) as (lane, _):
        asked = [[f"{n}" * (1 + (n * at) % 17) for at in range(1, 9)] for n in range(10, 40)]
        tickets = [lane.submit(texts, dimensions=3 if n % 2 else None) for n, texts in enumerate(asked)]
        for n, (texts, ticket) in enumerate(zip(asked, tickets, strict=True)):
            results, tokens = ticket.done.result(20)
            assert results == [text[:3] if n % 2 else text for text in texts]
            assert tokens == sum(map(len, texts))
        until(lambda: lane.depth == 0)


def test_what_comes_while_the_device_is_busy_is_computed_together() -> None:
    model = Letters()
    with running(model) as (lane, metrics):
        first = held(model, lane)
        others = [lane.submit(["x" * length]) for length in (7, 3, 5)]
        until(lambda: len(lane._waiting) == 3)
        model.gate.set()
        for ticket in (first, *others):
            ticket.done.result(20)
        assert model.batches == [[5], [3, 5, 7]]
        assert (counted(metrics, "batches"), counted(metrics, "inputs")) == (2, 4)
        assert (counted(metrics, "tokens"), counted(metrics, "padding_tokens")) == (20, 6)


def test_a_full_queue_says_so_and_takes_what_fits_again_later() -> None:
    model = Letters()
    with running(model, most=5) as (lane, metrics):
        first = held(model, lane)
        second = lane.submit(["b"] * 4)
        with pytest.raises(Busy) as told:
            lane.submit(["c"])
        assert 1 <= told.value.retry_after <= 60
        assert counted(metrics, "refused") == 1
        model.gate.set()
        first.done.result(20)
        second.done.result(20)
        until(lambda: lane.depth == 0)
        assert lane.submit(["d"] * 50).done.result(20)[0] == ["d"] * 50, "larger than the queue, and nobody else waits"


def test_what_nobody_waits_for_is_dropped_before_it_is_packed() -> None:
    model = Letters()
    with running(model) as (lane, metrics):
        first = held(model, lane)
        gone, stays = lane.submit(["gone"] * 6), lane.submit(["stays"])
        until(lambda: len(lane._waiting) == 7)
        lane.cancel(gone)
        assert lane.depth == 2
        model.gate.set()
        assert (first.done.result(20)[0], stays.done.result(20)[0]) == (["first"], ["stays"])
        assert model.batches == [[5], [5]]
        assert counted(metrics, "dropped") == 6
        with pytest.raises(CancelledError):
            gone.done.result(0)


def test_a_request_that_was_left_while_it_was_computed_harms_nobody() -> None:
    model = Letters()
    with running(model) as (lane, _):
        first = held(model, lane)
        lane.cancel(first)
        model.gate.set()
        assert lane.submit(["next"]).done.result(20)[0] == ["next"]
        assert not lane.broken


def test_one_wrong_input_fails_its_own_request_and_no_other() -> None:
    model = Letters()
    with running(model) as (lane, _):
        first = held(model, lane)
        wrong, poison, good = lane.submit(["a", "x" * 51]), lane.submit(["poison"]), lane.submit(["good"])
        cut = lane.submit(["x" * 51], limit=-1)
        model.gate.set()
        with pytest.raises(WrongInput, match="it has 51 tokens") as told:
            wrong.done.result(20)
        assert told.value.at == 1
        with pytest.raises(WrongInput, match="it can't be made into tokens: poison"):
            poison.done.result(20)
        assert [ticket.done.result(20)[0] for ticket in (first, good, cut)] == [["first"], ["good"], ["x" * 50]]


def test_a_batch_that_fails_is_told_and_a_device_that_is_lost_is_known() -> None:
    model = Letters()
    with running(model) as (lane, _):
        for count in range(1, BROKEN_AFTER + 1):
            model.fails = 1
            with pytest.raises(RuntimeError, match="it could not be computed: the device is lost"):
                lane.submit(["a", "b"]).done.result(20)
            assert bool(lane.broken) == (count == BROKEN_AFTER)
        assert lane.broken == "3 batches in a row failed: the device is lost"


def test_some_failures_that_are_not_in_a_row_are_no_lost_device() -> None:
    model = Letters()
    with running(model) as (lane, _):
        for _ in range(BROKEN_AFTER):
            model.fails = 1
            with pytest.raises(RuntimeError):
                lane.submit(["a"]).done.result(20)
            assert lane.submit(["b"]).done.result(20)[0] == ["b"]
        assert not lane.broken


async def test_many_callers_at_once_share_batches() -> None:
    model = Letters()
    with running(model, most=10_000, tokens=2000) as (lane, _):
        first = held(model, lane)
        tickets = [lane.submit([f"caller {n}"]) for n in range(64)]
        until(lambda: len(lane._waiting) == 64)
        model.gate.set()
        found = await asyncio.gather(*(asyncio.wrap_future(ticket.done) for ticket in tickets))
        assert [results for results, _ in found] == [[f"caller {n}"] for n in range(64)]
        assert first.done.result(20)
        assert len(model.batches) == 5  # of 16 inputs, and the first
