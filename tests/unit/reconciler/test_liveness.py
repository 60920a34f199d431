"""Starting, serving, busy, dead: what follows from the answers, second by second."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import liveness
from reconciler.hosts import Answer
from reconciler.jobs import not_serving
from reconciler.liveness import Life
from reconciler.model import Container, Instance, LaunchSpec, ProbeResult, ProbeSpec

CHAT = ProbeSpec(kind="chat", port=8000)
HTTP = ProbeSpec(kind="http", port=8000)
UP = Answer(ready=True, message="GET /health answers 200")
DOWN = Answer(ready=False, message="nothing listens")
TOKEN = Answer(ready=True, message="gives a token")
REFUSED = Answer(ready=False, message="answers 500: EngineCore died")
HUSHED = Answer(ready=False, message="got no answer within 60 s", busy=True)
LOADING = Answer(ready=False, message="answers 503: Loading model", busy=True, retry_after=20.0)
NEW = ProbeResult(container="c", ready=False)
T = 1000.0


def serving(spec: ProbeSpec = CHAT, at: float = T) -> Life:
    life = liveness.page(liveness.begin(spec, NEW), spec, UP, at)
    return liveness.canary(life, spec, TOKEN, None, at) if spec is CHAT else life


def test_a_page_makes_a_service_ready_and_a_canary_a_model() -> None:
    assert serving(HTTP).result == ProbeResult(container="c", ready=True, ready_at=T, message=UP.message)
    started = liveness.page(liveness.begin(CHAT, NEW), CHAT, UP, T)
    assert started.result == replace(NEW, failing_since=T, message="GET /health answers 200; its canary comes next")
    assert started.answers
    ready = liveness.canary(started, CHAT, TOKEN, None, T + 3)
    assert ready.result == ProbeResult(container="c", ready=True, ready_at=T + 3, message="gives a token")
    assert (ready.pause, ready.canary_pause) == (10.0, 60.0)


def test_a_start_is_asked_quickly_first_and_counts_no_silence_as_death() -> None:
    life = liveness.begin(CHAT, NEW)
    pauses = []
    for second in range(8):
        life = liveness.page(life, CHAT, DOWN, T + second)
        pauses.append(round(life.pause, 3))
    assert pauses == [0.15, 0.225, 0.338, 0.506, 0.759, 1.139, 1.709, 2.0]
    life = liveness.page(life, CHAT, UP, T + 9)
    for number in range(20):
        life = liveness.canary(life, CHAT, HUSHED, None, T + 70.0 * number)
    assert life.result.ready_at == 0.0
    assert life.result.failing_since == T
    assert not life.result.ready
    assert life.canary_pause == 10.0


def test_a_server_that_asks_for_patience_while_it_loads_gets_it() -> None:
    life = liveness.page(liveness.begin(CHAT, NEW), CHAT, LOADING, T)
    assert (life.answers, life.pause) == (False, 20.0)
    life = liveness.canary(liveness.page(life, CHAT, UP, T), CHAT, LOADING, None, T)
    assert life.canary_pause == 20.0


def test_three_silent_pages_are_a_death_within_thirty_seconds() -> None:
    """10 s (and its jitter) until it is asked, three questions of 5 s, a second between them."""
    life, at = serving(), T
    at += CHAT.interval * 1.1
    for number in range(CHAT.failures):
        at += CHAT.timeout
        life = liveness.page(life, CHAT, DOWN, at)
        assert life.result.failures == number + 1
        at += life.pause
    assert at - life.pause - T <= 30.0
    assert (life.result.ready, life.result.ready_at, life.result.failing_since) == (False, T, T + 16.0)


def test_a_page_that_comes_back_is_enough_when_the_last_canary_was_good() -> None:
    life = liveness.page(serving(), CHAT, DOWN, T + 10)
    assert not life.result.ready
    life = liveness.page(life, CHAT, UP, T + 11)
    assert (life.result.ready, life.result.failures, life.result.ready_at) == (True, 0, T)
    again = liveness.page(serving(), CHAT, UP, T + 10)
    assert again.result.message == "gives a token"


def test_a_refused_canary_counts_although_the_page_answers() -> None:
    life = serving()
    for number in range(3):
        life = liveness.canary(life, CHAT, REFUSED, None, T + 60 + 5 * number)
        life = liveness.page(life, CHAT, UP, T + 60 + 5 * number)
        assert (life.result.ready, life.result.failures, life.canary_pause) == (False, number + 1, 5.0)
    assert life.result.message == "answers 500: EngineCore died"
    assert life.result.failing_since == T + 60
    assert liveness.canary(life, CHAT, TOKEN, None, T + 99).result.ready


def test_an_engine_that_hangs_behind_a_living_page_is_found_by_three_silent_canaries() -> None:
    life = serving()
    for number, at in enumerate((T + 120, T + 185, T + 250)):
        assert life.result.ready
        life = liveness.canary(life, CHAT, HUSHED, 500.0, at)
        assert life.hushed == number + 1
    assert life.result == ProbeResult(
        container="c",
        ready=False,
        ready_at=T,
        failing_since=T + 120,
        failures=3,
        message="got no answer within 60 s (3 in a row; its health page answers)",
    )
    assert liveness.page(life, CHAT, UP, T + 251).result == life.result


def test_a_saturated_server_is_never_dead_while_it_works() -> None:
    life = serving()
    for number in range(100):
        life = liveness.canary(life, CHAT, HUSHED, 500.0 + number, T + 65.0 * number)
        assert life.result.ready
        assert life.hushed <= 1
    assert life.result.message == "busy: got no answer within 60 s, but it works on other requests"


def test_quick_refusals_for_load_need_their_time_too() -> None:
    """A 429 comes back at once: three of them in fifteen seconds are no death."""
    overloaded = Answer(ready=False, message="answers 429: overloaded", busy=True)
    life, at = serving(), T
    for _ in range(24):
        life = liveness.canary(life, CHAT, overloaded, None, at)
        assert life.result.ready
        at += life.canary_pause
    assert at - T == 120.0
    assert not liveness.canary(life, CHAT, overloaded, None, at).result.ready


def test_what_was_known_of_a_container_is_kept_when_its_spark_comes_back() -> None:
    known = ProbeResult(container="c", ready=True, ready_at=T - 500, message="gives a token")
    life = liveness.begin(CHAT, known)
    assert (life.result, life.proven, life.pause, life.answers) == (known, True, 0.0, False)
    dead = replace(known, ready=False, failures=3, failing_since=T - 9)
    life = liveness.page(liveness.begin(CHAT, dead), CHAT, UP, T)
    assert life.result == dead
    assert liveness.canary(life, CHAT, TOKEN, None, T).result == known


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["page", "canary"]), st.sampled_from([UP, DOWN, REFUSED, HUSHED, LOADING]), st.floats(0, 90)
    ),
    max_size=40,
)


@pytest.mark.parametrize("spec", [CHAT, HTTP])
@given(steps=STEPS)
def test_law_ready_means_no_failure_and_a_first_time(spec: ProbeSpec, steps: list[tuple[str, Answer, float]]) -> None:
    life, at = liveness.begin(spec, NEW), T
    for tier, answer, seconds in steps:
        at += seconds
        before = life
        life = (
            liveness.page(life, spec, answer, at)
            if tier == "page" or spec is HTTP
            else liveness.canary(life, spec, answer, None, at)
        )
        result = life.result
        assert result.ready is (result.ready_at > 0 and result.failures == 0)
        assert result.ready_at in {before.result.ready_at, at}
        assert (result.failing_since > 0) >= (result.failures > 0)
        assert 0 <= life.pause <= 60
        assert 0 <= life.canary_pause <= 60


def test_a_busy_server_first_seen_when_saturated_is_not_restarted_while_it_works() -> None:
    """sparkkeep itself was started anew: to it the server is one that starts, and has never answered."""
    life = liveness.page(liveness.begin(CHAT, NEW), CHAT, UP, T)
    instance = Instance(
        workload="w", kind="model", spark="s", name="w", spec=LaunchSpec(image="i"), spec_hash="", probe=CHAT
    )
    container = Container(id="c", name="w", image="i", state="running")
    for number in range(1, 101):
        at = T + 70.0 * number
        life = liveness.canary(life, CHAT, HUSHED, 500.0 + number, at)
        assert not life.result.ready
        assert not_serving(instance, container, life.result, at) is None
    assert life.result.message == "busy: got no answer within 60 s, but it works on other requests"
    stuck = life
    for number in range(101, 140):
        stuck = liveness.canary(stuck, CHAT, HUSHED, 600.0, T + 70.0 * number)
    assert not_serving(instance, container, stuck.result, T + 70.0 * 139) is not None
