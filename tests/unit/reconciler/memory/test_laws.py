"""Laws of the arithmetic, for any model and any nonsense."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.infer import infer_recipe
from reconciler.memory.admission import Holder, Promise, Room, admit, evict
from reconciler.memory.estimate import Estimate, Need, Source, estimate, settle
from reconciler.memory.files import ModelFiles
from state.recipes import Recipe
from tests.unit.reconciler.memory import models

ENGINES = st.sampled_from(["vllm", "sglang", "trtllm", "llamacpp"])
MODELS = st.sampled_from(models.ALL)
SHARES = st.floats(0.05, 0.95)
GIB = 2**30

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted({key for m in models.ALL for key in (*m.config, *m.config.get("text_config", {}))})
FLAGS = ("max-model-len", "max-num-seqs", "gpu-memory-utilization", "kv-cache-dtype", "tp", "speculative-config")


def peaks(engine: str, files: ModelFiles, *flags: dict[str, Any]) -> list[Estimate]:
    names = {"context": {"vllm": "max-model-len", "sglang": "context-length", "trtllm": "max-seq-len", "llamacpp": "c"}}
    names["sequences"] = {"vllm": "max-num-seqs", "sglang": "max-running-requests", "trtllm": "max-batch-size"}
    names["sequences"]["llamacpp"] = "parallel"
    names["share"] = {"vllm": "gpu-memory-utilization", "sglang": "mem-fraction-static"}
    names["share"] |= {"trtllm": "kv-cache-free-gpu-memory-fraction", "llamacpp": "unused"}
    files = ModelFiles(config=files.config, index=files.index, sizes={**files.sizes, "m.gguf": 7 * GIB})
    return [estimate(engine, {names[what][engine]: value for what, value in each.items()}, files) for each in flags]


@settings(deadline=None)
@given(ENGINES, MODELS, SHARES, st.integers(1, 2**20), st.integers(0, 2**20))
def test_more_context_never_takes_less(engine: str, files: ModelFiles, share: float, tokens: int, more: int):
    low, high = peaks(engine, files, {"share": share, "context": tokens}, {"share": share, "context": tokens + more})
    assert low.peak is not None
    assert high.peak is not None
    assert 0 < low.peak <= high.peak
    assert 0 <= (low.sequence or 0) <= (high.sequence or 0)


@settings(deadline=None)
@given(ENGINES, MODELS, SHARES, st.integers(1, 4096), st.integers(0, 4096))
def test_more_sequences_never_take_less(engine: str, files: ModelFiles, share: float, count: int, more: int):
    low, high = peaks(engine, files, {"share": share, "sequences": count}, {"share": share, "sequences": count + more})
    assert 0 < (low.peak or 0) <= (high.peak or 0)


@settings(deadline=None)
@given(MODELS, st.integers(1, 16), st.integers(0, 16))
def test_more_ranks_never_take_more_on_each(files: ModelFiles, ranks: int, more: int):
    few, many = (estimate("vllm", {"gpu-memory-utilization": 0.1}, files, group=n) for n in (ranks, ranks + more))
    assert (many.peak or 0) <= (few.peak or 0)
    assert (many.needed or 0) <= (few.needed or 0)
    assert (many.sequence or 0) <= (few.sequence or 0)


@settings(max_examples=200, deadline=None)
@given(
    ENGINES,
    st.dictionaries(st.sampled_from(KEYS), JSON, max_size=12),
    st.dictionaries(st.sampled_from(FLAGS), JSON, max_size=4),
    JSON,
)
def test_nonsense_gives_words_and_no_exception(engine: str, config: dict[str, Any], flags: dict[str, Any], rest: Any):
    more = rest if isinstance(rest, dict) else {}
    files = ModelFiles(
        config=config, index=more, quantization=more, tokenizer=more, generation=more, gguf=more, repository=str(rest)
    )
    found = estimate(engine, flags, files)
    assert found.peak is None or found.peak >= 0
    assert found.warnings or found.peak is not None
    assert all(len(text) < 2_000 for text in (*found.lines, *found.warnings))
    inferred = infer_recipe(files)
    assert inferred.reasons
    assert inferred.questions
    if "model" in inferred.recipe:
        Recipe.model_validate(dict(inferred.recipe))


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 130), st.integers(0, 8), st.lists(st.integers(0, 60), max_size=3))
def test_it_fits_exactly_if_nothing_is_missing(need: int, available: int, reserve: int, promised: list[int]):
    room = Room(
        spark="s",
        total=128 * GIB,
        available=available * GIB,
        reserve=reserve * GIB,
        promised=tuple(Promise(workload=f"p{n}", memory=size * GIB) for n, size in enumerate(promised)),
    )
    verdict = admit("w", Need(size=need * GIB, source=Source.STATED), room)
    assert verdict.missing == max(0, need + reserve + sum(promised) - available) * GIB
    assert verdict.fits == (verdict.missing == 0)


HOLDERS = st.builds(
    Holder,
    workload=st.text("abc", min_size=1, max_size=3),
    memory=st.integers(0, 40).map(lambda n: n * GIB),
    run=st.sampled_from(["always", "on-demand"]),
    idle=st.booleans(),
    priority=st.integers(-2, 5),
    ours=st.booleans(),
)


@settings(deadline=None)
@given(st.integers(1, 120), st.lists(HOLDERS, max_size=8), st.integers(-2, 5))
def test_eviction_makes_room_and_takes_no_more_than_it_must(size: int, holders: list[Holder], priority: int):
    room = Room(spark="s", total=128 * GIB, available=20 * GIB, reserve=4 * GIB, holders=tuple(holders))
    need = Need(size=size * GIB, source=Source.STATED)
    chosen = evict(need, room, priority=priority)
    assert all(h.run == "on-demand" and h.ours and h.idle and h.priority <= priority for h in chosen)
    missing = size * GIB - room.free
    if chosen:
        given_back = sum(h.memory for h in chosen)
        assert given_back >= missing > 0
        assert all(given_back - h.memory < missing for h in chosen)
    elif missing > 0:
        may = [h.memory for h in holders if h.run == "on-demand" and h.ours and h.idle and h.priority <= priority]
        assert sum(may) < missing


@settings(deadline=None)
@given(st.none() | st.integers(0, 200), st.none() | st.integers(0, 200), st.none() | st.integers(0, 200))
def test_what_is_stated_stands_and_an_estimate_never_undercuts_what_was_seen(
    guess: int | None, stated: int | None, seen: int | None
):
    need = settle(Estimate(peak=guess), stated=stated, seen=seen)
    assert (need.size is None) == (guess is None and stated is None and seen is None)
    assert need.size == (
        stated if stated is not None else max((n for n in (guess, seen) if n is not None), default=None)
    )
    assert (need.source is Source.UNKNOWN) == (need.size is None)
