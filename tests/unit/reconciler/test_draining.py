"""A planned stop waits for the requests under way at what it ends; a repair does not, and nothing waits for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.draining import Traffic
from reconciler.model import Container, Held, Plan, ProbeResult, Sight, Step, Verb, World
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import GIB, IMAGES, NOW, container, declare, named, service, sight, world

CLOCK = 500.0
ECHO = ("echo", "s1")
PROBE = ", probe: http"


def echo(recipe: str = PROBE, **more: Any) -> Target:
    return declare("services:\n" + service(recipe=recipe), **more)


def seen(*containers: Container, busy: int = 3, since: float | None = None, **more: Any) -> World:
    """`busy` requests under way at echo on s1, which is being drained `since` that many seconds."""
    draining = {} if since is None else {ECHO: CLOCK - since}
    sights: dict[str, Sight] = {"s1": sight(*containers, images=IMAGES, free=more.pop("free", 100 * GIB))}
    sights |= more.pop("sights", {})
    under_way = {ECHO: busy} if busy else {}
    return world(sights=sights, under_way=under_way, draining=draining, clock=CLOCK, **more)


def lines(made: Plan) -> list[str]:
    return [f"{step.verb} {step.workload}" for step in made.steps]


def waits(made: Plan) -> Held:
    (found,) = (held for held in made.held if held.drains is not None)
    return found


OLD = echo(PROBE + ", env: {A: '1'}")
NEW = echo()
THERE = container(named(OLD, "echo"))
RECREATED = ["stop echo", "remove echo", "create echo"]


def test_a_change_waits_until_the_requests_under_way_are_done_and_says_so() -> None:
    made = plan(NEW, seen(THERE))
    assert made.steps == ()
    assert made.held == (
        Held(
            spark="s1",
            workload="echo",
            reason="Draining",
            message="3 requests are under way at echo on s1: it is stopped when they are done, at 08:00:30 UTC at the "
            "latest (changed: env A)",
            until=NOW + 30,
            drains=ECHO,
        ),
    )
    assert waits(plan(NEW, seen(THERE, since=5))).until == NOW + 25
    assert waits(plan(NEW, seen(THERE, busy=1))).message.startswith("1 request is under way at echo on s1: ")
    assert lines(plan(NEW, seen(THERE, busy=0))) == RECREATED
    assert lines(plan(NEW, seen(THERE, busy=0, since=7))) == RECREATED


def test_it_waits_no_longer_than_it_may_and_with_0_not_at_all() -> None:
    assert lines(plan(NEW, seen(THERE, since=29.9))) == []
    assert lines(plan(NEW, seen(THERE, since=30))) == RECREATED
    at_once = declare("settings: {proxy: {drain: 0s}}\nservices:\n" + service(recipe=PROBE))
    assert lines(plan(at_once, seen(THERE))) == RECREATED
    longer = declare("settings: {proxy: {drain: 5m}}\nservices:\n" + service(recipe=PROBE))
    assert waits(plan(longer, seen(THERE, since=30))).until == NOW + 270


def test_people_are_shown_the_steps_and_that_they_wait() -> None:
    made = plan(NEW, seen(THERE, lenient=True))
    assert lines(made) == RECREATED
    assert waits(made).reason == "Draining"
    assert made.digest == plan(NEW, seen(THERE, busy=0, lenient=True)).digest


def test_what_is_moved_pruned_or_restarted_waits_too() -> None:
    for target, after in (
        (declare("services:\n" + service(recipe=PROBE, on="s2")), ["stop echo", "remove echo", "create echo"]),
        (declare("services:\n" + service("other", on="s2")), ["stop echo", "remove echo", "create other"]),
        (echo(PROBE, drained=frozenset({"s1"})), ["stop echo", "remove echo"]),
    ):
        assert not [line for line in lines(plan(target, seen(THERE))) if "create" not in line]
        assert waits(plan(target, seen(THERE))).workload == "echo"
        assert lines(plan(target, seen(THERE, busy=0))) == after
    asked = {THERE.id: THERE.started_at}
    assert waits(plan(OLD, seen(THERE, restarts=asked))).message.endswith("(a person asked for a restart)")
    assert lines(plan(OLD, seen(THERE, busy=0, restarts=asked))) == ["restart echo"]


def test_what_is_broken_is_not_waited_for() -> None:
    silent = ProbeResult(container=THERE.id, ready=False, ready_at=NOW - 99, failing_since=NOW - 30, failures=9)
    probes = {ECHO: silent}
    assert lines(plan(OLD, seen(THERE, probes=probes))) == ["restart echo"]
    assert lines(plan(NEW, seen(THERE, probes=probes))) == RECREATED
    dead = replace(THERE, state="exited", exit_code=1)
    assert lines(plan(NEW, seen(dead))) == ["remove echo", "create echo"]
    assert lines(plan(OLD, seen(dead))) == ["start echo"]


def test_what_a_guard_keeps_back_is_not_drained() -> None:
    empty = declare("")
    made = plan(empty, seen(THERE))
    assert [held.reason for held in made.held] == ["EmptyDesired"]
    assert [step.verb for step in made.withheld] == [Verb.STOP, Verb.REMOVE]


def test_who_needs_its_port_or_memory_waits_and_evicts_nobody_for_it() -> None:
    port = plan(declare("services:\n" + service("other")), seen(THERE))
    assert [(held.workload, held.reason) for held in port.held] == [("echo", "Draining"), ("other", "MakingRoom")]
    big = container(named(echo(", memory: 60GiB"), "echo"))
    resting = service("rests", port=8001, recipe=PROBE + ", memory: 40GiB", extra=", run: on-demand")
    wants = service("wants", port=8002, recipe=", memory: 50GiB")
    target = declare("services:\n" + resting + wants)
    idle = container(named(target, "rests"), 2)
    probes = {("rests", "s1"): ProbeResult(container=idle.id, ready=True, ready_at=NOW - 9999)}
    memory = plan(target, seen(big, idle, free=10 * GIB, probes=probes))
    assert memory.steps == ()
    assert [(held.workload, held.reason) for held in memory.held] == [("echo", "Draining"), ("wants", "MakingRoom")]


def test_a_dead_one_beside_it_is_repaired_at_once() -> None:
    both = declare("services:\n" + service(recipe=PROBE) + service("b", port=8001))
    dead = container(named(both, "b"), 2, state="exited", exit_code=1)
    made = plan(both, seen(THERE, dead))
    assert lines(made) == ["start b"]
    assert waits(made).workload == "echo"


def test_two_models_of_one_spark_are_not_taken_from_their_apps_at_once() -> None:
    now, then = (
        declare("models:\n" + service(recipe=recipe) + service("b", port=8001, recipe=recipe))
        for recipe in (", memory: 1GiB, probe: chat", ", memory: 1GiB, probe: chat, env: {A: '1'}")
    )
    there = [container(i, n) for n, i in enumerate(then.instances["s1"], 1)]
    busy = {ECHO: 1, ("b", "s1"): 1}
    probes = {(c.workload, "s1"): ProbeResult(container=c.id, ready=True, ready_at=NOW - 99) for c in there}
    made = plan(now, replace(seen(*there, probes=probes), under_way=busy))
    assert made.steps == ()
    assert [(held.workload, held.reason) for held in made.held] == [("b", "Draining"), ("echo", "WaitingTurn")]
    made = plan(now, replace(seen(*there, probes=probes), under_way={("b", "s1"): 1}))
    assert [step.workload for step in made.steps] == ["echo"] * 3  # which is idle, and need not wait for b


def test_who_gives_its_port_to_another_is_drained_for_it_and_what_is_kept_for_both_goes_to_nobody_else() -> None:
    """echo moves to another port, and `b` gets its old one; echo has requests under way."""
    before = declare("services:\n" + service(recipe=PROBE + ", memory: 10GiB"))
    moved = service(port=8001, recipe=PROBE + ", memory: 10GiB")
    first = service("b", port=8000, recipe=PROBE + ", memory: 30GiB", extra=", priority: 5")
    late = service("z", port=8003, recipe=", memory: %dGiB", extra=", priority: -5")
    there = container(named(before, "echo"))
    probes = {ECHO: ProbeResult(container=there.id, ready=True, ready_at=NOW - 99)}
    for size in (46, 47):  # 80, less 30 for `b` and the reserve of 4, leave 46
        after = declare("services:\n" + moved + first + late % size)
        made = plan(after, seen(there, free=80 * GIB, probes=probes))
        assert lines(made) == (["create z"] if size == 46 else [])
        held = {held.workload: (held.reason, held.message) for held in made.held}
        assert held["echo"][0] == "Draining"
        assert held["b"] == ("MakingRoom", "echo on s1 must make room, and has requests under way")
    assert held["z"] == (
        "InsufficientMemory",
        (
            "z needs about 47.0 GiB (stated), s1 has 80.0 GiB available now, b waits for requests to end and may take "
            "30.0 GiB, 4.0 GiB are reserved: 1.0 GiB are missing. echo holds 10.0 GiB there (always, priority 0)"
        ),
    )


def test_its_own_memory_is_not_counted_twice_for_one_that_is_to_be_replaced() -> None:
    """echo grows from 10 to 40 GiB when its requests have ended: 30 more are kept for it, and for nobody else."""
    before = declare("services:\n" + service(recipe=PROBE + ", memory: 10GiB, env: {A: '1'}"))
    there = container(named(before, "echo"))
    probes = {ECHO: ProbeResult(container=there.id, ready=True, ready_at=NOW - 99)}
    for size in (36, 37):
        late = service("z", port=8003, recipe=f", memory: {size}GiB", extra=", priority: -5")
        after = declare("services:\n" + service(recipe=PROBE + ", memory: 40GiB") + late)
        made = plan(after, seen(there, free=70 * GIB, probes=probes))
        assert waits(made).workload == "echo"
        assert lines(made) == (["create z"] if size == 36 else [])
    (refused,) = (held.message for held in made.held if held.workload == "z")
    assert "echo waits for requests to end and may take 30.0 GiB" in refused


GROUP = "models:\n  big: {recipe: {engine: vllm, model: a/b, image: 'keep/echo:1', memory: 1GiB, probe: http%s}, across: [s1, s2]%s}\n"


def test_a_group_is_waited_for_as_a_whole_unless_a_rank_of_it_is_gone() -> None:
    then, now = declare(GROUP % (", env: {A: '1'}", "")), declare(GROUP % ("", ""))
    ranks = {spark: container(then.instances[spark][0], n) for n, spark in enumerate(("s1", "s2"), 1)}
    sights = {spark: sight(rank, images=IMAGES) for spark, rank in ranks.items()}
    key = ("big", "s1")
    busy = replace(seen(busy=0), sights=sights, under_way={key: 2})
    for target in (now, declare("services:\n" + service("other", port=9))):
        made = plan(target, busy)
        assert not [step for step in made.steps if step.workload == "big"]
        assert {(held.spark, held.drains) for held in made.held if held.drains} == {("s1", key), ("s2", key)}
        free = plan(target, replace(busy, under_way={}))
        assert [step.spark for step in free.steps if step.verb is Verb.STOP] == ["s1", "s2"]
    dead = sight(replace(ranks["s2"], state="exited"), images=IMAGES)
    lost = plan(then, replace(busy, sights=sights | {"s2": dead}))
    assert [(step.spark, step.verb) for step in lost.steps] == [
        ("s1", Verb.STOP),
        ("s1", Verb.REMOVE),
        ("s2", Verb.REMOVE),
    ]


# The count


def stop(key: tuple[str, str] | None = ECHO) -> Step:
    (found, *_) = plan(NEW, seen(THERE, busy=0)).steps
    return replace(found, drains=key)


class Counted:
    def __init__(self) -> None:
        self.now = 0.0
        self.freed: list[tuple[str, str]] = []
        self.traffic = Traffic(lambda: self.now, self.freed.append)

    def plan(self, *held: Held, steps: tuple[Step, ...] = ()) -> Plan:
        return Plan(revision="r", steps=steps, held=held)


def test_a_stop_is_carried_out_only_while_nothing_is_under_way_or_after_the_longest_wait() -> None:
    it = Counted()
    assert it.traffic.allows(stop(), 30)
    it.traffic.begin(ECHO)
    assert not it.traffic.allows(stop(), 30)
    assert it.traffic.allows(stop(("b", "s1")), 30)
    assert it.traffic.allows(stop(None), 30)
    assert it.traffic.passed("s1", it.plan(waits(plan(NEW, seen(THERE)))))
    it.now = 29.0
    assert not it.traffic.allows(stop(), 30)
    it.now = 30.0
    assert it.traffic.allows(stop(), 30)


def test_it_is_drained_from_the_first_plan_that_waits_until_its_stop_is_sent_or_no_plan_wants_it() -> None:
    it, wanted = Counted(), waits(plan(NEW, seen(THERE)))
    it.traffic.begin(ECHO)
    assert it.traffic.passed("s1", it.plan(wanted))
    it.now = 5.0
    assert not it.traffic.passed("s1", it.plan(wanted))
    assert not it.traffic.passed("s2", it.plan(wanted))
    assert it.traffic.draining == {ECHO: 0.0}
    it.traffic.end(ECHO)
    assert it.freed == [ECHO]
    assert it.traffic.waited_for_by(ECHO) == ["s1"]
    assert not it.traffic.passed("s1", it.plan(steps=(stop(),)))
    assert it.traffic.draining == {ECHO: 0.0}
    assert it.traffic.passed("s1", it.plan())
    assert it.traffic.draining == {}
    later = replace(stop(), look_first="the memory must be back")
    assert it.traffic.passed("s1", it.plan(wanted))
    assert it.traffic.passed("s1", it.plan(steps=(later,)))
    it.traffic.passed("s1", it.plan(wanted))
    it.traffic.keep_only({"s2"})
    assert it.traffic.draining == {}


@given(st.lists(st.booleans(), max_size=30))
def test_it_is_free_when_as_many_have_ended_as_have_begun(begins: list[bool]) -> None:
    it, count = Counted(), 0
    it.traffic.passed("s1", it.plan(waits(plan(NEW, seen(THERE)))))
    for begin in begins:
        told = len(it.freed)
        (it.traffic.begin if begin else it.traffic.end)(ECHO)
        count = count + 1 if begin else max(0, count - 1)
        assert it.traffic.under_way.get(ECHO, 0) == count
        assert (len(it.freed) > told) == (not begin and not count)
