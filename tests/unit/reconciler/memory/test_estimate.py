"""The peak of a launch by engine, with its arithmetic, and what counts in the end."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.memory.engines import CUDA, EXPERTS_BEYOND, GRAPHS, LLAMA, PROCESSES, PROFILING
from reconciler.memory.estimate import SPARK, Estimate, Source, estimate, need_of, settle
from reconciler.memory.files import ModelFiles
from state.recipes import Recipe
from tests.unit.reconciler.memory import models

GIB = 2**30
CODER = models.QWEN3_CODER_NEXT_INT4


def test_vllm_takes_its_share_whatever_the_model_needs():
    found = estimate("vllm", {"gpu-memory-utilization": 0.7, "kv-cache-dtype": "fp8"}, CODER)
    share = 91_464_720_794  # 0.7 x 127,601,452 KiB, rounded up to a byte
    assert found.peak == share + PROFILING + PROCESSES
    assert found.source is Source.ESTIMATED
    assert found.warnings == ()
    assert found.lines == (
        "weights 46.0 GiB (safetensors index)",
        (
            "KV cache 3.1 GiB for one sequence (12 layers x 2 x 2 heads x 256 x 1 B x 262,144 tokens"
            " + 36 recurrent layers x 2.05 MiB)"
        ),
        "engine 2.5 GiB (CUDA context, CUDA graphs), scratch 1.5 GiB",
        "vLLM takes 0.70 of 121.7 GiB up front: 85.2 GiB (gpu-memory-utilization)",
        "leaves 35.2 GiB for the KV cache: 11.4 sequences of full length",
        "beyond that 5.0 GiB (measuring run, its own processes)",
        "peak 90.2 GiB",
    )


def test_a_share_left_out_is_vllms_own():
    found = estimate("vllm", {}, models.QWEN3_8B)
    assert found.peak == -int(-0.92 * SPARK // 1) + PROFILING + PROCESSES


def test_a_share_too_small_is_said_and_the_need_counts():
    found = estimate("vllm", {"gpu-memory-utilization": 0.3, "max-model-len": "64K"}, CODER)
    assert found.peak is not None
    assert found.needed is not None
    assert found.peak == found.needed + PROFILING + PROCESSES
    assert found.context == 65_536
    assert found.warnings == (
        (
            "gpu-memory-utilization is too small: it leaves -13.5 GiB for the KV cache, one sequence of full length needs "
            "1.6 GiB; the engine would not start"
        ),
    )


def test_kv_cache_memory_bytes_adds_up_instead():
    flags = {"kv-cache-memory-bytes": 9 * GIB, "gpu-memory-utilization": 0.4, "enforce-eager": True}
    small = estimate("vllm", {**flags, "gpu-memory-utilization": 0.1}, models.QWEN3_8B)
    scratch = 8192 * (4 * 4096 + 3 * 12288) * 2 + 1024 * 151936 * 8
    assert small.peak == 16_381_470_720 + 9 * GIB + CUDA + scratch + PROFILING + PROCESSES
    assert small.lines[3] == "KV cache 9.0 GiB as stated (kv-cache-memory-bytes), whatever the share"
    assert small.warnings == ()
    assert estimate("vllm", flags, models.QWEN3_8B).peak == -int(-0.4 * SPARK // 1) + PROFILING + PROCESSES
    unsaid = estimate("vllm", {"kv-cache-memory-bytes": "9G"}, models.QWEN3_8B)
    assert unsaid.warnings == (
        (
            "vLLM still asks that 0.92 of the memory (112.0 GiB) is free when it starts: "
            "state gpu-memory-utilization beside kv-cache-memory-bytes"
        ),
    )


def test_16_bit_experts_are_counted_beyond_the_share():
    found = estimate("vllm", {"gpu-memory-utilization": 0.7}, models.GEMMA4_26B, total=119 * GIB)
    assert found.peak == -int(-0.7 * 119 * GIB // 1) + int(EXPERTS_BEYOND * 48 * GIB) + PROCESSES
    assert found.lines[-2] == (
        "beyond that 31.8 GiB (16-bit experts are measured beyond the share (vllm#46307), its own processes)"
    )
    fp8 = estimate("vllm", {"gpu-memory-utilization": 0.7, "quantization": "fp8"}, models.GEMMA4_26B, total=119 * GIB)
    assert fp8.peak == -int(-0.7 * 119 * GIB // 1) + PROFILING + PROCESSES


def test_a_group_divides_weights_and_cache():
    alone = estimate("vllm", {"gpu-memory-utilization": 0.85}, models.MINIMAX_M2_AWQ)
    both = estimate("vllm", {"gpu-memory-utilization": 0.85}, models.MINIMAX_M2_AWQ, group=2)
    flagged = estimate("vllm", {"gpu-memory-utilization": 0.85, "tensor-parallel-size": 2}, models.MINIMAX_M2_AWQ)
    assert alone.sequence == 2 * (both.sequence or 0)
    assert both == flagged
    assert both.lines[0] == "weights 60.5 GiB (safetensors index / 2 ranks)"
    assert both.lines[-1] == "peak 108.4 GiB on each Spark"


def test_a_drafting_model_counts_and_an_unknown_one_is_said():
    flags = {"gpu-memory-utilization": 0.05, "speculative-config": {"method": "dflash", "model": "z-lab/draft"}}
    plain = estimate("vllm", {"gpu-memory-utilization": 0.05}, models.QWEN3_8B)
    unknown = estimate("vllm", flags, models.QWEN3_8B)
    assert unknown.peak == plain.peak
    assert unknown.warnings[0] == "the drafting model z-lab/draft is not counted: its size is unknown"
    known = estimate("vllm", flags, models.QWEN3_8B, draft=models.MISTRAL_7B_V01)
    cache = 32 * 2 * 8 * 128 * 2 * 12_288  # its window and a batch, of the 40,960 tokens
    assert (known.peak or 0) - (plain.peak or 0) == 14_483_464_192 + cache
    own = estimate("vllm", {"speculative-config": {"method": "mtp", "num_speculative_tokens": 2}}, models.QWEN3_8B)
    assert own.warnings == ()


def test_sleep_mode_is_warned_of():
    found = estimate("vllm", {"enable-sleep-mode": True}, models.QWEN3_8B)
    assert found.warnings == (
        (
            "enable-sleep-mode: waking a sleeping engine has hung whole Sparks (vllm#50011); "
            "a sleeping model counts here with all of its memory"
        ),
    )


def test_sglang_puts_scratch_and_graphs_on_top_of_its_share():
    found = estimate("sglang", {"mem-fraction-static": 0.75}, models.QWEN3_8B)
    scratch = 8192 * (4 * 4096 + 3 * 12288) * 2 + 256 * 151936 * 8
    assert found.peak == -int(-0.75 * SPARK // 1) + CUDA + GRAPHS + scratch + PROCESSES


def test_sglang_with_too_small_a_share_is_counted_with_what_it_needs():
    flags = {"mem-fraction-static": 0.1, "speculative-draft-model-path": "z-lab/draft"}
    found = estimate("sglang", flags, models.QWEN3_8B, draft=models.MISTRAL_7B_V01)
    scratch = 8192 * (4 * 4096 + 3 * 12288) * 2 + 256 * 151936 * 8
    draft = 14_483_464_192 + 32 * 2 * 8 * 128 * 2 * 12_288
    held = 16_381_470_720 + 36 * 2 * 8 * 128 * 2 * 40_960 + draft
    assert found.peak == held + CUDA + GRAPHS + scratch + PROCESSES
    assert found.warnings[0].startswith("mem-fraction-static is too small: it leaves -")
    assert found.lines[3] == "SGLang takes 0.10 of 121.7 GiB for weights and KV cache: 12.2 GiB (mem-fraction-static)"


def test_tensorrt_llm_takes_a_fraction_of_what_is_free():
    found = estimate("trtllm", {"kv_cache_free_gpu_memory_fraction": 0.5}, models.QWEN3_8B)
    scratch = 8192 * (4 * 4096 + 3 * 12288) * 2 + 2048 * 151936 * 8
    own = 16_381_470_720 + CUDA + GRAPHS + scratch
    assert found.peak == own + int(0.5 * (SPARK - own)) + PROCESSES


def test_llama_cpp_takes_what_the_file_and_the_context_need():
    files = ModelFiles(config=models.QWEN3_8B.config, sizes={"Qwen3-8B-Q8_0.gguf": 8_709_518_624})
    scratch = 512 * (4 * 4096 + 3 * 12288) * 2 + 151936 * 8
    found = estimate("llamacpp", {"ctx-size": 16384}, files)
    assert found.peak == 8_709_518_624 + 36 * 2 * 8 * 128 * 2 * 16384 + LLAMA + scratch
    small = estimate("llamacpp", {"ctx-size": 16384, "cache-type-k": "q8_0", "cache-type-v": "q8_0"}, files)
    assert (found.peak or 0) - (small.peak or 0) == 36 * 8 * 2 * 128 * 16384 * 15 // 16
    slots = estimate("llamacpp", {"ctx-size": 16384, "parallel": 4}, files)
    assert (slots.peak or 0) - (found.peak or 0) == 3 * 151936 * 8  # the slots share the context
    assert estimate("llamacpp", {}, ModelFiles(sizes={"a.gguf": 5})).source is Source.UNKNOWN


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("nim", "a NIM picks its profile itself"),
        ("container", "it may be any program"),
    ],
)
def test_what_cant_be_worked_out_must_be_stated(engine: str, words: str):
    found = estimate(engine, {}, models.QWEN3_8B)
    assert found == Estimate(
        peak=None,
        warnings=(
            f"the memory of engine {engine} can't be worked out ({words}): state it in the recipe, such as memory: 60GiB",
        ),
    )
    assert settle(found).size is None
    assert settle(found).words == "unknown"
    assert settle(found, stated=60 * GIB).words == "60.0 GiB (stated)"


def test_a_share_is_known_even_where_the_weights_are_not():
    found = estimate("vllm", {"gpu-memory-utilization": 0.5}, ModelFiles())
    assert found.peak == SPARK // 2 + PROFILING + PROCESSES
    assert "weights unknown: the share alone decides" in found.lines


@pytest.mark.parametrize(
    ("stated", "seen", "size", "source", "warned"),
    [
        (None, None, 90, Source.ESTIMATED, ""),
        (92, None, 92, Source.STATED, ""),
        (72, None, 72, Source.STATED, ""),
        (71, None, 71, Source.STATED, "the recipe states memory: 71.0 GiB, but the estimate is 90.0 GiB: "),
        (92, 88, 92, Source.STATED, ""),
        (92, 97, 92, Source.STATED, ""),
        (None, 97, 97, Source.MEASURED, ""),
        (None, 80, 90, Source.ESTIMATED, ""),
    ],
)
def test_stated_wins_and_what_was_seen_corrects_estimates_only(
    stated: Any, seen: Any, size: int, source: Source, warned: str
):
    guess = Estimate(peak=90 * GIB)
    need = settle(guess, stated=stated and stated * GIB, seen=seen and seen * GIB)
    assert (need.size, need.source) == (size * GIB, source)
    assert len(need.warnings) == bool(warned)
    assert all(text.startswith(warned) for text in need.warnings)


@pytest.mark.parametrize(
    ("flags", "doubt"),
    [
        ({"max-model-len": "plenty"}, "--max-model-len: 'plenty' is not a number; taken as left out"),
        (
            {"gpu-memory-utilization": 1.7},
            "the share 1.7 is not a number above 0 and up to 1; 0.92 is assumed",
        ),
        ({"kv-cache-dtype": "fp3"}, "the KV cache's type fp3 is not known here; counted as 16 bits"),
    ],
)
def test_flags_that_cant_be_read_are_said(flags: dict[str, Any], doubt: str):
    assert estimate("vllm", flags, models.QWEN3_8B).warnings == (doubt,)


def test_auto_is_no_mistake():
    found = estimate("vllm", {"max-model-len": "auto"}, models.QWEN3_8B)
    assert (found.context, found.warnings) == (40_960, ())


def test_each_slot_of_llama_cpp_has_a_recurrent_state_of_its_own():
    files = ModelFiles(config=CODER.config, sizes={"coder-Q4_K_M.gguf": 48 * GIB})
    one, four = (estimate("llamacpp", {"c": 32768, "parallel": n}, files) for n in (1, 4))
    state = 32 * 128 * 128 * 4 + (2 * 16 * 128 + 32 * 128) * 3 * 2
    assert one.left_for_kv == one.sequence == 12 * 2 * 2 * 256 * 2 * 32768 + 36 * state
    assert (four.peak or 0) - (one.peak or 0) == 3 * (36 * state + 151936 * 8)


def test_a_recipe_is_counted_with_all_that_it_says():
    written = {"engine": "llamacpp", "model": "a/b", "image": "i:1", "quant": "Q4_K_M", "flags": {"ctx-size": 4096}}
    sizes = {"m-Q4_K_M.gguf": 5 * GIB, "m-Q8_0.gguf": 9 * GIB}
    files = ModelFiles(config=models.QWEN3_8B.config, sizes=sizes)
    need = need_of(Recipe.model_validate(written), files)
    assert need.lines[0] == "weights 5.0 GiB (GGUF file m-Q4_K_M.gguf)"
    assert need.source is Source.ESTIMATED
    stated = need_of(Recipe.model_validate({**written, "memory": "8GiB"}), files, seen=9 * GIB)
    assert stated.words == "8.0 GiB (stated)"
    assert need_of(Recipe.model_validate(written), files, seen=99 * GIB).words == "99.0 GiB (measured)"
    nim = need_of(Recipe.model_validate({"engine": "nim", "image": "nvcr.io/nim/x:1"}))
    assert (nim.size, nim.source) == (None, Source.UNKNOWN)
