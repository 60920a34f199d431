"""Recipes from model folders: what is chosen, why, and what is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.disks.found import CachedFile, CachedModel, DiskSurvey, Revision
from reconciler.families import FAMILIES, MXFP4, NIGHTLY, TF5, family_of
from reconciler.infer import infer_recipe
from reconciler.infer_menu import infer_for_menu, infer_revision, known_files
from reconciler.memory.files import ModelFiles
from reconciler.memory.quantisation import read_quantisation
from state.recipes import Recipe
from tests.unit.reconciler.memory import models

GIB = 2**30
TOOLS = {"enable-auto-tool-choice": True}
VLLM_TOOLS = {
    "deepseek_v3", "deepseek_v31", "deepseek_v32", "deepseek_v4", "ernie45", "gemma4", "glm45", "glm47", "granite",
    "granite4", "hermes", "hunyuan_a13b", "jamba", "kimi_k2", "lfm2", "llama3_json", "llama4_pythonic", "minimax_m2",
    "minimax_m3", "mistral", "olmo3", "openai", "phi4_mini_json", "qwen3_coder", "seed_oss", "step3p5", "apertus",
}  # fmt: skip
VLLM_REASONING = {
    "deepseek_r1", "deepseek_v3", "deepseek_v4", "ernie45", "gemma4", "glm45", "hunyuan_a13b", "kimi_k2", "minimax_m2",
    "minimax_m3", "mistral", "nemotron_v3", "olmo3", "openai_gptoss", "qwen3", "seed_oss", "step3p5",
}  # fmt: skip


def test_a_whole_recipe_with_its_reasons():
    found = infer_recipe(replace(models.QWEN3_8B, generation={"temperature": 0.6, "top_p": 0.95, "do_sample": True}))
    assert found.recipe == {
        "engine": "vllm",
        "model": "Qwen/Qwen3-8B",
        "image": NIGHTLY,
        "probe": "chat",
        "memory": "48GiB",
        "flags": {
            **TOOLS,
            "tool-call-parser": "hermes",
            "reasoning-parser": "qwen3",
            "max-model-len": 40_960,
            "gpu-memory-utilization": 0.35,
        },
    }
    assert (found.known, found.group) == (True, 1)
    assert found.reasons == (
        "architecture Qwen3ForCausalLM: a model of the family Qwen3",
        f"image {NIGHTLY}, which people run Qwen3 with",
        "not quantised: no file says so",
        "probe chat: it writes text and brings a chat template",
        "tool-call-parser hermes: how Qwen3 writes its tool calls",
        "reasoning-parser qwen3: Qwen3 thinks before it answers",
        "max-model-len 40,960: what the model was made for",
        (
            "gpu-memory-utilization 0.35: enough for its weights and 4.1 texts of full length; "
            "the rest stays free for others"
        ),
        f"memory 47.6 GiB is an estimate: {'; '.join(found.estimate.lines)}",
        "generation_config.json sets temperature 0.6, top_p 0.95: vLLM uses that where a request says nothing",
    )
    assert found.questions == (
        "Which commit of the repository? Without `revision:` it is whatever lies on the disk.",
        "How long do its texts get, and how many requests run at once?",
    )


@pytest.mark.parametrize(
    ("model", "group", "memory", "image", "flags"),
    [
        (models.QWEN3_CODER_NEXT_INT4, 1, "85GiB", NIGHTLY, ("qwen3_coder", None, 262_144, 0.65)),
        (models.QWEN35_35B, 1, "72GiB", NIGHTLY, ("qwen3_coder", "qwen3", 262_144, 0.55)),
        (models.GPT_OSS_120B, 1, "91GiB", MXFP4, ("openai", "openai_gptoss", 131_072, 0.7)),
        (models.GLM_47_FLASH_AWQ, 1, "72GiB", TF5, ("glm47", "glm45", 202_752, 0.55)),
        (models.GEMMA4_26B, 1, "111GiB", TF5, ("gemma4", "gemma4", 262_144, 0.65)),
        (models.NEMOTRON_NANO_30B, 1, "36GiB", NIGHTLY, ("qwen3_coder", "nemotron_v3", 262_144, 0.25)),
        (models.LLAMA_70B, 2, "109GiB", NIGHTLY, ("llama3_json", None, 131_072, 0.85)),
        (models.MINIMAX_M2_AWQ, 2, "109GiB", NIGHTLY, ("minimax_m2", "minimax_m2", 196_608, 0.85)),
        (models.DEEPSEEK_V3, 8, "109GiB", NIGHTLY, ("deepseek_v3", None, 163_840, 0.85)),
        (models.GEMMA3_27B, 1, "109GiB", NIGHTLY, (None, None, 131_072, 0.85)),
    ],
    ids=lambda value: value.repository if isinstance(value, ModelFiles) else None,
)
def test_public_models(model: ModelFiles, group: int, memory: str, image: str, flags: tuple[Any, ...]):
    found = infer_recipe(model)
    recipe = Recipe.model_validate(dict(found.recipe))
    given = recipe.flags
    names = ("tool-call-parser", "reasoning-parser", "max-model-len", "gpu-memory-utilization")
    assert (found.known, found.group, found.recipe["memory"], recipe.image) == (True, group, memory, image)
    assert tuple(given.get(name) for name in names) == flags
    assert recipe.probe is not None
    assert recipe.probe.kind == "chat"


def test_what_does_not_fit_gets_a_shorter_context():
    config = {**models.GEMMA3_27B.config["text_config"], "num_key_value_heads": 32, "sliding_window": None}
    found = infer_recipe(replace(models.GEMMA3_27B, config={**models.GEMMA3_27B.config, "text_config": config}))
    assert (found.group, found.recipe["flags"]["max-model-len"]) == (1, 32_768)
    assert "max-model-len 32,768: its 131,072 tokens would not fit" in found.reasons


def test_what_no_group_holds_is_said():
    found = infer_recipe(replace(models.DEEPSEEK_V3, index={"metadata": {"total_size": 2_000 * GIB}}))
    assert "memory" not in found.recipe
    assert "gpu-memory-utilization" not in found.recipe["flags"]
    assert (
        "It does not fit on 8 Sparks either: weights 250.0 GiB (safetensors index / 8 ranks) on each. "
        "Is there a smaller one?"
    ) in found.questions


def test_vectors_come_from_the_pooling_runner():
    found = infer_recipe(models.BGE_M3)
    assert found.recipe["probe"] == "embedding"
    assert found.recipe["flags"] == {"runner": "pooling", "max-model-len": 8_194, "gpu-memory-utilization": 0.1}
    assert "probe embedding: modules.json is a file of sentence-transformers" in found.reasons


@pytest.mark.parametrize(
    ("repository", "architecture", "model_type", "probe", "asked"),
    [
        ("BAAI/bge-reranker-v2-m3", "XLMRobertaForSequenceClassification", "xlm-roberta", "rerank", False),
        ("Qwen/Qwen3-Reranker-8B", "Qwen3ForCausalLM", "qwen3", "rerank", True),
        ("Qwen/Qwen3-Embedding-8B", "Qwen3ForCausalLM", "qwen3", "embedding", False),
        ("openai/whisper-large-v3", "WhisperForConditionalGeneration", "whisper", "transcription", False),
        ("Qwen/Qwen3-8B-Base", "Qwen3ForCausalLM", "qwen3", "completion", False),
    ],
)
def test_probes(repository: str, architecture: str, model_type: str, probe: str, asked: bool):
    config = {**models.QWEN3_8B.config, "architectures": [architecture], "model_type": model_type}
    found = infer_recipe(ModelFiles(repository=repository, config=config, index=models.QWEN3_8B.index))
    flags = found.recipe["flags"]
    assert found.recipe["probe"] == probe
    assert ("runner" in flags) == (probe in {"embedding", "rerank"})
    assert "tool-call-parser" not in flags
    assert any("hf-overrides" in text for text in found.questions) == asked


def test_an_unknown_architecture_is_called_unknown():
    config = {**models.QWEN3_8B.config, "architectures": ["FooForCausalLM"], "model_type": "foo"}
    found = infer_recipe(replace(models.QWEN3_8B, config=config))
    assert found.known is False
    assert found.reasons[0] == (
        "architecture FooForCausalLM is unknown here: no parser and no special flag was chosen for it"
    )
    assert (
        "Does the image's engine serve FooForCausalLM? Look it up in its list of supported models." in found.questions
    )
    assert set(found.recipe["flags"]) == {"max-model-len", "gpu-memory-utilization"}


def test_code_of_the_repository_is_only_asked_about():
    found = infer_recipe(models.DEEPSEEK_V3)
    assert "trust-remote-code" not in found.recipe["flags"]
    assert any(text.startswith("The repository brings code of its own (auto_map).") for text in found.questions)
    assert not any("auto_map" in text for text in infer_recipe(models.QWEN3_8B).questions)


def test_a_patch_that_people_need_is_asked_about():
    assert (
        "Does the image hold the patch that people run it with (fix-qwen3-next-autoround of the sparkrun recipes)? "
        "If not, write it under `mods:`."
    ) in infer_recipe(models.QWEN3_CODER_NEXT_INT4).questions


def test_nothing_known_is_no_reason_to_guess():
    found = infer_recipe(ModelFiles(repository="owner/name"))
    assert found.known is False
    assert found.recipe == {"engine": "vllm", "model": "owner/name", "image": NIGHTLY, "probe": "none"}
    assert found.questions[0] == "Which architecture is it? There is no config.json that names one."
    assert (
        "How large is the model? Without the sizes of its files no share of the memory can be chosen."
    ) in found.questions


def test_a_gguf_file_goes_to_llama_cpp():
    files = ModelFiles(
        repository="Qwen/Qwen3-8B-GGUF",
        config=models.QWEN3_8B.config,
        sizes={"Qwen3-8B-Q8_0.gguf": 8_709_518_624, "README.md": 3},
    )
    found = infer_recipe(files)
    assert found.recipe == {
        "engine": "llamacpp",
        "model": "Qwen/Qwen3-8B-GGUF",
        "image": "scitrera/dgx-spark-llama-cpp:latest",
        "probe": "chat",
        "file": "Qwen3-8B-Q8_0.gguf",
        "memory": "14GiB",
        "flags": {"n-gpu-layers": 999, "jinja": True, "ctx-size": 32_768},
    }
    Recipe.model_validate(dict(found.recipe))
    several = infer_recipe(replace(files, sizes={**files.sizes, "Qwen3-8B-Q4_K_M.gguf": 5_027_783_488}))
    assert "file" not in several.recipe
    assert ("Which file: Qwen3-8B-Q4_K_M.gguf, Qwen3-8B-Q8_0.gguf? The largest was reckoned with.") in several.questions


@pytest.mark.parametrize(
    ("config", "outside", "method", "words"),
    [
        ({"quant_method": "fp8"}, {}, "fp8", "FP8"),
        ({"quant_method": "mxfp4"}, {}, "mxfp4", "MXFP4"),
        ({"quant_method": "awq", "bits": 4}, {}, "awq", "AWQ, 4 bits"),
        ({"quant_method": "gptq", "bits": 4}, {}, "gptq", "GPTQ, 4 bits"),
        ({"quant_method": "compressed-tensors"}, {}, "compressed-tensors", "compressed-tensors"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {}, "bitsandbytes", "bitsandbytes"),
        ({"quant_method": "auto-round", "bits": 4}, {}, "auto-round", "AutoRound, 4 bits"),
        ({"quant_method": "gptq", "autoround_version": "0.5", "bits": 4}, {}, "auto-round", "AutoRound, 4 bits"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, {}, "nvfp4", "NVFP4 (ModelOpt)"),
        (
            {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
            {},
            "modelopt-mixed",
            "mixed precision (ModelOpt)",
        ),
        ({}, {"quantization": {"quant_algo": "NVFP4"}}, "nvfp4", "NVFP4 (ModelOpt)"),
        ({}, {"quantization": {"quant_algo": "FP8"}}, "modelopt-fp8", "FP8 (ModelOpt)"),
        ({}, {"bits": 4, "desc_act": False}, "gptq", "GPTQ, 4 bits"),
        ({}, {"w_bit": 4, "zero_point": True}, "awq", "AWQ, 4 bits"),
        ({"quant_method": "exl3", "bits": 4}, {}, "exl3", "exl3, 4 bits"),
        ({}, {}, "", ""),
    ],
)
def test_quantisation(config: dict[str, Any], outside: dict[str, Any], method: str, words: str):
    files = ModelFiles(config={"quantization_config": config} if config else {}, quantization=outside)
    found = read_quantisation(files)
    assert (found.method, found.words, found.known) == (method, words, method != "exl3")


def test_an_unknown_quantisation_is_asked_about():
    config = {**models.QWEN3_8B.config, "quantization_config": {"quant_method": "exl3", "bits": 4}}
    found = infer_recipe(replace(models.QWEN3_8B, config=config))
    assert "Does the image's engine read weights quantised by exl3, 4 bits?" in found.questions


def test_every_family_can_be_reached_and_names_real_parsers():
    for family in FAMILIES:
        word = family.names[0] if family.names else "plain"
        assert family in {family_of(model_type, f"owner/{word}") for model_type in family.types}, family.name
        assert family.tools in VLLM_TOOLS | {""}, family.name
        assert family.reasoning in VLLM_REASONING | {""}, family.name


def test_a_revision_on_a_disk_becomes_a_recipe_of_its_commit():
    revision = Revision(
        commit="a" * 40,
        files=(CachedFile("model.safetensors", 16_381_470_720), CachedFile("config.json", 728)),
        complete=True,
        configs={"config.json": models.QWEN3_8B.config},
        hints={"has_chat_template": True, "model_max_length": 131_072, "total_size": 16_381_470_720},
    )
    found = infer_revision("Qwen/Qwen3-8B", revision)
    plain = infer_recipe(models.QWEN3_8B)
    assert found.recipe == {**plain.recipe, "revision": "a" * 40}
    assert found.questions == ("How long do its texts get, and how many requests run at once?",)
    assert found.reasons[-1] == "revision aaaaaaaaaaaa: the one that lies on the disk"
    assert infer_for_menu("Qwen/Qwen3-8B", revision) == found.recipe
    assert infer_for_menu("not a name", revision) is None


def on_disk(*revisions: Revision) -> DiskSurvey:
    model = CachedModel(repo="a/b", path="/hub", revisions=revisions)
    return DiskSurvey(taken_at=1.0, spark_time=1.0, models=(model,))


def weighing(commit: str, size: int, *refs: str, complete: bool = True) -> Revision:
    return Revision(commit=commit, refs=refs, files=(CachedFile("model.safetensors", size),), complete=complete)


@pytest.mark.parametrize(
    ("named", "size"), [("new", 40), ("n" * 40, 40), ("old", 10), (None, 20), ("half", None), ("gone", None)]
)
def test_the_files_are_those_of_the_revision_that_the_recipe_names(named: str | None, size: int | None) -> None:
    """Symptom: a recipe that named a revision of 40 GB was counted with the 10 GB of another that lay beside it."""
    first = on_disk(weighing("o" * 40, 10, "old"), weighing("h" * 40, 30, "half", complete=False))
    second = on_disk(weighing("m" * 40, 20, "main"), weighing("n" * 40, 40, "new"))
    recipe = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "a/b", "revision": named})
    found = known_files([recipe], [first, second])
    sizes = {key: files.sizes["model.safetensors"] for key, files in found.items()}
    assert sizes == ({("a/b", named or "main"): size} if size else {})


def test_two_recipes_of_one_model_are_counted_with_their_own_revisions() -> None:
    seen = on_disk(weighing("o" * 40, 10, "old"), weighing("n" * 40, 40, "new"))
    recipes = [
        Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "a/b", "revision": name})
        for name in ("old", "new")
    ]
    found = known_files(recipes, [seen])
    assert {key: files.sizes["model.safetensors"] for key, files in found.items()} == {
        ("a/b", "old"): 10,
        ("a/b", "new"): 40,
    }


def test_where_a_recipe_names_no_revision_and_none_is_main_any_whole_one_is_a_guess() -> None:
    recipe = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "a/b"})
    found = known_files([recipe], [on_disk(weighing("h" * 40, 30, complete=False), weighing("o" * 40, 10))])
    assert found["a/b", "main"].sizes == {"model.safetensors": 10}
