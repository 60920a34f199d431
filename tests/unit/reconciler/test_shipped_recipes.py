"""Every recipe that ships: whole, sourced, launchable, and listed in docs/RECIPES.md."""

from __future__ import annotations

import math

import pytest

from reconciler.engines import launch
from reconciler.engines.seat import Fabric, seats
from reconciler.preflight.check import check
from reconciler.preflight.tables import shipped
from state.load import load
from tests.tools.recipe_list import PAGE, ROOT, outcome, page, recipes, row, sparks

RECIPES = recipes()
SPARK = 121.7  # GiB, MemTotal of a DGX Spark
SIXTEEN_BIT_EXPERTS = {"gemma-4-26b-a4b", "gemma-4-26b-a4b-fp8"}  # these take far more than their share (vllm#46307)

# Flags of images that are builds of their own: a table of the plain engine can't know them.
SPECIAL = {
    "gpt-oss-120b": {"mxfp4-backend", "mxfp4-layers"},
    "minimax-m3-reap25-nvfp4": {"fp4-gemm-backend", "cuda-graph-bs", "cuda-graph-max-bs"},
}


def test_there_are_recipes_for_all_kinds_of_work() -> None:
    assert len(RECIPES) == 50
    kinds = {recipe.probe.kind for recipe in RECIPES.values() if recipe.probe}
    assert kinds == {"chat", "embedding", "rerank", "transcription", "speech", "http"}
    engines = {recipe.engine for recipe in RECIPES.values()}
    assert engines == {"vllm", "sglang", "trtllm", "llamacpp", "nim", "container"}
    assert {"parakeet", "sortformer", "magpie-tts", "kokoro", "bge-m3", "bge-reranker", "privacy-filter"} <= set(
        RECIPES
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_is_where_it_is_from_and_what_it_takes(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.description
    assert recipe.source
    assert recipe.memory
    assert recipe.probe is not None
    assert recipe.probe.kind != "none"
    assert recipe.port is not None
    assert recipe.engine in {"container", "nim"} or recipe.model


def test_any_two_can_share_a_spark() -> None:
    ports = [recipe.port for recipe in RECIPES.values()]
    assert len(set(ports)) == len(ports)
    speech = [recipe.env["NIM_GRPC_API_PORT"] for recipe in RECIPES.values() if "NIM_GRPC_API_PORT" in recipe.env]
    assert len(set(speech)) == len(speech) == 3


@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.engine in {"vllm", "sglang"}])
def test_memory_is_the_engines_share_and_what_goes_beyond_it(name: str) -> None:
    recipe = RECIPES[name]
    share = recipe.flags.get("gpu-memory-utilization", recipe.flags.get("mem-fraction-static"))
    assert isinstance(share, float)
    assert recipe.memory is not None
    beyond = recipe.memory / 2**30 - share * SPARK
    assert 3 <= beyond <= (math.ceil(0.6 * 48) + 6 if name in SIXTEEN_BIT_EXPERTS else 6.5)
    assert recipe.memory / 2**30 < SPARK - 4  # the reserve


@pytest.mark.parametrize("name", RECIPES)
def test_it_becomes_a_command_on_every_rank(name: str) -> None:
    recipe = RECIPES[name]
    size = sparks(recipe)
    fabric = {f"s{at}": Fabric(address=f"10.0.0.{at + 1}", interface="enp1s0f0np0") for at in range(size)}
    places = seats(name, list(fabric), fabric, grouped=size > 1, listening=recipe.port)
    made = [launch(recipe, seat, {mod: f"{at:064x}" for at, mod in enumerate(recipe.mods)}) for seat in places]
    assert len({each.spec.canonical() for each in made}) == size
    words = " ".join(made[0].spec.command)
    assert recipe.model is None or recipe.model in words
    assert made[0].probe.port == recipe.port


@pytest.mark.parametrize("name", RECIPES)
def test_preflight_finds_nothing_but_what_is_special(name: str) -> None:
    recipe = RECIPES[name]
    findings = check(recipe.engine, recipe.flags, None, shipped(recipe.engine))
    assert {finding.flag for finding in findings} == SPECIAL.get(name, set())
    assert not any(finding.certain for finding in findings)


def test_the_page_lists_what_ships() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run `python -m tests.tools.recipe_list`"
    assert all(row(name, recipe) in text for name, recipe in RECIPES.items())


def test_parsers_verdict_is_told_of_vllm_recipes_only() -> None:
    assert outcome("bge-m3", RECIPES["bge-m3"]) == ""
    assert outcome("qwen3-8b", RECIPES["qwen3-8b"]) == "taken"
    assert outcome("qwen3.6-27b-fp8", RECIPES["qwen3.6-27b-fp8"]) == "taken; its mod brings the chat template"


def test_the_example_stands_on_them() -> None:
    loaded = load(ROOT / "examples" / "desired.yaml", [ROOT / "models.yaml"])
    named = {name: workload.recipe for name, workload in loaded.desired.models.items()}
    assert named == {"qwen3-8b": "qwen3-8b", "gpt-oss-20b": "gpt-oss-20b"}
    assert len(loaded.resolved) == 6
