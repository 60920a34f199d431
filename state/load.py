"""From text to a desired state that fits together, or to everything that is wrong with it.

Files become trees, trees of several files become one, the schema is checked, every workload gets its recipe, and
the parts are checked against each other. Nothing here guesses: a document is either wholly right or refused with
all of its problems, each with file, line, column, field and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from state.checks import check
from state.declaration import SECTIONS, Declaration, digest, meaning_of, resolve
from state.desired import Desired, Workload
from state.fields import NAME, WORDS
from state.merge import merge_documents, merge_recipes, without
from state.problems import Invalid, Place, Problem, dotted, shown
from state.recipes import Recipe
from state.settings_base import lay_under, places
from state.sources import RecipeFile, Source, read_desired, read_recipes, recipe_files
from state.validation import validate
from state.yaml_read import read_tree
from state.yaml_tree import Node, as_map

__all__ = ["Declaration", "Loaded", "load", "load_sources", "load_text", "recipe_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A desired state that fits together. `resolved` is in the order of the files, models before services."""

    desired: Desired
    recipes: Mapping[str, Recipe]
    resolved: Mapping[str, Declaration]
    digest: str
    spec_digests: Mapping[str, str]
    files: tuple[str, ...]
    settings_at: Mapping[str, Place]  # where each setting stands that is no default


def load(paths: Path | str | Sequence[Path | str], recipes: Iterable[RecipeFile | Path] = ()) -> Loaded:
    """Read and check a file, a folder of them, or several of both. Raises Invalid."""
    return load_sources(read_desired(paths), read_recipes(recipes))


def load_text(text: str | bytes, name: str, recipes: Iterable[RecipeFile | Path] = ()) -> Loaded:
    """Check a document that lies in no file (yet); `name` stands for the file in problems. Raises Invalid."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return load_sources([Source(name, data)], read_recipes(recipes))


def load_sources(desired: Sequence[Source], recipes: Sequence[Source] = ()) -> Loaded:
    """Check what was read. Raises Invalid with every problem of every file."""
    problems: list[Problem] = []
    files = [source for source in desired if not source.base]
    trees, shelves = _trees(files, problems), _trees(recipes, problems)
    below = _trees([source for source in desired if source.base], problems)
    if None in trees or None in shelves:  # what the rest refers to may stand in the file that can't be read
        raise Invalid(problems)
    root = merge_documents([tree for tree in trees if tree], problems)
    for tree in below:
        root = lay_under(root, tree) if tree else root
    shelf = merge_recipes([tree for tree in shelves if tree], problems)
    known = _recipes(shelf, problems)
    state = _checked(root, problems)
    workloads = {(section, name): w for section in SECTIONS.values() for name, w in getattr(state, section).items()}
    resolved = _resolve_all(workloads, known, root, shelf, problems)
    problems += check(root, shelf, resolved)
    if problems:
        raise Invalid(problems)
    return Loaded(
        desired=state,
        recipes=known,
        resolved=resolved,
        digest=digest(meaning_of(state, resolved)),
        spec_digests={name: digest(declaration.normal()) for name, declaration in resolved.items()},
        files=tuple(source.name for source in files),
        settings_at=places(root),
    )


def _trees(sources: Sequence[Source], problems: list[Problem]) -> list[Node | None]:
    trees = []
    for source in sources:
        tree, found = read_tree(source.data, source.name)
        problems += found
        trees.append(tree)
    return trees


def _checked(root: Node, problems: list[Problem]) -> Desired:
    """The desired state; of one with faults the entries without any, so that they can be checked further."""
    state, found = validate(Desired, root)
    problems += found
    if state is None:
        state, _ = validate(Desired, without(root, Desired))
    return state or Desired()


def _recipes(shelf: Node, problems: list[Problem]) -> dict[str, Recipe]:
    known = {}
    for name, node in as_map(shelf).items():
        if not re.fullmatch(NAME, name):
            message = f"as a name, {shown(name)} does not fit"
            problems.append(Problem.at(shelf.keys[name], dotted(["recipes", name]), message, [WORDS[NAME]]))
        recipe, found = validate(Recipe, node, prefix=("recipes", name))
        problems += found
        if recipe is not None:
            known[name] = recipe
    return known


def _resolve_all(
    workloads: Mapping[tuple[str, str], Workload],
    known: Mapping[str, Recipe],
    root: Node,
    shelf: Node,
    problems: list[Problem],
) -> dict[str, Declaration]:
    """Every workload whose recipe is known, with it; what does not fit on top of one becomes problems."""
    kinds = {section: kind for kind, section in SECTIONS.items()}
    resolved: dict[str, Declaration] = {}
    for (section, name), workload in workloads.items():
        own = as_map(root.child(section))[name]
        named = workload.recipe if isinstance(workload.recipe, str) else None
        recipe = workload.recipe if isinstance(workload.recipe, Recipe) else known.get(workload.recipe)
        if recipe is None:
            continue  # `state.checks` says so, or the recipe's own problems have been said
        below = as_map(own)["recipe"] if named is None else as_map(shelf)[named]
        outcome = resolve(name, kinds[section], workload, recipe, own=own, below=below)
        if isinstance(outcome, Declaration):
            resolved[name] = outcome
        else:
            problems += outcome
    return resolved
