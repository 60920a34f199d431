"""The planner, case by case: what is done, in which order, and what is left alone and why."""

from __future__ import annotations

import pytest

from reconciler.jobs import drift
from reconciler.model import Failure, Plan, ProbeResult
from reconciler.place import Placements
from reconciler.plan import plan
from tests.unit.reconciler.builders import (
    GIB,
    IMAGES,
    NOW,
    container,
    declare,
    foreign,
    named,
    only,
    service,
    sight,
    unknown,
    world,
)


def lines(result: Plan) -> list[str]:
    return [f"{s.spark} {s.verb} {s.workload}" for s in result.steps]


def reasons(result: Plan) -> dict[str, str]:
    return {f"{h.spark} {h.workload}": h.reason for h in result.held}


def test_a_missing_container_is_created_with_its_whole_command() -> None:
    target = declare("services:\n" + service())
    result = plan(target, world())
    assert lines(result) == ["s1 create echo"]
    step = result.steps[0]
    assert step.argv[:5] == ("docker", "run", "--detach", "--name", "sparkkeep-echo")
    assert step.argv[-1] == "keep/echo:1"
    assert step.cause == "no container of it on this Spark"


def test_a_converged_world_has_an_empty_plan() -> None:
    target = declare("services:\n" + service())
    result = plan(target, world(sights={"s1": sight(container(only(target)), images=IMAGES)}))
    assert result.steps == ()
    assert result.held == ()


def test_an_absent_image_is_fetched_and_what_runs_keeps_running() -> None:
    target = declare("services:\n" + service())
    old = container(only(target), spec_hash="old")
    result = plan(target, world(sights={"s1": sight(old)}))
    assert lines(result) == ["s1 pull echo"]
    assert not result.steps[0].destructive


@pytest.mark.parametrize(
    ("change", "named_in_cause"),
    [
        (", env: {A: b}", "env"),
        (", command: [x]", "command"),
        (", mounts: [{source: /a, target: /b}]", "mounts"),
        (", shm: 1GiB", "shm"),
    ],
)
def test_each_change_of_the_spec_is_drift_and_recreates(change: str, named_in_cause: str) -> None:
    before = declare("services:\n" + service())
    after = declare("services:\n" + service(recipe=change))
    result = plan(after, world(sights={"s1": sight(container(only(before)), images=IMAGES)}))
    assert lines(result) == ["s1 stop echo", "s1 remove echo", "s1 create echo"]
    assert named_in_cause in result.steps[0].cause


def test_a_restart_policy_changes_in_place() -> None:
    before = declare("services:\n" + service())
    after = declare("services:\n" + service(recipe=", restart: unless-stopped"))
    assert only(before).spec_hash == only(after).spec_hash
    result = plan(after, world(sights={"s1": sight(container(only(before)), images=IMAGES)}))
    assert [str(a) for a in result.steps[0].argv][:4] == ["docker", "update", "--restart", "unless-stopped"]
    assert len(result.steps) == 1


def test_changes_of_what_runs_keep_the_order_of_their_names() -> None:
    text = "".join(service(name, port=1000 + n, recipe=", restart: 'no'") for n, name in enumerate("abc"))
    target = declare("services:\n" + text)
    update = container(named(target, "a"), 1, restart_policy="always")
    restart = container(named(target, "b"), 2)
    unpause = container(named(target, "c"), 3, state="paused")
    seen = {"s1": sight(unpause, restart, update, images=IMAGES)}
    result = plan(target, world(sights=seen, restarts={restart.id: restart.started_at}))
    assert lines(result) == ["s1 update a", "s1 restart b", "s1 unpause c"]


def test_drift_compares_what_the_label_says_with_what_json_would_make_of_the_spec() -> None:
    recipe = ", network: bridge, command: [a, b], env: {A: b}, ports: [{host: 1, container: 2}], mounts: [{source: /a, target: /b}]"
    instance = only(declare("services:\n" + service(recipe=recipe)))
    assert drift(container(instance), instance) == "changed: its spec (the container's label says nothing more)"


def test_what_is_not_declared_is_removed_and_foreign_containers_stay() -> None:
    target = declare("services:\n" + service())
    gone = container(named(declare("services:\n" + service("old", port=9000)), "old"), 2)
    result = plan(target, world(sights={"s1": sight(container(only(target)), gone, foreign("grafana"), images=IMAGES)}))
    assert lines(result) == ["s1 stop old", "s1 remove old"]
    assert result.steps[0].cause == "old is not declared"


