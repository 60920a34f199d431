"""A group that runs on demand starts, makes way and stops as a whole; and has others stopped for it on all its Sparks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.model import Container, ProbeResult, Verb, Wish, World
from reconciler.on_demand import EVICTED
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import GIB, NOW, container, declare, named
from tests.unit.reconciler.test_groups import IMAGE, Fleet, ranks

CLOCK = 10_000.0
ASKED = Wish(turn=1)
RECIPE = "{engine: vllm, model: a/b, image: '%s', memory: %sGiB, probe: chat}"
BIG = f"  big: {{recipe: {RECIPE % (IMAGE, 60)}, across: [s1, s2], run: on-demand, idle: 20m}}\n"


def idle(seconds: float, **more: Any) -> Wish:
    return Wish(last=CLOCK - seconds, **more)


def small(name: str, spark: str, memory: int, port: int, more: str = "") -> str:
    return f"  {name}: {{recipe: {RECIPE % (IMAGE, memory)}, on: {spark}, port: {port}, run: on-demand{more}}}\n"


class Demanded(Fleet):
    """A fleet with wishes. Everything that runs at first has answered."""

    def __init__(self, target: Target, wishes: dict[str, Wish], *found: Container, free: int = 110 * GIB) -> None:
        super().__init__(target, free=free)
        self.wishes = wishes
        for each in found:
            spark = next(s for s, there in target.instances.items() if _is_one_of(each, there))
            self.up[spark][each.name] = each
            self.ready.add(each.id)

    def world(self, **more: Any) -> World:
        seen = super().world(wishes=self.wishes, clock=CLOCK, **more)
        return replace(seen, probes={key: replace(probe, ready_at=NOW - 3600) for key, probe in seen.probes.items()})

    def steps(self) -> list[str]:
        return [f"{s.spark} {s.verb} {s.workload}" for s in self.plan().steps if s.verb is not Verb.MKDIR]

    def reasons(self) -> set[tuple[str, str, str]]:
        return {(h.workload, h.spark, h.reason) for h in self.plan().held}


def _is_one_of(found: Container, instances: Any) -> bool:
    return any(i.name == found.name and str(i.rank) == found.labels["sparkkeep.rank"] for i in instances)


def group_up(target: Target) -> list[Container]:
    return [container(rank, 10 + rank.rank) for rank in ranks(target)]


def declared(*more: str) -> Target:
    return declare("models:\n" + BIG + "".join(more))


def test_it_forms_workers_first_when_it_is_asked_for_and_only_then() -> None:
    fleet = Demanded(declared(), {"big": idle(5)})
    assert fleet.steps() == []
    assert fleet.reasons() == {("big", "s1", "OnDemand"), ("big", "s2", "OnDemand")}
    fleet.wishes = {"big": ASKED}
    assert fleet.act("s2") == ["s2 create"]
    assert fleet.act("s1") == ["s1 create"]
    assert fleet.steps() == []


def test_unused_all_of_it_goes_and_no_guard_asks() -> None:
    target = declared()
    fleet = Demanded(target, {"big": idle(1199)}, *group_up(target))
    assert fleet.steps() == []
    fleet.wishes = {"big": idle(1300)}
    assert fleet.steps() == ["s1 stop big", "s1 remove big", "s2 stop big", "s2 remove big"]
    assert {s.event for s in fleet.plan().steps if s.verb is Verb.STOP} == {"Unused"}
    assert not any(s.destructive for s in fleet.plan().steps)
    assert fleet.act("s2") == ["s2 stop", "s2 remove"]
    assert fleet.act("s1") == ["s1 stop", "s1 remove"]
    assert fleet.steps() == []


def test_half_formed_it_goes_when_nobody_waits_any_more() -> None:
    target = declared()
    fleet = Demanded(target, {"big": ASKED})
    fleet.act("s2")
    fleet.wishes = {"big": idle(0, abandoned=True)}
    assert fleet.steps() == ["s2 stop big", "s2 remove big"]
    fleet.act("s2")
    assert fleet.steps() == []


def test_what_nobody_uses_makes_room_for_each_rank_and_then_it_forms() -> None:
    target = declared(small("a", "s1", 70, 7001), small("b", "s2", 80, 7002))
    wishes = {"big": ASKED, "a": idle(99), "b": idle(99)}
    fleet = Demanded(target, wishes, container(named(target, "a"), 1), container(named(target, "b"), 2))
    assert fleet.steps() == ["s1 stop a", "s1 remove a", "s2 stop b", "s2 remove b"]
    assert fleet.reasons() == {("big", "s1", "MakingRoom"), ("big", "s2", "MakingRoom")}
    fleet.act("s2")
    assert fleet.steps() == ["s1 stop a", "s1 remove a"]
    assert ("big", "s2", "MakingRoom") in fleet.reasons()
    fleet.act("s1")
    assert fleet.act("s2") == ["s2 create"]
    assert fleet.act("s1") == ["s1 create"]
    assert fleet.reasons() == {("a", "s1", "OnDemand"), ("b", "s2", "OnDemand")}


def test_nothing_is_stopped_for_it_if_one_of_its_sparks_can_make_no_room() -> None:
    target = declared(small("a", "s1", 70, 7001), small("b", "s2", 80, 7002))
    wishes = {"big": ASKED, "a": idle(99), "b": Wish(under_way=1)}
    fleet = Demanded(target, wishes, container(named(target, "a"), 1), container(named(target, "b"), 2))
    assert fleet.steps() == []
    assert fleet.reasons() == {("big", "s1", "InsufficientMemory"), ("big", "s2", "InsufficientMemory")}
    assert {h.blockers for h in fleet.plan().held} == {("b",)}


def test_it_makes_way_as_a_whole_for_what_needs_only_one_of_its_sparks() -> None:
    target = declared(small("a", "s1", 70, 7001))
    fleet = Demanded(target, {"big": idle(99), "a": ASKED}, *group_up(target))
    assert fleet.steps() == ["s1 stop big", "s1 remove big", "s1 create a", "s2 stop big", "s2 remove big"]
    causes = {s.cause for s in fleet.plan().steps if s.verb is Verb.STOP}
    assert causes == {"stopped for a, which is asked for: needs 70.0 GiB, 24.0 GiB are missing"}
    fleet.act("s1")
    fleet.act("s2")
    assert fleet.act("s1") == ["s1 create"]


def test_it_makes_no_way_while_one_of_its_sparks_does_not_answer() -> None:
    target = declared(small("a", "s1", 70, 7001))
    fleet = Demanded(target, {"big": idle(99), "a": ASKED}, *group_up(target))
    fleet.silent.add("s2")
    assert fleet.steps() == []
    assert ("a", "s1", "InsufficientMemory") in fleet.reasons()


def test_one_that_stopped_answering_goes_as_a_whole_if_nobody_waits_for_it() -> None:
    target = declared()
    there = group_up(target)
    fleet = Demanded(target, {"big": idle(5)}, *there)
    head = next(c for c in there if c.labels["sparkkeep.rank"] == "0")
    world = fleet.world()
    deaf = ProbeResult(
        container=head.id, ready=False, ready_at=NOW - 900, failing_since=NOW - 99, failures=9, message="refused"
    )
    deafened = replace(world, probes=world.probes | {("big", "s1"): deaf})
    stops = [s for s in plan(target, deafened).steps if s.verb is Verb.STOP]
    assert [(s.spark, s.failing, s.event) for s in stops] == [("s1", True, ""), ("s2", False, "")]
    assert {s.cause for s in stops} == {
        "rank 0 on s1: it runs but does not answer since 99 s: refused; nobody waits for it"
    }
    wanted = replace(deafened, wishes={"big": ASKED})
    assert not [s for s in plan(target, wanted).steps if "nobody waits" in s.cause]


def test_the_rank_elsewhere_goes_for_the_same_sake_and_is_told_as_made_way() -> None:
    target = declared(small("a", "s1", 70, 7001))
    fleet = Demanded(target, {"big": idle(99), "a": ASKED}, *group_up(target))
    stops = [s for s in fleet.plan().steps if s.verb is Verb.STOP]
    assert {(s.spark, s.event, s.sake) for s in stops} == {("s1", EVICTED, "a"), ("s2", EVICTED, "a")}
