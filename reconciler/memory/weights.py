"""How large a model's weights are: from its safetensors index, else from its files, else from its parameters.

Pure. The index's `total_size` is what will be in memory; files add a header of a few KiB each. Where a folder holds
the weights twice (safetensors and pytorch_model.bin, or `consolidated` and `model`), one copy is counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.memory.files import Json, ModelFiles, table, text, whole

DTYPES: Final = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "nvfp4": 0.5625,
    "int4": 0.53,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes of all weights together; None if nothing tells. `origin` says for people where the number is from."""

    size: int | None
    origin: str


def read_weights(files: ModelFiles) -> Weights:
    """The weights' size. Never raises."""
    total = whole(table(files.index, "metadata"), "total_size")
    if total:
        return Weights(size=total, origin="safetensors index")
    for endings in ((".safetensors",), (".bin", ".pt", ".pth")):
        found = _one_copy(
            {name: size for name, size in files.named(*endings).items() if _is_weights(name) and size > 0}
        )
        if found:
            return Weights(size=sum(found.values()), origin=f"sum of {len(found)} file{'s' if len(found) > 1 else ''}")
    return _from_parameters(files.index, files.config)


def read_gguf(files: ModelFiles, wanted: str = "") -> Weights:
    """The GGUF file named in part by `wanted`, else the largest; with its further parts and its projector of images."""
    projector = max((size for name, size in files.named(".gguf").items() if _sees(name)), default=0)
    choices = gguf_choices(files)
    chosen = {stem: names for stem, names in choices.items() if wanted.lower() in names[0].lower()} or choices
    if not chosen:
        return Weights(size=None, origin="no GGUF file known")
    sizes = {stem: sum(files.sizes[name] for name in names) for stem, names in chosen.items()}
    stem = max(sizes, key=lambda name: (sizes[name], name))
    return Weights(size=sizes[stem] + projector, origin=f"GGUF file {stem}")


def gguf_choices(files: ModelFiles) -> dict[str, tuple[str, ...]]:
    """The GGUF files that can be launched: a name without its part numbers, and the parts, first to last."""
    choices: dict[str, tuple[str, ...]] = {}
    for name in sorted(name for name in files.named(".gguf") if not _sees(name)):
        stem = re.sub(r"-\d{5}-of-\d{5}\.gguf$", "", name, flags=re.IGNORECASE)
        choices[stem] = (*choices.get(stem, ()), name)
    return choices


def _sees(name: str) -> bool:
    """A projector turns images into tokens; it is loaded beside the model."""
    return "mmproj" in name.lower()


def _is_weights(name: str) -> bool:
    """Not what lies beside the weights: optimizer states, adapters, training arguments, exports for other programs."""
    low = name.lower()
    strange = ("optimizer", "training_args", "adapter", "scheduler", "rng_state", "onnx/", "openvino/", "original/")
    return not any(word in low for word in (*strange, "metal/"))


def _one_copy(found: Mapping[str, int]) -> dict[str, int]:
    """Without the second copy in Mistral's own format, where there are both."""
    own = {name: size for name, size in found.items() if "consolidated" in name.lower()}
    rest = {name: size for name, size in found.items() if name not in own}
    return rest or own


def _from_parameters(index: Json, config: Json) -> Weights:
    parameters = whole(table(index, "metadata"), "total_parameters") or whole(config, "num_parameters")
    dtype = text(config, "dtype", "torch_dtype") or "bfloat16"
    if not parameters or dtype not in DTYPES:
        return Weights(size=None, origin="neither an index nor files nor a number of parameters known")
    return Weights(size=round(parameters * DTYPES[dtype]), origin=f"{parameters:,} parameters in {dtype}")
