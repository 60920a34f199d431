"""What runs on demand: it starts when it is asked for, makes way when it may, and stops when nobody needs it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.model import Container, Held, Plan, ProbeResult, Step, Verb, Wish, World
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import GIB, IMAGES, NOW, container, declare, named, sight
from tests.unit.reconciler.builders import world as world_of

CLOCK = 10_000.0
ASKED = Wish(turn=1)
RECIPE = "image: 'keep/echo:1', probe: {kind: http, path: /health}"


def target(*models: str, evict: str = "60s", **overrides: Any) -> Target:
    """Each `name memory [more]`: a model on s1 that runs on demand."""
    lines = [f"settings: {{evictAfter: {evict}}}\nservices:\n"]
    for number, model in enumerate(models):
        name, memory, *more = model.split(" ", 2)
        recipe = f"{{{RECIPE}, port: {8000 + number}, memory: {memory}GiB}}"
        extra = "".join(f", {word}" for word in more)
        run = "" if "run:" in extra else ", run: on-demand"
        lines.append(f"  {name}: {{recipe: {recipe}, on: s1{run}{extra}}}\n")
    return declare("".join(lines), **overrides)


def up(of: Target, *names: str) -> list[Container]:
    return [container(named(of, name), number) for number, name in enumerate(names, 1)]


def ready(*containers: Container, since: float = 3600.0) -> dict[tuple[str, str], ProbeResult]:
    return {(c.workload, "s1"): ProbeResult(container=c.id, ready=True, ready_at=NOW - since) for c in containers}


def seen(*containers: Container, free: int = 100 * GIB, wishes: dict[str, Wish], **more: Any) -> World:
    """Every running one has answered, for an hour, unless `probes` says otherwise."""
    probes = ready(*(c for c in containers if c.running))
    sights = {"s1": sight(*containers, images=IMAGES, free=free)}
    return world_of(sights=sights, wishes=wishes, clock=CLOCK, **({"probes": probes} | more))


def idle(seconds: float, **more: Any) -> Wish:
    return Wish(last=CLOCK - seconds, **more)


def lines(made: Plan) -> list[str]:
    return [f"{step.verb} {step.workload}" for step in made.steps]


def stop_of(made: Plan) -> Step:
    (step,) = (step for step in made.steps if step.verb is Verb.STOP)
    return step


# Starting


def test_it_starts_when_it_is_asked_for_and_only_then() -> None:
    one = target("a 10")
    assert plan(one, seen(wishes={})).held == (
        Held(spark="s1", workload="a", reason="OnDemand", message="a starts when it is asked for"),
    )
    assert lines(plan(one, seen(wishes={"a": idle(0)}))) == []
    made = plan(one, seen(wishes={"a": ASKED}))
    assert lines(made) == ["create a"]
    assert made.steps[0].cause == "it is asked for, and has no container on this Spark"
    assert made.held == ()


def test_one_that_crashed_is_started_again_only_while_somebody_waits() -> None:
    one = target("a 10")
    dead = replace(up(one, "a")[0], state="exited", exit_code=1)
    assert lines(plan(one, seen(dead, wishes={"a": ASKED}))) == ["start a"]
    kept = plan(one, seen(dead, wishes={"a": idle(5, served=True)}))
    assert kept.steps == ()
    assert kept.held[0].message == "a starts when it is asked for (it exited with status 1)"
    assert plan(one, seen(dead, wishes={"a": Wish(under_way=1)})).steps == ()


def test_what_docker_could_not_remove_is_removed_though_nobody_asks() -> None:
    one = target("a 10")
    dead = replace(up(one, "a")[0], state="dead", exit_code=1)
    (step,) = plan(one, seen(dead, wishes={"a": idle(5)})).steps
    assert (step.verb, step.spark, step.workload, step.rank) == (Verb.REMOVE, "s1", "a", 0)
    assert step.cause.startswith("Docker calls it dead")
    assert step.container == dead.id
    assert lines(plan(one, seen(dead, wishes={"a": ASKED}))) == ["remove a", "create a"]


def test_a_replica_comes_back_while_requests_to_the_others_are_under_way() -> None:
    recipe = f"{{{RECIPE}, port: 8000, memory: 1GiB}}"
    both = declare(f"services: {{a: {{recipe: {recipe}, on: [s1, s2], run: on-demand}}}}")
    assert lines(plan(both, world_of(wishes={"a": ASKED}))) == ["create a", "create a"]
    other = container(both.instances["s2"][0])
    world = world_of(
        sights={"s2": sight(other, images=IMAGES)},
        probes={("a", "s2"): ProbeResult(container=other.id, ready=True, ready_at=NOW - 9)},
        wishes={"a": Wish(under_way=1)},
    )
    assert [(step.verb, step.spark) for step in plan(both, world).steps] == [(Verb.CREATE, "s1")]


def test_suspended_cordoned_and_failed_ones_are_not_started_for_asking() -> None:
    for overrides, reason in (
        ({"suspended": frozenset("a")}, "Suspended"),
        ({"cordoned": frozenset(["s1"])}, "Cordoned"),
    ):
        made = plan(target("a 10", **overrides), seen(wishes={"a": ASKED}))
        assert [(made.steps, held.reason) for held in made.held] == [((), reason)]


def test_who_asked_first_starts_first_and_what_runs_always_before_all() -> None:
    three = target("a 60", "b 60", "c 60 run: always", "d 60 priority: 3")
    order = plan(three, seen(free=70 * GIB, wishes={"a": Wish(turn=2), "b": Wish(turn=1), "d": idle(1)}))
    assert lines(order) == ["create c"]
    without = target("a 60", "b 60", "d 60 priority: 3")
    assert lines(plan(without, seen(free=70 * GIB, wishes={"a": Wish(turn=2), "b": Wish(turn=1)}))) == ["create b"]
    wishes = {"a": Wish(turn=2), "b": Wish(turn=1), "d": Wish(turn=3)}
    assert lines(plan(without, seen(free=70 * GIB, wishes=wishes))) == ["create d"]


# Stopping


def test_unused_for_longer_than_idle_it_is_stopped_and_no_guard_asks() -> None:
    one = target("a 10 idle: 20m")
    (there,) = up(one, "a")
    assert plan(one, seen(there, wishes={"a": idle(1199)})).steps == ()
    made = plan(one, seen(there, wishes={"a": idle(1201)}))
    assert lines(made) == ["stop a", "remove a"]
    stop = stop_of(made)
    assert (stop.cause, stop.event) == ("unused for 20 min (idle: 20m)", "Unused")
    assert stop.consequence == "a is gone from s1 until it is asked for"
    assert not stop.destructive
    strict = replace(one, max_destructive=0)
    assert lines(plan(strict, seen(there, wishes={"a": idle(1201)}))) == ["stop a", "remove a"]


def test_without_idle_it_is_never_stopped_for_idleness_alone() -> None:
    one = target("a 10")
    (there,) = up(one, "a")
    assert plan(one, seen(there, wishes={"a": idle(10**6)})) == Plan(revision="rev1")


def test_what_is_used_or_waited_for_is_never_idle() -> None:
    one = target("a 10 idle: 1m")
    (there,) = up(one, "a")
    for wish in (idle(9999, under_way=1), idle(9999, turn=1), idle(9999, turn=1, yields=True, served=True)):
        assert plan(one, seen(there, wishes={"a": wish})).steps == ()


def test_idle_counts_from_its_first_answer_and_not_by_a_clock_that_was_set() -> None:
    one = target("a 10 idle: 20m")
    (there,) = up(one, "a")
    young = {"wishes": {"a": idle(9999)}, "probes": ready(there, since=60)}
    assert plan(one, seen(there, **young)).steps == ()
    jumped = replace(seen(there, wishes={"a": idle(5)}), now=NOW + 7200)
    assert plan(one, jumped).steps == ()


def test_after_a_restart_of_the_controller_what_runs_is_kept() -> None:
    """Nobody has asked this process for it yet, or it has not been asked itself."""
    one = target("a 10 idle: 20m")
    (there,) = up(one, "a")
    assert plan(one, seen(there, wishes={})) == Plan(revision="rev1")
    assert plan(one, seen(there, wishes={"a": idle(9999)}, probes={})) == Plan(revision="rev1")


def test_a_load_that_nobody_waits_for_is_stopped_and_one_that_is_done_is_not() -> None:
    one = target("a 10")
    (there,) = up(one, "a")
    left = seen(there, wishes={"a": idle(0, abandoned=True)}, probes={})
    made = plan(one, left)
    assert lines(made) == ["stop a", "remove a"]
    assert stop_of(made).cause == "nobody waits for it any more, and it has not served yet"
    assert stop_of(made).event == "NobodyWaits"
    assert plan(one, seen(there, wishes={"a": idle(0, abandoned=True)})).steps == ()


def test_one_that_does_not_answer_any_more_is_restarted_for_somebody_and_else_stopped() -> None:
    one = target("a 10")
    (there,) = up(one, "a")
    deaf = ProbeResult(
        container=there.id, ready=False, ready_at=NOW - 900, failing_since=NOW - 99, failures=9, message="refused"
    )
    probes = {("a", "s1"): deaf}
    assert lines(plan(one, seen(there, wishes={"a": ASKED}, probes=probes))) == ["restart a"]
    made = plan(one, seen(there, wishes={"a": idle(1)}, probes=probes))
    assert lines(made) == ["stop a", "remove a"]
    assert stop_of(made).cause == "it runs but does not answer since 99 s: refused; nobody waits for it"
    assert stop_of(made).failing
    assert stop_of(made).event == ""


def test_another_spec_replaces_what_is_needed_and_ends_what_is_not() -> None:
    one = target("a 10")
    old = container(named(one, "a"), spec_hash="0" * 16)
    assert lines(plan(one, seen(old, wishes={"a": ASKED}))) == ["stop a", "remove a", "create a"]
    assert lines(plan(one, seen(old, wishes={"a": Wish(under_way=2)}))) == ["stop a", "remove a", "create a"]
    assert lines(plan(one, seen(old, wishes={"a": idle(1)}))) == ["stop a", "remove a"]


def test_nothing_is_stopped_while_it_is_suspended() -> None:
    one = target("a 10 idle: 1m", suspended=frozenset("a"))
    (there,) = up(one, "a")
    assert plan(one, seen(there, wishes={"a": idle(9999)})).steps == ()


# Making room


def test_an_unused_one_is_stopped_for_one_that_is_asked_for() -> None:
    two = target("a 60", "b 50")
    (there,) = up(two, "a")
    made = plan(two, seen(there, free=42 * GIB, wishes={"a": idle(61), "b": ASKED}))
    assert lines(made) == ["stop a", "remove a", "create b"]
    stop, _, create = made.steps
    assert stop.cause == "stopped for b, which is asked for: needs 50.0 GiB, 12.0 GiB are missing"
    assert (stop.event, stop.sake, stop.destructive) == ("Evicted", "b", False)
    assert create.look_first == "the memory of a must be seen to be back: 50.0 GiB + 4.0 GiB reserve"


def test_only_what_nobody_uses_and_is_no_more_important_makes_way() -> None:
    for more, wish in (
        ("", idle(59)),
        ("", idle(9999, under_way=1)),
        ("", Wish(turn=9)),
        ("", Wish(turn=9, yields=True)),
        (" priority: 1", idle(9999)),
        (" run: always", idle(9999)),
    ):
        two = target(f"a 60{more}", "b 50")
        (there,) = up(two, "a")
        made = plan(two, seen(there, free=42 * GIB, wishes={"a": wish, "b": ASKED}))
        assert made.steps == (), (more, wish)
        (why,) = (held for held in made.held if held.workload == "b")
        assert why.reason == "InsufficientMemory"
        assert why.blockers == (("a",) if not more else ())


def test_one_that_yields_makes_way_though_it_was_used_just_now_and_is_not_started_again() -> None:
    two = target("a 60", "b 50")
    (there,) = up(two, "a")
    wishes = {"a": Wish(turn=1, last=CLOCK, served=True, yields=True), "b": Wish(turn=2)}
    assert lines(plan(two, seen(there, free=42 * GIB, wishes=wishes))) == ["stop a", "remove a", "create b"]
    made = plan(two, seen(free=101 * GIB, wishes=wishes))
    assert lines(made) == ["create b"]
    assert [(h.workload, h.reason) for h in made.held] == [("a", "OnDemand")]
    assert made.held[0].message == "a starts when those that it gave way to have had their turn"


def test_nothing_is_stopped_where_that_would_not_be_enough() -> None:
    two = target("a 20", "b 90")
    (there,) = up(two, "a")
    made = plan(two, seen(there, free=40 * GIB, wishes={"a": idle(999), "b": ASKED}))
    assert made.steps == ()
    assert made.held[-1].reason == "InsufficientMemory"
    assert made.held[-1].blockers == ()


def test_while_memory_comes_back_nothing_more_is_stopped() -> None:
    three = target("a 30", "b 30", "c 50")
    (there,) = up(three, "b")
    wishes = {"a": idle(999), "b": idle(999), "c": ASKED}
    back = plan(three, seen(there, free=30 * GIB, wishes=wishes, returning={"s1": 30 * GIB}))
    assert back.steps == ()
    assert {h.workload: h.reason for h in back.held} == {"a": "OnDemand", "c": "MemoryReturning"}
    came = plan(three, seen(there, free=30 * GIB, wishes=wishes))
    assert lines(came) == ["stop b", "remove b", "create c"]


def test_what_is_to_run_always_has_unused_ones_stopped_for_it() -> None:
    two = target("a 60", "b 50 run: always")
    (there,) = up(two, "a")
    made = plan(two, seen(there, free=42 * GIB, wishes={"a": idle(61)}))
    assert lines(made) == ["stop a", "remove a", "create b"]
    assert stop_of(made).cause == "stopped for b, which is to run always: needs 50.0 GiB, 12.0 GiB are missing"
    assert stop_of(made).sake == ""


def test_who_waits_for_its_turn_has_nothing_stopped_yet() -> None:
    recipe = "{engine: vllm, model: a/b, image: 'keep/echo:1', memory: %sGiB, probe: chat}"
    models = "".join(
        f"  {name}: {{recipe: {recipe % size}, on: s1, port: {8000 + size}, run: on-demand}}\n"
        for name, size in (("a", 40), ("b", 41), ("c", 42))
    )
    three = declare(f"models:\n{models}")
    there = [replace(c, id=f"{n:064x}") for n, c in enumerate(up(three, "a", "b"), 1)]
    wishes = {"a": idle(999), "b": Wish(turn=1), "c": Wish(turn=2)}
    made = plan(three, seen(*there, free=15 * GIB, wishes=wishes, probes=ready(there[0])))
    assert made.steps == ()
    assert [(h.workload, h.reason, h.blockers) for h in made.held] == [("c", "WaitingTurn", ("b",))]


def test_memory_that_comes_back_is_kept_for_whoever_waits_for_it() -> None:
    three = target("a 30", "b 50", "c 20")
    wishes = {"a": idle(999), "b": Wish(turn=1), "c": Wish(turn=2)}
    made = plan(three, seen(free=30 * GIB, wishes=wishes, returning={"s1": 30 * GIB}))
    assert made.steps == ()
    assert {h.workload: h.reason for h in made.held} == {
        "a": "OnDemand",
        "b": "MemoryReturning",
        "c": "InsufficientMemory",
    }
    assert lines(plan(three, seen(free=90 * GIB, wishes=wishes))) == ["create b", "create c"]


def test_of_two_the_one_that_was_used_longer_ago_makes_way() -> None:
    three = target("a 30", "b 30", "c 40")
    there = up(three, "a", "b")
    for first, then in (("a", "b"), ("b", "a")):
        wishes = {first: idle(900), then: idle(300), "c": ASKED}
        assert lines(plan(three, seen(*there, free=20 * GIB, wishes=wishes)))[:2] == [
            f"stop {first}",
            f"remove {first}",
        ]
        # Used at the same time, but one has answered for less long: loading is no idleness.
        wishes = {"a": idle(2000), "b": idle(2000), "c": ASKED}
        long, short = (next(c for c in there if c.workload == name) for name in (first, then))
        probes = ready(long, since=900) | ready(short, since=300)
        assert lines(plan(three, seen(*there, free=20 * GIB, wishes=wishes, probes=probes)))[:1] == [f"stop {first}"]


def test_a_suspended_one_is_called_that_where_it_takes_the_room() -> None:
    two = target("a 60", "b 60", suspended=frozenset("a"))
    (there,) = up(two, "a")
    made = plan(two, seen(there, free=40 * GIB, wishes={"a": idle(999), "b": ASKED}))
    assert made.steps == ()
    (refused,) = (h for h in made.held if h.workload == "b")
    assert "a holds 60.0 GiB there (suspended, priority 0)" in refused.message
