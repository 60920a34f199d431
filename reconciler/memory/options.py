"""The flags of a recipe that decide about memory, in one vocabulary for all engines.

Pure. Names are read with `-` or `_`, long or short, as each engine takes them. A value that can't be read is
treated as left out and goes into `doubts`; what the engine does when a flag is left out stands here as its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from reconciler.memory.files import MOST, fraction, table, text
from reconciler.memory.kv_cache import ALONE, Ranks

NAMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "vllm": {
        "context": ("max-model-len",),
        "sequences": ("max-num-seqs",),
        "batch": ("max-num-batched-tokens",),
        "kv": ("kv-cache-dtype",),
        "tensor": ("tensor-parallel-size", "tp"),
        "pipeline": ("pipeline-parallel-size", "pp"),
        "data": ("data-parallel-size", "dp"),
        "share": ("gpu-memory-utilization",),
        "cache": ("kv-cache-memory-bytes", "kv-cache-memory"),
        "eager": ("enforce-eager",),
        "sleep": ("enable-sleep-mode",),
        "quantization": ("quantization", "q"),
    },
    "sglang": {
        "context": ("context-length",),
        "sequences": ("max-running-requests",),
        "batch": ("chunked-prefill-size",),
        "kv": ("kv-cache-dtype",),
        "tensor": ("tensor-parallel-size", "tp-size", "tp"),
        "pipeline": ("pipeline-parallel-size", "pp-size", "pp"),
        "share": ("mem-fraction-static",),
        "eager": ("disable-cuda-graph",),
        "quantization": ("quantization",),
    },
    "trtllm": {
        "context": ("max-seq-len",),
        "sequences": ("max-batch-size",),
        "batch": ("max-num-tokens",),
        "kv": ("kv-cache-dtype",),
        "tensor": ("tp-size",),
        "pipeline": ("pp-size",),
        "share": ("kv-cache-free-gpu-memory-fraction", "free-gpu-memory-fraction"),
    },
    "llamacpp": {
        "context": ("ctx-size", "c"),
        "sequences": ("parallel", "np"),
        "batch": ("ubatch-size", "ub"),
        "kv": ("cache-type-k", "ctk"),
        "kv_values": ("cache-type-v", "ctv"),
    },
}
# Sequences, tokens of one batch, share of the memory. vLLM's and TensorRT-LLM's own for a device of more than 70 GiB;
# SGLang works its share out from the device, at most this.
DEFAULTS: Final = {
    "vllm": (1024, 8192, 0.92),
    "sglang": (256, 8192, 0.9),
    "trtllm": (2048, 8192, 0.9),
    "llamacpp": (1, 512, 1.0),
}
DECIMAL: Final = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the flags say. `context` 0: as long as the model was made for. `cache` None: the engine fills its share."""

    context: int = 0
    sequences: int
    batch: int
    kv: str = "auto"
    kv_values: str = ""
    ranks: Ranks = ALONE
    share: float
    share_stated: bool = False
    cache: int | None = None
    eager: bool = False
    sleep: bool = False
    quantization: str = ""
    draft: str = ""  # repository of a second model that drafts for this one
    doubts: tuple[str, ...] = ()


def read_options(engine: str, flags: Mapping[str, JsonValue], *, group: int = 1) -> Options:
    """The options of a launch. `group`: the Sparks that a model is declared across, where no flag divides it."""
    given = _Given({name.lstrip("-").replace("_", "-"): value for name, value in flags.items()}, NAMES.get(engine, {}))
    sequences, batch, share = DEFAULTS.get(engine, (1, 2048, 1.0))
    stated = given.share(share)
    tensor, pipeline = given.number("tensor"), given.number("pipeline")
    others = (pipeline or 1) * (given.number("data") or 1)  # what no flag divides is divided by tensor parallel
    speculative = table(given.flags, "speculative-config")
    return Options(
        context=given.number("context") or 0,
        sequences=given.number("sequences") or sequences,
        batch=given.number("batch") or batch,
        kv=given.word("kv") or "auto",
        kv_values=given.word("kv_values"),
        ranks=Ranks(tensor=max(1, tensor or group // others), pipeline=max(1, pipeline or 1)),
        share=stated or share,
        share_stated=stated is not None,
        cache=given.number("cache"),
        eager=given.switch("eager"),
        sleep=given.switch("sleep"),
        quantization=given.word("quantization"),
        draft=text(speculative, "model") or text(given.flags, "speculative-draft-model-path", "model-draft", "md"),
        doubts=tuple(given.doubts),
    )


@dataclass(slots=True)
class _Given:
    """The flags as they were written, under any of their names."""

    flags: Mapping[str, JsonValue]
    names: Mapping[str, tuple[str, ...]]
    doubts: list[str] = field(default_factory=list)

    def _first(self, what: str) -> tuple[str, JsonValue]:
        """The name that is used, and its value; null where none is."""
        found = ((name, self.flags[name]) for name in self.names.get(what, ()) if self.flags.get(name) is not None)
        return next(found, ("", None))

    def number(self, what: str) -> int | None:
        name, value = self._first(what)
        found = read_count(value)
        if value is not None and found is None and str(value) not in {"auto", "-1"}:
            self.doubts.append(f"--{name}: {str(value)[:40]!r} is not a number; taken as left out")
        return found

    def word(self, what: str) -> str:
        return text(self.flags, *self.names.get(what, ()))

    def switch(self, what: str) -> bool:
        return any(self.flags.get(name) is True for name in self.names.get(what, ()))

    def share(self, otherwise: float) -> float | None:
        stated = fraction(self.flags, *self.names.get("share", ()))
        _, written = self._first("share")
        if stated is None and written is not None:
            self.doubts.append(
                f"the share {str(written)[:40]} is not a number above 0 and up to 1; {otherwise} is assumed"
            )
        return stated


def read_count(value: JsonValue) -> int | None:
    """A number of tokens or bytes as engines take it: 65536, "65536", "64K" (x 1,024), "64k" (x 1,000)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value <= MOST else None
    match = (
        re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)([kmgtKMGT]?)(?:i?B)?", value.strip())
        if isinstance(value, str)
        else None
    )
    if match is None:
        return None
    found = int(float(match[1]) * DECIMAL[match[2]])
    return found if found <= MOST else None
