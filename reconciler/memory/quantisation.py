"""How a checkpoint's weights were made smaller, from the words that the tools leave in its folder.

Pure. The same method has several spellings: NVIDIA's ModelOpt writes `hf_quant_config.json` or a part of
config.json, AWQ and GPTQ wrote `quantize_config.json` before config.json had a place for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reconciler.memory.files import Json, ModelFiles, language_config, table, text, whole

KNOWN: Final = {
    "fp8": "FP8",
    "fbgemm_fp8": "FP8 (FBGEMM)",
    "mxfp4": "MXFP4",
    "mxfp8": "MXFP8",
    "nvfp4": "NVFP4 (ModelOpt)",
    "modelopt-fp8": "FP8 (ModelOpt)",
    "modelopt-mixed": "mixed precision (ModelOpt)",
    "awq": "AWQ",
    "gptq": "GPTQ",
    "compressed-tensors": "compressed-tensors",
    "bitsandbytes": "bitsandbytes",
    "auto-round": "AutoRound",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """The method (a key of KNOWN, the checkpoint's own word, or empty for none), and where it says so."""

    method: str = ""
    bits: int = 0  # of a weight; 0 if not said
    origin: str = ""

    @property
    def known(self) -> bool:
        """Not quantised, or by a method that is known here."""
        return not self.method or self.method in KNOWN

    @property
    def words(self) -> str:
        """For people: `NVFP4 (ModelOpt)`, `AWQ, 4 bits`."""
        name = KNOWN.get(self.method, self.method)
        return f"{name}, {self.bits} bits" if self.bits and str(self.bits) not in name else name


def read_quantisation(files: ModelFiles) -> Quantisation:
    """The method that the folder's files name; none if they name none."""
    for config in (files.config, language_config(files.config)):
        part = table(config, "quantization_config", "compression_config")
        if part:
            return _named(part, "config.json")
    if files.quantization:
        modelopt = table(files.quantization, "quantization")
        return _named(modelopt or files.quantization, "hf_quant_config.json" if modelopt else "quantize_config.json")
    return Quantisation()


def _named(part: Json, origin: str) -> Quantisation:
    method = text(part, "quant_method", "method").lower().replace("_", "-")[:40]
    algorithm = text(part, "quant_algo", "weight_quantization").upper()
    bits = whole(part, "bits", "w_bit", "num_bits") or 0
    if method.startswith("modelopt") or (not method and algorithm):
        method = _modelopt(algorithm)
    elif (
        "auto-round" in method or "autoround" in text(part, "autoround_version").lower() or "autoround_version" in part
    ):
        method = "auto-round"
    elif method in {"bitsandbytes", "bnb"} or part.get("load_in_4bit") is True or part.get("load_in_8bit") is True:
        method = "bitsandbytes"
    elif method == "fbgemm-fp8":
        method = "fbgemm_fp8"
    elif not method:
        method = "gptq" if "desc_act" in part else "awq" if "zero_point" in part or "w_bit" in part else ""
    return Quantisation(method=method or "unnamed", bits=bits, origin=origin)


def _modelopt(algorithm: str) -> str:
    if "NVFP4" in algorithm or "FP4" in algorithm:
        return "nvfp4"
    if "MIXED" in algorithm:
        return "modelopt-mixed"
    return "modelopt-fp8" if "FP8" in algorithm else f"modelopt {algorithm.lower()}"[:40].strip()
