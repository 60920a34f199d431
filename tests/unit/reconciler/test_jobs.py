"""What one container needs: one job or one reason, with its whole sentence, at every edge of every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.jobs import ended, fetch, name_taken, not_serving, waiting
from reconciler.model import Container, Failure, Held, Plan, ProbeResult, Verb, World
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import (
    IMAGES,
    NOW,
    container,
    declare,
    foreign,
    only,
    service,
    sight,
    world,
)
from tests.unit.reconciler.test_groups import GROUP

ECHO = declare("services:\n" + service(recipe=", probe: http"))
INSTANCE = only(ECHO)
UP = container(INSTANCE)


def here(*found: Container, images: frozenset[str] = IMAGES, **more: Any) -> World:
    """A world in which these containers are on s1."""
    return world(sights={"s1": sight(*found, images=images)}, **more)


def why(reason: str, message: str, workload: str = "echo", **more: Any) -> Held:
    return Held(spark="s1", workload=workload, reason=reason, message=message, **more)


def verbs(result: Plan) -> list[Verb]:
    return [step.verb for step in result.steps]


def on_demand() -> Target:
    return declare("services:\n" + service(recipe=", probe: http", extra=", run: on-demand"))


# What does not run


def test_what_a_container_came_to_is_said() -> None:
    assert ended(replace(UP, state="created")) == "it was created but did not start"
    assert ended(replace(UP, state="created", error="no gpu")) == "it was created but did not start: no gpu"
    assert ended(replace(UP, state="exited", oom_killed=True)) == "it was killed for lack of memory"
    assert ended(replace(UP, state="exited", exit_code=7)) == "it exited with status 7"


@pytest.mark.parametrize(
    ("state", "ended"),
    [("created", "it was created but did not start"), ("exited", "it exited with status 0")],
)
def test_what_starts_when_it_is_asked_for_is_left_as_it_is(state: str, ended: str) -> None:
    asleep = "echo starts when it is asked for"
    assert plan(on_demand(), here(replace(UP, state=state))).held == (why("OnDemand", f"{asleep} ({ended})"),)
    assert plan(on_demand(), here()).held == (why("OnDemand", asleep),)
    assert verbs(plan(ECHO, here(replace(UP, state=state)))) == [Verb.START]


def test_states_that_are_docker_s_own_are_waited_for() -> None:
    removing = (why("Removing", "Docker is removing sparkkeep-echo"),)
    restarting = (why("Restarting", "Docker is restarting it (2 times so far)"),)
    assert plan(ECHO, here(replace(UP, state="removing"))) == Plan(revision="rev1", held=removing)
    assert plan(ECHO, here(replace(UP, state="restarting", restart_count=2))) == Plan(revision="rev1", held=restarting)


def test_what_is_dead_is_made_anew_and_what_is_paused_goes_on() -> None:
    dead = plan(ECHO, here(replace(UP, state="dead"))).steps
    assert [(step.verb, step.cause) for step in dead] == [
        (Verb.REMOVE, "Docker calls it dead: it could not be removed whole"),
        (Verb.CREATE, "Docker calls it dead: it could not be removed whole"),
    ]
    assert verbs(plan(ECHO, here(replace(UP, state="paused")))) == [Verb.UNPAUSE]


def test_what_was_made_with_other_secrets_is_made_anew_only_then() -> None:
    old = replace(UP, state="exited", exit_code=1)
    failure = Failure(count=1, reason="x", message="y", spec_hash=INSTANCE.spec_hash, at=NOW, renewed=True)

    def steps(failure: Failure) -> list[tuple[Verb, str]]:
        found = plan(ECHO, here(old, failures={("echo", "s1"): failure})).steps
        return [(step.verb, step.cause) for step in found]

    renewed = "it exited with status 1, and its secrets have changed since it was made"
    assert steps(failure) == [(Verb.REMOVE, renewed), (Verb.CREATE, renewed)]
    again = [(Verb.START, "it exited with status 1")]
    assert steps(replace(failure, renewed=False)) == again
    assert steps(replace(failure, spec_hash="old")) == again


# Waits


def failed(**changed: Any) -> Held | None:
    given: dict[str, Any] = {
        "count": 3,
        "reason": "ContainerExited",
        "message": "it died",
        "spec_hash": INSTANCE.spec_hash,
        "at": NOW,
        "retry_at": NOW + 20,
    }
    return waiting(INSTANCE, World(sights={}, now=NOW, failures={("echo", "s1"): Failure(**(given | changed))}))


def test_a_failure_is_waited_out_and_says_until_when() -> None:
    text = "it died (failure 3, next try at 08:00:20 UTC)"
    assert failed() == why("ContainerExited", text, until=NOW + 20)
    assert failed(retry_at=NOW) is None
    assert failed(spec_hash="old") is None
    assert waiting(INSTANCE, World(sights={}, now=NOW)) is None


def test_a_failure_that_no_time_mends_says_what_does() -> None:
    assert failed(terminal=True) == why(
        "ContainerExited", "it died (waits for a change of its declaration)", terminal=True
    )
    text = "it died (waits for a change of its declaration or of the login for its registry)"
    assert failed(terminal=True, reason="PullDenied") == why("PullDenied", text, terminal=True)
    given = replace(INSTANCE, spec=replace(INSTANCE.spec, secrets=(("T", "t"),)))
    gated = Failure(
        count=1, reason="ModelGated", message="no", spec_hash=INSTANCE.spec_hash, at=NOW, terminal=True, retry_at=NOW
    )
    seen = World(sights={}, now=NOW, failures={("echo", "s1"): gated})
    text = "no (waits for a change of its declaration or of its secrets)"
    assert waiting(given, seen) == why("ModelGated", text, terminal=True)


def test_a_failure_holds_everything_back_that_would_be_tried() -> None:
    """Without it a container that dies at once is made again with every look."""
    failure = Failure(count=1, reason="x", message="y", spec_hash=INSTANCE.spec_hash, at=NOW, retry_at=NOW + 5)
    silent = ProbeResult(container=UP.id, ready=False, failing_since=NOW - 9999, failures=3)
    for found in ((), (replace(UP, state="exited"),), (replace(UP, state="dead"),), (UP,)):
        result = plan(ECHO, here(*found, failures={("echo", "s1"): failure}, probes={("echo", "s1"): silent}))
        assert result.held == (why("x", "y (failure 1, next try at 08:00:05 UTC)", until=NOW + 5),)
        assert result.steps == ()


# What runs and does not serve


def serving(*, of: str = UP.id, kind: str = "http", **changed: Any) -> str | None:
    given: dict[str, Any] = {
        "ready": False,
        "ready_at": NOW - 500,
        "failing_since": NOW - 30,
        "failures": 3,
        "message": "no answer",
    }
    asked = replace(INSTANCE, probe=replace(INSTANCE.probe, kind=kind, failures=3), start_timeout=60.0)
    return not_serving(asked, UP, ProbeResult(container=of, **(given | changed)), NOW)


def test_what_stopped_answering_is_restarted_after_as_many_failures_as_it_has_patience_for() -> None:
    assert serving() == "it runs but does not answer since 30 s: no answer"
    assert serving(failures=2) is None
    assert serving(ready=True) is None
    assert serving(kind="none") is None
    assert serving(of="another") is None
    assert not_serving(INSTANCE, UP, None, NOW) is None


def test_what_never_answered_is_restarted_when_its_time_is_over() -> None:
    text = "it did not answer within 60 s of its start: no answer"
    assert serving(ready_at=0.0, failing_since=NOW - 60.5) == text
    assert serving(ready_at=0.0, failing_since=NOW - 60) is None
    assert serving(ready_at=0.0, failing_since=0.0) is None
    assert serving(ready_at=NOW - 500, failing_since=NOW - 60.5, failures=2) is None


def test_a_restart_that_nobody_asked_for_counts_as_a_failure_and_one_that_was_asked_for_does_not() -> None:
    silent = ProbeResult(container=UP.id, ready=False, ready_at=NOW - 9, failing_since=NOW - 8, failures=3, message="m")
    probes = {("echo", "s1"): silent}
    [step] = plan(ECHO, here(UP, probes=probes)).steps
    assert (step.verb, step.failing, step.cause) == (Verb.RESTART, True, "it runs but does not answer since 8 s: m")
    [step] = plan(ECHO, here(UP, probes=probes, restarts={UP.id: UP.started_at})).steps
    assert (step.verb, step.failing, step.cause) == (Verb.RESTART, False, "a person asked for a restart")


def test_a_restart_policy_changes_beside_a_restart() -> None:
    both = plan(ECHO, here(replace(UP, restart_policy="always"), restarts={UP.id: UP.started_at}))
    assert verbs(both) == [Verb.RESTART, Verb.UPDATE]


# Images


def test_an_image_that_is_not_there_is_fetched_awaited_or_forbidden() -> None:
    bare = sight().scan
    assert bare is not None
    assert fetch(INSTANCE, bare, World(sights={}, now=NOW, pulling=frozenset({("s1", "keep/echo:1")})), "") == why(
        "Pulling", "s1 is fetching keep/echo:1"
    )
    never = fetch(replace(INSTANCE, pull="never"), bare, World(sights={}, now=NOW), "")
    assert never == why("ImageMissing", "keep/echo:1 is not on s1, and `pull: never` forbids fetching it")
    elsewhere = World(sights={}, now=NOW, pulling=frozenset({("s2", "keep/echo:1"), ("s1", "keep/other:1")}))
    made = fetch(INSTANCE, bare, elsewhere, "somebody wants it", UP)
    assert (made.kind, made.cause, made.container) == (  # type: ignore[union-attr]
        "pull",
        "keep/echo:1 is not on s1 (somebody wants it)",
        UP,
    )


def test_an_image_that_is_not_there_is_fetched_for_what_has_flags_too() -> None:
    """An image that is not there can't be asked for its flags: without the fetch, the container would be made at once."""
    recipe = "{engine: vllm, model: a/b, image: 'keep/echo:1', memory: 9GiB, flags: {max-model-len: 4096}}"
    target = declare(f"models: {{big: {{recipe: {recipe}, on: s1}}}}")
    assert verbs(plan(target, here(images=frozenset()))) == [Verb.PULL]


