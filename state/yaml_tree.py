"""A document as a tree that knows where each key stands.

What one file says can be laid over what another says (`overlay`) without forgetting which file, line
and column each value came from, so a refusal always points at the text that caused it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias

from state.problems import Place

MAX_DIGITS: Final = 40

_INT: Final = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT: Final = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = Sequence[str | int]


class WrittenFloat(float):
    """A number that remembers its digits, since an environment variable of 1.10 is not one of 1.1."""

    written: str

    def __new__(cls, written: str) -> Self:
        """From the digits."""
        number = super().__new__(cls, written)
        number.written = written
        return number


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. `keys` says where each key of a map stands."""

    place: Place
    value: Scalar = None
    items: list[Node] | None = None
    map: dict[str, Node] | None = None
    keys: dict[str, Place] = field(default_factory=dict)
    weight: int = 1  # how many nodes it has once its aliases are written out

    @property
    def is_null(self) -> bool:
        """Nothing stands there: as good as left out."""
        return self.value is None and self.items is None and self.map is None

    def plain(self) -> Any:
        """The data alone."""
        if self.map is not None:
            return {key: child.plain() for key, child in self.map.items()}
        return self.value if self.items is None else [child.plain() for child in self.items]

    def child(self, part: str | int) -> Node | None:
        """The child of that name or number, if there is one."""
        if self.map is not None and isinstance(part, str):
            return self.map.get(part)
        if self.items is not None and isinstance(part, int) and 0 <= part < len(self.items):
            return self.items[part]
        return None

    def find(self, path: Path) -> tuple[Place, list[str | int]]:
        """The place of the key that `path` leads to, and as much of the path as exists."""
        node, place, walked = self, self.place, list[str | int]()
        for part in path:
            child = node.child(part)
            if child is None:
                break
            place = node.keys.get(part, child.place) if isinstance(part, str) else child.place
            walked.append(part)
            node = child
        return place, walked

    def position(self, path: Path) -> tuple[int, int]:
        """Line and column (from 1) of the key at `path`, or of the nearest one above it."""
        place, _ = self.find(path)
        return place.line, place.column


def scalar(text: str) -> Scalar:
    """What an unquoted word means: YAML 1.2's core schema, less its octal and hexadecimal numbers."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= MAX_DIGITS:
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = WrittenFloat(text)
            return float(number) if repr(float(number)) == text else number
    return text


def overlay(base: Node, top: Node) -> Node:
    """`top` over `base` as `state.recipes.merge_over` does it: maps key by key, everything else replaced."""
    if base.map is None or top.map is None:
        return top
    merged = dict(base.map)
    for key, child in top.map.items():
        merged[key] = overlay(merged[key], child) if key in merged else child
    return Node(top.place, map=merged, keys={**base.keys, **top.keys})


def as_map(node: Node | None) -> dict[str, Node]:
    """The children of a map; none for anything else, which the schema will refuse."""
    return node.map or {} if node is not None else {}
