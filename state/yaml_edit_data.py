"""What edits mean, on plain data: the measure that an edited text is held against, and the smallest edits to a goal.

Data is what JSON knows. Two values are the same only if a reader could not tell them apart: `true` is not 1, 1 is not
1.0, and a number that remembers its digits differs from one written otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from state.yaml_tree import WrittenFloat

Path: TypeAlias = tuple[str, ...]


class Gone(Enum):
    """The value of what is not there."""

    GONE = "gone"


GONE: Final = Gone.GONE


@dataclass(frozen=True, slots=True)
class Edit:
    """Put a value at a path, replacing what stands there as a whole and making maps on the way; or take it away."""

    path: Path
    value: Any | Gone

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("an edit has a path: the whole document is not replaced")


def same(was: Any, now: Any) -> bool:
    """Whether `now` need not be written where `was` stands."""
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(same(value, now[key]) for key, value in was.items())
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(same(*pair) for pair in zip(was, now, strict=True))
    if isinstance(now, WrittenFloat):
        return isinstance(was, float) and (was.written if isinstance(was, WrittenFloat) else repr(was)) == now.written
    if isinstance(was, float) and isinstance(now, float):
        return was == now
    return type(was) is type(now) and bool(was == now)


def value_at(tree: Any, path: Sequence[str]) -> Any | Gone:
    """What stands at a path."""
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return GONE
        tree = tree[part]
    return tree


def edited(tree: Any, edit: Edit) -> Any:
    """The tree with the edit done; the one given stays as it is."""
    return _edited(tree, edit.path, edit.value)


def _edited(tree: Any, path: Path, value: Any | Gone) -> Any:
    if not path:
        return value
    inside = isinstance(tree, dict)
    if value is GONE and (not inside or path[0] not in tree):
        return tree
    first, *rest = path
    below = _edited(tree.get(first) if inside else None, tuple(rest), value)
    kept = dict(tree) if inside else {}
    if below is GONE:
        del kept[first]
        return kept
    return {**kept, first: below}


def replacing(path: Path, was: Any | Gone, now: Any) -> list[Edit]:
    """The smallest edits that make `was` into `now`. What is new comes first, so that no map is empty on the way."""
    if was is not GONE and same(was, now):
        return []
    if not (isinstance(was, dict) and isinstance(now, dict) and was and now):
        return [Edit(path, now)]
    edits: list[Edit] = []
    for key, value in now.items():
        edits += replacing((*path, key), was.get(key, GONE), value)
    return edits + [Edit((*path, key), GONE) for key in was if key not in now]


def merging(path: Path, was: Any | Gone, patch: Any) -> list[Edit]:
    """The smallest edits that do what an RFC 7396 merge patch says."""
    if not isinstance(patch, dict) or not isinstance(was, dict):
        return replacing(path, was, _without_nulls(patch))
    edits: list[Edit] = []
    for key, value in patch.items():
        if value is not None:
            edits += merging((*path, key), was.get(key, GONE), value)
    return edits + [Edit((*path, key), GONE) for key, value in patch.items() if value is None and key in was]


def _without_nulls(patch: Any) -> Any:
    """A merge patch of what was not there."""
    if not isinstance(patch, dict):
        return patch
    return {key: _without_nulls(value) for key, value in patch.items() if value is not None}
