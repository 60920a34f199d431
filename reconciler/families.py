"""Families of models: which parser reads their tool calls and their thoughts, and which image runs them on a Spark.

Pure data, from the recipes that people run on Sparks and from vLLM's lists of parsers. A family is found by the
`model_type` of config.json, and where one type serves several (every fine-tune of Llama calls itself `llama`), by
words in the repository's name. What is not in here is unknown, and is said to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NIGHTLY: Final = "ghcr.io/spark-arena/dgx-vllm-eugr-nightly:latest"
TF5: Final = "ghcr.io/spark-arena/dgx-vllm-eugr-nightly-tf5:latest"  # the same with transformers 5
MXFP4: Final = "sparkarena/spark-vllm-docker:mxfp4"
LLAMA_CPP: Final = "scitrera/dgx-spark-llama-cpp:latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family is served. An empty parser: none is known, or none is needed."""

    name: str
    types: tuple[str, ...]
    tools: str = ""
    reasoning: str = ""
    image: str = NIGHTLY
    names: tuple[str, ...] = ()  # words of which the repository's name must hold one
    env: tuple[tuple[str, str], ...] = ()
    patch: str = ""  # the mod of the sparkrun recipes without which it does not start


_MARLIN: Final = (("VLLM_MARLIN_USE_ATOMIC_ADD", "1"),)
_QWEN3: Final = ("qwen3", "qwen3_moe", "qwen3_next", "qwen3_vl", "qwen3_vl_moe")
_QWEN35: Final = ("qwen3_5", "qwen3_5_moe")
_GEMMA4: Final = ("gemma4", "gemma4_unified")

