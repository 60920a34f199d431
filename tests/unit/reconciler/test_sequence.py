"""The steps of one Spark, whole: every word of a command, what it means for people, what must be seen before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler import launch
from reconciler.model import (
    Container,
    Failure,
    Held,
    Login,
    Plan,
    ProbeResult,
    Sight,
    Step,
    Verb,
    World,
)
from reconciler.place import Placements
from reconciler.plan import plan
from reconciler.preflight.ask import questions
from reconciler.target import Target
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
    world,
)

SHORT = "000000000001"
ID = "sha256:" + "ab" * 32


def changed(seen: Sight, **facts: Any) -> Sight:
    """The same Spark with other facts."""
    assert seen.scan is not None
    return replace(seen, scan=replace(seen.scan, facts=replace(seen.scan.facts, **facts)))


def here(*found: Container, free: int = 100 * GIB, listeners: set[int] | None = None, **more: Any) -> World:
    """A world in which these containers are on s1."""
    return world(sights={"s1": sight(*found, images=IMAGES, free=free, listeners=listeners)}, **more)


def echo(verb: Verb, *argv: str, cause: str, consequence: str, **more: Any) -> Step:
    """A step of the service `echo` on s1."""
    given: dict[str, Any] = {
        "verb": verb,
        "spark": "s1",
        "workload": "echo",
        "argv": argv,
        "cause": cause,
        "consequence": consequence,
        "container": SHORT + "0" * 52,
        "name": "sparkkeep-echo",
        "timeout": 60.0,
    }
    return Step(**(given | more))


ECHO = declare("services:\n" + service(recipe=", memory: 10GiB, stopTimeout: 45s"))


def told(result: Plan) -> list[tuple[str, str, str]]:
    return [(each.workload, each.reason, each.message) for each in result.held]


def lines(result: Plan) -> list[str]:
    return [f"{step.verb} {step.workload}" for step in result.steps]


def test_a_paused_container_of_another_spec_is_unpaused_stopped_removed_and_made_anew() -> None:
    """Docker refuses to stop a paused container, and a patience that is cut short kills what still saves."""
    old = container(only(ECHO), state="paused", spec_hash="old")
    cause = "changed: its spec (the container's label says nothing more)"
    unpause, stop, remove, create = plan(ECHO, here(old)).steps
    down = "echo is down until its new container answers"
    assert unpause == echo(
        Verb.UNPAUSE, "docker", "unpause", SHORT, cause=cause, consequence="a paused container can't be stopped"
    )
    assert stop == echo(
        Verb.STOP, "docker", "stop", "-t", "45", SHORT, cause=cause, consequence=down, destructive=True, timeout=105.0
    )
    assert remove == echo(
        Verb.REMOVE,
        *("docker", "rm", SHORT),
        cause=cause,
        consequence="sparkkeep-echo and its writable layer are deleted",
    )
    fresh = ECHO.creations["s1", "sparkkeep-echo"]
    assert create == replace(fresh, cause=cause)
    assert create.container == ""


def test_what_is_not_declared_gets_the_patience_it_was_created_with() -> None:
    """A model that takes two minutes to end was killed after 30 s once it stood in no file any more."""
    target = declare("services:\n" + service("other", port=9000, on="s2"))
    gone = replace(container(only(ECHO)), stop_timeout=120.0)
    stop = plan(target, world(sights={"s1": sight(gone, images=IMAGES), "s2": sight(images=IMAGES)})).steps[0]
    assert stop.argv == ("docker", "stop", "-t", "120", SHORT)
    assert stop.timeout == 180.0


def test_what_is_not_declared_gets_the_usual_patience() -> None:
    """A prune knows no recipe: without a patience of its own `docker stop` would have none to say."""
    target = declare("services:\n" + service("other", port=9000, on="s2"))
    gone = container(only(ECHO))
    result = plan(target, world(sights={"s1": sight(gone, images=IMAGES), "s2": sight(images=IMAGES)}))
    assert result.steps[:2] == (
        echo(
            Verb.STOP,
            *("docker", "stop", "-t", "30", SHORT),
            cause="echo is not declared",
            consequence="echo is gone from s1",
            destructive=True,
            drains=("echo", "s1"),
            timeout=90.0,
        ),
        echo(
            Verb.REMOVE,
            *("docker", "rm", SHORT),
            cause="echo is not declared",
            consequence="sparkkeep-echo and its writable layer are deleted",
        ),
    )


def test_what_ended_and_is_not_declared_is_only_removed() -> None:
    """A stopped container gives no memory back, so nothing may wait to see it."""
    target = declare("services:\n" + service("other", recipe=", memory: 90GiB"))
    gone = container(only(ECHO), state="exited")
    result = plan(target, here(gone))
    assert lines(result) == ["remove echo", "create other"]
    assert [step.look_first for step in result.steps] == ["", ""]


def test_changes_in_place_are_one_command_each() -> None:
    unpause = plan(ECHO, here(container(only(ECHO), state="paused"))).steps
    assert unpause == (
        echo(Verb.UNPAUSE, "docker", "unpause", SHORT, cause="somebody paused it", consequence="echo goes on"),
    )
    update = plan(ECHO, here(container(only(ECHO), restart_policy="always"))).steps
    assert update == (
        echo(
            Verb.UPDATE,
            *("docker", "update", "--restart", only(ECHO).restart, SHORT),
            cause=f"restart policy: always -> {only(ECHO).restart}",
            consequence="in place: nothing stops",
        ),
    )


def test_a_restart_that_was_asked_for_says_how_long_it_will_be_away() -> None:
    old = container(only(ECHO))
    asked = {old.id: old.started_at}
    cause = "a person asked for a restart"

    def expected(gap: str) -> Step:
        argv = ("docker", "restart", "-t", "45", SHORT)
        effect = f"echo does not answer {gap}"
        return echo(Verb.RESTART, *argv, cause=cause, consequence=effect, drains=("echo", "s1"), timeout=105.0)

    def steps(probe: ProbeResult | None) -> tuple[Step, ...]:
        return plan(ECHO, here(old, restarts=asked, probes={("echo", "s1"): probe} if probe else {})).steps

    unknown = "until it is ready again"
    assert steps(None) == (expected(unknown),)
    assert steps(ProbeResult(container="another", ready=True, ready_at=NOW - 60)) == (expected(unknown),)
    assert steps(ProbeResult(container=old.id, ready=True)) == (expected(unknown),)
    assert steps(ProbeResult(container=old.id, ready=True, ready_at=NOW - 58)) == (expected("for about 42 s"),)
    assert steps(ProbeResult(container=old.id, ready=True, ready_at=NOW - 100)) == (expected("for about 1 s"),)


def test_a_restart_for_which_there_is_no_room_beside_stops_looks_and_starts() -> None:
    """Two copies of a model at once would hang a Spark that holds one."""
    old = container(only(ECHO))
    target = declare("services:\n" + service(recipe=", memory: 10GiB, stopTimeout: 45s, probe: http"))
    silent = ProbeResult(
        container=old.id, ready=False, ready_at=NOW - 99, failing_since=NOW - 30, failures=3, message="no answer"
    )
    probes = {("echo", "s1"): silent}
    old = replace(old, labels={**old.labels, "sparkkeep.spec-hash": only(target).spec_hash})
    cause = "it runs but does not answer since 30 s: no answer"
    effect = "echo does not answer for about 1 s"
    whole = plan(target, here(old, probes=probes, free=14 * GIB)).steps
    argv = ("docker", "restart", "-t", "45", SHORT)
    assert whole == (echo(Verb.RESTART, *argv, cause=cause, consequence=effect, failing=True, timeout=105.0),)
    assert plan(target, here(old, probes=probes, free=14 * GIB - 1)).steps == (
        echo(
            Verb.STOP,
            *("docker", "stop", "-t", "45", SHORT),
            cause=cause,
            consequence=effect,
            failing=True,
            timeout=105.0,
        ),
        echo(
            Verb.START,
            *("docker", "start", SHORT),
            cause=cause,
            consequence="runs again",
            look_first="the memory of echo must be seen to be back",
        ),
    )


def test_what_ended_runs_again_as_it_is() -> None:
    dead = container(only(ECHO), state="exited", exit_code=3)
    assert plan(ECHO, here(dead)).steps == (
        echo(Verb.START, "docker", "start", SHORT, cause="it exited with status 3", consequence="echo runs again"),
    )


def test_what_is_made_anew_for_its_secrets_has_no_container_in_its_step() -> None:
    """A container keeps the secrets of its making: it is made anew with the name of each, not its value."""
    target = declare("services:\n" + service(recipe=", memory: 10GiB, env: {TOKEN: {secret: hub}}"))
    instance = only(target)
    failure = Failure(count=1, reason="x", message="y", spec_hash=instance.spec_hash, at=NOW, renewed=True)
    dead = container(instance, state="exited", exit_code=3)
    remove, create = plan(target, here(dead, failures={("echo", "s1"): failure})).steps
    cause = "it exited with status 3, and its secrets have changed since it was made"
    assert remove.cause == cause
    assert create == replace(target.creations["s1", "sparkkeep-echo"], cause=cause)
    assert create.secrets == (("TOKEN", "hub"),)


def test_one_fetch_for_all_that_need_an_image_and_who_logs_in_for_it() -> None:
    image = "lan:5000/a/b:1"
    both = service("a").replace("keep/echo:1", image) + service("b", port=8001).replace("keep/echo:1", image)
    settings = "settings: {registries: {'lan:5000': {user: me, secret: lan}}}\n"
    target = declare(settings + "services:\n" + both)
    made = Step(
        verb=Verb.PULL,
        spark="s1",
        workload="b",
        argv=("docker", "pull", image),
        cause=f"{image} is not on s1 (no container of it on this Spark)",
        consequence=f"{image} is fetched, as me of lan:5000 if there is a secret lan; what runs goes on running",
        login=Login(registry="lan:5000", user="me", secret="lan"),  # noqa: S106  # the secret's name
        image=image,
        name="sparkkeep-b",
        timeout=14400.0,
    )
    assert plan(target, here()).steps == (made,)
    nobody = plan(declare("services:\n" + both), here()).steps
    assert nobody == (replace(made, login=None, consequence=f"{image} is fetched; what runs goes on running"),)


def test_images_are_asked_one_at_a_time() -> None:
    """Two checks at once would take twice the memory that was looked for."""
    recipe = "{{engine: vllm, model: {0}/b, image: 'keep/{0}:1', memory: 9GiB, port: {1}, flags: {{n: 1}}, gpus: all}}"
    text = "".join(
        f"  {name}: {{recipe: {recipe.format(name, port)}, on: s1}}\n" for name, port in (("a", 1), ("b", 2))
    )
    target = declare(f"models:\n{text}")
    seen = sight(images=IMAGES)
    assert seen.scan is not None
    same = frozenset({ID})
    seen = replace(seen, scan=replace(seen.scan, images={"keep/a:1": same, "keep/b:1": same, ID: same}))
    assert plan(target, world(sights={"s1": seen})).steps == (
        Step(
            verb=Verb.ASK,
            spark="s1",
            workload="a",
            argv=questions("vllm", ID, gpus=True)[0],
            cause="keep/a:1 was not asked yet which flags it knows",
            consequence="keep/a:1 prints which flags it knows; nothing is started",
            name="sparkkeep-a",
            timeout=150.0,
        ),
    )


# Ports


def test_a_port_goes_to_whoever_starts_first() -> None:
    placed = Placements(on={"b": "s1"}, waiting={})
    target = declare("services:\n" + service("a") + service("b", on="any", extra=", priority: 5"), placements=placed)
    result = plan(target, here())
    assert lines(result) == ["create b"]
    assert result.held == (Held(spark="s1", workload="a", reason="PortTaken", message="port 8000 of s1 goes to b"),)


def test_whose_port_it_is_is_told() -> None:
    def why(*found: Container) -> list[tuple[str, str, str]]:
        return told(plan(ECHO, here(*found, listeners={8000})))

    process = ("echo", "PortTaken", "port 8000 of s1 is taken by a process that is not ours")
    assert why() == [process]
    assert why(foreign("grafana", ports=(8000,), state="exited")) == [process]
    assert why(foreign("grafana", ports=(9000,))) == [process]
    one = foreign("grafana", ports=(9000, 8000))
    assert why(foreign("x", 98), one) == [
        ("echo", "PortTaken", "port 8000 of s1 is taken by the container grafana, which is not ours")
    ]


def test_a_port_of_what_stays_is_not_taken_from_it() -> None:
    target = declare("services:\n" + service("a"))
    placed = Placements(on={"b": "s1"}, waiting={})
    wants = declare("services:\n" + service("a") + service("b", on="any"), placements=placed)
    result = plan(wants, here(container(named(target, "a"))))
    assert result.steps == ()
    assert told(result) == [("b", "PortTaken", "port 8000 of s1 is held by a")]


def test_who_gives_two_ports_is_taken_down_once() -> None:
    ports = "[{host: 1000, container: 1}, {host: 1001, container: 2}]"
    before = declare("services:\n" + service("b", recipe=f", network: bridge, ports: {ports}"))
    after = declare(
        "services:\n"
        + service("a", recipe=f", network: bridge, ports: {ports}", extra=", priority: 1")
        + service("b", port=9000)
    )
    result = plan(after, here(container(named(before, "b"))))
    assert lines(result) == ["stop b", "remove b", "create a", "create b"]
    assert result.held == ()


# One model at a time


def models(*names: str, memory: str = "10GiB", more: str = "") -> Target:
    recipe = "{{recipe: {{engine: vllm, model: x/{0}, image: 'keep/echo:1', memory: {1}, port: {2}, probe: chat{3}}}, on: s1}}"
    text = "".join(f"  {name}: {recipe.format(name, memory, 1000 + at, more)}\n" for at, name in enumerate(names))
    return declare(f"models:\n{text}")


def test_the_second_model_waits_for_the_first_and_stops_nothing_before() -> None:
    """Its old container would be away for as long as the first one loads."""
    target = models("a", "b")
    old = container(named(target, "b"), 2, spec_hash="old")
    ready = ProbeResult(container=old.id, ready=True, ready_at=NOW)
    result = plan(target, here(old, probes={("b", "s1"): ready}))
    look = "a must be ready: models start one at a time"
    assert [(step.verb, step.workload, step.look_first) for step in result.steps if step.verb is not Verb.MKDIR] == [
        (Verb.CREATE, "a", ""),
        (Verb.STOP, "b", look),
        (Verb.REMOVE, "b", ""),
        (Verb.CREATE, "b", look),
    ]


def test_a_paused_container_goes_on_only_when_its_turn_has_come() -> None:
    """Let go on earlier, it would serve what its new spec was to replace, or take memory from what loads."""
    target = models("a", "b")
    old = container(named(target, "b"), 2, spec_hash="old", state="paused")
    ready = ProbeResult(container=old.id, ready=True, ready_at=NOW)
    look = "a must be ready: models start one at a time"
    steps = plan(target, here(old, probes={("b", "s1"): ready})).steps
    assert [(s.verb, s.look_first) for s in steps if s.workload == "b"] == [
        (Verb.UNPAUSE, look),
        (Verb.STOP, look),
        (Verb.REMOVE, ""),
        (Verb.MKDIR, look),
        (Verb.CREATE, look),
    ]


def test_what_makes_room_for_the_second_model_runs_until_the_first_is_ready() -> None:
    """Symptom: a service was down for the minutes in which another model loaded, and nothing took its port."""
    placed = Placements(on={"b": "s1"}, waiting={})
    text = (
        "services:\n"
        + service("s", port=1001)
        + "models:\n"
        + "  a: {recipe: {engine: vllm, model: x/a, image: 'keep/echo:1', memory: 9GiB, port: 1000}, on: s1}\n"
        + "  b: {recipe: {engine: vllm, model: x/b, image: 'keep/echo:1', memory: 9GiB, port: 1002}, on: s1}\n"
    )
    before, after = declare(text), declare(text.replace("1001", "1003").replace("1002", "1001"), placements=placed)
    result = plan(after, here(container(named(before, "s"))))
    look = "a must be ready: models start one at a time"
    assert [(s.verb, s.workload, s.look_first) for s in result.steps if s.verb is not Verb.MKDIR] == [
        (Verb.CREATE, "a", ""),
        (Verb.STOP, "s", look),
        (Verb.REMOVE, "s", ""),
        (Verb.CREATE, "b", look),
        (Verb.CREATE, "s", ""),
    ]


def test_a_head_that_waits_for_its_workers_has_its_turn_already() -> None:
    """A model that began to load meanwhile would have the head wait, and its workers with it."""
    recipe = "{{engine: vllm, model: x/{0}, image: 'keep/echo:1', memory: 9GiB, port: {1}, probe: chat}}"
    target = declare(
        f"models:\n  big: {{recipe: {recipe.format('big', 1000)}, across: [s1, s2], priority: 1}}\n"
        f"  small: {{recipe: {recipe.format('small', 2000)}, on: s1}}\n"
    )
    result = plan(target, world())
    assert {step.spark for step in result.steps} == {"s2"}
    assert told(result) == [
        ("big", "WaitingForWorkers", "the head starts when its workers run"),
        ("small", "WaitingTurn", "big is starting on s1; models start one at a time"),
    ]


def test_a_model_that_loads_keeps_others_waiting_and_not_itself() -> None:
    target = models("a", "b")
    loading = container(named(target, "a"), 1)
    waits = Held(
        spark="s1",
        workload="b",
        reason="WaitingTurn",
        message="a is starting on s1; models start one at a time",
        blockers=("a",),
    )
    assert plan(target, here(loading)).held == (waits,)
    dead = container(named(target, "b"), 2, state="exited")
    assert plan(target, here(loading, dead)).held == (waits,)
    drifted = container(named(target, "a"), 1, spec_hash="old")
    assert [step.verb for step in plan(models("a"), here(drifted)).steps if step.verb is not Verb.MKDIR] == [
        *(Verb.STOP, Verb.REMOVE, Verb.CREATE)
    ]


def test_a_service_that_loads_keeps_no_model_waiting() -> None:
    text = "services:\n" + service("s", port=1, recipe=", memory: 1GiB, probe: http")
    target = declare(
        text
        + "models:\n  m: {recipe: {engine: vllm, model: x/y, image: 'keep/echo:1', memory: 9GiB, probe: chat}, on: s1}\n"
    )
    result = plan(target, here(container(named(target, "s"))))
    assert result.held == ()
    assert result.steps[-1].verb is Verb.CREATE
    assert result.steps[-1].look_first == ""


# What comes before a creation


def test_mods_and_folders_come_before_the_model_and_wait_for_the_same_look() -> None:
    mods = ", mods: [one, two]"
    mounts = ", mounts: [{source: /data/x, target: /x, create: true}]"
    recipe = f"{{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 50GiB{mods}{mounts}}}"
    digests = {"one": "1" * 64, "two": "2" * 64}
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}", mods=digests)
    instance = only(target)
    old = foreign(
        "sparkkeep-old",
        5,
        labels={"sparkkeep.owner": "sparkkeep", "sparkkeep.memory": str(60 * GIB), "sparkkeep.workload": "old"},
    )
    seen = changed(sight(old, images=IMAGES, free=20 * GIB), memory_free=2 * GIB)
    steps = plan(target, world(sights={"s1": seen}, lenient=True)).steps[2:]
    look = "the memory of old must be seen to be back: 50.0 GiB + 4.0 GiB reserve"

    def before(verb: Verb, argv: Any, consequence: str, **more: Any) -> Step:
        given: dict[str, Any] = {
            "spark": "s1",
            "workload": "m",
            "cause": "no container of it on this Spark",
            "look_first": look,
            "name": "sparkkeep-m",
        }
        return Step(verb=verb, argv=argv, consequence=consequence, **(given | more))

    one, two, folders, free, create = steps
    assert one == before(
        Verb.DELIVER, launch.deliver("one", "1" * 64), "the mod one lies on s1", timeout=600.0, mod="1" * 64
    )
    assert two == before(
        Verb.DELIVER, launch.deliver("two", "2" * 64), "the mod two lies on s1", timeout=600.0, mod="2" * 64
    )
    assert folders == before(Verb.MKDIR, launch.make_folders(instance.create_folders), "folders for its mounts exist")
    assert free == before(
        Verb.FREE,
        launch.free_page_cache(),
        "files are read from the disk anew; nothing stops, and where it isn't allowed nothing changes",
        cause="m needs 50.0 GiB and 2.0 GiB are free, of 20.0 GiB available: the rest is page cache, which CUDA calls taken",
    )
    assert create == replace(target.creations["s1", "sparkkeep-m"], look_first=look)


def test_folders_for_everybody_are_told_as_that() -> None:
    target = declare("models: {m: {recipe: {engine: nim, image: 'keep/echo:1', memory: 8GiB}, on: s1}}")
    opened, create = plan(target, here(lenient=True)).steps
    assert opened == Step(
        verb=Verb.MKDIR,
        spark="s1",
        workload="m",
        argv=launch.open_folders(only(target).open_folders),
        cause="no container of it on this Spark",
        consequence="folders for its mounts exist, and everybody on the Spark may write there",
        name="sparkkeep-m",
    )
    assert create == target.creations["s1", "sparkkeep-m"]


OLD = foreign(
    "sparkkeep-old",
    5,
    labels={"sparkkeep.owner": "sparkkeep", "sparkkeep.memory": str(60 * GIB), "sparkkeep.workload": "old"},
)
LOOK = "the memory of old must be seen to be back: {} GiB + 4.0 GiB reserve"


def test_folders_for_everybody_wait_for_the_same_look_as_their_model() -> None:
    target = declare("models: {m: {recipe: {engine: nim, image: 'keep/echo:1', memory: 50GiB}, on: s1}}")
    steps = plan(target, here(OLD, free=20 * GIB, lenient=True)).steps[2:]
    assert [(s.verb, s.look_first) for s in steps] == [
        (Verb.MKDIR, LOOK.format("50.0")),
        (Verb.CREATE, LOOK.format("50.0")),
    ]


def test_what_ended_runs_again_only_when_the_memory_for_it_is_seen() -> None:
    """Memory comes back some time after a stop: what started at once would hang the Spark."""
    recipe = "{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 40GiB}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    dead = container(only(target), state="exited")
    seen = changed(sight(OLD, dead, images=IMAGES, free=20 * GIB), memory_free=2 * GIB)
    assert [(s.verb, s.look_first) for s in plan(target, world(sights={"s1": seen})).steps[2:]] == [
        (Verb.FREE, LOOK.format("40.0")),
        (Verb.START, LOOK.format("40.0")),
    ]


def free_of(free: int | None, *, available: int, gpus: str = "all", memory: str = "40GiB") -> bool:
    recipe = f"{{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: {gpus}, memory: {memory}}}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    seen = changed(sight(images=IMAGES, free=available), memory_free=free)
    return Verb.FREE in [step.verb for step in plan(target, world(sights={"s1": seen})).steps]


def test_the_page_cache_is_dropped_only_where_it_is_worth_a_step() -> None:
    assert free_of(3 * GIB, available=52 * GIB)
    assert not free_of(None, available=52 * GIB)
    assert not free_of(40 * GIB, available=52 * GIB)
    assert free_of(40 * GIB - 1, available=52 * GIB)
    assert free_of(39 * GIB, available=44 * GIB)
    assert not free_of(3 * GIB, available=52 * GIB, gpus="none")


def test_the_page_cache_stays_for_what_loads_no_model() -> None:
    """A service knows what it reads; to read its files anew would only make it slow."""
    target = declare("services:\n" + service(recipe=", gpus: all, memory: 40GiB"))
    dead = container(only(target), state="exited")
    for found, verb in (((), Verb.CREATE), ((dead,), Verb.START)):
        seen = changed(sight(*found, images=IMAGES, free=52 * GIB), memory_free=3 * GIB)
        assert [s.verb for s in plan(target, world(sights={"s1": seen})).steps] == [verb]


def test_the_page_cache_is_dropped_before_a_restart_and_waits_for_nothing() -> None:
    """A step that waits for another look ends the pass: what does not answer would stay as it is."""
    recipe = "{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 40GiB}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    mute = container(only(target))
    seen = changed(sight(mute, images=IMAGES, free=52 * GIB), memory_free=3 * GIB)
    ready = {("m", "s1"): ProbeResult(container=mute.id, ready=True, ready_at=NOW)}
    asked = world(sights={"s1": seen}, restarts={mute.id: mute.started_at}, probes=ready)
    free, restart = plan(target, asked).steps
    assert (free.verb, free.look_first, free.container, free.name) == (Verb.FREE, "", "", "sparkkeep-m")
    assert (restart.verb, restart.look_first, restart.container) == (Verb.RESTART, "", mute.id)


def test_the_cache_that_is_left_must_be_a_gibibyte() -> None:
    """Below that there is nothing to drop, and the step would come again with every plan."""
    recipe = "{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 40GiB}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}\nsparks: {{s1: {{host: a, reserve: 0GiB}}}}")
    for free, dropped in ((39 * GIB, True), (39 * GIB + 1, False)):
        seen = changed(sight(images=IMAGES, free=40 * GIB), memory_free=free)
        result = plan(target, world(sights={"s1": seen}))
        assert (Verb.FREE in [step.verb for step in result.steps]) is dropped, free