def test_the_image_comes_before_what_is_made_anew_and_not_before_what_only_starts() -> None:
    dead = replace(UP, state="exited")
    assert verbs(plan(ECHO, here(dead, images=frozenset()))) == [Verb.START]
    old = container(INSTANCE, spec_hash="old")
    [pull] = plan(ECHO, here(old, images=frozenset())).steps
    assert (pull.verb, pull.container, pull.name) == (Verb.PULL, "", "sparkkeep-echo")
    cause = "changed: its spec (the container's label says nothing more)"
    assert pull.cause == f"keep/echo:1 is not on s1 ({cause})"


# Drift


def test_what_is_left_of_another_spec_waits_for_docker_and_is_removed_where_nothing_is_asked_for() -> None:
    cause = "changed: its spec (the container's label says nothing more)"
    old = container(INSTANCE, spec_hash="old")
    removing = plan(ECHO, here(replace(old, state="removing")))
    assert removing == Plan(revision="rev1", held=(why("Removing", "Docker is removing sparkkeep-echo"),))
    stop, remove = plan(on_demand(), here(old)).steps
    assert [(s.verb, s.cause, s.container, s.workload, s.rank, s.spark) for s in (stop, remove)] == [
        (Verb.STOP, cause, UP.id, "echo", 0, "s1"),
        (Verb.REMOVE, cause, UP.id, "echo", 0, "s1"),
    ]
    text = f"s1 is cordoned: sparkkeep-echo keeps running as it was ({cause})"
    cordoned = replace(ECHO, cordoned=frozenset({"s1"}))
    assert plan(cordoned, here(old)) == Plan(revision="rev1", held=(why("Cordoned", text),))
    assert plan(cordoned, here()).held == (why("Cordoned", "s1 is cordoned: nothing new starts there"),)
    elsewhere = replace(ECHO, cordoned=frozenset({"s2"}))
    assert verbs(plan(elsewhere, here(old))) == [Verb.STOP, Verb.REMOVE, Verb.CREATE]
    assert verbs(plan(elsewhere, here())) == [Verb.CREATE]