# In this order: the first that fits counts.
FAMILIES: Final = (
    Family(
        name="Qwen3-Coder-Next by AutoRound",
        types=("qwen3_next",),
        names=("autoround",),
        tools="qwen3_coder",
        env=_MARLIN,
        patch="fix-qwen3-next-autoround",
    ),
    Family(name="Qwen3-Coder", types=_QWEN3, names=("coder",), tools="qwen3_coder"),
    Family(name="Qwen3 Thinking", types=_QWEN3, names=("thinking",), tools="hermes", reasoning="qwen3"),
    Family(name="Qwen3 Instruct", types=_QWEN3, names=("instruct", "next"), tools="hermes"),
    Family(name="DeepSeek-R1 distilled into Qwen3", types=_QWEN3, names=("deepseek",), reasoning="deepseek_r1"),
    Family(name="Qwen3", types=_QWEN3, tools="hermes", reasoning="qwen3"),
    Family(
        name="Qwen3.5 and later, 4 bits",
        types=_QWEN35,
        names=("int4", "awq", "autoround"),
        tools="qwen3_coder",
        reasoning="qwen3",
        image=TF5,
        env=_MARLIN,
    ),
    Family(name="Qwen3.5 and later", types=_QWEN35, tools="qwen3_coder", reasoning="qwen3", env=_MARLIN),
    Family(
        name="DeepSeek-R1 distilled into Qwen2.5",
        types=("qwen2",),
        names=("deepseek-r1", "r1-distill"),
        reasoning="deepseek_r1",
    ),
    Family(name="Qwen2", types=("qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl"), tools="hermes"),
    Family(
        name="gpt-oss",
        types=("gpt_oss",),
        tools="openai",
        reasoning="openai_gptoss",
        image=MXFP4,
        env=(("VLLM_USE_FLASHINFER_MOE_MXFP4_MXFP8", "1"),),
    ),
    Family(
        name="DeepSeek-R1 distilled into Llama",
        types=("llama",),
        names=("deepseek-r1", "r1-distill"),
        reasoning="deepseek_r1",
    ),
    Family(name="Hermes", types=("llama",), names=("hermes",), tools="hermes"),
    Family(name="Llama 3", types=("llama",), names=("llama-3", "llama3"), tools="llama3_json"),
    Family(name="Llama", types=("llama",)),
    Family(name="Llama 4", types=("llama4",), tools="llama4_pythonic"),
    Family(
        name="Magistral",
        types=("mistral", "mistral3", "ministral3"),
        names=("magistral",),
        tools="mistral",
        reasoning="mistral",
    ),
    Family(name="Mistral", types=("mistral", "mistral3", "ministral3", "mixtral", "pixtral"), tools="mistral"),
    Family(name="Gemma 4", types=_GEMMA4, tools="gemma4", reasoning="gemma4", image=TF5),
    Family(name="Gemma", types=("gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n")),
    Family(name="GLM-4.7-Flash", types=("glm4_moe_lite",), tools="glm47", reasoning="glm45", image=TF5),
    Family(name="GLM-4.7", types=("glm4_moe",), names=("4.7",), tools="glm47", reasoning="glm45"),
    Family(name="GLM-4.5", types=("glm4_moe", "glm4v_moe"), tools="glm45", reasoning="glm45"),
    Family(name="MiniMax-M2", types=("minimax_m2",), tools="minimax_m2", reasoning="minimax_m2"),
    Family(name="MiniMax-M3", types=("minimax_m3", "minimax_m3_vl"), tools="minimax_m3", reasoning="minimax_m3"),
    Family(name="DeepSeek-R1", types=("deepseek_v3",), names=("r1",), tools="deepseek_v3", reasoning="deepseek_r1"),
    Family(
        name="DeepSeek-V3.1", types=("deepseek_v3",), names=("v3.1",), tools="deepseek_v31", reasoning="deepseek_v3"
    ),
    Family(
        name="Kimi-K2",
        types=("deepseek_v3", "kimi_k2", "kimi_k25"),
        names=("kimi",),
        tools="kimi_k2",
        reasoning="kimi_k2",
    ),
    Family(name="DeepSeek-V3", types=("deepseek_v3",), tools="deepseek_v3"),
    Family(name="DeepSeek-V3.2", types=("deepseek_v32",), tools="deepseek_v32", reasoning="deepseek_v3"),
    Family(name="DeepSeek-V4", types=("deepseek_v4",), tools="deepseek_v4", reasoning="deepseek_v4"),
    Family(
        name="Nemotron 3 Nano",
        types=("nemotron_h",),
        names=("nano",),
        tools="qwen3_coder",
        reasoning="nemotron_v3",
        patch="nemotron-nano",
    ),
    Family(name="Nemotron 3", types=("nemotron_h",), tools="qwen3_coder", reasoning="nemotron_v3"),
    Family(name="Granite 4", types=("granitemoehybrid",), tools="granite4"),
    Family(name="Granite", types=("granite", "granitemoe"), tools="granite"),
    Family(name="Seed-OSS", types=("seed_oss",), tools="seed_oss", reasoning="seed_oss"),
    Family(name="OLMo 3", types=("olmo3",), tools="olmo3", reasoning="olmo3"),
    Family(name="Phi-4-mini", types=("phi3",), names=("phi-4-mini",), tools="phi4_mini_json"),
    Family(name="Phi", types=("phi3", "phi", "phimoe")),
    Family(name="ERNIE 4.5", types=("ernie4_5", "ernie4_5_moe"), tools="ernie45", reasoning="ernie45"),
    Family(name="Hunyuan-A13B", types=("hunyuan_v1_moe",), tools="hunyuan_a13b", reasoning="hunyuan_a13b"),
    Family(name="Step-3.5", types=("step3p5",), tools="step3p5", reasoning="step3p5"),
    Family(name="Jamba", types=("jamba",), tools="jamba"),
    Family(name="LFM2", types=("lfm2", "lfm2_moe"), tools="lfm2"),
    Family(name="EXAONE 4", types=("exaone4",), tools="hermes"),
    Family(name="Apertus", types=("apertus",), tools="apertus"),
    Family(name="Whisper", types=("whisper",)),
)


def family_of(model_type: str, repository: str) -> Family | None:
    """The first family that fits, or None."""
    name = repository.lower()
    for family in FAMILIES:
        if model_type not in family.types:
            continue
        if family.names and not any(word in name for word in family.names):
            continue
        return family
    return None
