"""The router's laws: whom it may choose, that its counts are true, and that its choices are good ones."""

from __future__ import annotations

import heapq
import random
import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.calls import Backend, Call, Decision
from api.proxies.routing.router import ALONE, AVOIDED, SPARE, UNEVEN, Router


def backend(number: int, workload: str = "qwen") -> Backend:
    return Backend(workload=workload, spark=f"spark-{number}", host="10.0.0.1", port=8000, model=workload)


def call(*, session: str = "", prefix: int = 0) -> Call:
    return Call(method="POST", path="/v1/chat/completions", model="qwen", session=session, prefix=prefix)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def router(*, most: int = 64, seed: int = 1) -> tuple[Router, Clock]:
    clock = Clock()
    return Router(rng=random.Random(seed), now=clock, most=most), clock


READY = st.lists(st.integers(0, 5), unique=True, max_size=6)
ASKED = st.fixed_dictionaries(
    {
        "session": st.sampled_from(["", "", "a", "b", "c"]),
        "prefix": st.sampled_from([0, 0, 11, 12, 13]),
        "ready": READY,
        "without": st.lists(st.integers(0, 5), max_size=3),
        "limit": st.sampled_from([None, None, 1, 2, 4]),
        "end": st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=4),
        "pause": st.sampled_from([0.0, 1.0, AVOIDED + 1]),
    }
)


@given(st.lists(ASKED, max_size=60))
@settings(max_examples=150, deadline=None)
def test_only_those_that_are_ready_and_have_room_and_never_one_that_was_ruled_out(history: list[dict]) -> None:
    chooses, clock = router(most=4)
    under_way: list[Decision] = []
    for asked in history:
        clock.now += asked["pause"]
        ready = [backend(n) for n in asked["ready"]]
        without = {backend(n).key for n in asked["without"]}
        fit = [
            b for b in ready if b.key not in without and (asked["limit"] is None or chooses.busy(b) < asked["limit"])
        ]
        found = chooses.choose(
            call(session=asked["session"], prefix=asked["prefix"]), ready, limit=asked["limit"], without=without
        )
        assert (found is None) == (not fit)
        if found is not None:
            assert found.backend in fit
            assert found.why and "\n" not in found.why and len(found.why) < 200
            chooses.began(found.backend)
            under_way.append(found)
        for at, answered in asked["end"]:
            if under_way:
                chooses.ended(under_way.pop(at % len(under_way)).backend, answered=answered)
        for n in range(6):
            assert chooses.busy(backend(n)) == sum(d.backend == backend(n) for d in under_way) >= 0
        assert len(chooses._sessions) <= 4 and len(chooses._begun) <= 4
    for decision in under_way:
        chooses.ended(decision.backend, answered=True)
    assert not chooses._busy


def test_an_end_too_many_counts_nothing() -> None:
    chooses, _ = router()
    chooses.ended(backend(1), answered=True)
    chooses.began(backend(1))
    assert chooses.busy(backend(1)) == 1


def test_the_only_one_is_chosen_even_if_it_has_just_failed() -> None:
    chooses, _ = router()
    chooses.began(backend(1))
    chooses.ended(backend(1), answered=False)
    found = chooses.choose(call(), [backend(1)])
    assert found == Decision(backend=backend(1), why=ALONE)


def test_who_has_failed_is_left_alone_for_a_while_and_forgiven_by_an_answer() -> None:
    chooses, clock = router()
    two = [backend(1), backend(2)]
    chooses.began(backend(1))
    chooses.ended(backend(1), answered=False)
    assert {chooses.choose(call(), two).backend for _ in range(50)} == {backend(2)}
    clock.now += AVOIDED
    assert {chooses.choose(call(), two).backend for _ in range(50)} == set(two)
    chooses.ended(backend(1), answered=False)
    chooses.ended(backend(1), answered=True)
    assert {chooses.choose(call(), two).backend for _ in range(50)} == set(two)


