"""What a model itself asks for on one rank: its weights, its KV cache, its scratch, and a second model that drafts.

Pure. Everything is noted as it is worked out: a line for what is known, a doubt for what is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from reconciler.memory import engines, kv_cache
from reconciler.memory.engines import Load
from reconciler.memory.files import ModelFiles
from reconciler.memory.options import Options
from reconciler.memory.quantisation import read_quantisation
from reconciler.memory.shape import Shape, read_shape
from reconciler.memory.weights import Weights, read_weights
from reconciler.place import gib


@dataclass(slots=True)
class Notes:
    """The arithmetic for people as it grows, and what could not be told."""

    lines: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_load(
    options: Options, files: ModelFiles, shape: Shape, weights: Weights, draft: ModelFiles | None, *, local: bool
) -> tuple[Load, Notes]:
    """The load of one rank. `local`: llama.cpp, which keeps keys and values in types of their own."""
    notes = Notes()
    number = _number(options, shape, files, notes, local=local)
    context = options.context or shape.context
    own = _weights(weights, options, notes)
    one = _one_sequence(options, shape, context, number, notes)
    slots = None
    if one is not None:  # slots share the tokens of one sequence; a recurrent state is each slot's own
        more = max(0, options.sequences - 1)
        slots = one + kv_cache.size(shape, tokens=0, sequences=more, ranks=options.ranks, number=number)
    quantised = bool(read_quantisation(files).method or options.quantization)
    load = Load(
        weights=own,
        one=one,
        slots=slots,
        draft=_draft(options, draft, context, number, notes),
        scratch=engines.scratch(
            batch=options.batch,
            sequences=options.sequences,
            hidden=shape.hidden,
            widest=shape.widest,
            vocabulary=0 if shape.encoder else shape.vocabulary,
            tensor=options.ranks.tensor,
        ),
        sixteen_bit_experts=shape.experts and not quantised,
        senses=shape.sees,
    )
    return load, notes


def _number(options: Options, shape: Shape, files: ModelFiles, notes: Notes, *, local: bool) -> Fraction:
    """Bytes of one kept number; llama.cpp keeps 16 bits unless told otherwise."""
    if local:
        keys, doubt = kv_cache.width("f16" if options.kv == "auto" else options.kv, shape, {}, {})
        values, other = kv_cache.width(options.kv_values or "f16", shape, {}, {})
        number, doubt = (keys + values) / 2, doubt or other
    else:
        number, doubt = kv_cache.width(options.kv, shape, files.config, files.quantization)
    notes.doubts += [doubt] if doubt else []
    return number


def _weights(weights: Weights, options: Options, notes: Notes) -> int | None:
    if weights.size is None:
        notes.doubts.append(f"weights unknown: {weights.origin}")
        return None
    count = options.ranks.count
    own = -(-weights.size // count)
    notes.lines.append(f"weights {gib(own)} ({weights.origin}{f' / {count} ranks' if count > 1 else ''})")
    return own


def _one_sequence(options: Options, shape: Shape, context: int, number: Fraction, notes: Notes) -> int | None:
    """The KV cache of one sequence of full length."""
    if not shape.known or not (context or shape.encoder):
        notes.doubts.append("KV cache unknown: config.json lacks what it takes to work it out")
        return None
    ranks, batch = options.ranks, options.batch
    one = kv_cache.size(shape, tokens=context, ranks=ranks, number=number, batch=batch)
    said = kv_cache.explain(shape, tokens=context, number=number, batch=batch)
    divided = f", divided by tensor {ranks.tensor} x pipeline {ranks.pipeline}" if ranks.count > 1 else ""
    notes.lines.append(f"KV cache {gib(one)} for one sequence ({said}{divided})")
    return one


def _draft(options: Options, draft: ModelFiles | None, context: int, number: Fraction, notes: Notes) -> int:
    """A drafting model with its KV cache. One that drafts by layers of its own (MTP) has them in its weights."""
    if not options.draft:
        return 0
    weights = read_weights(draft) if draft is not None else None
    if draft is None or weights is None or weights.size is None:
        notes.doubts.append(f"the drafting model {options.draft[:80]} is not counted: its size is unknown")
        return 0
    shape = read_shape(draft.config)
    kept = kv_cache.size(shape, tokens=context, ranks=options.ranks, number=number, batch=options.batch)
    size = weights.size + kept  # engines do not divide a drafting model's weights
    notes.lines.append(f"drafting model {gib(size)} ({weights.origin}, with its KV cache)")
    return size
