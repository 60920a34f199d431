"""The estimate of a launch's peak, and what counts in the end: stated, measured or estimated.

Pure. Every number that decides about a start comes with its arithmetic as lines for people. What is not known is
said to be unknown: no number is made up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from reconciler.memory import engines
from reconciler.memory.files import ModelFiles
from reconciler.memory.gguf import config_of
from reconciler.memory.load import read_load
from reconciler.memory.options import read_options
from reconciler.memory.shape import read_shape
from reconciler.memory.weights import read_gguf, read_weights
from reconciler.place import gib
from state.recipes import Recipe

SPARK: Final = 127_601_452 * 1024  # MemTotal of a DGX Spark, in bytes
FAR_BELOW: Final = 0.8  # of the estimate: a stated value under it is doubted aloud


class Source(StrEnum):
    """Where a number is from, the surest first."""

    STATED = "stated"
    MEASURED = "measured"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The peak on the fullest rank, in bytes; None if it can't be told. `needed`: the least it could start with."""

    peak: int | None
    needed: int | None = None
    sequence: int | None = None  # KV cache of one sequence of full length
    left_for_kv: int | None = None
    context: int = 0  # tokens it was reckoned with
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        """Estimated or unknown."""
        return Source.UNKNOWN if self.peak is None else Source.ESTIMATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a launch is counted with, in bytes; None if nobody knows."""

    size: int | None
    source: Source
    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`92.0 GiB (stated)`."""
        return "unknown" if self.size is None else f"{gib(self.size)} ({self.source})"


def estimate(
    engine: str,
    flags: Mapping[str, JsonValue],
    files: ModelFiles,
    *,
    total: int = SPARK,
    group: int = 1,
    draft: ModelFiles | None = None,
    file: str = "",
) -> Estimate:
    """The peak of one rank of a launch. `total` is the Spark's memory in bytes, `group` the Sparks it is across.

    `draft` is the folder of a drafting model that the flags name, `file` a part of the name of the GGUF file among
    several (the recipe's `quant` or `file`). Never raises: files and flags may hold anything.
    """
    rule = engines.ENGINES.get(engine)
    if rule is None:
        return Estimate(peak=None, warnings=(_no_rule(engine),))
    options = read_options(engine, flags, group=group)
    local = engine == "llamacpp"
    shape = read_shape(files.config or config_of(files.gguf))
    weights = read_gguf(files, file) if local else read_weights(files)
    load, notes = read_load(options, files, shape, weights, draft, local=local)
    taken = rule(load, options, max(0, total))
    warnings = [*options.doubts, *shape.doubts, *notes.doubts, *taken.warnings]
    if taken.peak is not None and taken.peak > total:
        warnings.append(f"{gib(taken.peak)} is more than the Spark has ({gib(total)})")
    peak = f"peak {gib(taken.peak)}" if taken.peak is not None else "peak unknown"
    return Estimate(
        peak=taken.peak,
        needed=taken.needed,
        sequence=load.one,
        left_for_kv=taken.left_for_kv,
        context=options.context or shape.context,
        lines=(*notes.lines, *taken.lines, peak + (" on each Spark" if options.ranks.count > 1 else "")),
        warnings=tuple(warnings),
    )


def need_of(
    recipe: Recipe,
    files: ModelFiles | None = None,
    *,
    total: int = SPARK,
    group: int = 1,
    draft: ModelFiles | None = None,
    seen: int | None = None,
) -> Need:
    """What a recipe is counted with on each Spark. `files` are its model's, as far as a survey saw them.

    `seen` is the most that earlier starts of the same spec took there, in bytes; see `settle`.
    A plain container that states nothing is taken to need next to nothing.
    """
    if recipe.engine == "container" and recipe.memory is None:
        return Need(size=0, source=Source.STATED)
    file = recipe.file or recipe.quant or ""
    known = files or ModelFiles()
    guess = estimate(recipe.engine, recipe.flags, known, total=total, group=group, draft=draft, file=file)
    return settle(guess, stated=recipe.memory, seen=seen)


def settle(guess: Estimate, *, stated: int | None = None, seen: int | None = None) -> Need:
    """What counts: a person's word as it stands; else the estimate, but never less than an earlier start took.

    `seen` is the most that starts of the same spec took. It corrects an estimate, or stands where there is none.
    """
    if stated is not None:
        return _as_stated(guess, stated)
    if seen is None:
        return Need(size=guess.peak, source=guess.source, lines=guess.lines, warnings=guess.warnings)
    lines = (*guess.lines, f"an earlier run took {gib(seen)} at its peak")
    if guess.peak is not None and seen <= guess.peak:
        return Need(size=guess.peak, source=guess.source, lines=lines, warnings=guess.warnings)
    return Need(size=seen, source=Source.MEASURED, lines=lines, warnings=guess.warnings)


def _as_stated(guess: Estimate, stated: int) -> Need:
    """A person's word, with a doubt said aloud where the estimate is far above it."""
    warnings = guess.warnings
    if guess.peak is not None and stated < FAR_BELOW * guess.peak:
        doubt = (
            f"the recipe states memory: {gib(stated)}, but the estimate is {gib(guess.peak)}: "
            "it is counted as stated; if that is too little, the Spark can hang"
        )
        warnings = (*warnings, doubt)
    lines = (*guess.lines, f"the recipe states {gib(stated)}")
    return Need(size=stated, source=Source.STATED, lines=lines, warnings=warnings)


def _no_rule(engine: str) -> str:
    why = "a NIM picks its profile itself" if engine == "nim" else "it may be any program"
    return f"the memory of engine {engine} can't be worked out ({why}): state it in the recipe, such as memory: 60GiB"
