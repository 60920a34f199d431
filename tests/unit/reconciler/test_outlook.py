"""What whoever waits for a workload is told, from what the loop knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.demand import Outlook, State
from reconciler.model import NO_WISH, Failure, Held, ProbeResult, Wish
from reconciler.outlook import Standing, outlook
from reconciler.progress import Account
from tests.unit.reconciler.builders import GIB, NOW, container, declare, named, sight, unknown

RECIPE = "{image: 'keep/echo:1', port: 8000, memory: 50GiB, probe: {kind: http, path: /health}}"
INSTANCE = named(declare(f"services: {{a: {{recipe: {RECIPE}, on: s1, run: on-demand}}}}"), "a")
UP = container(INSTANCE)
ASKED = Wish(turn=1)
READY = ProbeResult(container=UP.id, ready=True, ready_at=NOW - 9, message="it answers")


def standing(**known: Any) -> Standing:
    return Standing(**{"instance": INSTANCE, "sight": sight(), "total": 117 * GIB, **known})


def told(wish: Wish = ASKED, *more: Standing, suspended: bool = False, **known: Any) -> Outlook:
    return outlook([standing(**known), *more], wish, None, suspended=suspended)


def left(reason: str, **more: Any) -> Held:
    return Held(spark="s1", workload="a", reason=reason, message="so it is", **more)


def test_nobody_asks_and_its_usual_time_is_told() -> None:
    found = told(NO_WISH, past=(30.0, 50.0, 40.0))
    assert found == Outlook(state=State.STOPPED, reason="OnDemand", message="a starts when it is asked for", eta=40.0)
    assert told(Wish(turn=2, yields=True)).reason == "GivesWay"


def test_what_answers_is_ready_until_its_stop_is_sent() -> None:
    assert told(NO_WISH, container=UP, probe=READY).state is State.READY
    assert told(NO_WISH, container=UP, probe=READY, stopping=True).state is State.STOPPED
    assert told(ASKED, container=UP, probe=READY, stopping=True).state is State.STARTING


def test_another_start_of_its_container_has_to_answer_anew() -> None:
    other = replace(READY, container="f" * 64)
    assert told(container=UP, probe=other).reason == "Loading"


def test_a_load_tells_how_far_it_is() -> None:
    account = Account(stage="loads the weights", elapsed=10.0, remaining=25.0, percent=28.0)
    found = told(container=UP, accounts={"a": account})
    assert found == Outlook(state=State.STARTING, reason="Loading", message="a loads the weights", eta=25.0)
    deaf = replace(READY, ready=False, message="refused")
    assert told(container=UP, probe=deaf).message == "it does not answer: refused"


@pytest.mark.parametrize(
    ("held", "state"),
    [
        (None, State.STARTING),
        (left("OnDemand"), State.STARTING),  # the last pass was before it was asked for
        (left("Pulling"), State.STARTING),
        (left("WeightsFetching"), State.STARTING),
        (left("MemoryReturning"), State.STARTING),
        (left("InsufficientMemory", blockers=("b",)), State.BLOCKED),
        (left("PortTaken"), State.BLOCKED),
        (left("WaitingTurn", blockers=("b",)), State.BLOCKED),
        (left("ContainerExited", until=NOW + 20), State.FAILED),
        (left("FlagRefused", terminal=True), State.REFUSED),
        (left("TooDestructive", approvable=True), State.REFUSED),
        (left("Cordoned"), State.REFUSED),
        (left("MemoryUnknown"), State.REFUSED),
    ],
)
def test_asked_for_it_says_what_is_in_the_way(held: Held | None, state: State) -> None:
    found = told(held=held)
    assert found.state is state
    if held is not None and held.reason != "OnDemand":
        assert (found.reason, found.message, found.blockers, found.retry_at) == (
            held.reason,
            held.message,
            held.blockers,
            held.until,
        )


def test_what_could_never_fit_is_refused() -> None:
    assert told(held=left("InsufficientMemory"), total=49 * GIB).state is State.REFUSED


def test_a_turn_is_waited_for_as_long_as_the_other_one_loads() -> None:
    account = Account(stage="starts", elapsed=1.0, remaining=12.0, percent=None)
    waits = {"held": left("WaitingTurn", blockers=("b",)), "past": (30.0,)}
    assert told(accounts={"b": account}, **waits).eta == 42.0
    assert told(**waits).eta is None


def test_a_spark_that_does_not_answer_blocks_and_a_failure_for_people_refuses() -> None:
    assert told(sight=unknown(UP)).state is State.BLOCKED
    failed = Failure(
        count=2, reason="ModelGated", message="no access", spec_hash=INSTANCE.spec_hash, at=NOW, terminal=True
    )
    assert told(NO_WISH, failure=failed) == Outlook(state=State.REFUSED, reason="ModelGated", message="no access")
    assert told(suspended=True).reason == "Suspended"
    assert told(container=UP, probe=READY, suspended=True).state is State.READY


def test_of_replicas_the_best_counts() -> None:
    other = standing(container=UP, probe=READY)
    assert told(ASKED, other, held=left("InsufficientMemory")).state is State.READY
    assert told(ASKED, standing(), held=left("InsufficientMemory")).state is State.STARTING


def test_a_group_answers_by_its_head_and_is_kept_by_its_worst_rank() -> None:
    head, worker = (replace(INSTANCE, ranks=2, rank=rank) for rank in (0, 1))
    up = standing(instance=head, container=UP, probe=READY)
    lost = standing(instance=worker, held=left("InsufficientMemory"))
    assert outlook([up, lost], ASKED, None, suspended=False).state is State.READY
    coming = standing(instance=head, held=left("WaitingForWorkers"))
    assert outlook([coming, lost], ASKED, None, suspended=False).state is State.BLOCKED


def test_without_an_instance_it_is_told_why_there_is_none() -> None:
    def placeless(refused: Held | None) -> State:
        return outlook([], ASKED, refused, suspended=False).state

    assert placeless(None) is State.REFUSED
    assert placeless(left("NotLaunchable", terminal=True)) is State.REFUSED
    assert placeless(left("Drained")) is State.REFUSED
    assert placeless(left("NoSparkFits")) is State.BLOCKED
