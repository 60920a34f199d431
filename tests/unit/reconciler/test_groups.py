"""Groups live and end as a whole. A small world obeys the plan, one Spark at a time and in any order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import Container, Failure, Held, Instance, Plan, ProbeResult, Sight, Verb, World
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import GIB, NOW, container, declare, foreign, sight

IMAGE = "ghcr.io/some/vllm:1"
RECIPE = f"{{engine: vllm, model: a/b, image: '{IMAGE}', memory: 60GiB, probe: chat}}"
GROUP = f"models: {{big: {{recipe: {RECIPE}, across: [s1, s2]}}}}"
IMAGES = frozenset({IMAGE})
UNSEEN = Sight(scan=None, unknown="ConnectTimeout", message="it does not answer")


def ranks(target: Target, name: str = "big") -> tuple[Instance, ...]:
    return next(group for group in target.groups if group[0].workload == name)


class Fleet:
    """Containers by Spark, and what `docker run`, `stop` and `rm` do to them."""

    def __init__(self, target: Target, *found: Container | None, free: int = 110 * GIB) -> None:
        self.target = target
        self.free = free
        self.count = 100
        self.up: dict[str, dict[str, Container]] = {spark: {} for spark in target.sparks}
        self.silent: set[str] = set()
        self.ready: set[str] = set()
        self.ran: list[str] = []
        for spark, each in zip(target.sparks, found, strict=False):
            if each is not None:
                self.up[spark][each.name] = each

    def world(self, **more: Any) -> World:
        sights = {}
        for spark, found in self.up.items():
            used = sum(c.memory for c in found.values() if c.running)
            known = sight(*found.values(), images=IMAGES, free=self.free - used)
            sights[spark] = (
                replace(known, unknown="ConnectTimeout", message="silent") if spark in self.silent else known
            )
        probes = {
            (c.workload, spark): ProbeResult(container=c.id, ready=True, ready_at=NOW - 50)
            for spark, found in self.up.items()
            for c in found.values()
            if c.id in self.ready and c.running
        }
        return World(sights=sights, now=NOW, **({"probes": probes} | more))

    def plan(self, **more: Any) -> Plan:
        return plan(self.target, self.world(**more))

    def act(self, spark: str) -> list[str]:
        """One pass of one Spark: its steps up to the first that needs another look."""
        done: list[str] = []
        for step in self.plan().for_spark(spark):
            if step.look_first and done:
                break
            self._do(spark, step.verb, step.name)
            done += [f"{spark} {step.verb}"] if step.verb is not Verb.MKDIR else []
        self.ran += done
        return done

    def _do(self, spark: str, verb: Verb, name: str) -> None:
        found = self.up[spark]
        if verb is Verb.CREATE:
            assert name not in found
            instance = next(i for i in self.target.instances[spark] if i.name == name)
            self.count += 1
            found[name] = container(instance, self.count, started_at=NOW)
        elif verb is Verb.STOP:
            found[name] = replace(found[name], state="exited")
        elif verb is Verb.REMOVE:
            assert not found[name].running
            del found[name]
        elif verb is Verb.UNPAUSE:
            found[name] = replace(found[name], state="running")
        else:
            assert verb is Verb.MKDIR

    def settle(self, order: list[str], passes: int = 12) -> None:
        for _ in range(passes):
            if not sum(len(self.act(spark)) for spark in order):
                return
        raise AssertionError(f"not settled after {passes} passes: {self.ran}")


def lines(result: Plan) -> list[str]:
    return [f"{s.spark} {s.verb} {s.rank}" for s in result.steps if s.verb is not Verb.MKDIR]


def reasons(result: Plan) -> dict[str, str]:
    return {held.spark: held.reason for held in result.held}


def test_workers_start_first_and_the_head_when_they_run() -> None:
    fleet = Fleet(declare(GROUP))
    first = fleet.plan()
    assert lines(first) == ["s2 create 1"]
    assert reasons(first) == {"s1": "WaitingForWorkers"}
    fleet.settle(["s1", "s2"])
    assert [line for line in fleet.ran if "create" in line] == ["s2 create", "s1 create"]
    assert lines(fleet.plan()) == []


def test_a_group_that_runs_is_left_alone() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    result = Fleet(target, container(head, 1), container(worker, 2)).plan()
    assert (result.steps, result.held) == ((), ())


def test_one_rank_gone_and_the_whole_group_is_replaced() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    dead = container(worker, 2, state="exited", exit_code=1)
    fleet = Fleet(target, container(head, 1), dead)
    assert lines(fleet.plan()) == ["s1 stop 0", "s1 remove 0", "s2 remove 1"]
    assert "rank 1 on s2: it exited with status 1" in fleet.plan().steps[0].cause
    fleet.settle(["s1", "s2"])
    assert fleet.ran[-2:] == ["s2 create", "s1 create"]
    assert {c.id for found in fleet.up.values() for c in found.values()}.isdisjoint({dead.id, container(head, 1).id})


def test_a_head_that_died_takes_its_workers_with_it() -> None:
    """Its workers would wait for the old rendezvous for ever."""
    target = declare(GROUP)
    head, worker = ranks(target)
    fleet = Fleet(target, container(head, 1, state="exited", exit_code=137), container(worker, 2))
    assert lines(fleet.plan()) == ["s1 remove 0", "s2 stop 1", "s2 remove 1"]


def test_a_head_that_stopped_answering_is_a_group_to_replace_and_counts_as_a_failure() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    fleet = Fleet(target, container(head, 1), container(worker, 2))
    silent = ProbeResult(
        container=container(head, 1).id,
        ready=False,
        ready_at=NOW - 500,
        failing_since=NOW - 40,
        failures=9,
        message="hangs",
    )
    result = fleet.plan(probes={("big", "s1"): silent})
    assert lines(result) == ["s1 stop 0", "s1 remove 0", "s2 stop 1", "s2 remove 1"]
    assert [step.failing for step in result.steps if step.verb is Verb.STOP] == [True, False]


def test_a_worker_of_another_spec_is_drift_of_the_whole_group() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    fleet = Fleet(target, container(head, 1), container(worker, 2, spec_hash="old"))
    assert lines(fleet.plan()) == ["s1 stop 0", "s1 remove 0", "s2 stop 1", "s2 remove 1"]


def test_drift_asks_the_guards_and_repair_does_not() -> None:
    target = declare(GROUP + "\nguards: {maxDestructive: 0}")
    head, worker = ranks(target)
    drifted = Fleet(target, container(head, 1, spec_hash="old"), container(worker, 2, spec_hash="old")).plan()
    assert lines(drifted) == []
    assert reasons(drifted) == {"s1": "TooDestructive", "s2": "TooDestructive"}
    broken = Fleet(target, container(head, 1), container(worker, 2, state="exited")).plan()
    assert lines(broken) == ["s1 stop 0", "s1 remove 0", "s2 remove 1"]


def test_no_rank_starts_where_one_does_not_fit() -> None:
    target = declare(GROUP)
    busy = foreign("somebody", 7, labels={})
    fleet = Fleet(target, None, busy)
    world = fleet.world()
    full = replace(world.sights["s1"].scan.facts, memory_available=30 * GIB)  # type: ignore[union-attr]
    tight = replace(world.sights["s1"], scan=replace(world.sights["s1"].scan, facts=full))  # type: ignore[type-var]
    result = plan(target, replace(world, sights={**world.sights, "s1": tight}))
    assert lines(result) == []
    assert reasons(result) == {"s1": "InsufficientMemory", "s2": "InsufficientMemory"}
    assert next(h for h in result.held if h.spark == "s2").message.startswith(
        "a group starts as a whole; rank 0 on s1: "
    )


def test_what_the_head_will_need_is_kept_for_it() -> None:
    """A second model of 60 GiB would fit on s1 now, and would leave nothing for the head of the group."""
    other = f"other: {{recipe: {RECIPE.replace('a/b', 'c/d')}, on: s1, port: 8001, priority: -1}}"
    target = declare(GROUP.replace("models: {", f"models: {{{other}, "))
    result = Fleet(target).plan()
    assert lines(result) == ["s2 create 1"]
    assert {(h.workload, h.reason) for h in result.held} == {("big", "WaitingForWorkers"), ("other", "WaitingTurn")}


def test_a_worker_still_loads_until_its_head_has_answered() -> None:
    other = f"other: {{recipe: {RECIPE.replace('60GiB', '20GiB')}, on: s2, port: 8001}}"
    target = declare(GROUP.replace("models: {", f"models: {{{other}, "))
    head, worker = ranks(target)
    fleet = Fleet(target, container(head, 1), container(worker, 2))
    assert {(h.workload, h.reason) for h in fleet.plan().held} == {("other", "WaitingTurn")}
    fleet.ready.add(container(head, 1).id)
    assert lines(fleet.plan()) == ["s2 create 0"]


def test_nothing_changes_while_a_rank_can_not_be_seen() -> None:
    target = declare(GROUP)
    head, _ = ranks(target)
    for found in (None, container(head, 1), container(head, 1, state="exited")):
        fleet = Fleet(target, found)
        fleet.silent.add("s2")
        assert lines(fleet.plan()) == []


def test_ranks_of_unlike_images_do_not_start() -> None:
    target = declare(GROUP)
    world = Fleet(target).world()
    sights = {
        spark: replace(known, scan=replace(known.scan, images={IMAGE: frozenset({f"sha256:{spark}"})}))  # type: ignore[type-var]
        for spark, known in world.sights.items()
    }
    result = plan(target, replace(world, sights=sights))
    assert lines(result) == []
    assert reasons(result) == {"s1": "ImageDiffers", "s2": "ImageDiffers"}


def test_ranks_of_unlike_weights_do_not_start() -> None:
    fleet = Fleet(declare(GROUP))
    commits = {("big", "s1"): "a" * 40, ("big", "s2"): "b" * 40}
    result = fleet.plan(commits=commits)
    assert lines(result) == []
    assert reasons(result) == {"s1": "RevisionDiffers", "s2": "RevisionDiffers"}
    assert result.held[0].message == (
        "the recipe names no commit, and its weights are aaaaaaaaaaaa on s1 and bbbbbbbbbbbb on s2: all ranks need "
        "the same; write one as `revision:`, or fetch the model anew on both"
    )
    assert result.held[0].terminal is False
    for alike in ({("big", "s1"): "a" * 40}, dict.fromkeys(commits, "a" * 40), {("other", "s2"): "b" * 40}):
        assert lines(fleet.plan(commits=alike)) == ["s2 create 1"], alike


def test_a_group_that_runs_is_not_ended_for_what_the_caches_hold_since() -> None:
    target = declare(GROUP)
    running = [container(instance, number) for number, instance in enumerate(ranks(target), start=1)]
    commits = {("big", "s1"): "a" * 40, ("big", "s2"): "b" * 40}
    fleet = Fleet(target, *running)
    fleet.ready = {each.id for each in running}
    assert fleet.plan(commits=commits).steps == ()


def test_an_image_that_is_missing_on_one_spark_is_fetched_before_any_rank_starts() -> None:
    target = declare(GROUP)
    world = Fleet(target).world()
    bare = replace(world.sights["s2"], scan=replace(world.sights["s2"].scan, images={}))  # type: ignore[type-var]
    result = plan(target, replace(world, sights={**world.sights, "s2": bare}))
    assert lines(result) == ["s2 pull 1"]
    assert reasons(result) == {"s1": "GroupWaits"}


def test_a_failure_of_one_rank_holds_all() -> None:
    target = declare(GROUP)
    _, worker = ranks(target)
    failure = Failure(
        count=2, reason="OutOfMemory", message="it ran out", spec_hash=worker.spec_hash, at=NOW, retry_at=NOW + 9
    )
    result = Fleet(target).plan(failures={("big", "s2"): failure})
    assert lines(result) == []
    assert reasons(result) == {"s1": "OutOfMemory", "s2": "OutOfMemory"}
    assert {h.until for h in result.held} == {NOW + 9}


def test_a_rank_whose_address_is_not_known_yet_costs_no_running_container() -> None:
    """At the controller's start no Spark was seen: what runs must not look undeclared."""
    known = declare(GROUP)
    head, _ = ranks(known)
    target = declare(GROUP, fabric={"s1": {}})
    result = Fleet(target, container(head, 1)).plan()
    assert lines(result) == []
    assert {h.reason for h in result.held} == {"FabricUnknown", "Unresolved"}


