"""What each engine takes: all of its share up front, or as much as the model needs, and what it takes on top.

Pure. vLLM, SGLang and TensorRT-LLM reserve a share of the memory whatever the model needs; llama.cpp takes what the
model needs. On a Spark everything comes out of one memory, so the engine's own processes count too. The constants
are what people measured on such machines where a source is named, and a cautious guess where none is: what an
earlier run really took corrects them (`reconciler.memory.estimate.settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from reconciler.memory.options import Options
from reconciler.place import gib

GIB: Final = 2**30
CUDA: Final = GIB  # context, cuBLAS and attention workspaces
GRAPHS: Final = 3 * GIB // 2  # captured CUDA graphs; none with --enforce-eager
PROCESSES: Final = 3 * GIB  # API server, engine core, tokenizers: outside the share, inside the same memory
PROFILING: Final = 2 * GIB  # the measuring run, before the share is known
SENSES: Final = GIB  # an encoder of images or sound at work
LLAMA: Final = GIB  # llama.cpp: CUDA context and compute buffers beyond the batch's own
# vllm#46307: a 16-bit mixture of experts of 48 GiB with a share of 0.70 (83 of 119 GiB) had 112 GiB in use while vLLM
# measured it, and the machine hung. (112 - 83.3) / 48 = 0.6: taken as beyond the share for every model of that kind.
EXPERTS_BEYOND: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the model itself asks for on one rank, in bytes. None: not known."""

    weights: int | None
    one: int | None  # KV cache of one sequence of full length
    slots: int | None  # the same where several slots share those tokens, each with a recurrent state of its own
    draft: int = 0  # a drafting model's weights and its KV cache of one sequence
    scratch: int = 0  # of a batch, while it is computed
    sixteen_bit_experts: bool = False
    senses: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What the engine makes of it, in bytes. `left_for_kv` is negative where the share is too small."""

    peak: int | None
    needed: int | None = None
    left_for_kv: int | None = None
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def vllm(load: Load, options: Options, total: int) -> Taken:
    """The share of --gpu-memory-utilization, or what --kv-cache-memory-bytes adds up to; and what goes beyond it."""
    fixed = CUDA + (0 if options.eager else GRAPHS) + (SENSES if load.senses else 0)
    beyond, why = _beyond_share(load)
    lines = [
        f"engine {gib(fixed)} (CUDA context{'' if options.eager else ', CUDA graphs'}), scratch {gib(load.scratch)}"
    ]
    warnings = list(_asleep(options))
    share = _share(options.share, total)
    if options.cache is not None:
        lines.append(f"KV cache {gib(options.cache)} as stated (kv-cache-memory-bytes), whatever the share")
        if not options.share_stated:
            warnings.append(
                f"vLLM still asks that {options.share:.2f} of the memory ({gib(share)}) is free when it starts: "
                "state gpu-memory-utilization beside kv-cache-memory-bytes"
            )
        if load.weights is None:
            return Taken(peak=None, lines=tuple(lines), warnings=tuple(warnings))
        held = load.weights + load.draft + fixed + load.scratch + options.cache
        held = max(held, share) if options.share_stated else held
        return _result(held, beyond, why, held, options.cache, lines, warnings)
    lines.append(f"vLLM takes {options.share:.2f} of {gib(total)} up front: {gib(share)} (gpu-memory-utilization)")
    needed, left = _against_share("gpu-memory-utilization", load, fixed, share, lines, warnings)
    return _result(max(share, needed or 0), beyond, why, needed, left, lines, warnings)


def sglang(load: Load, options: Options, total: int) -> Taken:
    """Weights and KV cache in a share of --mem-fraction-static; scratch and graphs come on top of it."""
    fixed = CUDA + (0 if options.eager else GRAPHS) + (SENSES if load.senses else 0)
    share = _share(options.share, total)
    stated = "mem-fraction-static" if options.share_stated else "assumed: SGLang works it out itself"
    lines = [f"SGLang takes {options.share:.2f} of {gib(total)} for weights and KV cache: {gib(share)} ({stated})"]
    warnings: list[str] = []
    _, left = _against_share("mem-fraction-static", load, 0, share + load.scratch, lines, warnings)
    static = max(share, (load.weights or 0) + load.draft + (load.one or 0))
    lines.append(
        f"engine {gib(fixed)} (CUDA context{'' if options.eager else ', CUDA graphs'}), scratch {gib(load.scratch)}"
    )
    held = static + fixed + load.scratch
    return _result(held, PROCESSES, "its own processes", held if load.weights else None, left, lines, warnings)


def trtllm(load: Load, options: Options, total: int) -> Taken:
    """Of what is free after the weights, a fraction for the KV cache. Reckoned with an otherwise empty Spark."""
    fixed = CUDA + GRAPHS + (SENSES if load.senses else 0)
    warnings = (
        [] if options.share_stated else [f"TensorRT-LLM takes {options.share:.2f} of what is free if not told less"]
    )
    if load.weights is None:
        return Taken(peak=None, warnings=tuple(warnings))
    own = load.weights + load.draft + fixed + load.scratch
    cache = max(load.one or 0, int(options.share * max(0, total - own)))
    lines = [
        f"engine {gib(fixed)} (CUDA context, CUDA graphs), scratch {gib(load.scratch)}",
        f"TensorRT-LLM takes {options.share:.2f} of the free memory for its KV cache: up to {gib(cache)}",
    ]
    return _result(own + cache, PROCESSES, "its own processes", own + (load.one or 0), cache, lines, warnings)


def llamacpp(load: Load, options: Options, total: int) -> Taken:  # noqa: ARG001  # the engines share one signature
    """The file, the cache of --ctx-size tokens (all slots share them), and its compute buffers. Nothing up front."""
    lines = [f"engine {gib(LLAMA)} (CUDA context, buffers), scratch {gib(load.scratch)}"]
    if load.weights is None or load.slots is None:
        return Taken(peak=None, lines=tuple(lines))
    held = load.weights + load.draft + LLAMA + load.scratch + load.slots
    return Taken(peak=held, needed=held, left_for_kv=load.slots, lines=tuple(lines))


ENGINES: Final[dict[str, Callable[[Load, Options, int], Taken]]] = {
    "vllm": vllm,
    "sglang": sglang,
    "trtllm": trtllm,
    "llamacpp": llamacpp,
}


def scratch(*, batch: int, sequences: int, hidden: int, widest: int, vocabulary: int, tensor: int) -> int:
    """Bytes for one batch on its way through the model, in 16 bits, and for its next words, in 32 (sorted: twice)."""
    through = batch * (4 * hidden + 3 * -(-widest // tensor)) * 2
    return through + min(batch, sequences) * vocabulary * 4 * 2


def _share(share: float, total: int) -> int:
    return -int(-share * total // 1)


def _beyond_share(load: Load) -> tuple[int, str]:
    """What vLLM takes at its highest point that no share covers."""
    if load.sixteen_bit_experts and load.weights is not None:
        extra = int(EXPERTS_BEYOND * load.weights)
        if extra > PROFILING:
            return extra + PROCESSES, "16-bit experts are measured beyond the share (vllm#46307), its own processes"
    return PROFILING + PROCESSES, "measuring run, its own processes"


def _against_share(
    flag: str, load: Load, fixed: int, share: int, lines: list[str], warnings: list[str]
) -> tuple[int | None, int | None]:
    """What is needed at least, and what the share leaves for the KV cache."""
    if load.weights is None:
        lines.append("weights unknown: the share alone decides")
        return None, None
    own = load.weights + load.draft + fixed + load.scratch
    left = share - own
    needed = own + (load.one or 0)
    if left < (load.one or 0):
        wanted = f", one sequence of full length needs {gib(load.one)}" if load.one else ""
        warnings.append(
            f"{flag} is too small: it leaves {gib(left)} for the KV cache{wanted}; the engine would not start"
        )
    elif load.one:
        lines.append(f"leaves {gib(left)} for the KV cache: {left / load.one:.1f} sequences of full length")
    return needed, left


def _result(
    held: int, beyond: int, why: str, needed: int | None, left: int | None, lines: list[str], warnings: list[str]
) -> Taken:
    lines.append(f"beyond that {gib(beyond)} ({why})")
    return Taken(peak=held + beyond, needed=needed, left_for_kv=left, lines=tuple(lines), warnings=tuple(warnings))


def _asleep(options: Options) -> Iterator[str]:
    if options.sleep:
        yield (
            "enable-sleep-mode: waking a sleeping engine has hung whole Sparks (vllm#50011); "
            "a sleeping model counts here with all of its memory"
        )
