"""What a group waits for, why it goes and why it comes: every reason of every rank, with its whole sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.model import Failure, Plan, ProbeResult, World
from reconciler.plan import plan
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack
from tests.unit.reconciler.builders import GIB, NOW, container, declare, foreign
from tests.unit.reconciler.test_groups import GROUP, IMAGE, RECIPE, THREE, Fleet, lines, ranks


def told(result: Plan) -> list[tuple[str, int, str, str]]:
    return [(held.spark, held.rank, held.reason, held.message) for held in result.held]


def both(reason: str, message: str) -> list[tuple[str, int, str, str]]:
    return [("s1", 0, reason, message), ("s2", 1, reason, message)]


def causes(result: Plan) -> set[str]:
    return {step.cause for step in result.steps}


def test_a_suspended_group_is_told_for_each_rank() -> None:
    result = Fleet(declare(GROUP, suspended=frozenset({"big"}))).plan()
    assert told(result) == both("Suspended", "big is suspended: nothing about it is changed")
    assert {held.workload for held in result.held} == {"big"}


def test_a_group_on_demand_starts_when_it_is_asked_for_and_goes_on_once_it_began() -> None:
    """A worker that runs was asked for: its head must still come."""
    target = declare(GROUP.replace("across:", "run: on-demand, across:"))
    assert told(Fleet(target).plan()) == both("OnDemand", "big starts when it is asked for")
    _, worker = ranks(target)
    assert lines(Fleet(target, None, container(worker, 2)).plan()) == ["s1 create 0"]


def test_a_name_that_somebody_took_holds_all_ranks_and_says_whose_it_is() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    result = Fleet(target, None, foreign(worker.name)).plan()
    taken = f"the name {worker.name} is taken by a container that is not ours (other/thing:1, 000000000063)"
    assert told(result) == both("NameTaken", f"{taken} (rank 1 on s2)")
    result = Fleet(target, foreign(head.name), foreign(worker.name)).plan()
    assert [held.message.endswith(" (rank 0 on s1)") for held in result.held] == [True, True]


def test_a_cordoned_spark_is_named_by_all_ranks() -> None:
    result = Fleet(declare(GROUP, cordoned=frozenset({"s2"}))).plan()
    assert told(result) == both("Cordoned", "s2 is cordoned: nothing new starts there")


def test_a_failure_of_one_rank_is_told_by_all_with_its_end() -> None:
    target = declare(GROUP)
    _, worker = ranks(target)
    failure = Failure(count=2, reason="X", message="it ran out", spec_hash=worker.spec_hash, at=NOW, retry_at=NOW + 9)
    result = Fleet(target).plan(failures={("big", "s2"): failure})
    assert told(result) == both("X", "it ran out (failure 2, next try at 08:00:09 UTC) (rank 1 on s2)")
    assert [(held.until, held.terminal) for held in result.held] == [(NOW + 9, False)] * 2
    for_good = Fleet(target).plan(failures={("big", "s2"): replace(failure, terminal=True)})
    assert told(for_good) == both("X", "it ran out (waits for a change of its declaration) (rank 1 on s2)")
    assert [(held.until, held.terminal) for held in for_good.held] == [(None, True)] * 2


def seeing(fleet: Fleet, **changed: dict[str, Any]) -> World:
    """The world of a fleet with other images, times or facts in the scans of some Sparks."""
    world = fleet.world()
    sights = dict(world.sights)
    for spark, change in changed.items():
        scan = sights[spark].scan
        assert scan is not None
        sights[spark] = replace(sights[spark], scan=replace(scan, **change))
    return replace(world, sights=sights)


def test_unlike_images_are_told_with_both() -> None:
    target = declare(GROUP)
    images = {
        spark: {"images": {IMAGE: frozenset({f"sha256:{digit * 64}"})}} for spark, digit in (("s1", "1"), ("s2", "2"))
    }
    message = (
        f"{IMAGE} is sha256:111111111111 on s1 and sha256:222222222222 on s2: all ranks need the same; "
        "fetch it anew on one of them, or pin a digest"
    )
    assert told(plan(target, seeing(Fleet(target), **images))) == both("ImageDiffers", message)


def test_unlike_images_of_the_second_and_third_rank_are_held_against_the_first() -> None:
    target = declare(THREE)
    first = {"images": {IMAGE: frozenset({"sha256:" + "1" * 64})}}
    third = {"images": {IMAGE: frozenset({"sha256:" + "3" * 64})}}
    result = plan(target, seeing(Fleet(target), s1=first, s2=first, s3=third))
    assert result.held[0].message.startswith(f"{IMAGE} is sha256:111111111111 on s1 and sha256:333333333333 on s3: ")


def test_an_image_that_lacks_is_told_by_those_that_have_it() -> None:
    target = declare(THREE)
    bare: dict[str, Any] = {"images": {}}
    result = plan(target, seeing(Fleet(target), s2=bare, s3=bare))
    assert lines(result) == ["s2 pull 1", "s3 pull 2"]
    assert causes(result) == {f"{IMAGE} is not on {spark} (a group starts as a whole)" for spark in ("s2", "s3")}
    assert told(result) == [("s1", 0, "GroupWaits", "the image of big is made ready on s2, s3 first")]


def test_weights_come_beside_an_image_that_is_being_fetched() -> None:
    target = declare(GROUP)
    worker = ranks(target)[1]
    lack = Lack(reason="WeightsWaiting", message="not whole", fetch=True)
    world = replace(
        seeing(Fleet(target), s2={"images": {}}),
        pulling=frozenset({("s2", IMAGE)}),
        weights={("s2", Want("a/b")): lack},
    )
    assert worker.weights == Want("a/b")
    assert [(held.spark, held.reason, held.want) for held in plan(target, world).held] == [
        ("s1", "GroupWaits", None),
        ("s2", "Pulling", Want("a/b")),
    ]


def test_weights_that_lack_in_two_places_are_told_by_the_third() -> None:
    target = declare(THREE)
    lack = Lack(reason="WeightsWaiting", message="not whole", fetch=True)
    result = Fleet(target).plan(weights={("s2", Want("a/b")): lack, ("s3", Want("a/b")): lack})
    assert told(result)[0] == ("s1", 0, "GroupWaits", "the weights of big come to s2, s3 first")
    assert [held.reason for held in result.held] == ["GroupWaits", "WeightsWaiting", "WeightsWaiting"]
    elsewhere = replace(target, fetch_weights=False)
    assert lines(plan(elsewhere, Fleet(target).world(weights={("s2", Want("a/b")): lack}))) == [
        "s2 create 1",
        "s3 create 2",
    ]


def test_a_look_is_fresh_for_ten_seconds() -> None:
    target = declare(GROUP)
    assert lines(plan(target, seeing(Fleet(target), s1={"taken_at": NOW - 10}))) == ["s2 create 1"]
    late = plan(target, seeing(Fleet(target), s1={"taken_at": NOW - 10.5}))
    message = "s1 is looked at once more before a group starts there"
    assert told(late) == [("s1", 0, "LookFirst", message), ("s2", 1, "GroupWaits", message)]
    old = {"taken_at": NOW - 60}
    assert told(plan(target, seeing(Fleet(target), s1=old, s2=old))) == both(
        "LookFirst", "s1, s2 is looked at once more before a group starts there"
    )


def test_why_a_rank_starts_is_told() -> None:
    target = declare(GROUP)
    first = Fleet(target).plan()
    assert causes(first) == {"its group starts"}
    assert told(first) == [("s1", 0, "WaitingForWorkers", "the head starts when its workers run")]
    assert causes(Fleet(target, None, container(ranks(target)[1], 2)).plan()) == {"all of its workers run"}


def test_why_a_group_goes_is_told_with_the_rank() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    one, two = container(head, 1), container(worker, 2)
    whole = "the whole group goes: "
    for found, cause in (
        ((one, replace(two, state="exited", exit_code=9)), "rank 1 on s2: it exited with status 9"),
        ((one, replace(two, state="created")), "rank 1 on s2: it was created but did not start"),
        ((one, replace(two, state="dead")), "rank 1 on s2: its container is dead"),
        ((replace(one, state="paused"), two), "rank 0 on s1: its container is paused"),
        ((one, None), "rank 1 on s2: no container of it there"),
        (
            (one, container(worker, 2, spec_hash="old")),
            "rank 1 on s2: changed: its spec (the container's label says nothing more)",
        ),
    ):
        assert causes(Fleet(target, *found).plan()) == {whole + cause}
    led = Fleet(target, None, two).plan(led=frozenset({two.id}))
    assert causes(led) == {whole + "rank 0 on s1: its container is gone"}
    assert told(led) == [("s1", 0, "GroupReplaced", "the whole group is replaced: rank 0 on s1: its container is gone")]
    asked = Fleet(target, one, two).plan(restarts={two.id: two.started_at})
    assert causes(asked) == {whole + "a person asked for a restart"}
    assert causes(Fleet(target, one, two).plan(restarts={two.id: two.started_at - 1})) == set()


def test_a_silent_head_is_told_with_how_long_it_was_silent() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    one, two = container(head, 1), container(worker, 2)
    silent = ProbeResult(
        container=one.id, ready=False, ready_at=NOW - 500, failing_since=NOW - 40, failures=9, message="hangs"
    )
    result = Fleet(target, one, two).plan(probes={("big", "s1"): silent})
    assert causes(result) == {"the whole group goes: rank 0 on s1: it runs but does not answer since 40 s: hangs"}


def test_what_docker_removes_of_a_group_is_waited_for() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    result = Fleet(target, container(head, 1, state="removing"), container(worker, 2)).plan()
    assert lines(result) == ["s2 stop 1", "s2 remove 1"]
    assert told(result) == [("s1", 0, "Removing", f"Docker is removing {head.name}")]


def test_a_group_of_another_spec_runs_on_where_a_spark_is_cordoned() -> None:
    """A cordon starts nothing new: a group that went would not come back."""
    target = declare(GROUP, cordoned=frozenset({"s1", "s2"}))
    head, worker = ranks(target)
    old, two = container(head, 1, spec_hash="old"), container(worker, 2)
    cause = "rank 0 on s1: changed: its spec (the container's label says nothing more)"
    kept = Fleet(target, old, two).plan()
    assert kept.steps == ()
    assert told(kept) == both("Cordoned", f"s1, s2 cordoned: the group keeps running as it was ({cause})")
    gone = ["s1 stop 0", "s1 remove 0", "s2 stop 1", "s2 remove 1"]
    assert lines(Fleet(declare(GROUP), old, two).plan()) == gone
    repaired = ["s1 stop 0", "s1 remove 0", "s2 remove 1"]
    assert lines(Fleet(target, old, replace(two, state="exited")).plan()) == repaired
    assert lines(Fleet(target, old, None).plan()) == ["s1 stop 0", "s1 remove 0"]
    assert lines(Fleet(target, container(head, 1), replace(two, state="exited")).plan()) == repaired


def test_what_can_not_be_seen_is_told_by_ranks_that_do_not_run() -> None:
    target = declare(GROUP)
    head, _ = ranks(target)
    why = "s2 can't be seen, and big runs on all of its Sparks or on none"
    for found, expected in (
        (None, [("s1", 0, "GroupUnknown", why)]),
        (container(head, 1), []),
        (container(head, 1, state="exited"), [("s1", 0, "GroupUnknown", why)]),
    ):
        fleet = Fleet(target, found)
        fleet.silent.add("s2")
        assert [each for each in told(fleet.plan()) if each[0] == "s1"] == expected
    both_silent = Fleet(declare(THREE))
    both_silent.silent |= {"s2", "s3"}
    assert told(both_silent.plan())[:1] == [
        ("s1", 0, "GroupUnknown", "s2, s3 can't be seen, and big runs on all of its Sparks or on none")
    ]


def test_a_refusal_of_one_spark_is_told_there_as_it_is_and_elsewhere_with_its_rank() -> None:
    target = declare(GROUP)
    _, worker = ranks(target)
    scan = Fleet(target).world().sights["s1"].scan
    assert scan is not None
    taken = {"facts": replace(scan.facts, listeners=frozenset({8000}))}
    refusal = "port 8000 of s1 is taken by a process that is not ours"
    assert told(plan(target, seeing(Fleet(target), s1=taken))) == [
        ("s1", 0, "PortTaken", refusal),
        ("s2", 1, "PortTaken", f"a group starts as a whole; rank 0 on s1: {refusal}"),
    ]
    back = plan(target, seeing(Fleet(target, None, container(worker, 2)), s1=taken))
    assert lines(back) == ["s2 stop 1", "s2 remove 1"]
    assert causes(back) == {f"the whole group goes: rank 0 on s1: {refusal}"}


def test_workers_keep_their_place_while_their_head_only_waits_for_its_turn() -> None:
    """To load them again costs minutes, and the turn comes by itself."""
    other = f"other: {{recipe: {RECIPE.replace('60GiB', '20GiB')}, on: s1, port: 8001}}"
    target = declare(GROUP.replace("models: {", f"models: {{{other}, "))
    _, worker = ranks(target)
    loading = container(next(i for i in target.instances["s1"] if i.workload == "other"), 5)
    result = Fleet(target, loading, container(worker, 2)).plan()
    assert result.steps == ()
    assert told(result) == [("s1", 0, "WaitingTurn", "other is starting on s1; models start one at a time")]


def test_a_rank_that_others_must_make_room_for_waits_and_so_does_its_group() -> None:
    a, b = (
        f"{name}: {{recipe: {{image: 'keep/a:1', memory: {memory}GiB}}, on: s1, priority: -1}}"
        for name, memory in (("a", 60), ("b", 5))
    )
    old = f"{a}, {b}"
    new = old.replace("60GiB", "60GiB, env: {A: b}").replace("5GiB", "5GiB, env: {A: b}")
    before, after = (declare(f"{GROUP}\nservices: {{{text}}}") for text in (old, new))
    running = [container(i, at) for at, i in enumerate(before.instances["s1"], 3) if i.ranks == 1]
    for free, who in ((40, "a"), (2, "a, b")):
        fleet = Fleet(after)
        images = {IMAGE: frozenset[str](), "keep/a:1": frozenset[str]()}
        scan = fleet.world().sights["s1"].scan
        assert scan is not None
        full = {
            "containers": tuple(running),
            "images": images,
            "facts": replace(scan.facts, memory_available=free * GIB),
        }
        result = plan(after, seeing(fleet, s1=full))
        waits = f"{who} must make room on s1"
        assert [each for each in told(result) if each[2] == "GroupWaits"] == [
            ("s1", 0, "GroupWaits", waits),
            ("s2", 1, "GroupWaits", f"a group starts as a whole; rank 0 on s1: {waits}"),
        ]


def test_a_rank_that_would_wait_for_a_look_waits_and_says_for_what() -> None:
    gone = foreign(
        "sparkkeep-gone",
        7,
        labels={"sparkkeep.owner": "sparkkeep", "sparkkeep.workload": "gone", "sparkkeep.memory": str(60 * GIB)},
    )
    target = declare(GROUP)
    result = Fleet(target, gone, free=80 * GIB).plan()
    assert lines(result) == ["s1 stop 0", "s1 remove 0"]
    waits = "on s1: the memory of gone must be seen to be back: 60.0 GiB + 4.0 GiB reserve"
    assert told(result) == [
        ("s1", 0, "GroupWaits", waits),
        ("s2", 1, "GroupWaits", f"a group starts as a whole; rank 0 on s1: {waits}"),
    ]


def test_a_group_waits_where_a_model_was_planned_before_it() -> None:
    other = f"other: {{recipe: {RECIPE.replace('60GiB', '20GiB')}, on: s1, port: 8001, priority: 1}}"
    target = declare(GROUP.replace("models: {", f"models: {{{other}, "))
    result = Fleet(target).plan()
    assert lines(result) == ["s1 create 0"]
    assert told(result)[0] == ("s1", 0, "GroupWaits", "on s1: other must be ready: models start one at a time")
