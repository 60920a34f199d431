"""The plan of a fleet: what guards keep back, what can't be seen, and one Spark's part of it."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model import Held, Plan, Sight, Verb, World
from reconciler.place import Placements
from reconciler.plan import approvals, part, plan
from tests.unit.reconciler.builders import IMAGES, NOW, container, declare, service, sight, unknown, world
from tests.unit.reconciler.test_groups import GROUP
from tests.unit.reconciler.test_jobs import INSTANCE, UP, here, verbs, why


def test_what_can_not_be_seen_is_told_and_its_sparks_are_named() -> None:
    target = declare("services:\n" + service() + service("other", on="s2", port=9000))
    seen = world(sights={"s2": unknown()})
    result = plan(target, seen)
    assert result.unknown == ("s2",)
    assert result.held == (
        Held(spark="s2", workload="other", reason="ConnectTimeout", message="s2: it does not answer"),
    )
    never = plan(target, World(sights={}, now=NOW))
    assert never.unknown == ("s1", "s2")
    assert never.held == (
        why("NotYetSeen", "s1: not scanned yet"),
        Held(spark="s2", workload="other", reason="NotYetSeen", message="s2: not scanned yet"),
    )


def test_what_a_guard_keeps_back_is_told_and_what_a_person_can_release_is_marked() -> None:
    target = declare("guards: {maxDestructive: 0}\nservices:\n" + service("other", port=9000))
    result = plan(target, here(replace(UP, name="sparkkeep-x", labels={**UP.labels, "sparkkeep.rank": "3"})))
    message = (
        "1 running containers would go at once, 0 are allowed (guards.maxDestructive); `sparkkeep apply` releases it"
    )
    assert result.held == (why("TooDestructive", message, rank=3, approvable=True),)
    assert [(step.verb, step.workload) for step in result.steps] == [(Verb.CREATE, "other")]
    assert [step.verb for step in result.withheld] == [Verb.STOP, Verb.REMOVE]
    assert approvals(result.withheld) == {UP.id}
    released = plan(target, here(replace(UP, name="sparkkeep-x"), approved=approvals(result.withheld)))
    assert verbs(released) == [Verb.STOP, Verb.REMOVE, Verb.CREATE]


def test_an_empty_desired_state_says_what_would_go_and_how_to_let_it() -> None:
    message = (
        "the desired state is empty: 2 running containers would go; `sparkkeep apply` releases it, "
        "`guards: {allowEmpty: true}` always allows it"
    )
    two = (UP, replace(UP, name="sparkkeep-x", id="f" * 64))
    gone = replace(UP, name="sparkkeep-y", id="e" * 64, state="exited")
    empty = declare("services: {}")
    result = plan(empty, here(*two, gone))
    assert {held.message for held in result.held} == {message}
    assert [held.approvable for held in result.held] == [True, True]
    assert verbs(result) == [Verb.REMOVE]
    allowed = plan(replace(empty, allow_empty=True), here(*two, gone))
    assert (allowed.held, len(allowed.steps)) == ((), 5)


def freeze(share: float, *silent: str) -> Plan:
    text = "sparks: {s1: {host: a}, s2: {host: b}, s3: {host: c}, s4: {host: d}}\n"
    text += f"guards: {{unreachableFreeze: {share}}}\nservices:\n{service('other', port=9000)}"
    sights: dict[str, Sight] = {f"s{at}": sight(images=IMAGES) for at in (2, 3, 4)}
    sights |= {"s1": sight(UP, images=IMAGES)} | {spark: unknown() for spark in silent}
    return plan(declare(text), World(sights=sights, now=NOW))


def test_as_many_silent_sparks_as_are_written_freeze_the_fleet_and_one_less_does_not() -> None:
    message = "2 of 4 Sparks do not answer: it may be us, so nothing is taken down"
    frozen = freeze(0.5, "s2", "s3")
    assert frozen.held == (why("TooManyUnreachable", message),)
    assert frozen.unknown == ("s2", "s3")
    assert freeze(0.5, "s2").held == ()
    assert freeze(0.51, "s2", "s3").held == ()
    assert freeze(0.0).held == ()
    assert freeze(0.0, "s2").held[0].message == "1 of 4 Sparks do not answer: it may be us, so nothing is taken down"


def test_a_spark_that_was_never_seen_is_silent_too() -> None:
    target = declare("guards: {unreachableFreeze: 0.5}\nservices:\n" + service("other", port=9000))
    result = plan(target, World(sights={"s1": sight(UP, images=IMAGES)}, now=NOW))
    assert result.held == (
        why("TooManyUnreachable", "1 of 2 Sparks do not answer: it may be us, so nothing is taken down"),
    )


def test_a_part_is_what_the_plan_says_of_its_spark() -> None:
    target = declare("services:\n" + service() + service("other", on="s2", port=9000))
    seen = world()
    assert part(target, lambda _: seen, "s1") == Plan(
        revision="rev1", steps=(target.creations["s1", "sparkkeep-echo"],), held=target.refused
    )
    assert part(target, lambda _: world(sights={"s1": unknown()}), "s1") == plan(
        target, world(sights={"s1": unknown()})
    )
    assert part(target, lambda _: World(sights={}, now=NOW), "s1").unknown == ("s1", "s2")
    group = declare(GROUP)
    assert part(group, lambda _: seen, "s1") == plan(group, seen)
    drifted = here(container(INSTANCE, spec_hash="old"))
    assert part(target, lambda _: drifted, "s1") == plan(target, drifted)
    assert verbs(part(target, lambda _: drifted, "s1"))[-1] is Verb.CREATE
    assert {step.spark for step in part(target, lambda _: drifted, "s1").steps} == {"s1", "s2"}


def test_what_is_refused_beforehand_stands_in_every_plan() -> None:
    placed = Placements(on={}, waiting={"any": ("NoSparkFits", "full")})
    target = declare("services:\n" + service() + service("any", on="any", port=9000), placements=placed)
    for result in (plan(target, world()), part(target, lambda _: world(), "s1")):
        assert result.held == (Held(spark="", workload="any", reason="NoSparkFits", message="full"),)