# Names


def test_a_name_that_somebody_took_is_told_with_the_container() -> None:
    taken = foreign("sparkkeep-echo")
    message = "the name sparkkeep-echo is taken by a container that is not ours (other/thing:1, 000000000063)"
    assert name_taken(INSTANCE, taken) == why("NameTaken", message)
    assert plan(ECHO, here(taken)).held == (why("NameTaken", message),)
    assert plan(ECHO, here(taken, container(INSTANCE))).held == ()


# What is suspended


def test_what_is_suspended_says_that_nothing_about_it_is_changed() -> None:
    suspended = replace(ECHO, suspended=frozenset({"echo"}))
    message = "echo is suspended: nothing about it is changed"
    for found in ((), (UP,), (container(INSTANCE, spec_hash="old"),), (replace(UP, state="exited"),)):
        assert plan(suspended, here(*found)) == Plan(revision="rev1", held=(why("Suspended", message),))


# What nobody declares any more


def stray(**changed: str) -> Container:
    """A container of ours, called as nothing is."""
    return replace(UP, name="sparkkeep-x", labels={**UP.labels, "sparkkeep.workload": "gone", **changed})


NOTHING = declare("services:\n" + service("other", on="s2", port=9000))


def test_what_is_left_of_something_suspended_or_not_known_now_stays() -> None:
    suspended = replace(NOTHING, suspended=frozenset({"gone"}))
    rank = stray(**{"sparkkeep.rank": "2"})
    assert plan(suspended, here(rank)).held == (
        why("Suspended", "gone is suspended: sparkkeep-x stays", "gone", rank=2),
    )
    unresolved = replace(NOTHING, unresolved=frozenset({"gone"}))
    assert plan(unresolved, here(rank)).held == (
        why("Unresolved", "what should run of gone is not known now: sparkkeep-x stays", "gone", rank=2),
    )
    assert plan(NOTHING, here(replace(rank, state="removing"))).held == (
        why("Removing", "Docker is removing sparkkeep-x", "gone", rank=2),
    )


