"""Of several replicas that serve one is replaced at a time; what can't come back keeps no other waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.model import Container, Failure, Plan, ProbeResult, Sight, Verb, Wish, World
from reconciler.plan import part, plan
from reconciler.target import Target
from tests.unit.reconciler.builders import IMAGES, NOW, container, declare, sight, unknown
from tests.unit.reconciler.builders import world as world_of

SPARKS = ("s1", "s2", "s3")
HOSTS = "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}, s3: {host: 10.0.0.3}}\n"


def declared(
    env: str = "", more: str = "", probe: str = "http", image: str = "keep/echo:1", **overrides: Any
) -> Target:
    recipe = f"{{image: '{image}', port: 8000, probe: {probe}{env}}}"
    return declare(f"{HOSTS}services: {{a: {{recipe: {recipe}, on: [s1, s2, s3]{more}}}}}", **overrides)


THEN, NOW_IT_IS = declared(", env: {A: '1'}"), declared()


def of(target: Target, spark: str, **changes: Any) -> Container:
    return container(target.instances[spark][0], SPARKS.index(spark) + 1, **changes)


def seen(sights: dict[str, Container | Sight | None], *, silent: str = "", **more: Any) -> World:
    """Who runs answers, except on `silent`."""
    there = {s: c for s, c in sights.items() if isinstance(c, Container)}
    shown = {s: sight(c, images=IMAGES) for s, c in there.items()}
    shown |= {s: c for s, c in sights.items() if isinstance(c, Sight)}
    shown |= {s: sight(images=IMAGES) for s, c in sights.items() if c is None}
    probes = {
        ("a", s): ProbeResult(container=c.id, ready=s != silent, failing_since=NOW - 1)
        for s, c in there.items()
        if c.running
    }
    return world_of(sights=shown, probes=probes, **more)


def old(*but: str) -> dict[str, Container | Sight | None]:
    return {s: of(NOW_IT_IS if s in but else THEN, s) for s in SPARKS}


def stopped(made: Plan) -> list[str]:
    return [step.spark for step in made.steps if step.verb in {Verb.STOP, Verb.RESTART}]


def told(made: Plan) -> dict[str, str]:
    return {held.spark: held.message for held in made.held if held.reason == "Rolling"}


def test_one_after_the_other_each_once_the_one_before_serves() -> None:
    made = plan(NOW_IT_IS, seen(old()))
    assert stopped(made) == ["s1"]
    assert told(made) == dict.fromkeys(("s2", "s3"), "a on s1 is replaced first: one at a time, so that another serves")
    for gap in (None, of(NOW_IT_IS, "s1", state="created"), of(NOW_IT_IS, "s1", state="exited", exit_code=1)):
        between = plan(NOW_IT_IS, seen(old() | {"s1": gap}))
        assert stopped(between) == []
        assert told(between)["s2"] == "a on s1 is to serve first: one at a time, so that another serves"
    assert stopped(plan(NOW_IT_IS, seen(old("s1"), silent="s1"))) == []
    assert stopped(plan(NOW_IT_IS, seen(old("s1")))) == ["s2"]
    assert stopped(plan(NOW_IT_IS, seen(old("s1", "s2")))) == ["s3"]


def test_every_spark_comes_to_the_same_whoever_looks_and_who_is_being_drained_goes_on() -> None:
    world = seen(old())
    for spark in SPARKS:
        assert stopped(part(NOW_IT_IS, lambda _: world, spark)) in (["s1"], [])
    busy = {("a", s): 2 for s in SPARKS}
    made = plan(NOW_IT_IS, replace(world, under_way=busy, draining={("a", "s2"): 0.0}))
    assert {held.spark: held.reason for held in made.held} == {"s1": "Rolling", "s2": "Draining", "s3": "Rolling"}
    idle = plan(NOW_IT_IS, replace(world, under_way={("a", "s1"): 1}, draining={("a", "s2"): 0.0}))
    assert stopped(idle) == ["s2"]
    assert stopped(plan(NOW_IT_IS, replace(world, stopping=frozenset({("a", "s1")})))) in (["s1"], [])
    assert stopped(plan(NOW_IT_IS, replace(seen(old("s1")), stopping=frozenset({("a", "s1")})))) == []


def test_a_restart_that_a_person_asked_for_goes_round_too() -> None:
    there = old("s1", "s2", "s3")
    asked = {c.id: c.started_at for c in there.values() if isinstance(c, Container)}
    world = seen(there, restarts=asked)
    assert stopped(plan(NOW_IT_IS, world)) == ["s1"]
    assert [stopped(part(NOW_IT_IS, lambda _: world, s)) for s in SPARKS] == [["s1"]] * 3


def test_who_does_not_serve_is_replaced_at_once_and_a_repair_waits_for_nobody() -> None:
    assert stopped(plan(NOW_IT_IS, seen(old(), silent="s3"))) == ["s3"]
    down = {s: of(NOW_IT_IS, s, state="exited", exit_code=1) for s in SPARKS}
    assert [step.verb for step in plan(NOW_IT_IS, seen(dict(down))).steps] == [Verb.START] * 3


def test_a_change_that_the_first_does_not_survive_reaches_no_other() -> None:
    failure = Failure(
        count=1,
        reason="BadFlag",
        message="no such flag",
        spec_hash=of(NOW_IT_IS, "s1").spec_hash,
        at=NOW,
        terminal=True,
    )
    world = seen(old() | {"s1": of(NOW_IT_IS, "s1", state="exited")}, failures={("a", "s1"): failure})
    assert stopped(plan(NOW_IT_IS, world)) == []
    assert set(told(plan(NOW_IT_IS, world))) == {"s2", "s3"}


def test_what_can_not_come_back_is_not_waited_for() -> None:
    assert stopped(plan(NOW_IT_IS, seen(old() | {"s1": unknown()}))) == ["s2"]
    cordoned = declared(cordoned=frozenset({"s1"}))
    assert stopped(plan(cordoned, seen(old() | {"s1": None}))) == ["s2"]
    crowded = sight(images=IMAGES, listeners={8000})
    assert stopped(plan(NOW_IT_IS, seen(old() | {"s1": crowded}))) == ["s2"]
    lacks = sight(of(THEN, "s1"), images=frozenset())
    made = plan(declared(", pull: never"), seen(old() | {"s1": lacks}))
    assert stopped(made) == ["s2"]


def test_what_is_not_asked_anything_and_what_is_unneeded_go_all_at_once() -> None:
    probe = "none"
    then, now = declared(", env: {A: '1'}", probe=probe), declared(probe=probe)
    assert stopped(plan(now, seen({s: of(then, s) for s in SPARKS}))) == list(SPARKS)
    on_demand = declared(more=", run: on-demand")
    assert stopped(plan(on_demand, seen(old()))) == list(SPARKS)
    assert stopped(plan(on_demand, seen(old(), wishes={"a": Wish(under_way=1)}))) == ["s1"]


def test_people_are_shown_all_steps_and_who_waits() -> None:
    made = plan(NOW_IT_IS, seen(old(), lenient=True))
    assert stopped(made) == list(SPARKS)
    assert set(told(made)) == {"s2", "s3"}
