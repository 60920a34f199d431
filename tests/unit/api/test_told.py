"""What a person reads about a workload that is not as it should be, word for word.

The texts stand in `told/`, one file for each situation; a plan of the real planner leads to each.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from api.told import told
from api.why import facts
from reconciler.binding import bind_floating
from reconciler.explain import explain
from reconciler.model import Failure, ProbeResult, World
from reconciler.plan import plan
from reconciler.preflight.tables import Flag, Table
from tests.unit.reconciler.builders import (
    FABRIC,
    GIB,
    IMAGES,
    NOW,
    container,
    declare,
    foreign,
    loaded_from,
    named,
    service,
    sight,
    unknown,
    world,
)

TEXTS: Final = Path(__file__).parent / "told"
VLLM: Final = """\
models:
  qwen:
    recipe: {engine: vllm, model: Qwen/Qwen3-8B, image: 'keep/echo:1', flags: {gpu-memory-utilization: 0.9}%s}
    on: s1
"""
GROUP: Final = """\
models:
  big:
    recipe: {engine: vllm, model: org/big, image: 'keep/echo:1', memory: 90GiB}
    across: [s1, s2]
"""


def answered(yaml: str, name: str, seen: World, **overrides: Any) -> dict[str, Any]:
    target = declare(yaml, **overrides)
    return facts(name, loaded_from(yaml).resolved.get(name), target, seen, plan(target, seen))


def read(yaml: str, name: str, seen: World, *, whole: bool = False, **overrides: Any) -> str:
    return "".join(f"{line}\n" for line in told(name, answered(yaml, name, seen, **overrides), NOW, whole=whole))


def failed(yaml: str, name: str, log: str, *, count: int = 2) -> Failure:
    instance = named(declare(yaml), name)
    why = explain(log, otherwise="its container exited with status 1")
    return Failure(
        count=count, reason=why.reason, message=why.message, spec_hash=instance.spec_hash, at=NOW - 75,
        terminal=why.terminal, retry_at=0.0 if why.terminal else NOW + 40, log=tuple(log.splitlines()),
    )  # fmt: skip


def other_images() -> dict[str, frozenset[str]]:
    """The same tag on two Sparks, of two different images."""
    return {
        "s1": frozenset({"sha256:" + "a" * 64, "sha256:" + "1" * 64}),
        "s2": frozenset({"sha256:" + "b" * 64, "sha256:" + "2" * 64}),
    }


def insufficient_memory_stated() -> str:
    seen = world(sights={"s1": sight(images=IMAGES, free=40 * GIB)})
    return read(VLLM % ", memory: 92GiB", "qwen", seen, whole=True)


def insufficient_memory_estimated() -> str:
    yaml = VLLM % "" + "services:\n" + service("echo", recipe=", memory: 80GiB", port=9000)
    running = container(named(declare(yaml), "echo"))
    s1 = sight(running, foreign("notebook"), images=IMAGES, free=35 * GIB)
    return read(yaml, "qwen", world(sights={"s1": s1}))


def too_large_for_any_spark() -> str:
    recipe = "{engine: llamacpp, model: org/huge, quant: Q8_0, image: 'keep/echo:1', memory: 140GiB}"
    yaml = f"models: {{huge: {{recipe: {recipe}, on: s1}}}}\n"
    return read(yaml, "huge", world())


def memory_unknown() -> str:
    yaml = "models: {nim: {recipe: {engine: nim, image: 'keep/echo:1'}, on: s1}}\n"
    return read(yaml, "nim", world())


def flag_refused() -> str:
    yaml = VLLM % ", memory: 20GiB"
    yaml = yaml.replace("0.9}", "0.9, max-modle-len: 4096}")
    image = "sha256:" + "a" * 64
    s1 = sight()
    assert s1.scan is not None
    images = {name: frozenset({image}) for name in ("keep/echo:1", image)}
    s1 = replace(s1, scan=replace(s1.scan, images=images))
    flags = {
        "max-model-len": Flag(name="max-model-len", kind="integer"),
        "gpu-memory-utilization": Flag(name="gpu-memory-utilization", kind="number"),
    }
    table = Table("vllm", "", "its own help", flags)
    return read(yaml, "qwen", world(sights={"s1": s1}, answers={("vllm", image): table}))


def image_differs() -> str:
    sights = {}
    for spark, marks in other_images().items():
        seen = sight()
        assert seen.scan is not None
        digest = max(marks) if spark == "s1" else min(marks)
        names = ("keep/echo:1", max(marks), f"keep/echo@{digest}")
        sights[spark] = replace(seen, scan=replace(seen.scan, images=dict.fromkeys(names, marks)))
    return read(GROUP, "big", world(sights=sights))


def revision_differs() -> str:
    commits = {("big", "s1"): "a" * 40, ("big", "s2"): "b" * 40}
    return read(GROUP, "big", world(commits=commits))


def fabric_missing() -> str:
    return read(GROUP, "big", world(), fabric={"s1": FABRIC["s1"], "s2": replace(FABRIC["s2"], address="")})


def group_unknown() -> str:
    return read(GROUP, "big", world(sights={"s2": unknown()}))


def waiting_turn() -> str:
    yaml = VLLM % ", memory: 20GiB" + (
        "  first:\n    recipe: {engine: vllm, model: org/first, image: 'keep/echo:1', port: 8001, memory: 20GiB}\n"
        "    on: s1\n"
    )
    loading = container(named(declare(yaml), "first"))
    probes = {("first", "s1"): ProbeResult(container=loading.id, ready=False, message="nothing listens yet")}
    return read(yaml, "qwen", world(sights={"s1": sight(loading, images=IMAGES)}, probes=probes))


def port_taken_by_a_stranger() -> str:
    s1 = sight(foreign("notebook", ports=(8000,)), images=IMAGES)
    return read("services:\n" + service(), "echo", world(sights={"s1": s1}))


def port_taken_by_a_process() -> str:
    return read("services:\n" + service(), "echo", world(sights={"s1": sight(images=IMAGES, listeners={8000})}))


def port_taken_by_ours() -> str:
    yaml = "services:\n" + service() + service("other", port=8001)
    old = container(named(declare(yaml), "other"), spec_hash="old", ports=(8000,))
    seen = world(sights={"s1": sight(old, images=IMAGES)})
    return read(yaml, "echo", seen, suspended=frozenset({"other"}))


def not_launchable() -> str:
    yaml = GROUP.replace("engine: vllm", "engine: llamacpp, quant: Q4_K_M")
    return read(yaml, "big", world())


def failed_for_good() -> str:
    yaml = VLLM % ", memory: 20GiB"
    log = "INFO starting\nOSError: You are trying to access a gated repo.\nMake sure to have access to it"
    return read(yaml, "qwen", world(failures={("qwen", "s1"): failed(yaml, "qwen", log)}))


def failed_for_now() -> str:
    yaml = VLLM % ", memory: 20GiB"
    log = "loading\nthe dog ate the weights"
    return read(yaml, "qwen", world(failures={("qwen", "s1"): failed(yaml, "qwen", log, count=1)}))


def no_spark_fits() -> str:
    yaml = "services:\n" + service(on="any", recipe=", memory: 100GiB")
    target = declare(yaml)
    seen = world(sights={"s1": sight(images=IMAGES, free=30 * GIB)})
    placements = bind_floating(loaded_from(yaml), target, seen.sights, {})
    assert placements is not None
    return read(yaml, "echo", seen, placements=placements, cordoned=frozenset({"s2"}))


def spark_does_not_answer() -> str:
    return read("services:\n" + service(), "echo", world(sights={"s1": unknown()}))


def suspended() -> str:
    return read("services:\n" + service(), "echo", world(), suspended=frozenset({"echo"}))


def all_is_well() -> str:
    yaml = "services:\n" + service(recipe=", memory: 1GiB")
    running = container(named(declare(yaml), "echo"))
    return read(yaml, "echo", world(sights={"s1": sight(running, images=IMAGES)}))


SITUATIONS: Final = (
    insufficient_memory_stated,
    insufficient_memory_estimated,
    too_large_for_any_spark,
    memory_unknown,
    flag_refused,
    image_differs,
    revision_differs,
    fabric_missing,
    group_unknown,
    waiting_turn,
    port_taken_by_a_stranger,
    port_taken_by_a_process,
    port_taken_by_ours,
    not_launchable,
    failed_for_good,
    failed_for_now,
    no_spark_fits,
    spark_does_not_answer,
    suspended,
    all_is_well,
)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_reads_as_written(situation: Any) -> None:
    assert situation() == (TEXTS / f"{situation.__name__}.txt").read_text()


def test_every_text_has_its_situation() -> None:
    assert {path.stem for path in TEXTS.iterdir()} == {situation.__name__ for situation in SITUATIONS}


def test_a_lower_share_is_proposed_only_if_it_fits_with_what_lies_beyond_it() -> None:
    yaml = VLLM % ""
    found = answered(yaml, "qwen", world(sights={"s1": sight(images=IMAGES, free=40 * GIB)}))
    (help_,) = found["held"][0]["helps"][:1]
    share = float(help_.split(" to ")[1].split(" ")[0])
    after = named(declare(yaml.replace("0.9}", f"{share}}}")), "qwen").memory
    assert 35 * GIB < after <= 36 * GIB


def test_nothing_is_proposed_where_no_share_would_do() -> None:
    found = answered(VLLM % "", "qwen", world(sights={"s1": sight(images=IMAGES, free=12 * GIB)}))
    assert found["held"][0]["reason"] == "InsufficientMemory"
    assert found["held"][0]["helps"] == []
