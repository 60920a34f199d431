"""One edit of a YAML text: a value put at a path, or a key taken away, and all else left as it stands.

A new key comes after its last sibling. A list keeps its first and last items that stay as they are, with their
comments; any other value that changes is replaced as a whole, and comments inside it go. `yaml_edit_block` and
`yaml_edit_flow` say what belongs to what among lines and inside brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

from state import yaml_edit_block, yaml_edit_flow
from state.yaml_edit_block import Splice
from state.yaml_edit_data import same
from state.yaml_edit_lines import Lines
from state.yaml_edit_spans import Document, Entry, Span, Unspliceable
from state.yaml_edit_text import flow_text, key_text, map_lines

Path: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Spot:
    """How far a path leads into a text: the spans walked (the root first), the entries between them, and the rest."""

    spans: tuple[Span, ...]
    entries: tuple[Entry, ...]
    rest: tuple[str, ...]


def locate(doc: Document, path: Path) -> Spot:
    """Follow a path as far as it exists."""
    spans = [doc.root] if doc.root is not None else []
    entries: list[Entry] = []
    for part in path:
        found = next((entry for entry in spans[-1].entries if entry.key == part), None) if spans else None
        if found is None:
            break
        entries.append(found)
        spans.append(found.value)
    return Spot(tuple(spans), tuple(entries), tuple(path[len(entries) :]))


def put_at(text: str, path: Path, value: Any, old: Any) -> str:
    """The text with `value` at `path`, maps made on the way. `old` is the data that stands there, if any."""
    doc = Document(text)
    spot = locate(doc, path)
    if not spot.rest:
        if isinstance(value, list) and isinstance(old, list) and spot.spans[-1].kind == "list":
            return _put_list(text, path, old, value)
        return _replace(doc, spot, value)
    for part in reversed(spot.rest[1:]):
        value = {part: value}
    pair = {spot.rest[0]: value}
    if not spot.spans or (not spot.entries and spot.spans[0].start == spot.spans[0].end):
        return _append(text, pair)
    node = spot.spans[-1]
    if node.kind == "alias":
        raise Unspliceable(node.start, f"only {text[node.start : node.end]} stands here: write its values out first")
    if node.kind == "map" and (node.entries or not _spare(doc, spot)):
        return _spliced(text, _insert_pair(doc, node, pair))
    if not spot.entries:
        raise Unspliceable(node.start, "is not a map: a file begins with keys such as models:")
    return _replace(doc, spot, pair)


def remove_at(text: str, path: Path) -> str:
    """The text without the entry at `path`; as it is where there is none."""
    doc = Document(text)
    spot = locate(doc, path)
    if spot.rest:
        return text
    index = next(number for number, entry in enumerate(spot.spans[-2].entries) if entry is spot.entries[-1])
    above = spot.entries[-2] if len(spot.entries) > 1 else None
    return _spliced(text, _remove(doc, spot.spans[-2], index, above))


def _spliced(text: str, splices: Sequence[Splice]) -> str:
    pieces, at = [], 0
    for start, end, new in sorted(splices, key=lambda splice: splice[:2]):
        pieces += [text[at:start], new]
        at = end
    return "".join([*pieces, text[at:]])


def _append(text: str, pair: dict[str, Any]) -> str:
    """The first key of a file that has none."""
    page = Lines(text)
    newline = page.newline()
    lines = newline.join(map_lines(pair, 0, 2, literal=not page.broken_off))
    return text + newline + lines if page.broken_off else text + lines + newline


def _spare(doc: Document, spot: Spot) -> bool:
    """Whether this is an empty `{}` that lines may take the place of."""
    node = spot.spans[-1]
    return len(spot.spans) > 1 and not spot.spans[-2].flow and "#" not in doc.text[node.start : node.end]


def _replace(doc: Document, spot: Spot, value: Any) -> str:
    entry, node = spot.entries[-1], spot.spans[-2]
    if node.flow:
        return _spliced(doc.text, [yaml_edit_flow.replace(doc, entry, value)])
    return _spliced(doc.text, yaml_edit_block.replace(doc, node, entry, value))


def _insert_pair(doc: Document, node: Span, pair: dict[str, Any]) -> list[Splice]:
    if not node.flow:
        return [yaml_edit_block.insert_pair(doc, node, pair)]
    texts = [f"{key_text(key, flow=True)}: {flow_text(value)}" for key, value in pair.items()]
    return yaml_edit_flow.insert(doc, node, len(node.entries) - 1, texts)


def _remove(doc: Document, node: Span, index: int, above: Entry | None) -> list[Splice]:
    if node.flow:
        return [yaml_edit_flow.remove(doc, node, index)]
    return yaml_edit_block.remove(doc, node, index, above)


def _put_list(text: str, path: Path, old: list[Any], new: list[Any]) -> str:
    """The list with other items in its middle; replaced as a whole where nothing of it stays."""
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    doc = Document(text)
    spot = locate(doc, path)
    if head + tail == 0:
        return _replace(doc, spot, new)
    if added := new[head : len(new) - tail]:
        text = _spliced(text, _insert_items(doc, spot, len(old) - tail - 1, added))
    for index in reversed(range(head, len(old) - tail)):
        doc = Document(text)
        spot = locate(doc, path)
        text = _spliced(text, _remove(doc, spot.spans[-1], index, spot.entries[-1]))
    return text


def _alike(old: Sequence[Any], new: Sequence[Any]) -> int:
    """How many items are the same from the beginning on."""
    return sum(1 for _ in takewhile(lambda pair: same(*pair), zip(old, new, strict=False)))


def _insert_items(doc: Document, spot: Spot, index: int, items: list[Any]) -> list[Splice]:
    node = spot.spans[-1]
    if node.flow:
        return yaml_edit_flow.insert(doc, node, index, [flow_text(item) for item in items])
    return [yaml_edit_block.insert_items(doc, node, index, items, spot.entries[-1])]
