"""Flags are held against what the image itself knows before anything is started with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Container, Plan, ProbeResult, Verb, World
from reconciler.plan import plan
from reconciler.preflight.ask import CAP, PATIENCE
from reconciler.preflight.tables import Table, shipped
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack
from tests.unit.reconciler.builders import GIB, NOW, container, declare, foreign, named, sight

IMAGE = "ghcr.io/some/vllm:1"
ID = "sha256:" + "ab" * 32


def model(flags: str, **more: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    recipe = f"{{engine: vllm, model: a/b, image: '{IMAGE}', memory: 9GiB, flags: {flags}{extra}}}"
    return f"models: {{big: {{recipe: {recipe}, on: s1}}}}"


def seen(*containers: Container, free: int = 100 * GIB, **more: Any) -> World:
    """A world in which these containers are on s1, and `free` bytes are available on either Spark."""
    same = frozenset({ID, "sha256:other"})
    images = {IMAGE: same, ID: same, "keep/echo:1": frozenset[str]()}
    sights = {"s1": sight(*containers, free=free), "s2": sight(free=free)}
    for name, known in sights.items():
        assert known.scan is not None
        sights[name] = replace(known, scan=replace(known.scan, images=images))
    return World(sights=sights, now=NOW, **more)


def real() -> Table:
    table = shipped("vllm")
    assert table is not None
    return table


def verbs(result: Plan) -> list[Verb]:
    return [step.verb for step in result.steps]


def test_an_image_that_was_not_asked_is_asked_before_anything_is_started() -> None:
    result = plan(declare(model("{max-model-len: 4096}")), seen())
    assert verbs(result) == [Verb.ASK]
    step = result.steps[0]
    assert step.command.startswith("docker run --rm --name sparkkeep-flags-abababababab ")
    assert step.command.endswith(f"--entrypoint timeout {ID} --kill-after=5 {PATIENCE} vllm serve --help=all")
    assert not step.destructive


def test_while_it_is_asked_nothing_is_asked_again_or_started() -> None:
    result = plan(declare(model("{max-model-len: 4096}")), seen(asking=frozenset({("s1", "vllm", ID)})))
    assert told(result) == [("big", "CheckingFlags", f"{IMAGE} is being asked on s1 which flags it knows")]
    assert result.steps == ()


def test_good_flags_are_started_with() -> None:
    result = plan(declare(model("{max-model-len: 4096}")), seen(answers={("vllm", ID): real()}))
    assert verbs(result)[-1] is Verb.CREATE


def test_a_typo_is_refused_with_what_was_meant() -> None:
    result = plan(declare(model("{max-modle-len: 4096}")), seen(answers={("vllm", ID): real()}))
    assert result.steps == ()
    (held,) = result.held
    assert (held.reason, held.terminal) == ("FlagRefused", True)
    assert "max-modle-len" in held.message
    assert "max-model-len" in held.message


def test_all_that_an_image_refuses_is_told_at_once() -> None:
    """One at a time, each would cost its own round of an edit and a plan."""
    result = plan(declare(model("{max-modle-len: 1, max-num-seqz: 2}")), seen(answers={("vllm", ID): real()}))
    [(_, _, message)] = told(result)
    first, second = message.removeprefix(f"{IMAGE} would refuse to start: ").split("; `max-num-seqz`: ")
    assert first.startswith("`max-modle-len`: ")
    assert "did you mean `max-num-seqs`?" in second


def test_an_image_that_can_not_say_is_believed() -> None:
    result = plan(declare(model("{max-modle-len: 4096}")), seen(answers={("vllm", ID): None}))
    assert verbs(result)[-1] is Verb.CREATE


def test_what_no_version_of_an_engine_takes_is_refused_without_its_image() -> None:
    result = plan(declare(model("{gpu-memory-utilization: 1.5}")), seen(answers={("vllm", ID): None}))
    assert result.steps == ()
    assert [held.reason for held in result.held] == ["FlagRefused"]


def test_an_image_that_mods_change_is_not_taken_at_its_word() -> None:
    """A mod may add the very flag that the bare image does not know."""
    target = declare(model("{flag-of-the-mod: 1}", mods="[one]"), mods={"one": "1" * 64})
    result = plan(target, seen(answers={("vllm", ID): real()}))
    assert verbs(result)[-1] is Verb.CREATE
    assert result.held == ()


def test_an_image_is_asked_as_its_model_would_see_the_machine() -> None:
    """With a GPU that the recipe doesn't want, an image for the CPU would not even start to print its flags."""
    for gpus in ("all", "none"):
        [step] = plan(declare(model("{n: 1}", gpus=gpus)), seen()).steps
        assert ("--gpus all" in step.command) is (gpus == "all")


