"""How much of a Spark an inferred recipe asks for: the longest context that fits, and the share that it takes.

Pure. A model gets room for a few texts of full length and not the whole machine, so that others fit beside it. What
one Spark does not hold is spread over two, four or eight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import JsonValue

from reconciler.memory.estimate import Estimate, estimate
from reconciler.memory.files import ModelFiles
from reconciler.memory.shape import Shape
from reconciler.memory.weights import read_weights
from reconciler.place import gib

GIB: Final = 2**30
SPARE: Final = 8 * GIB  # what an idle Spark's own programs hold, and the reserve
HIGHEST: Final = 0.85  # more was seen to work, and to hang
LOWEST: Final = 0.05
STEP: Final = 0.05
SEQUENCES: Final = 4  # of full length, that there should be room for
SHORTEST: Final = 4096  # tokens: a model cut down further is of no use
GROUPS: Final = (1, 2, 4, 8)
LADDER: Final = (1_048_576, 524_288, 262_144, 131_072, 65_536, 32_768, 16_384, 8_192, SHORTEST)


@dataclass(slots=True)
class Draft:
    """The recipe while it is filled in."""

    recipe: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


def choose_memory(draft: Draft, files: ModelFiles, shape: Shape, *, pooling: bool, total: int) -> tuple[Estimate, int]:
    """Context, share and memory: the longest context that fits, on as few Sparks as hold the weights."""
    if read_weights(files).size is None:
        draft.questions.append(
            "How large is the model? Without the sizes of its files no share of the memory can be chosen."
        )
        return estimate("vllm", draft.flags, files, total=total), 1
    for group in GROUPS:
        for context in _contexts(shape):
            flags = draft.flags | ({"max-model-len": context} if context else {})
            share = _share(flags, files, pooling=pooling, total=total, group=group)
            if share is not None:
                chosen = {**flags, "gpu-memory-utilization": share}
                found = estimate("vllm", chosen, files, total=total, group=group)
                draft.flags.update(chosen)
                draft.reasons += _why_memory(shape, found, share, context, group, pooling=pooling)
                draft.recipe["memory"] = f"{-(-(found.peak or 0) // GIB)}GiB"
                if not pooling:
                    draft.questions.append("How long do its texts get, and how many requests run at once?")
                return found, group
    found = estimate("vllm", draft.flags, files, total=total, group=GROUPS[-1])
    draft.questions.append(
        f"It does not fit on {GROUPS[-1]} Sparks either: {found.lines[0]} on each. Is there a smaller one?"
    )
    return found, GROUPS[-1]


def _contexts(shape: Shape) -> Iterator[int]:
    """The model's own context, then shorter ones."""
    yield shape.context
    if not shape.encoder:
        yield from (step for step in LADDER if step < shape.context)


def _share(flags: Mapping[str, JsonValue], files: ModelFiles, *, pooling: bool, total: int, group: int) -> float | None:
    """The share to ask for, in steps of 0.05; None if it does not fit. Room for some sequences, and no more."""
    full = estimate("vllm", {**flags, "gpu-memory-utilization": 1.0}, files, total=total, group=group)
    if full.needed is None or full.peak is None:
        return None
    beyond = full.peak - max(total, full.needed)
    most = min(HIGHEST, (total - SPARE - beyond) / total)
    most = int(most / STEP + 1e-9) * STEP  # down to a step
    if full.needed > most * total:
        return None
    more = 0 if pooling else (SEQUENCES - 1) * full.sequence if full.sequence is not None else 16 * GIB
    wanted = (full.needed + max(more, 2 * GIB)) / total
    return round(max(LOWEST, min(most, -int(-wanted / STEP // 1) * STEP)), 2)


def _why_memory(
    shape: Shape, found: Estimate, share: float, context: int, group: int, *, pooling: bool
) -> Iterator[str]:
    if group > 1:
        yield f"one Spark does not hold it: declare it `across` {group} Sparks, each then takes {gib(found.peak or 0)}"
    if not context:
        yield "max-model-len left out: config.json does not say how long a text may be"
    elif context < shape.context:
        yield f"max-model-len {context:,}: its {shape.context:,} tokens would not fit"
    else:
        yield f"max-model-len {context:,}: what the model was made for"
    texts = f"{(found.left_for_kv or 0) / found.sequence:.1f} texts of full length" if found.sequence else "its texts"
    room = "its work" if pooling else texts
    yield f"gpu-memory-utilization {share:.2f}: enough for its weights and {room}; the rest stays free for others"
    yield f"memory {gib(found.peak or 0)} is an estimate: {'; '.join(found.lines)}"
