"""A launch waits for its weights: nothing starts without them where they are known to lack, and nothing that runs stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.disks.found import CachedModel, DiskSurvey, GgufFile, Revision
from reconciler.model import Instance, Plan, Verb, World
from reconciler.plan import plan
from reconciler.target import Target
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack, lies
from tests.unit.reconciler.builders import GIB, NOW, container, declare, named, sight, world

IMAGE = "ghcr.io/some/vllm:1"
COMMIT = "c" * 40
WANT = Want("a/b")
MISSING = Lack(reason="WeightsWaiting", message="a/b is not whole on s1", fetch=True)
COMING = Lack(reason="WeightsFetching", message="a/b comes to s1, 1.0 GiB of 4.0 GiB (25 %)")
GATED = Lack(reason="Gated", message="a/b can't come to s1: accept its licence", terminal=True)
LACKS = st.sampled_from([MISSING, COMING, GATED, replace(COMING, until=NOW + 60)])
STARTS = {Verb.CREATE, Verb.START, Verb.RESTART}


def model(
    memory: str = ", memory: 60GiB", *, on: str = "on: s1", more: str = "", top: str = "", hub: str = "a/b"
) -> str:
    recipe = f"{{engine: vllm, model: {hub}, image: '{IMAGE}', probe: chat{memory}{more}}}"
    return f"models: {{big: {{recipe: {recipe}, {on}}}}}\n{top}"


def seen(*found: Any, weights: dict[tuple[str, Want], Lack] | None = None, images: bool = True, **more: Any) -> World:
    known = frozenset({IMAGE}) if images else frozenset[str]()
    sights = {"s1": sight(*found, images=known), "s2": sight(images=known)}
    return world(sights=sights, weights=weights or {}, **more)


def held(result: Plan) -> list[tuple[str, str, Want | None]]:
    return [(each.spark, each.reason, each.want) for each in result.held]


def verbs(result: Plan) -> list[Verb]:
    return [step.verb for step in result.steps]


@given(LACKS)
def test_nothing_starts_while_its_weights_lack(lack: Lack) -> None:
    result = plan(declare(model()), seen(weights={("s1", WANT): lack}))
    assert result.steps == ()
    [waits] = result.held
    assert (waits.reason, waits.message, waits.until, waits.terminal) == (
        *(lack.reason, lack.message, lack.until, lack.terminal),
    )
    assert waits.want == (WANT if lack.fetch else None)


def test_it_starts_when_they_are_there_and_where_nobody_knows() -> None:
    target = declare(model())
    assert named(target, "big").weights == WANT
    for weights in ({}, {("s2", WANT): MISSING}, {("s1", Want("a/b", "v2")): MISSING}, {("s1", Want("a/c")): MISSING}):
        assert Verb.CREATE in verbs(plan(target, seen(weights=weights)))


@given(LACKS)
def test_what_runs_is_never_touched_for_its_weights(lack: Lack) -> None:
    target = declare(model())
    running = container(named(target, "big"))
    weights = {("s1", WANT): lack}
    with_them, without = plan(target, seen(running)), plan(target, seen(running, weights=weights))
    assert (with_them.steps, with_them.held) == (without.steps, without.held) == ((), ())


def test_an_old_container_runs_on_until_the_new_weights_are_there() -> None:
    old = container(named(declare(model(hub="a/old")), "big"))
    target = declare(model())
    waits = plan(target, seen(old, weights={("s1", WANT): MISSING}))
    assert waits.steps == ()
    assert waits.held[0].message == "a/b is not whole on s1; its old container keeps running"
    assert Verb.STOP in verbs(plan(target, seen(old)))


def test_a_dead_container_is_not_started_without_them() -> None:
    target = declare(model())
    dead = container(named(target, "big"), state="exited", exit_code=1)
    assert held(plan(target, seen(dead, weights={("s1", WANT): MISSING}))) == [("s1", "WeightsWaiting", WANT)]
    assert Verb.START in verbs(plan(target, seen(dead)))


def test_without_the_setting_all_is_as_it_was() -> None:
    target = declare(model(top="settings: {fetchWeights: false}"))
    weights = {("s1", WANT): MISSING}
    assert plan(target, seen(weights=weights)).steps == plan(target, seen()).steps
    assert Verb.CREATE in verbs(plan(target, seen(weights=weights)))


def test_memory_that_the_files_will_tell_is_not_called_unknown() -> None:
    recipe = f"{{engine: llamacpp, model: a/b, quant: Q8_0, image: '{IMAGE}'}}"
    target = declare(f"models: {{big: {{recipe: {recipe}, on: s1}}}}")
    weights = {("s1", Want("a/b", quant="Q8_0")): COMING}
    assert held(plan(target, seen(weights=weights))) == [("s1", "WeightsFetching", None)]
    assert held(plan(target, seen())) == [("s1", "MemoryUnknown", None)]


def test_what_could_never_fit_is_not_fetched() -> None:
    target = declare(model(memory=", memory: 120GiB"))
    assert held(plan(target, seen(weights={("s1", WANT): MISSING}))) == [("s1", "InsufficientMemory", None)]
    tight = declare(model(memory=", memory: 117GiB"))
    assert held(plan(tight, seen(weights={("s1", WANT): MISSING}))) == [("s1", "WeightsWaiting", WANT)]


def test_they_come_beside_the_image_but_not_for_flags_that_are_wrong() -> None:
    target, weights = declare(model()), {("s1", WANT): MISSING}
    assert verbs(plan(target, seen(images=False, weights=weights))) == [Verb.PULL]
    pulling = seen(images=False, weights=weights, pulling=frozenset({("s1", IMAGE)}))
    assert held(plan(target, pulling)) == [("s1", "Pulling", WANT)]
    off = declare(model(top="settings: {fetchWeights: false}"))
    assert plan(off, pulling).steps == ()
    on_demand = declare(model(on="on: s1, run: on-demand"))
    assert held(plan(on_demand, seen(weights=weights))) == [("s1", "OnDemand", None)]


@pytest.mark.parametrize("lacking", [("s1",), ("s2",), ("s1", "s2")])
def test_a_group_waits_for_all_of_its_ranks(lacking: tuple[str, ...]) -> None:
    target = declare(model(on="across: [s1, s2]"))
    weights = {(spark, WANT): MISSING for spark in lacking}
    result = plan(target, seen(weights=weights))
    assert result.steps == ()
    wanted = {spark: ("WeightsWaiting", WANT) if spark in lacking else ("GroupWaits", None) for spark in ("s1", "s2")}
    assert {each.spark: (each.reason, each.want) for each in result.held} == wanted
    if len(lacking) == 1:
        other = next(each for each in result.held if each.spark not in lacking)
        assert other.message == f"the weights of big come to {lacking[0]} first"
    assert Verb.CREATE in verbs(plan(target, seen()))


def test_a_group_that_is_on_its_way_is_not_held_up() -> None:
    target = declare(model(on="across: [s1, s2]"))
    _, worker = target.groups[0]
    sights = {"s1": sight(images=frozenset({IMAGE})), "s2": sight(container(worker), images=frozenset({IMAGE}))}
    result = plan(target, world(sights=sights, weights={("s1", WANT): MISSING}))
    assert Verb.CREATE in verbs(result)


def wanted(target: Target) -> list[Want | None]:
    return [i.weights for found in target.instances.values() for i in found]


def llama(more: str) -> str:
    return f"models: {{big: {{recipe: {{engine: llamacpp, image: 'x/llama:1', memory: 1GiB, {more}}}, on: s1}}}}"


MOUNTED = """
models:
  big:
    recipe:
      image: x/y:1
      model: a/b
      command: [serve, a/b]
      mounts: [{source: $HOME/.cache/huggingface, target: /root/.cache/huggingface}]
    on: s1