def test_who_answers_no_more_is_not_avoided_when_it_is_back() -> None:
    chooses, _ = router()
    chooses.ended(backend(1), answered=False)
    chooses.keep_only([backend(2)])
    assert {chooses.choose(call(), [backend(1), backend(2)]).backend for _ in range(50)} == {backend(1), backend(2)}


def test_a_session_stays_for_as_long_as_its_instance_answers() -> None:
    chooses, _ = router()
    three = [backend(1), backend(2), backend(3)]
    first = chooses.choose(call(session="me"), three).backend
    for _ in range(20):
        chooses.began(first)  # however busy that is
        assert chooses.choose(call(session="me"), three).backend == first
    rest = [b for b in three if b != first]
    second = chooses.choose(call(session="me"), rest).backend
    assert second != first
    assert {chooses.choose(call(session="me"), three).backend for _ in range(20)} == {second}


def test_sessions_of_other_workloads_are_others() -> None:
    chooses, _ = router()
    for n in range(20):
        chooses.choose(call(session=str(n)), [backend(1), backend(2)])
    before = dict(chooses._sessions)
    chooses.choose(call(session="0"), [backend(1, "llama"), backend(2, "llama")])
    assert dict(list(chooses._sessions.items())[:20]) == before


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_conversation_stays_only_while_the_load_there_is_bounded(steps: list[bool], seed: int) -> None:
    """All requests begin alike: without the bound all would go to one of four."""
    chooses, _ = router(seed=seed)
    four = [backend(n) for n in range(4)]
    under_way: list[Backend] = []
    for begins in steps:
        if begins or not under_way:
            found = chooses.choose(call(prefix=7), four).backend
            mean = len(under_way) / 4
            others = [chooses.busy(b) for b in four]
            assert chooses.busy(found) <= UNEVEN * mean + SPARE or chooses.busy(found) < max(others)
            chooses.began(found)
            under_way.append(found)
        else:
            chooses.ended(under_way.pop(0), answered=True)


def test_a_conversation_goes_back_to_who_knows_it_once_that_has_time() -> None:
    chooses, _ = router()
    two = [backend(1), backend(2)]
    first = chooses.choose(call(prefix=7), two).backend
    for _ in range(10):
        chooses.began(first)
    away = chooses.choose(call(prefix=7), two)
    assert away.backend != first
    assert first.key in away.why
    for _ in range(10):
        chooses.ended(first, answered=True)
    assert chooses.choose(call(prefix=7), two).backend == first


def longest_line(choose: str, seed: int, servers: int = 8, load: float = 0.9) -> float:
    """The mean over time of the longest line, of servers that answer one request after the other."""
    rng = random.Random(seed)
    chooses, _ = router(seed=seed)
    all_of_them = [backend(n) for n in range(servers)]
    free_at = dict.fromkeys(range(servers), 0.0)
    ends: list[tuple[float, int]] = []
    now, longest = 0.0, []
    for _ in range(3000):
        now += rng.expovariate(servers * load)
        while ends and ends[0][0] <= now:
            _, done = heapq.heappop(ends)
            chooses.ended(all_of_them[done], answered=True)
        found = rng.choice(all_of_them) if choose == "random" else chooses.choose(call(), all_of_them).backend
        number = all_of_them.index(found)
        chooses.began(found)
        free_at[number] = max(now, free_at[number]) + rng.expovariate(1.0)
        heapq.heappush(ends, (free_at[number], number))
        longest.append(max(chooses.busy(b) for b in all_of_them))
    return statistics.fmean(longest)


def test_two_choices_keep_lines_much_shorter_than_chance() -> None:
    for seed in range(3):
        assert longest_line("two", seed) < 0.5 * longest_line("random", seed)


def test_each_pair_is_as_likely() -> None:
    chooses, _ = router(seed=5)
    four = [backend(n) for n in range(4)]
    drawn = [frozenset(chooses._two(four)) for _ in range(6000)]
    counts = [drawn.count(frozenset({four[a], four[b]})) for a in range(4) for b in range(a)]
    assert sum(counts) == 6000
    assert min(counts) > 850 and max(counts) < 1150