def test_a_running_model_is_not_stopped_for_flags_that_its_image_would_refuse() -> None:
    before, after = declare(model("{max-model-len: 4096}")), declare(model("{max-modle-len: 1}"))
    world = seen(answers={("vllm", ID): real()})
    scan = world.sights["s1"].scan
    assert scan is not None
    running = replace(scan, containers=(container(named(before, "big")),))
    world = replace(world, sights={**world.sights, "s1": replace(world.sights["s1"], scan=running)})
    result = plan(after, world)
    assert result.steps == ()
    assert [held.reason for held in result.held] == ["FlagRefused"]


def test_a_preview_does_not_ask() -> None:
    assert verbs(plan(declare(model("{max-model-len: 4096}")), seen(lenient=True)))[-1] is Verb.CREATE


def test_without_flags_there_is_nothing_to_ask() -> None:
    assert verbs(plan(declare(model("{}")), seen()))[-1] is Verb.CREATE


def test_a_group_asks_on_one_spark_only() -> None:
    recipe = f"{{engine: vllm, model: a/b, image: '{IMAGE}', memory: 9GiB, flags: {{max-model-len: 4096}}}}"
    target = declare(f"models: {{big: {{recipe: {recipe}, across: [s1, s2]}}}}")
    result = plan(target, seen())
    assert [(step.spark, step.verb) for step in result.steps] == [("s1", Verb.ASK)]
    assert [(held.spark, held.reason) for held in result.held] == [("s2", "GroupWaits")]


def test_a_group_without_flags_asks_nothing() -> None:
    recipe = f"{{engine: vllm, model: a/b, image: '{IMAGE}', memory: 9GiB}}"
    result = plan(declare(f"models: {{big: {{recipe: {recipe}, across: [s1, s2]}}}}"), seen())
    assert Verb.ASK not in verbs(result)
    assert ("s2", Verb.CREATE) in [(step.spark, step.verb) for step in result.steps]


def test_a_group_asks_before_it_waits_for_its_weights() -> None:
    """What its flags get wrong is told before hours of fetching, not after."""
    recipe = f"{{engine: vllm, model: a/b, image: '{IMAGE}', memory: 9GiB, flags: {{max-model-len: 4096}}}}"
    target = declare(f"models: {{big: {{recipe: {recipe}, across: [s1, s2]}}}}")
    lack = Lack(reason="WeightsWaiting", message="a/b is not whole on s2", fetch=True)
    world = seen(weights={("s2", Want("a/b")): lack})
    assert [(step.spark, step.verb) for step in plan(target, world).steps] == [("s1", Verb.ASK)]
    asked = replace(world, answers={("vllm", ID): real()})
    assert [(held.spark, held.reason) for held in plan(target, asked).held] == [
        ("s1", "GroupWaits"),
        ("s2", "WeightsWaiting"),
    ]


def test_a_person_sees_that_it_is_being_checked() -> None:
    """The status showed a creation that did not come, for as long as the image was asked."""
    result = plan(declare(model("{max-model-len: 4096}")), seen(lenient=True, asking=frozenset({("s1", "vllm", ID)})))
    assert [held.reason for held in result.held] == ["CheckingFlags"]


# A check takes memory as well: 8 GiB that nobody counted, beside a model that loads, hang the machine.

LOADING = "old: {recipe: {engine: vllm, model: a/c, image: 'keep/echo:1', memory: 60GiB, port: 8001}, on: s1}"
ASKED = f"big: {{recipe: {{engine: vllm, model: a/b, image: '{IMAGE}', memory: 9GiB, flags: {{n: 1}}}}, on: s1}}"
PAIR = f"models: {{{LOADING}, {ASKED}}}"
LEFT = foreign("sparkkeep-flags-abababababab", labels={"sparkkeep.preflight": "flags"})


def told(result: Plan) -> list[tuple[str, str, str]]:
    return [(held.workload, held.reason, held.message) for held in result.held]


def test_no_check_begins_in_memory_that_a_loading_model_will_take() -> None:
    """Symptom: a model of 60 GiB that had just begun to load, 71 GiB available, and a check of up to 8 beside it."""
    target = declare(PAIR)
    result = plan(target, seen(container(named(target, "old")), free=71 * GIB))
    assert result.steps == ()
    message = (
        f"{IMAGE} was not asked yet which flags it knows; to ask it may take 8.0 GiB, s1 has 71.0 GiB available now, "
        "old is starting and may take 60.0 GiB, 4.0 GiB are reserved: 1.0 GiB are missing"
    )
    assert told(result) == [("big", "WaitingTurn", message)]


