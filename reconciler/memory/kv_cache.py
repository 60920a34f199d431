"""The KV cache: what a model must keep of the text of its sequences, in bytes on one rank.

Pure. Tensor parallel divides heads among ranks (a head is never cut, so 8 heads over 3 ranks are 3 on the fullest),
pipeline parallel divides layers. Latent memory is not divided by tensor parallel: every rank holds all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from reconciler.memory.files import Json, table, text
from reconciler.memory.shape import Layers, Shape

ONE: Final = Fraction(1)
# Bytes of one number, by the engines' words for it. Block formats add scales: 2 bytes for 32 numbers in llama.cpp.
WIDTHS: Final = {
    "fp8": ONE,
    "fp8_e4m3": ONE,
    "fp8_e5m2": ONE,
    "fp8_inc": ONE,
    "fp8_ds_mla": Fraction(656, 576),
    "int8": ONE,
    "nvfp4": Fraction(9, 16),
    "fp4_e2m1": Fraction(9, 16),
    "bfloat16": Fraction(2),
    "bf16": Fraction(2),
    "float16": Fraction(2),
    "half": Fraction(2),
    "f16": Fraction(2),
    "float32": Fraction(4),
    "f32": Fraction(4),
    "q8_0": Fraction(34, 32),
    "q5_1": Fraction(24, 32),
    "q5_0": Fraction(22, 32),
    "q4_1": Fraction(20, 32),
    "q4_0": Fraction(18, 32),
    "iq4_nl": Fraction(18, 32),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """How many Sparks share one model, and along which axis. At least 1 each."""

    tensor: int = 1
    pipeline: int = 1

    @property
    def count(self) -> int:
        """All ranks."""
        return self.tensor * self.pipeline


ALONE: Final = Ranks()


def width(dtype: str, shape: Shape, config: Json, quantization: Json) -> tuple[Fraction, str]:
    """Bytes of one kept number, and a doubt if the word is unknown. `auto`: as the checkpoint says, else its dtype."""
    word = dtype.strip().lower()
    if word in {"", "auto"}:
        return (ONE, "") if _checkpoint_is_fp8(config, quantization) else (Fraction(shape.dtype_bytes), "")
    if word in WIDTHS:
        return WIDTHS[word], ""
    return Fraction(shape.dtype_bytes), f"the KV cache's type {word[:40]} is not known here; counted as 16 bits"


def _checkpoint_is_fp8(config: Json, quantization: Json) -> bool:
    """Whether the checkpoint brings scales for an 8-bit KV cache, which engines then use by themselves."""
    inside = table(config, "quantization_config")
    outside = table(quantization, "quantization")
    said = text(inside, "kv_cache_quant_algo") or text(outside, "kv_cache_quant_algo")
    scheme = table(inside, "kv_cache_scheme")
    return said.upper() == "FP8" or (text(scheme, "type") == "float" and scheme.get("num_bits") == 8)  # noqa: PLR2004


def size(
    shape: Shape, *, tokens: int, sequences: int = 1, ranks: Ranks = ALONE, number: Fraction, batch: int = 0
) -> int:
    """Bytes on the fullest rank to keep `sequences` of `tokens` each; `batch` tokens more where only a window is kept.

    `number` is the bytes of one kept number.
    """
    each = (_size(layers, tokens, ranks, number, batch) for layers in shape.layers)
    return sequences * sum(each)


def _size(layers: Layers, tokens: int, ranks: Ranks, number: Fraction, batch: int) -> int:
    count = -(-layers.count // ranks.pipeline)
    if layers.kind == "recurrent":
        return count * -(-layers.state // min(ranks.tensor, layers.heads))
    heads = -(-layers.heads // ranks.tensor)
    kept = min(tokens, layers.window + batch) if layers.kind == "sliding" and layers.window else tokens
    return count * heads * math.ceil(layers.values * kept * number)


def explain(shape: Shape, *, tokens: int, number: Fraction, batch: int = 0) -> str:
    """The product for people: `48 layers x 2 x 8 heads x 128 x 1 B x 65,536 tokens`."""
    if shape.encoder:
        return "an encoder keeps nothing"
    said = []
    for layers in shape.layers:
        if layers.kind == "recurrent":
            said.append(layers.words)
            continue
        windowed = layers.kind == "sliding" and layers.window
        kept = min(tokens, layers.window + batch) if windowed else tokens
        said.append(f"{layers.words} x {_bytes(number)} B x {kept:,} tokens{' (window)' if windowed else ''}")
    return " + ".join(said) or "unknown"


def _bytes(number: Fraction) -> str:
    return f"{float(number):.4g}"
