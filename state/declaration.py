"""One workload as it shall be launched: what was declared, with the recipe it leads to.

The digests here decide whether something changed: they see meaning, not comments, white space, the order of a map
or a value that was written out although it is the default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from state.desired import Desired, Workload
from state.problems import Problem
from state.recipes import Recipe
from state.validation import validate
from state.yaml_tree import Node, as_map, overlay

OVER_RECIPE: Final = ("flags", "env", "image", "revision", "port", "memory")

Kind = Literal["model", "service"]
SECTIONS: Final[Mapping[Kind, str]] = {"model": "models", "service": "services"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A workload under its name, with its recipe: the one it names or holds, and the workload's own values over it."""

    name: str
    kind: Kind
    workload: Workload
    recipe: Recipe

    @property
    def path(self) -> tuple[str, str]:
        """Where it stands in the desired state."""
        return SECTIONS[self.kind], self.name

    @property
    def recipe_name(self) -> str | None:
        """The recipe's name, None where it is written out in place."""
        return self.workload.recipe if isinstance(self.workload.recipe, str) else None

    def normal(self) -> dict[str, Any]:
        """Its meaning as JSON: only what differs from the defaults, and lists without order sorted."""
        dumped = self.workload.model_dump(mode="json", exclude_defaults=True, exclude={"recipe", *OVER_RECIPE})
        for unordered in ("on", "aliases"):
            if unordered in dumped:
                dumped[unordered] = sorted(set(dumped[unordered]))
        recipe = self.recipe.model_dump(mode="json", exclude_defaults=True)
        return {"kind": self.kind, "workload": dumped, "recipe": recipe}


def resolve(
    name: str, kind: Kind, workload: Workload, recipe: Recipe, *, own: Node, below: Node
) -> Declaration | list[Problem]:
    """Lay the workload's own values over its recipe. `own` and `below` are their trees, so problems have a place."""
    given = {key: child for key, child in as_map(own).items() if key in OVER_RECIPE and not child.is_null}
    if not given:
        return Declaration(name=name, kind=kind, workload=workload, recipe=recipe)
    tree = overlay(below, Node(own.place, map=given, keys=own.keys))
    merged, problems = validate(Recipe, tree, prefix=(SECTIONS[kind], name))
    return problems if merged is None else Declaration(name=name, kind=kind, workload=workload, recipe=merged)


def digest(meaning: object) -> str:
    """sha256 of the canonical JSON."""
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def meaning_of(desired: Desired, resolved: Mapping[str, Declaration]) -> dict[str, Any]:
    """The whole desired state's meaning; recipes that nothing uses are no part of it."""
    rest = desired.model_dump(mode="json", exclude_defaults=True, exclude={"models", "services", "api_version"})
    return {**rest, "workloads": {name: declaration.normal() for name, declaration in resolved.items()}}