def test_a_drained_spark_ends_the_whole_group() -> None:
    known = declare(GROUP)
    head, worker = ranks(known)
    target = declare(GROUP, drained=frozenset({"s2"}))
    fleet = Fleet(target, container(head, 1), container(worker, 2))
    fleet.settle(["s1", "s2"])
    assert fleet.up == {"s1": {}, "s2": {}}


def test_a_person_asks_for_a_restart_of_the_group() -> None:
    target = declare(GROUP)
    head, worker = ranks(target)
    one = container(head, 1)
    result = Fleet(target, one, container(worker, 2)).plan(restarts={one.id: one.started_at})
    assert lines(result) == ["s1 stop 0", "s1 remove 0", "s2 stop 1", "s2 remove 1"]
    assert not any(step.failing for step in result.steps)


THREE = (
    "sparks: {s1: {host: a}, s2: {host: b}, s3: {host: c}}\n"
    f"models: {{big: {{recipe: {RECIPE.replace('probe: chat', 'probe: chat, flags: {pipeline-parallel-size: 3}')}, across: [s1, s2, s3]}}}}"
)
STATES = st.sampled_from(["absent", "running", "drifted", "exited", "created", "paused", "dead"])


@settings(max_examples=400, deadline=None)
@given(states=st.tuples(STATES, STATES, STATES), order=st.permutations(["s1", "s2", "s3"]), data=st.data())
def test_whatever_is_found_the_group_ends_up_whole_and_never_half_led(
    states: tuple[str, str, str], order: list[str], data: st.DataObject
) -> None:
    """Law: from any state, with Sparks acting in any order, all ranks run in the end and then nothing is done.

    On the way no head is ever created before all of its workers run, and no rank beside one that is to go.
    """
    target = declare(THREE)
    found = []
    for number, (instance, state) in enumerate(zip(ranks(target), states, strict=True), start=1):
        changes: dict[str, Any] = {"state": "running" if state in {"running", "drifted"} else state}
        changes |= {"spec_hash": "old"} if state == "drifted" else {}
        found.append(None if state == "absent" else container(instance, number, **changes))
    fleet = Fleet(target, *found)
    for _ in range(30):
        spark = data.draw(st.sampled_from(order))
        before = {s: set(found) for s, found in fleet.up.items()}
        done = fleet.act(spark)
        if "s1 create" in done:
            assert all(fleet.up[s] and next(iter(fleet.up[s].values())).state == "running" for s in ("s2", "s3"))
        if any(line.endswith("create") for line in done) and spark != "s1":
            assert not before["s1"]
    fleet.settle(order)
    assert all(len(found) == 1 and next(iter(found.values())).state == "running" for found in fleet.up.values())
    assert all(next(iter(fleet.up[i.spark].values())).spec_hash == i.spec_hash for i in ranks(target))
    result = fleet.plan()
    assert (result.steps, result.held) == ((), ())


