"""Which weights a recipe speaks of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from state.recipes import Recipe

Kind = Literal["model", "gguf", "nim"]

NIM_REGISTRY: Final = "nvcr.io/"
FOR_SPARK: Final = "-dgx-spark"
BEFORE_MODEL: Final = frozenset({"serve", "--model", "--model-id", "--model-path", "--hf-repo", "-hf", "-hfr"})
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


class Subject(NamedTuple):
    """What a recipe wants to have on a disk. `file` is a GGUF file, or the quantization that its name tells."""

    kind: Kind
    repository: str
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The recipes by name, and what is declared: each workload's recipe, as resolved."""

    recipes: Mapping[str, Recipe]
    declared: Mapping[str, Recipe]


def subject(recipe: Recipe) -> Subject | None:
    """What it serves; None where the image brings it, or where it can't be told."""
    if recipe.engine == "nim":
        return Subject("nim", nim_name(recipe.image))
    model = recipe.model or _named_model(recipe)
    if model is None:
        return None
    if recipe.engine == "llamacpp":
        return Subject("gguf", model, recipe.file or recipe.quant)
    return Subject("model", model)


def nim_name(image: str) -> str:
    """`nvcr.io/nim/meta/llama-3.1-8b-instruct-dgx-spark:latest` as its cache calls it."""
    path = image.partition("@")[0].removeprefix(NIM_REGISTRY)
    return path.rpartition("/")[0] + "/" + path.rpartition("/")[2].partition(":")[0].removesuffix(FOR_SPARK)


def speaks_of(recipe: Recipe, kind: Kind, repository: str, file: str | None) -> bool:
    """Whether this recipe serves what was found."""
    if kind == "nim":
        return recipe.engine == "nim" and nim_name(recipe.image) == repository
    if kind == "model":
        return recipe.engine != "nim" and repository in {recipe.model, *_words(recipe)}
    name = file or ""
    if any(word.rpartition("/")[2] == name for word in _words(recipe)):
        return True
    if not repository or recipe.model != repository:
        return False
    return _is_file(recipe, name)


def asked_revision(recipes: Iterable[Recipe], repository: str) -> str | None:
    """The revision that all recipes of a repository agree on; None if they do not, or leave it to `main`."""
    asked = {recipe.revision for recipe in recipes if recipe.model == repository}
    return asked.pop() if len(asked) == 1 and asked.isdisjoint({None, "main"}) else None


def _is_file(recipe: Recipe, name: str) -> bool:
    if recipe.file is not None:
        return recipe.file.rpartition("/")[2] == name
    return recipe.quant is None or recipe.quant.lower() in name.lower()


def _words(recipe: Recipe) -> Iterator[str]:
    """Every word of its command line and environment; of `--model=x` the x too."""
    for word in recipe.command:
        yield word
        yield word.partition("=")[2]
    for value in (*recipe.flags.values(), *recipe.env.values()):
        if isinstance(value, str):
            yield value


def _named_model(recipe: Recipe) -> str | None:
    """The repository in a plain command: behind `serve` or `--model`, or the first word of one that uses the GPU."""
    command = recipe.command
    first = command[:1] if recipe.gpus == "all" else []
    behind = [after for word, after in pairwise(command) if word in BEFORE_MODEL]
    behind += [word.partition("=")[2] for word in command if word.partition("=")[0] in BEFORE_MODEL]
    return next((word for word in (*behind, *first) if WORD.fullmatch(word)), None)