def test_a_container_of_another_owner_is_foreign() -> None:
    target = declare("services: {}\n")
    other = container(named(declare("services:\n" + service()), "echo"))
    other = foreign(other.name, labels={**other.labels, "sparkkeep.owner": "lab"})
    assert plan(target, world(sights={"s1": sight(other)})).steps == ()


def test_an_unknown_spark_gets_no_step_and_a_reason() -> None:
    target = declare("services:\n" + service())
    gone = container(named(declare("services:\n" + service("old")), "old"), 2)
    result = plan(target, world(sights={"s1": unknown(gone)}))
    assert result.steps == ()
    assert reasons(result) == {"s1 echo": "ConnectTimeout"}


def test_a_taken_name_is_left_alone() -> None:
    target = declare("services:\n" + service())
    result = plan(target, world(sights={"s1": sight(foreign("sparkkeep-echo"), images=IMAGES)}))
    assert result.steps == ()
    assert reasons(result) == {"s1 echo": "NameTaken"}


def test_a_port_held_by_something_else_is_not_fought_for() -> None:
    target = declare("services:\n" + service())
    result = plan(target, world(sights={"s1": sight(images=IMAGES, listeners={8000})}))
    assert result.steps == ()
    assert reasons(result) == {"s1 echo": "PortTaken"}


def test_a_dead_container_is_started_again_not_recreated() -> None:
    target = declare("services:\n" + service())
    dead = container(only(target), state="exited", exit_code=137, finished_at=NOW - 1)
    result = plan(target, world(sights={"s1": sight(dead, images=IMAGES)}))
    assert lines(result) == ["s1 start echo"]
    assert "status 137" in result.steps[0].cause


def test_backoff_holds_until_its_time_and_a_new_spec_ends_it() -> None:
    target = declare("services:\n" + service())
    instance = only(target)
    dead = container(instance, state="exited", exit_code=1)
    failure = Failure(
        count=3, reason="ContainerExited", message="it died", spec_hash=instance.spec_hash, at=NOW, retry_at=NOW + 20
    )
    seen = {"s1": sight(dead, images=IMAGES)}
    held = plan(target, world(sights=seen, failures={("echo", "s1"): failure}))
    assert held.steps == ()
    assert held.held[0].until == NOW + 20
    assert plan(target, world(sights=seen, failures={("echo", "s1"): failure}, now=NOW + 21)).steps
    changed = declare("services:\n" + service(recipe=", env: {A: b}"))
    assert plan(changed, world(sights=seen, failures={("echo", "s1"): failure})).steps


def test_a_terminal_failure_waits_for_the_declaration() -> None:
    target = declare("services:\n" + service())
    failure = Failure(count=1, reason="BadFlag", message="bad", spec_hash=only(target).spec_hash, at=NOW, terminal=True)
    result = plan(target, world(failures={("echo", "s1"): failure}, now=NOW + 10**6))
    assert result.steps == ()
    assert result.held[0].terminal


def test_two_services_that_swap_ports_stop_first() -> None:
    before = declare("services:\n" + service("a", port=1000) + service("b", port=2000))
    after = declare("services:\n" + service("a", port=2000) + service("b", port=1000))
    seen = sight(container(named(before, "a"), 1), container(named(before, "b"), 2), images=IMAGES)
    assert lines(plan(after, world(sights={"s1": seen}))) == [
        "s1 stop b", "s1 remove b", "s1 stop a", "s1 remove a", "s1 create a", "s1 create b",
    ]  # fmt: skip


def test_independent_recreations_follow_each_other_so_that_each_gap_is_short() -> None:
    before = declare("services:\n" + service("a", port=1000) + service("b", port=2000))
    after = declare(
        "services:\n"
        + service("a", port=1000, recipe=", env: {A: b}")
        + service("b", port=2000, recipe=", env: {A: b}")
    )
    seen = sight(container(named(before, "a"), 1), container(named(before, "b"), 2), images=IMAGES)
    assert lines(plan(after, world(sights={"s1": seen}))) == [
        "s1 stop a", "s1 remove a", "s1 create a", "s1 stop b", "s1 remove b", "s1 create b",
    ]  # fmt: skip


def test_memory_that_a_stop_gives_back_is_looked_for_before_the_start() -> None:
    before = declare("services:\n" + service("a", recipe=", memory: 80GiB"))
    after = declare("services:\n" + service("b", recipe=", memory: 90GiB"))
    seen = sight(container(named(before, "a")), images=IMAGES, free=20 * GIB)
    result = plan(after, world(sights={"s1": seen}))
    assert lines(result) == ["s1 stop a", "s1 remove a", "s1 create b"]
    assert result.steps[2].look_first
    assert not result.steps[0].look_first