def causes(target: Target, *found: Container) -> set[str]:
    seen = world(sights={"s1": sight(*found, images=IMAGES), "s2": sight(images=IMAGES)})
    return {step.cause for step in plan(target, seen).for_spark("s1")}


def test_why_something_goes_is_told() -> None:
    assert causes(NOTHING, stray()) == {"gone is not declared"}
    assert causes(NOTHING, replace(stray(), labels={"sparkkeep.owner": "sparkkeep"})) == {"sparkkeep-x is not declared"}
    there = stray(**{"sparkkeep.workload": "other"})
    assert causes(NOTHING, there) == {"other is declared on s2, not on s1"}
    twice = replace(UP, name="sparkkeep-x", id="f" * 64)
    assert causes(ECHO, UP, twice) == {"sparkkeep-x carries the label of echo, but not the name of its container"}


def test_what_goes_since_its_spark_is_drained_says_so() -> None:
    drained = replace(NOTHING, drained=frozenset({"s1"}))
    assert causes(drained, stray(**{"sparkkeep.workload": "other"})) == {"s1 is being drained"}
    assert causes(drained, stray()) == {"gone is not declared"}
    elsewhere = replace(NOTHING, drained=frozenset({"s2"}))
    assert causes(elsewhere, stray()) == {"gone is not declared"}


def test_a_rank_that_goes_since_another_spark_is_drained_says_so() -> None:
    """Seen from s1, nothing is wrong with s1."""
    target = declare(GROUP, drained=frozenset({"s2"}))
    head = container(declare(GROUP).groups[0][0])
    message = "s2 is being drained, and big runs on all of its Sparks or on none"
    assert causes(target, head) == {message}
    other = replace(target, refused=tuple(replace(h, reason="NotPlaced") for h in target.refused))
    assert causes(other, head) == {"big is declared on s1, s2, not on s1"}
    there = replace(target, refused=tuple(replace(h, spark="s2") for h in target.refused))
    assert causes(there, head) == {"big is declared on s1, s2, not on s1"}


def test_what_goes_is_taken_in_the_order_of_its_names_and_before_what_stays() -> None:
    found = [replace(stray(), name=f"sparkkeep-{name}", id=f"{at:064x}") for at, name in enumerate("cab")]
    silent = ProbeResult(container=UP.id, ready=False, failing_since=NOW - 9999, failures=9)
    failure = Failure(count=1, reason="x", message="y", spec_hash=INSTANCE.spec_hash, at=NOW, retry_at=NOW + 5)
    target = replace(ECHO, max_destructive=9)
    result = plan(target, here(UP, *found, probes={("echo", "s1"): silent}, failures={("echo", "s1"): failure}))
    assert [step.name for step in result.steps if step.verb is Verb.STOP] == [
        *("sparkkeep-a", "sparkkeep-b", "sparkkeep-c")
    ]