"""


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (model(more=", revision: v2"), Want("a/b", "v2")),
        (llama("model: a/b-GGUF, quant: Q4_K_M"), Want("a/b-GGUF", quant="Q4_K_M")),
        (llama("model: a/b-GGUF, file: x/y-00001-of-00003.gguf"), Want("a/b-GGUF", files=("x/y-?????-of-00003.gguf",))),
        (llama("model: a/b-GGUF"), Want("a/b-GGUF")),
        (llama("model: a/b-GGUF, flags: {model: /models/x.gguf}"), None),
        (model(more=", flags: {download-dir: /data}"), None),
        (model(more=", env: {HF_HOME: /elsewhere}, mounts: [{source: /data, target: /elsewhere}]"), None),
        (model(more=", env: {HF_HUB_CACHE: /elsewhere}"), None),
        (model(more=", env: {HF_ENDPOINT: 'https://hub.example'}"), None),
        (model(more=", user: '1000:1000'"), WANT),
        ("models: {big: {recipe: {engine: nim, image: 'nvcr.io/nim/meta/x:1', memory: 9GiB}, on: s1}}", None),
        (
            "models: {big: {recipe: {image: 'x/y:1', gpus: all, command: [serve, a/b]}, on: s1}}",
            None,
        ),
        (MOUNTED, WANT),
        ("services: {echo: {recipe: {image: 'keep/echo:1', port: 8000}, on: s1}}", None),
    ],
)
def test_only_what_surely_is_read_from_that_cache_is_waited_for(text: str, want: Want | None) -> None:
    assert wanted(declare(text)) == [want]


def survey(*revisions: Revision, readable: bool = True, ggufs: tuple[GgufFile, ...] = (), **more: Any) -> DiskSurvey:
    models = (CachedModel(repo="a/b", path="/h/hub/models--a--b", revisions=revisions, readable=readable),)
    return DiskSurvey(taken_at=1.0, spark_time=1.0, models=models if revisions else (), ggufs=ggufs, **more)


def test_what_a_survey_tells_of_a_revision() -> None:
    def at(complete: bool | None, *refs: str) -> Revision:
        return Revision(commit=COMMIT, refs=refs, complete=complete)

    assert lies(WANT, survey(at(True, "main"))) is True
    assert lies(Want("a/b", COMMIT), survey(at(True))) is True
    assert lies(WANT, survey(at(True))) is False  # nothing says that this commit is main
    assert lies(WANT, survey(at(False, "main"))) is False
    assert lies(WANT, survey()) is False
    assert lies(WANT, survey(at(None, "main"))) is None
    assert lies(WANT, survey(at(True), readable=False)) is None
    assert lies(WANT, survey(problems=("/h/.cache/huggingface/hub: not looked at: it is closed",))) is None
    assert lies(WANT, survey(problems=("/h/models: its files were cut off",))) is False


def test_what_a_survey_tells_of_one_gguf_file() -> None:
    def file(name: str, repo: str | None = "a/b", complete: bool | None = True) -> GgufFile:
        return GgufFile(path=f"/x/{name}", name=name, size=1, repo=repo, complete=complete)

    def told(want: Want, *files: GgufFile) -> bool | None:
        return lies(want, survey(ggufs=files))

    quant, name = Want("a/b", quant="Q8_0"), Want("a/b", files=("sub/b-f16.gguf",))
    assert told(quant, file("b-Q8_0.gguf")) is True
    assert told(quant, file("b-q8_0.gguf", complete=False)) is False
    assert told(quant, file("mmproj-b-Q8_0.gguf"), file("b-Q4_0.gguf")) is False
    assert told(quant, file("b-Q8_0.gguf", repo="other/b")) is False
    assert told(quant, file("a_b_b-Q8_0.gguf", repo=None)) is True  # as older llama.cpp names what it fetched
    assert told(quant, file("b-Q8_0.gguf", repo=None)) is False
    assert told(name, file("b-f16.gguf")) is True
    assert told(name, file("mmproj-b-f16.gguf")) is False
    split = Want("a/b", files=("b-?????-of-00002.gguf",))
    assert told(split, file("b-00001-of-00002.gguf")) is True


def test_the_want_is_no_part_of_the_spec() -> None:
    """Or else every container would be made anew by an update."""
    one, other = (
        named(declare(model(more=m)), "big") for m in ("", ", flags: {download-dir: /root/.cache/huggingface}")
    )
    assert isinstance(one, Instance)
    assert one.spec.digest() == named(declare(model()), "big").spec_hash
    assert (one.weights, other.weights) == (WANT, None)
    assert one.memory == 60 * GIB