def test_what_does_not_fit_is_not_started_and_the_arithmetic_is_shown() -> None:
    target = declare("services:\n" + service(recipe=", memory: 98GiB"))
    result = plan(target, world())
    assert result.steps == ()
    assert reasons(result) == {"s1 echo": "InsufficientMemory"}
    assert result.held[0].message == (
        "echo needs about 98.0 GiB (stated), s1 has 100.0 GiB available now, 4.0 GiB of it reserved: 2.0 GiB are missing"
    )


def test_a_recreation_that_would_not_fit_keeps_the_old_one_running() -> None:
    before = declare("services:\n" + service(recipe=", memory: 10GiB"))
    after = declare("services:\n" + service(recipe=", memory: 200GiB, env: {A: b}"))
    result = plan(after, world(sights={"s1": sight(container(only(before)), images=IMAGES)}))
    assert result.steps == ()
    assert "keeps running" in result.held[0].message


def test_memory_of_one_still_loading_counts_as_taken() -> None:
    text = (
        "services:\n"
        + service("a", port=1000, recipe=", memory: 60GiB, probe: http")
        + service("b", port=2000, recipe=", memory: 60GiB")
    )
    target = declare(text)
    loading = container(named(target, "a"))
    result = plan(target, world(sights={"s1": sight(loading, images=IMAGES, free=95 * GIB)}))
    assert result.steps == ()
    assert "a is starting and may take 60.0 GiB" in result.held[0].message


def test_models_start_one_at_a_time() -> None:
    text = (
        "models:\n" + service("a", port=1000, recipe=", probe: chat") + service("b", port=2000, recipe=", probe: chat")
    )
    target = declare(text)
    first = plan(target, world())
    assert lines(first) == ["s1 create a", "s1 create b"]
    assert "a must be ready" in first.steps[1].look_first
    loading = container(named(target, "a"))
    second = plan(target, world(sights={"s1": sight(loading, images=IMAGES)}))
    assert second.steps == ()
    assert reasons(second) == {"s1 b": "WaitingTurn"}
    ready = ProbeResult(container=loading.id, ready=True, ready_at=NOW)
    third = plan(target, world(sights={"s1": sight(loading, images=IMAGES)}, probes={("a", "s1"): ready}))
    assert lines(third) == ["s1 create b"]


def test_priority_decides_who_starts_first() -> None:
    text = "services:\n" + service("a", port=1000) + service("b", port=2000, extra=", priority: 5")
    assert lines(plan(declare(text), world())) == ["s1 create b", "s1 create a"]


def test_a_dead_server_in_a_living_container_is_restarted() -> None:
    target = declare("services:\n" + service(recipe=", probe: http"))
    alive = container(only(target))
    probe = ProbeResult(
        container=alive.id, ready=False, ready_at=NOW - 50, failing_since=NOW - 30, failures=3, message="no answer"
    )
    result = plan(target, world(sights={"s1": sight(alive, images=IMAGES)}, probes={("echo", "s1"): probe}))
    assert lines(result) == ["s1 restart echo"]
    assert "does not answer since 30 s" in result.steps[0].cause


def test_an_empty_desired_state_removes_nothing_until_approved() -> None:
    was = declare("services:\n" + service())
    target = declare("services: {}\n")
    seen = {"s1": sight(container(only(was)))}
    result = plan(target, world(sights=seen))
    assert result.steps == ()
    assert [h.reason for h in result.held] == ["EmptyDesired"]
    assert [s.verb for s in result.withheld] == ["stop", "remove"]
    approved = plan(target, world(sights=seen, approved=frozenset({container(only(was)).id})))
    assert lines(approved) == ["s1 stop echo", "s1 remove echo"]


def test_too_much_destruction_waits_and_harmless_steps_go_on() -> None:
    old = [named(declare("services:\n" + service(f"old{n}", port=9000 + n)), f"old{n}") for n in range(3)]
    target = declare("guards: {maxDestructive: 2}\nservices:\n" + service())
    seen = sight(*(container(i, n + 10) for n, i in enumerate(old)), images=IMAGES)
    result = plan(target, world(sights={"s1": seen}))
    assert lines(result) == ["s1 create echo"]
    assert set(reasons(result).values()) == {"TooDestructive"}
    assert len(result.withheld) == 6


def test_most_sparks_gone_at_once_is_us_and_nothing_is_taken_down() -> None:
    target = declare("guards: {unreachableFreeze: 0.5}\nservices:\n" + service(on="s2"))
    old = container(named(declare("services:\n" + service("old")), "old"))
    result = plan(target, world(sights={"s1": sight(old), "s2": unknown()}))
    assert result.steps == ()
    assert reasons(result)["s1 old"] == "TooManyUnreachable"


