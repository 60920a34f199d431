"""The tree of a document from the parser's events.

No constructor exists here that a document could abuse: what is not text, a number, true/false, null, a list or a
map is refused. Aliases are counted as if written out, so a small file can't become a huge one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import yaml

from state.problems import Invalid, Place, Problem, dotted, shown
from state.yaml_tree import Node, Scalar, WrittenFloat, scalar

MAX_NODES: Final = 30_000  # checked in half a second; a thousand workloads written out have as many
MAX_DEPTH: Final = 64

_TAG: Final = "tag:yaml.org,2002:"
_TYPES: Final[Mapping[str, type]] = {"bool": bool, "int": int, "float": float, "null": type(None)}


class Builder:
    """Nodes from the parser's events. Problems that leave a tree standing are collected, not raised."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._events: Iterator[yaml.Event] = iter(())
        self._path: list[str | int] = []
        self._weight = 0

    def document(self, events: Iterator[yaml.Event]) -> Node:
        """The root of the only document."""
        self._events = events
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._complain(event, "is a second document; a file holds one")
                    raise Invalid(self.problems)
                root = self._node(next(events))
        if root is None or root.is_null:
            return Node(Place(self.file, 1, 1), map={})
        return root

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file)

    def _complain(self, event: yaml.Event, message: str) -> None:
        self.problems.append(Problem.at(self._place(event), dotted(self._path), message))

    def _spend(self, event: yaml.Event, weight: int) -> None:
        """Count what the document would be with its aliases written out; beyond the budget nothing is built."""
        self._weight += weight
        if self._weight > MAX_NODES:
            self._complain(event, f"makes the document larger than {MAX_NODES} values")
            raise Invalid(self.problems)

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._spend(event, 1)
        if len(self._path) > MAX_DEPTH:
            self._complain(event, f"is nested deeper than {MAX_DEPTH}")
            raise Invalid(self.problems)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None  # not to be used inside itself
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._place(event), self._scalar(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event)
        else:
            node = self._mapping(event)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(str(event.anchor))
        if node is None:
            known = str(event.anchor) in self._anchors
            self._complain(event, f"*{event.anchor} " + ("stands inside itself" if known else "has no anchor above"))
            return Node(self._place(event))
        self._spend(event, node.weight)
        return node

    def _tag(self, event: yaml.Event, allowed: tuple[str, ...]) -> str:
        """The short name of an explicit tag, empty if there is none; other tags are refused."""
        tag = getattr(event, "tag", None)
        if tag is None or tag == "!":
            return "str" if tag and "str" in allowed else ""
        short = str(tag).removeprefix(_TAG)
        if short in allowed:
            return short
        self.problems.append(
            Problem.at(self._place(event), dotted(self._path), f"the tag {shown(tag)} is not allowed here")
        )
        return ""

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        tag = self._tag(event, ("str", *_TYPES))
        plain = bool(event.implicit[0])
        if tag in _TYPES:
            value = scalar(event.value)
            if tag == "float" and type(value) is int:
                return WrittenFloat(event.value)
            if not isinstance(value, _TYPES[tag]) or (tag == "int" and isinstance(value, bool)):
                self._complain(event, f"{shown(event.value)} is not a value for the tag !!{tag}")
            return value
        return scalar(event.value) if plain and tag != "str" else str(event.value)

    def _sequence(self, event: yaml.Event) -> Node:
        self._tag(event, ("seq",))
        items: list[Node] = []
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(inner))
            self._path.pop()
        return Node(self._place(event), items=items, weight=1 + sum(item.weight for item in items))

    def _mapping(self, event: yaml.Event) -> Node:
        self._tag(event, ("map",))
        own: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        merged: Node | None = None
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            merge = isinstance(inner, yaml.ScalarEvent) and inner.value == "<<" and bool(inner.implicit[0])
            key = self._key(inner)
            if key in keys:
                self._path.append(key)
                self._complain(inner, f"stands twice; the first is at line {keys[key].line}")
                self._path.pop()
            place = self._place(inner)
            self._path.append(key if key is not None else "?")
            value = self._node(next(self._events))
            self._path.pop()
            if key is None or key in keys:
                continue
            keys[key] = place
            if merge:
                merged = value
            else:
                own[key] = value
        if merged is not None:
            del keys["<<"]
            self._merge(own, keys, merged)
        weight = 1 + sum(child.weight for child in own.values())
        return Node(self._place(event), map=own, keys=keys, weight=weight)

    def _key(self, event: yaml.Event) -> str | None:
        """A key is text. What YAML would read as something else has to be quoted."""
        if isinstance(event, yaml.ScalarEvent):
            self._spend(event, 1)
            value = self._scalar(event)
            if isinstance(value, str):
                return value
            self._complain(event, f"the key {event.value or 'without text'} is not text: put it in quotes")
            return None
        self._path.append("?")
        node = self._node(event)
        self._path.pop()
        if isinstance(node.value, str):
            return node.value
        self._complain(event, "a key must be text, not a list or a map")
        return None

    def _merge(self, own: dict[str, Node], keys: dict[str, Place], merged: Node) -> None:
        """`<<`: the keys of other maps, where this one has none of its own; of two others the first wins."""
        for source in merged.items if merged.items is not None else [merged]:
            if source.map is None:
                message = "<< takes a map or a list of maps"
                self.problems.append(Problem.at(merged.place, dotted(self._path), message))
                return
            for key, child in source.map.items():
                if key not in own:
                    own[key] = child
                    keys[key] = source.keys[key]
