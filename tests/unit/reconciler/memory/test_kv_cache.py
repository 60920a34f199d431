"""What public models keep of their text, to the byte."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from reconciler.memory.files import ModelFiles
from reconciler.memory.gguf import config_of
from reconciler.memory.kv_cache import Ranks, explain, size, width
from reconciler.memory.shape import read_shape
from reconciler.memory.weights import read_gguf, read_weights
from tests.unit.reconciler.memory import models

BF16 = Fraction(2)
FP8 = Fraction(1)
DELTA = 32 * 128 * 128 * 4 + (2 * 16 * 128 + 32 * 128) * 3 * 2  # state of one gated-delta layer
MAMBA = 64 * 64 * 128 * 4 + (64 * 64 + 2 * 8 * 128) * 3 * 2


@pytest.mark.parametrize(
    ("model", "tokens", "number", "expected"),
    [
        (models.LLAMA_8B, 131_072, BF16, 16 * 2**30),
        (models.LLAMA_70B, 131_072, BF16, 40 * 2**30),
        (models.LLAMA_70B, 131_072, FP8, 20 * 2**30),
        (models.QWEN3_8B, 40_960, BF16, 36 * 2 * 8 * 128 * 2 * 40_960),
        (models.QWEN3_30B_A3B, 32_768, BF16, 3 * 2**30),
        (models.QWEN3_CODER_NEXT_INT4, 262_144, FP8, 3 * 2**30 + 36 * DELTA),
        (models.QWEN35_35B, 262_144, BF16, 5 * 2**30 + 30 * DELTA),
        (models.GPT_OSS_120B, 131_072, BF16, 18 * 2 * 8 * 64 * 2 * (131_072 + 128 + 8_192)),
        (models.DEEPSEEK_V3, 163_840, BF16, 61 * (512 + 64) * 2 * 163_840),
        (models.GLM_47_FLASH_AWQ, 202_752, BF16, 47 * (512 + 64) * 2 * 202_752),
        (models.GEMMA3_27B, 131_072, BF16, 2 * 16 * 128 * 2 * (10 * 131_072 + 52 * (1_024 + 8_192))),
        (models.GEMMA4_26B, 262_144, BF16, 5 * 2 * 2 * 512 * 2 * 262_144 + 25 * 2 * 8 * 256 * 2 * (1_024 + 8_192)),
        (models.NEMOTRON_NANO_30B, 262_144, FP8, 6 * 2 * 2 * 128 * 262_144 + 23 * MAMBA),
        (models.MINIMAX_M2_AWQ, 196_608, FP8, 62 * 2 * 8 * 128 * 196_608),
        (models.MISTRAL_7B_V01, 32_768, BF16, 32 * 2 * 8 * 128 * 2 * (4_096 + 8_192)),
        (models.WHISPER_LARGE_V3, 448, BF16, 32 * 2 * 20 * 64 * 2 * (448 + 448)),
        (models.BGE_M3, 8_194, BF16, 0),
    ],
    ids=lambda value: value.repository if isinstance(value, ModelFiles) else None,
)
def test_a_sequence_of_a_public_model(model: ModelFiles, tokens: int, number: Fraction, expected: int):
    assert size(read_shape(model.config), tokens=tokens, number=number, batch=8_192) == expected


def test_no_public_model_leaves_a_doubt():
    assert {m.repository: read_shape(m.config).doubts for m in models.ALL} == {m.repository: () for m in models.ALL}


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (Ranks(tensor=2), 20 * 2**30),
        (Ranks(tensor=8), 5 * 2**30),
        (Ranks(tensor=16), 5 * 2**30),  # a head is not cut: two ranks keep the same one
        (Ranks(tensor=3), 15 * 2**30),  # 3 of 8 heads on the fullest
        (Ranks(pipeline=2), 20 * 2**30),
        (Ranks(tensor=2, pipeline=2), 10 * 2**30),
    ],
)
def test_ranks_share_heads_and_layers(ranks: Ranks, expected: int):
    assert size(read_shape(models.LLAMA_70B.config), tokens=131_072, ranks=ranks, number=BF16) == expected


def test_latent_memory_is_whole_on_every_tensor_rank():
    shape = read_shape(models.DEEPSEEK_V3.config)
    alone = size(shape, tokens=4_096, number=BF16)
    assert size(shape, tokens=4_096, ranks=Ranks(tensor=8), number=BF16) == alone


def test_the_product_in_words():
    shape = read_shape(models.GPT_OSS_120B.config)
    assert explain(shape, tokens=65_536, number=FP8, batch=2_048) == (
        "18 layers x 2 x 8 heads x 64 x 1 B x 65,536 tokens"
        " + 18 layers x 2 x 8 heads x 64 x 1 B x 2,176 tokens (window)"
    )
    assert explain(read_shape(models.BGE_M3.config), tokens=512, number=BF16) == "an encoder keeps nothing"


@pytest.mark.parametrize(
    ("dtype", "model", "expected"),
    [
        ("auto", models.LLAMA_8B, Fraction(2)),
        ("fp8", models.LLAMA_8B, Fraction(1)),
        ("fp8_e4m3", models.LLAMA_8B, Fraction(1)),
        ("auto", models.NEMOTRON_NANO_30B, Fraction(1)),  # its hf_quant_config.json says FP8
        ("bfloat16", models.NEMOTRON_NANO_30B, Fraction(2)),
        ("auto", models.BGE_M3, Fraction(4)),
        ("q8_0", models.LLAMA_8B, Fraction(17, 16)),
    ],
)
def test_the_width_of_a_kept_number(dtype: str, model: ModelFiles, expected: Fraction):
    assert width(dtype, read_shape(model.config), model.config, model.quantization) == (expected, "")


def test_an_unknown_width_is_counted_wide_and_said():
    number, doubt = width("fp3", read_shape(models.LLAMA_8B.config), {}, {})
    assert number == 2
    assert doubt == "the KV cache's type fp3 is not known here; counted as 16 bits"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 32_768}, 32_768),
        ({"max_position_embeddings": 32_768, "rope_scaling": {"type": "yarn", "factor": 4.0}}, 131_072),
        (
            {
                "max_position_embeddings": 40_960,
                "rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32_768},
            },
            131_072,
        ),
        ({"max_position_embeddings": 4_096, "rope_scaling": {"type": "linear", "factor": 2.0}}, 8_192),
        ({"max_position_embeddings": 131_072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131_072),
        ({"max_position_embeddings": 4_096, "rope_scaling": {"type": "linear", "factor": "x"}}, 4_096),
        ({"max_position_embeddings": 4_096, "rope_scaling": {"type": "linear", "factor": 1e30}}, 4_096),
    ],
)
def test_rope_scaling_stretches_the_context(config: dict[str, Any], expected: int):
    assert read_shape(config).context == expected


def test_a_config_in_parts_is_read_whole():
    shape = read_shape(models.QWEN35_35B.config)
    assert (shape.context, shape.sees, shape.experts) == (262_144, True, True)
    assert [(each.kind, each.count) for each in shape.layers] == [("full", 10), ("recurrent", 30)]


def test_layers_that_share_the_memory_of_earlier_ones_keep_nothing():
    config = {"num_hidden_layers": 30, "num_kv_shared_layers": 10, "num_key_value_heads": 2, "head_dim": 256}
    assert [each.count for each in read_shape(config).layers] == [20]


def test_unknown_layers_count_as_the_dearest_and_are_said():
    config = {"layer_types": ["full_attention", "quantum_attention"], "num_key_value_heads": 2, "head_dim": 64}
    shape = read_shape(config)
    assert [each.count for each in shape.layers] == [2]
    assert shape.doubts == ("layers of the kind quantum_attention are not known here; counted as full attention",)


def test_what_is_not_known_is_not_reckoned():
    assert read_shape({"model_type": "deepseek_v4", "num_hidden_layers": 43}).known is False
    assert read_shape({"model_type": "llama", "num_hidden_layers": 2}).doubts == (
        "config.json does not say how many key-value heads the model has, or how wide they are",
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 7}, (12, "sum of 2 files")),
        ({"model.safetensors": 5, "consolidated.safetensors": 5}, (5, "sum of 1 file")),
        ({"model.safetensors": 5, "pytorch_model.bin": 5}, (5, "sum of 1 file")),
        ({"pytorch_model.bin": 5, "training_args.bin": 1, "onnx/model.bin": 9}, (5, "sum of 1 file")),
        ({"config.json": 5}, (None, "neither an index nor files nor a number of parameters known")),
    ],
)
def test_weights_from_files(sizes: dict[str, int], expected: tuple[int | None, str]):
    found = read_weights(ModelFiles(sizes=sizes))
    assert (found.size, found.origin) == expected


def test_weights_from_the_index_and_from_parameters():
    assert read_weights(models.LLAMA_8B).size == 16_060_522_496
    counted = ModelFiles(index={"metadata": {"total_parameters": 8_030_261_248}}, config={"torch_dtype": "bfloat16"})
    assert read_weights(counted).size == 16_060_522_496


def test_a_gguf_file_with_its_parts_and_its_projector():
    sizes = {
        "q-Q4_K_M-00001-of-00002.gguf": 10,
        "q-Q4_K_M-00002-of-00002.gguf": 11,
        "q-Q8_0.gguf": 40,
        "mmproj-f16.gguf": 3,
    }
    assert read_gguf(ModelFiles(sizes=sizes)).size == 43
    assert read_gguf(ModelFiles(sizes=sizes), "Q4_K_M").size == 24
    assert read_gguf(ModelFiles(sizes={})).size is None


def test_gguf_metadata_is_read_like_a_config():
    metadata = {
        "general.architecture": "qwen3",
        "qwen3.block_count": 36,
        "qwen3.attention.head_count": 32,
        "qwen3.attention.head_count_kv": 8,
        "qwen3.attention.key_length": 128,
        "qwen3.context_length": 40_960,
    }
    shape = read_shape(config_of(metadata))
    assert size(shape, tokens=40_960, number=BF16) == size(
        read_shape(models.QWEN3_8B.config), tokens=40_960, number=BF16
    )


HEADS = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}


@pytest.mark.parametrize(
    ("config", "full", "state"),
    [
        (  # Kimi-Linear: the layers of full attention are listed, from 1
            {
                "num_hidden_layers": 8,
                "linear_attn_config": {
                    "full_attn_layers": [4, 8],
                    "num_heads": 32,
                    "head_dim": 128,
                    "short_conv_kernel_size": 4,
                },
            },
            2,
            6 * (3 * 32 * 128 * 3 * 2 + 32 * 128 * 128 * 4),
        ),
        (  # Jamba: one layer of attention in eight, from the fifth
            {
                "num_hidden_layers": 32,
                "attn_layer_period": 8,
                "attn_layer_offset": 4,
                "hidden_size": 4096,
                "mamba_d_state": 16,
                "mamba_d_conv": 4,
                "mamba_expand": 2,
            },
            4,
            28 * (8192 * 3 * 2 + 8192 * 16 * 4),
        ),
        (  # LFM2: short convolutions
            {"layer_types": ["conv", "conv", "full_attention"], "hidden_size": 2048, "conv_L_cache": 3},
            1,
            2 * 2048 * 3 * 2,
        ),
    ],
)
def test_hybrids(config: dict[str, Any], full: int, state: int):
    shape = read_shape({**HEADS, **config})
    assert shape.doubts == ()
    assert size(shape, tokens=1_000, number=BF16) == full * 2 * 2 * 64 * 2 * 1_000 + state
    assert size(shape, tokens=0, number=BF16, sequences=3) == 3 * state


def test_a_recurrent_layer_of_unknown_size_is_said():
    shape = read_shape({**HEADS, "layer_types": ["linear_attention", "full_attention"], "conv_L_cache": 3})
    assert shape.doubts == (
        "config.json does not say how large the state of its recurrent layers is; counted as nothing",
    )


def test_a_window_that_is_not_said_keeps_everything():
    shape = read_shape({**HEADS, "layer_types": ["sliding_attention"]})
    assert size(shape, tokens=1_000, number=BF16, batch=10) == 2 * 2 * 64 * 2 * 1_000


def test_sharing_more_layers_than_there_are_leaves_one():
    shape = read_shape({**HEADS, "num_hidden_layers": 4, "num_kv_shared_layers": 9})
    assert [each.count for each in shape.layers] == [1]
