"""What holds whatever is asked for: in virtual time, over models that do not all fit, with starts that go wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.proxies.queue.rules import Rules
from tests.simulation.queue_play import Outcome, Queued, Request, play
from tests.simulation.queue_world import STOP, Model

EXAMPLES = 600 if os.environ.get("SPARKKEEP_LONG") else 12
SLACK = 5.0  # seconds: the slow tick, and what settles between a stop and a start
NAMES = "ABCDE"
SERVICE = 12.0

laws = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def requests(*, leave: bool) -> st.SearchStrategy[list[Request]]:
    one = st.builds(
        Request,
        at=st.floats(0, 400).map(lambda at: round(at, 1)),
        model=st.sampled_from(NAMES),
        service=st.floats(0.1, SERVICE).map(lambda service: round(service, 1)),
        who=st.sampled_from("xyz"),
        leaves=st.none() | st.floats(0, 200).map(lambda after: round(after, 1)) if leave else st.none(),
    )
    return st.lists(one, min_size=1, max_size=40)


def models(*, fail: bool) -> st.SearchStrategy[dict[str, Model]]:
    one = st.builds(
        Model,
        memory=st.integers(1, 3),
        load=st.integers(2, 90).map(float),
        fails=st.integers(0, 2) if fail else st.just(0),
        again=st.sampled_from([None, 10.0]),
    )
    return st.fixed_dictionaries(dict.fromkeys(NAMES, one))


RULES = st.builds(
    Rules,
    longest=st.just(5_000.0),
    patience=st.floats(0, 3).map(lambda times: round(times, 1)),
    most_patience=st.sampled_from([0.0, 30.0, 120.0]),
    stay=st.sampled_from([0.0, 10.0, 60.0]),
    linger=st.sampled_from([0.0, 1.0, 10.0]),
)


def nothing_is_left(found: Outcome) -> None:
    """Nobody waits, nothing is asked for, nothing gives way, nothing is counted."""
    assert isinstance(found.policy, Queued)
    holds, demand = found.policy.holds, found.spark.demand
    assert holds.queues() == []
    assert not holds._held
    assert not holds._going
    assert not holds._asked
    assert not holds._shut
    assert not holds._schedule._clients
    assert not holds._schedule._tickets
    assert not holds._schedule._turns
    assert holds._due is None
    for name, wish in demand.wishes().items():
        assert not demand.asked(name)
        assert not wish.yields
        assert not wish.under_way


def bound(name: str, models: Mapping[str, Model], rules: Rules) -> float:
    """docs/adr/0024-the-queue.md: what one waits for at most where nothing limits how many a model takes at a time."""
    others = [each for each in models if each != name]
    stay = {each: rules.stay_for(model.load) for each, model in models.items()}
    swap = {each: SERVICE + STOP + model.load + SLACK for each, model in models.items()}
    before = max(models[each].load + stay[each] for each in others)
    return rules.patience_for(models[name].load) + before + sum(swap[e] + stay[e] for e in others) + swap[name]


@laws
@given(requests(leave=False), models(fail=False), RULES)
def test_nobody_starves(asked: list[Request], given_models: dict[str, Model], rules: Rules) -> None:
    """Each is answered, and none waits longer than the bound."""
    found = play(asked, given_models, memory=3, rules=rules, rest=60.0)
    for each in found.told:
        assert each.ended is not None, each
        assert each.waited <= bound(each.request.model, given_models, rules), each
    nothing_is_left(found)


@laws
@given(
    requests(leave=True),
    models(fail=True),
    st.sampled_from([20.0, 60.0, 600.0]),
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)),
)
def test_everybody_is_answered_or_refused_in_time(
    asked: list[Request], given_models: dict[str, Model], longest: float, limits: dict[str, int]
) -> None:
    """Whoever leaves when, whatever fails: nobody waits longer than anybody may, and nothing is left of it all."""
    found = play(asked, given_models, memory=3, rules=Rules(longest=longest), limits=limits, rest=60.0)
    for each in found.told:
        last = each.went if each.went is not None else each.refused_at if each.refused is not None else each.ended
        assert last is not None, each
        assert last - each.request.at <= longest + 0.05, each
        if each.refused is not None:
            assert each.refused.status in {429, 503}
    nothing_is_left(found)


@laws
@given(requests(leave=True), models(fail=False), st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2), min_size=1))
def test_no_model_gets_more_than_it_takes_at_a_time(
    asked: list[Request], given_models: dict[str, Model], limits: dict[str, int]
) -> None:
    found = play(asked, given_models, memory=3, limits=limits, rest=60.0)
    for name, limit in limits.items():
        spans = [(t.went, t.ended) for t in found.told if t.request.model == name and t.went is not None]
        for went, _ in spans:
            assert sum(a <= went < b for a, b in spans if a is not None and b is not None and went is not None) <= limit
    nothing_is_left(found)


@laws
@given(
    requests(leave=False).map(lambda asked: [replace(each, who="x") for each in asked]),
    models(fail=False),
    RULES,
    st.dictionaries(st.sampled_from(NAMES), st.integers(1, 3), min_size=1),
)
def test_nobody_starves_behind_a_model_that_takes_few_at_a_time(
    asked: list[Request], given_models: dict[str, Model], rules: Rules, limits: dict[str, int]
) -> None:
    """With n before it and k at a time it may take n / k + 1 turns, each with the stay before the next."""
    found = play(asked, given_models, memory=3, rules=rules, limits=limits, rest=60.0)
    for each in found.told:
        name, at = each.request.model, each.request.at
        assert each.went is not None, each
        ahead = sum(
            t.request.model == name and t.request.at <= at < (t.went or at) for t in found.told if t is not each
        )
        turn = bound(name, given_models, rules) + rules.stay_for(given_models[name].load) + SERVICE
        assert each.waited <= (ahead // limits.get(name, 1000) + 1) * turn, each
