"""What lies under the saved settings: the environment, read once when the server starts.

A setting is what the files say; where they say nothing, what its variable says (`Setting.variable`); else its default.
A variable that is not fit for its setting is refused before anything is begun, and so is one of no setting: it would
be believed to steer something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from state.desired import Desired
from state.problems import Invalid, Place, Problem
from state.settings import PREFIX, SECTIONS, SETTINGS, Setting, helped, setting_at, unknown
from state.sources import Source
from state.validation import validate
from state.yaml_tree import Node, as_map

ENVIRONMENT: Final = "the environment"
FAMILIES: Final = tuple(f"{PREFIX}{section.upper()}_" for section in SECTIONS)

Origin = Literal["saved", "environment", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What the environment says of settings: as a source that lies under the files, and by name as it is written."""

    source: Source | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Base:
        """Raises Invalid with every variable that is not fit. One without a value says nothing."""
        given = {name: text for name, text in sorted(environ.items()) if text and name.startswith(FAMILIES)}
        known = {setting.variable: setting for setting in SETTINGS.values()}
        problems = [unknown(name, known, place=ENVIRONMENT) for name in given if name not in known]
        nodes = list(_read(given, known, problems))
        tree = Node(Place(ENVIRONMENT), map={})
        for setting, node in nodes:
            tree = _with(tree, setting.path, node, Place(ENVIRONMENT))
        desired, found = validate(Desired, tree)
        problems += [each for each in map(_of_variable, helped(found)) if each is not None]
        if problems:
            raise Invalid(problems)
        if not nodes:
            return cls()
        data = json.dumps(tree.plain(), ensure_ascii=True).encode()
        dumped = desired.model_dump(mode="json", include=set(SECTIONS)) if desired is not None else tree.plain()
        values = {setting.name: setting.within(dumped) for setting, _ in nodes}
        return cls(source=Source(ENVIRONMENT, data, base=True), values=values)


def _read(
    given: Mapping[str, str], known: Mapping[str, Setting], problems: list[Problem]
) -> Iterator[tuple[Setting, Node]]:
    for variable in given.keys() & known.keys():
        node, found = known[variable].read(given[variable], ENVIRONMENT)
        problems += [replace(problem, field=variable) for problem in found]
        if node is not None and not found:
            yield known[variable], node


def _of_variable(problem: Problem) -> Problem | None:
    """A finding under the name that a person wrote. What is about no variable may be mended by the files."""
    setting = setting_at(problem.field)
    if setting is None:
        return None
    return replace(problem, line=0, column=0, field=setting.variable + problem.field.removeprefix(setting.name))


def lay_under(root: Node, base: Node) -> Node:
    """The tree, with the settings of `base` that it does not have itself."""
    for setting in SETTINGS.values():
        node = _standing(base, setting.path)
        if node is not None and _standing(root, setting.path) is None:
            root = _with(root, setting.path, node, base.place)
    return root


def places(root: Node) -> dict[str, Place]:
    """Where each setting stands that stands anywhere."""
    return {s.name: root.find(s.path)[0] for s in SETTINGS.values() if _standing(root, s.path) is not None}


def origin(place: Place | None) -> Origin:
    """Whose word a setting is, by the place where it stands."""
    if place is None:
        return "default"
    return "environment" if place.file == ENVIRONMENT else "saved"


def _standing(root: Node, path: Sequence[str]) -> Node | None:
    """The value at a path; a key without one is as good as left out."""
    node: Node | None = root
    for part in path:
        node = as_map(node).get(part)
    return None if node is None or node.is_null else node


def _with(root: Node, path: Sequence[str], value: Node, place: Place) -> Node:
    """The tree with a value at a path, unless something stands in the way that is no map."""
    if not path:
        return value
    if root.map is None and not root.is_null:
        return root
    first, *rest = path
    below = _with(as_map(root).get(first) or Node(place), rest, value, place)
    keys = {first: place, **root.keys} if first not in root.keys else root.keys
    return Node(root.place, map={**as_map(root), first: below}, keys=keys)