def test_a_held_group_tells_its_reason_once_for_each_rank() -> None:
    target = declare(GROUP, cordoned=frozenset({"s2"}))
    result = Fleet(target).plan()
    assert [type(h) for h in result.held] == [Held, Held]
    assert reasons(result) == {"s1": "Cordoned", "s2": "Cordoned"}


def test_workers_that_met_a_head_do_not_wait_for_another() -> None:
    """Somebody removed the head by hand: to its old workers a new one would be a stranger."""
    target = declare(GROUP)
    _, worker = ranks(target)
    one = container(worker, 2)
    fleet = Fleet(target, None, one)
    assert lines(fleet.plan()) == ["s1 create 0"]
    assert lines(fleet.plan(led=frozenset({one.id}))) == ["s2 stop 1", "s2 remove 1"]


def test_a_group_starts_on_what_its_sparks_can_hold_now() -> None:
    """Half a minute ago there may have been room; a look at the other Spark comes first. A preview takes it as it was."""
    target = declare(GROUP)
    world = Fleet(target).world()
    old = replace(world.sights["s1"], scan=replace(world.sights["s1"].scan, taken_at=NOW - 25))  # type: ignore[type-var]
    world = replace(world, sights={**world.sights, "s1": old})
    result = plan(target, world)
    assert (lines(result), reasons(result)) == ([], {"s1": "LookFirst", "s2": "GroupWaits"})
    assert lines(plan(target, replace(world, lenient=True))) == ["s2 create 1"]


def test_a_look_from_before_the_clock_was_set_back_is_not_taken_for_a_fresh_one() -> None:
    target = declare(GROUP)
    world = replace(Fleet(target).world(), now=NOW - 3600)
    assert (lines(plan(target, world)), reasons(plan(target, world))) == ([], {"s1": "LookFirst", "s2": "LookFirst"})


def test_workers_whose_head_finds_no_room_give_theirs_back() -> None:
    target = declare(GROUP)
    _, worker = ranks(target)
    world = Fleet(target, None, container(worker, 2)).world()
    scan = world.sights["s1"].scan
    assert scan is not None
    taken = replace(world.sights["s1"], scan=replace(scan, facts=replace(scan.facts, listeners=frozenset({8000}))))
    result = plan(target, replace(world, sights={**world.sights, "s1": taken}))
    assert lines(result) == ["s2 stop 1", "s2 remove 1"]
    assert reasons(result) == {"s1": "PortTaken"}
