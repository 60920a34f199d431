"""Laws of what runs on demand, over random fleets, declarations and wishes."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import OWNER, Plan, Verb, Wish, World
from reconciler.plan import part, plan
from reconciler.target import Target
from tests.unit.reconciler.test_plan_laws import (
    RESERVE,
    SPARKS,
    TOTAL,
    Machine,
    concerning,
    declared,
    fleet,
    workloads,
)
from tests.unit.reconciler.test_plan_laws import world as world_of

CLOCK = 10_000.0
Declared = dict[str, dict[str, object]]
WISHES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        Wish,
        turn=st.sampled_from((0, 0, 1, 2, 3)),
        under_way=st.sampled_from((0, 0, 1)),
        last=st.sampled_from((CLOCK, CLOCK - 30, CLOCK - 90)),
        served=st.booleans(),
        yields=st.sampled_from((False, False, True)),
        abandoned=st.booleans(),
    ),
)
MANY = workloads.map(lambda found: {name: w | {"run": _often(w["run"])} for name, w in found.items()})


def _often(run: object) -> object:
    return "on-demand" if run == "always" else "always" if run == "on-demand" else run


def seen(machines: dict[str, Machine], wishes: dict[str, Wish], order: random.Random | None = None) -> World:
    return replace(world_of(machines, order), wishes=wishes, clock=CLOCK)


def one_pass(machines: dict[str, Machine], target: Target, wishes: dict[str, Wish]) -> Plan:
    made = plan(target, seen(machines, wishes))
    for spark, machine in machines.items():
        acted = False
        for step in made.for_spark(spark):
            if step.look_first and acted:
                break
            machine.do(step, target)
            acted = True
    return made


def converged(machines: dict[str, Machine], target: Target, wishes: dict[str, Wish]) -> Plan:
    """The last plan of many, which has nothing left to do."""
    made = one_pass(machines, target, wishes)
    for _ in range(30):
        if not made.steps:
            return made
        made = one_pass(machines, target, wishes)
    raise AssertionError(f"it never ends: {[step.command for step in made.steps]}")


@given(MANY, MANY, WISHES, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_in_the_end_who_is_asked_for_runs_or_nothing_could_make_room_for_it(
    old: Declared, new: Declared, wishes: dict[str, Wish], dice: random.Random
) -> None:
    """Safely on the way: `Machine.do` sees to it that no port is held twice and no memory over-committed."""
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=1)
    final = converged(machines, target, wishes)
    assert {h.reason for h in final.held} <= {"OnDemand", "InsufficientMemory"}
    short = {h.workload: h for h in final.held if h.reason == "InsufficientMemory"}
    for spark, machine in machines.items():
        running = {c.workload: c for c in machine.containers.values() if c.running and c.labels.get(OWNER)}
        free = TOTAL - RESERVE - sum(c.memory for c in running.values())
        for instance in target.instances[spark]:
            wish = wishes.get(instance.workload, Wish())
            if instance.workload in short:
                others = [i for i in target.instances[spark] if i.workload in running and i.on_demand]
                spare = sum(
                    i.memory
                    for i in others
                    if i.workload in wishes and i.priority <= instance.priority and _idle(wishes[i.workload])
                )
                assert instance.memory > free + spare, instance.workload
            elif wish.wanted or not instance.on_demand:
                assert running[instance.workload].spec_hash == instance.spec_hash


def _idle(wish: Wish) -> bool:
    return not wish.busy and (wish.yields or CLOCK - wish.last >= 60)


@given(MANY, WISHES, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_what_serves_as_declared_is_stopped_for_nobody(
    found: Declared, wishes: dict[str, Wish], dice: random.Random
) -> None:
    target = declared(found)
    if target is None:
        return
    machines = fleet(target, dice, strangers=0)
    made = plan(target, seen(machines, wishes))
    there = {i.workload: i for each in target.instances.values() for i in each}
    going = {step.workload for step in made.steps if step.verb in {Verb.STOP, Verb.REMOVE}}
    assert all(there[name].on_demand for name in going)
    assert not any(wishes[name].busy for name in going)
    assert all(s.cause and s.event and not s.destructive for s in made.steps if s.verb is Verb.STOP)


@given(MANY, MANY, WISHES, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_plans_with_wishes_are_determined_and_their_parts_are_what_the_whole_says(
    old: Declared, new: Declared, wishes: dict[str, Wish], dice: random.Random
) -> None:
    before, target = declared(old), declared(new)
    if before is None or target is None:
        return
    machines = fleet(before, dice, strangers=1)
    world = seen(machines, wishes)
    whole = plan(target, world)
    shuffled = replace(world, wishes=dict(sorted(wishes.items(), reverse=True)))
    assert whole == plan(target, shuffled)
    assert whole.steps == plan(target, seen(machines, wishes, order=dice)).steps
    for spark in SPARKS:
        assert part(target, partial(concerning, world), spark).for_spark(spark) == whole.for_spark(spark)