def test_suspended_means_hands_off_in_every_state() -> None:
    target = declare("services:\n" + service(), suspended=frozenset({"echo"}))
    for seen in (
        sight(images=IMAGES),
        sight(container(only(target), spec_hash="old")),
        sight(container(only(target), state="exited")),
    ):
        result = plan(target, world(sights={"s1": seen}))
        assert result.steps == ()
        assert reasons(result) == {"s1 echo": "Suspended"}


def test_a_cordoned_spark_starts_nothing_new_but_keeps_what_it_has() -> None:
    target = declare("services:\n" + service(), cordoned=frozenset({"s1"}))
    assert reasons(plan(target, world())) == {"s1 echo": "Cordoned"}
    dead = container(only(target), state="exited", exit_code=1)
    assert lines(plan(target, world(sights={"s1": sight(dead, images=IMAGES)}))) == ["s1 start echo"]


def test_a_drained_spark_is_emptied() -> None:
    was = declare("services:\n" + service())
    target = declare("services:\n" + service(), drained=frozenset({"s1"}))
    result = plan(target, world(sights={"s1": sight(container(only(was)))}))
    assert lines(result) == ["s1 stop echo", "s1 remove echo"]
    assert result.steps[0].cause == "s1 is being drained"


def test_run_never_stops_it_and_says_so() -> None:
    was = declare("services:\n" + service())
    target = declare("services:\n" + service(extra=", run: never"))
    result = plan(target, world(sights={"s1": sight(container(only(was)))}))
    assert [s.cause for s in result.steps] == ["echo is declared with run: never, not on s1"] * 2


def test_on_demand_is_neither_started_nor_stopped() -> None:
    target = declare("services:\n" + service(extra=", run: on-demand"))
    assert reasons(plan(target, world())) == {"s1 echo": "OnDemand"}
    running = sight(container(only(target)), images=IMAGES)
    assert plan(target, world(sights={"s1": running})) == plan(target, world(sights={"s1": running}))
    assert plan(target, world(sights={"s1": running})).steps == ()


def test_a_move_stops_here_and_starts_there() -> None:
    was = declare("services:\n" + service())
    target = declare("services:\n" + service(on="s2"))
    result = plan(target, world(sights={"s1": sight(container(only(was)))}))
    assert lines(result) == ["s1 stop echo", "s1 remove echo", "s2 create echo"]
    assert result.steps[0].cause == "echo is declared on s2, not on s1"


def test_a_recipe_that_can_not_be_launched_is_refused_in_words() -> None:
    target = declare("models:\n  m: {recipe: {engine: vllm, image: 'a/b:1', model: x/y, mods: [gone]}, on: s1}\n")
    result = plan(target, world())
    assert result.steps == ()
    assert result.held[0].terminal
    assert result.held[0].message == "mod gone: it has not been read yet"


def test_any_without_a_place_says_why() -> None:
    waiting = Placements(on={}, waiting={"echo": ("NoSparkFits", "s1 is full")})
    target = declare("services:\n" + service(on="any"), placements=waiting)
    assert reasons(plan(target, world())) == {" echo": "NoSparkFits"}


def test_a_restart_that_was_asked_for_happens_once_whatever_the_sparks_clock_says() -> None:
    target = declare("services:\n" + service())
    alive = container(only(target), started_at=NOW + 5000)
    seen = {"s1": sight(alive, images=IMAGES)}
    assert lines(plan(target, world(sights=seen, restarts={alive.id: alive.started_at}))) == ["s1 restart echo"]
    again = container(only(target), started_at=NOW + 5001)
    assert (
        plan(target, world(sights={"s1": sight(again, images=IMAGES)}, restarts={alive.id: alive.started_at})).steps
        == ()
    )


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (", command: [serve, --len, '1']", ", command: [serve, --len, '2']", "changed: command --len 1 -> 2"),
        (", command: [a]", ", command: [a, b]", "changed: command"),
        (", env: {TOKEN: s3cret, SAME: x}", ", env: {TOKEN: other, SAME: x, NEW: y}", "changed: env NEW, TOKEN"),
        (", shm: 1GiB", "", "changed: shm 1073741824 -> (none)"),
    ],
)
def test_the_cause_of_a_recreation_names_what_changed_and_no_value_of_the_environment(
    old: str, new: str, cause: str
) -> None:
    before = declare("services:\n" + service(recipe=old))
    after = declare("services:\n" + service(recipe=new))
    result = plan(after, world(sights={"s1": sight(container(only(before)), images=IMAGES)}))
    assert result.steps[0].cause == cause