def test_it_begins_beside_a_loading_model_where_there_is_room_for_both() -> None:
    target = declare(PAIR)
    assert verbs(plan(target, seen(container(named(target, "old")), free=72 * GIB))) == [Verb.ASK]


def test_it_begins_when_the_model_has_loaded() -> None:
    target = declare(PAIR)
    running = container(named(target, "old"))
    ready = ProbeResult(container=running.id, ready=True, ready_at=NOW)
    assert verbs(plan(target, seen(running, free=12 * GIB, probes={("old", "s1"): ready}))) == [Verb.ASK]


def test_while_a_check_runs_its_limit_is_taken() -> None:
    """Symptom: a model was admitted into the memory that the check was about to take."""
    target = declare(f"models: {{{LOADING.replace('60GiB', '92GiB')}, {ASKED}}}")
    missing = (
        "old needs about 92.0 GiB (stated), s1 has 100.0 GiB available now, a check of an image's flags is under way "
        "and may take 8.0 GiB, 4.0 GiB are reserved: 4.0 GiB are missing"
    )
    asking = plan(target, seen(asking=frozenset({("s1", "vllm", ID)})))
    assert asking.steps == ()
    assert told(asking)[-1] == ("old", "InsufficientMemory", missing)
    begins = plan(target, seen())
    assert verbs(begins) == [Verb.ASK], "the same plan that begins a check counts it"
    assert told(begins) == [("old", "InsufficientMemory", missing)]
    assert Verb.CREATE in verbs(plan(target, seen(answers={("vllm", ID): real()})))
    for need, order in ((88, [Verb.ASK, Verb.CREATE]), (89, [Verb.ASK])):
        beside = declare(f"models: {{{LOADING.replace('60GiB', f'{need}GiB')}, {ASKED}}}")
        assert [verb for verb in verbs(plan(beside, seen())) if verb is not Verb.MKDIR] == order, need


def test_a_check_that_an_earlier_life_left_behind_counts_too() -> None:
    """After a restart nobody remembers it; its label does."""
    target = declare(f"models: {{{LOADING.replace('60GiB', '92GiB')}, {ASKED}}}")
    result = plan(target, seen(LEFT))
    assert result.steps == ()
    assert [(name, reason) for name, reason, _ in told(result)] == [
        ("big", "CheckingFlags"),
        ("old", "InsufficientMemory"),
    ]
    both = plan(target, seen(LEFT, asking=frozenset({("s1", "vllm", ID)})))
    assert "4.0 GiB are missing" in told(both)[-1][2], "seen and remembered, it is one check"
    over = replace(LEFT, state="exited")
    assert verbs(plan(target, seen(over))) == [Verb.ASK]


def test_where_no_room_will_come_by_waiting_the_image_is_believed() -> None:
    """Else an edit of a model that fills its Spark would wait for ever for the memory of its own old container."""
    before = declare(model("{max-model-len: 4096}"))
    running = container(named(before, "big"))
    ready = {("big", "s1"): ProbeResult(container=running.id, ready=True, ready_at=NOW)}
    for free, probes in ((5, ready), (20, {})):  # it serves, or it still loads itself
        result = plan(declare(model("{max-model-len: 8192}")), seen(running, free=free * GIB, probes=probes))
        assert verbs(result)[0] is Verb.STOP
        assert verbs(result)[-1] is Verb.CREATE
        assert result.held == ()


@given(st.integers(0, 121), st.integers(0, 121), st.integers(0, 121), st.booleans(), st.booleans())
def test_all_that_may_be_taken_at_once_is_there(free: int, old: int, other: int, loads: bool, asks: bool) -> None:
    more = f"other: {{recipe: {{image: 'keep/echo:1', memory: {other}GiB}}, on: s1}}"
    target = declare(f"models: {{{LOADING.replace('60GiB', f'{old}GiB')}, {ASKED}}}\nservices: {{{more}}}")
    there = (container(named(target, "old")),) if loads else ()
    asking = frozenset({("s1", "vllm", ID)} if asks else ())
    steps = plan(target, seen(*there, free=free * GIB, asking=asking)).steps
    memory = {"old": old * GIB, "other": other * GIB, "big": 9 * GIB}
    taken = sum(CAP if step.verb is Verb.ASK else memory[step.workload] * (step.verb is Verb.CREATE) for step in steps)
    promised = memory["old"] * loads + CAP * asks
    assert taken == 0 or promised + taken + target.reserves["s1"] <= free * GIB
