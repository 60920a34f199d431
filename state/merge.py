"""Several documents as one tree.

Files of the desired state stand side by side: nothing may be said twice. Files of recipes lie over each other: a later
one changes what an earlier one said.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from state.desired import Desired
from state.problems import Place, Problem, dotted
from state.validation import close
from state.yaml_tree import Node, as_map, overlay

SHARED = "apiVersion"  # every file of a folder may say it


def merge_documents(trees: Sequence[Node], problems: list[Problem]) -> Node:
    """Side by side. A name that stands in two files is a problem that names both places."""
    merged = Node(trees[0].place if trees else Place(""), map={})
    for tree in trees:
        if tree.map is None:
            problems.append(
                Problem.at(tree.place, "", "is not a map: a desired state begins with keys such as sparks:")
            )
            continue
        merged = _beside(merged, tree, [], problems)
    return merged


def _beside(first: Node, second: Node, path: list[str], problems: list[Problem]) -> Node:
    mine, keys = dict(first.map or {}), dict(first.keys)
    for key, child in as_map(second).items():
        below = mine.get(key)
        if below is None or below.is_null:
            mine[key], keys[key] = child, second.keys[key]
        elif not path and below.map is not None and child.map is not None:
            mine[key] = _beside(below, child, [*path, key], problems)
        elif not child.is_null and not (key == SHARED and not path and below.value == child.value):
            message = f"stands twice; the first is at {keys[key]}"
            problems.append(Problem.at(second.keys[key], dotted([*path, key]), message))
    return Node(first.place, map=mine, keys=keys)


def merge_recipes(trees: Sequence[Node], problems: list[Problem]) -> Node:
    """Over each other. What remains is the map under `recipes:`."""
    shelf = Node(trees[0].place if trees else Place(""), map={})
    for tree in trees:
        for key in as_map(tree):
            if key != "recipes":
                hint = "; did you mean recipes?" if close(key, ["recipes"]) else ""
                problems.append(Problem.at(tree.keys[key], key, f"is not a known key{hint}", ["recipes"]))
        recipes = tree.child("recipes")
        if tree.map is None or (recipes is not None and recipes.map is None and not recipes.is_null):
            place = recipes.place if recipes is not None else tree.place
            problems.append(Problem.at(place, "recipes", "is not a map of recipes"))
        elif recipes is not None and recipes.map is not None:
            shelf = overlay(shelf, recipes)
    return shelf


def without(root: Node, model: type[Desired]) -> Node:
    """The tree without its faulty entries: faulty Sparks, models and services singly, the rest by section."""
    try:
        model.model_validate(root.plain())
    except ValidationError as error:
        faulty = {tuple(details["loc"][:2]) for details in error.errors(include_url=False)}
    else:
        return root
    sections = {loc[0] for loc in faulty if loc}
    kept = {}
    for section, node in as_map(root).items():
        if node.map is not None and section in {"sparks", "models", "services"}:
            entries = {name: child for name, child in node.map.items() if (section, name) not in faulty}
            kept[section] = Node(node.place, map=entries, keys=node.keys)
        elif section not in sections:
            kept[section] = node
    return Node(root.place, map=kept, keys=root.keys)
