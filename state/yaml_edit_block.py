"""Splices among lines: entries of maps and lists that have lines of their own, with the comments that are theirs.

What belongs to an entry is decided by how people write, and goes when the entry goes:
- the comment at the end of its line, and every comment between its first line and its last;
- comment lines below it that are indented deeper than its key;
- comment lines directly above it, indented as its key, with no blank line between. Two kinds stay, since they may speak
  of more: lines at the very top of the file, and lines that look like an entry put out of use (`# name: ...`).
All other comments stay. A comment left above a stranger would tell lies about it; one that goes too many is in git.
A blank line goes with an entry only where two would be left.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, TypeAlias

from state.yaml_edit_spans import Document, Entry, Span, Unspliceable
from state.yaml_edit_text import WIDTH, block_text, flow_text, key_text, list_lines, map_lines

Splice: TypeAlias = tuple[int, int, str]  # from, to, and what stands there instead

_OUT_OF_USE: Final = re.compile(r"#+\s*[\"']?[\w./$-]+[\"']?\s*:(?:\s|$)")
_LITERAL: Final = re.compile(r"[|>][-+0-9]*")


def last_line(doc: Document, entry: Entry) -> int:
    """The last line that belongs to an entry."""
    last = line = doc.line(entry.value.end)
    while not doc.beyond(line := line + 1):
        words = doc.words(line)
        if words.startswith("#") and doc.indent(line) > doc.column(entry.start):
            last = line
        elif words:
            break
    return last


def first_line(doc: Document, entry: Entry, floor: int) -> int:
    """The first line that belongs to an entry; the line `floor` and those above it are another's."""
    first = above = doc.line(entry.start)
    if all(doc.words(line).startswith("#") for line in range(first)):
        return first  # what heads the file is about the file
    while above - 1 > floor and _speaks_of(doc, above - 1, doc.column(entry.start)):
        above -= 1
    return above


def _speaks_of(doc: Document, line: int, column: int) -> bool:
    words = doc.words(line)
    return words.startswith("#") and doc.indent(line) == column and not _OUT_OF_USE.match(words)


def lines_gone(doc: Document, first: int, last: int, floor: int) -> Splice:
    """Without these lines, nor the blank ones above (below `floor`) where blank ones or the end follow."""
    if doc.beyond(last + 1) or not doc.words(last + 1):
        blank = first
        while blank - 1 > floor and not doc.words(blank - 1):
            blank -= 1
        first = blank
    if doc.end(last) == len(doc.text) and first and floor not in doc.text_ends:
        # The last line had no break, and the one before will have none; a block of text would end differently.
        return doc.end(first - 1), doc.end(last), ""
    return doc.begin(first), doc.begin(last + 1), ""


def lines_come(doc: Document, line: int, lines: list[str]) -> Splice:
    """With these lines after that one."""
    at = doc.end(line)
    return at, at, "".join(doc.newline(at) + new for new in lines)


def remove(doc: Document, node: Span, index: int, above: Entry | None) -> list[Splice]:
    """One entry less. `above` is the entry whose value the collection is."""
    entry = node.entries[index]
    if not doc.alone(entry.start):
        raise Unspliceable(entry.start, "this entry shares its line with something else: give it a line of its own")
    before = node.entries[index - 1].value.end if index else above.colon if above is not None else -1
    floor = doc.line(before)
    splices = [lines_gone(doc, first_line(doc, entry, floor), last_line(doc, entry), floor)]
    if len(node.entries) == 1 and above is not None:  # what is left is an empty map, not nothing
        tail, _ = _parts(doc, above)
        splices.append((tail, tail, " {}"))
    return splices


def replace(doc: Document, node: Span, entry: Entry, value: Any) -> list[Splice]:
    """Another value for a key of `node`: its head comes on the key's line in place of the old one's, its lines below.

    The comment on the key's line and the spaces before it stay.
    """
    if entry.colon < 0:
        raise Unspliceable(entry.start, "this key is written with `?`: write it as `key: value`")
    old, step = entry.value, step_of(doc, node)
    column = doc.column(entry.start) + step
    if old.block and isinstance(value, dict if old.kind == "map" else list):
        column = doc.column(old.entries[0].start)
    apart = not old.block and "#" in doc.text[entry.colon : old.start]  # a comment stands between key and value
    last = last_line(doc, entry)
    alone = old.block or last == doc.line(old.end)  # no comment follows that a block of text would swallow
    literal = alone and not apart and doc.end(last) < len(doc.text)
    head, lines = block_text(value, column, step, literal=literal)
    if apart and lines:
        return [_apart(doc, old, " " * column, lines)]
    tail, body = _parts(doc, entry)
    below = doc.line(old.start) > doc.line(entry.colon)
    space = " " if doc.text.startswith("#", tail) else ""
    if head and old.start < tail and not (lines and below):
        first = (old.start, tail, head + space)
    else:
        first = (entry.colon, tail, (f" {head}" if head else "") + space)
    at, _, come = lines_come(doc, doc.line(tail), lines)
    return [first, (at, max(at, body), come)]


def _apart(doc: Document, old: Span, pad: str, lines: list[str]) -> Splice:
    """Lines for a value that stands below its key's comment: the comment beside the value comes above them."""
    end = doc.line_end(old.end)
    rest = doc.text[old.end : end].strip()
    above = [pad + rest] if rest else []
    return doc.begin(doc.line(old.start)), end, doc.newline(end).join([*above, *lines])


def _parts(doc: Document, entry: Entry) -> tuple[int, int]:
    """Where the part of a value ends that is to leave the key's line, and where its lines end."""
    old = entry.value
    if old.kind == "literal" and (found := _LITERAL.match(doc.text, old.head)):
        return found.end(), old.end
    if not old.block:
        return old.end, old.end
    tail = entry.colon
    if old.start < old.head and doc.line(old.start) == doc.line(entry.colon):  # an anchor or a tag
        tail = old.start + len(doc.text[old.start : old.head].rstrip())
    return tail, doc.end(last_line(doc, entry))


def insert_pair(doc: Document, node: Span, pair: dict[str, Any]) -> Splice:
    """A new key, after the last one of its map and what belongs to that one."""
    first, last = node.entries[0], node.entries[-1]
    if not doc.alone(first.start) or last.colon < 0:
        raise Unspliceable(last.start, "the keys here don't stand on lines of their own: write each as `key: value`")
    column, line = doc.column(first.start), last_line(doc, last)
    literal = doc.end(line) < len(doc.text)
    lines = _as_siblings(node, pair, column) or map_lines(pair, column, step_of(doc, node), literal=literal)
    return lines_come(doc, line, ["", *lines] if _parted(doc, node) else lines)


def insert_items(doc: Document, node: Span, index: int, items: list[Any], above: Entry) -> Splice:
    """Items after the one numbered `index`; before the first one for -1."""
    first = node.entries[0]
    if not doc.alone(first.start):
        raise Unspliceable(first.start, "the items here don't stand on lines of their own: write each as `- item`")
    floor = doc.line(above.colon)
    line = last_line(doc, node.entries[index]) if index >= 0 else first_line(doc, first, floor) - 1
    literal = doc.end(line) < len(doc.text)
    return lines_come(doc, line, list_lines(items, doc.column(first.start), step_of(doc, node), literal=literal))


def _as_siblings(node: Span, pair: dict[str, Any], column: int) -> list[str]:
    """The new entry on one line, where the maps beside it are written so and it fits."""
    ((key, value),) = pair.items()
    beside = [entry.value.flow for entry in node.entries if entry.value.kind == "map" and entry.value.entries]
    line = f"{' ' * column}{key_text(key, flow=False)}: {flow_text(value)}"
    return [line] if isinstance(value, dict) and beside and all(beside) and len(line) <= WIDTH else []


def _parted(doc: Document, node: Span) -> bool:
    """Whether entries are set apart by blank lines, as the last two are."""
    span = node
    while span.entries:
        span = span.entries[-1].value
    if len(node.entries) == 1 or span.keeps:
        return False
    before, last = node.entries[-2:]
    return any(not doc.words(line) for line in range(last_line(doc, before) + 1, doc.line(last.start)))


def step_of(doc: Document, node: Span) -> int:
    """By how much maps are indented: as in the map at hand, else as mostly in the file, else 2."""
    if near := _steps(doc, node):
        return near[-1]
    found: Counter[int] = Counter()
    spans = [doc.root] if doc.root is not None else []
    while spans:
        span = spans.pop()
        found.update(_steps(doc, span))
        spans += [entry.value for entry in span.entries]
    return found.most_common(1)[0][0] if found else 2


def _steps(doc: Document, node: Span) -> list[int]:
    if node.flow or node.kind != "map":
        return []
    inner = [(entry, entry.value) for entry in node.entries if entry.value.block and entry.value.kind == "map"]
    return [doc.column(below.entries[0].start) - doc.column(entry.start) for entry, below in inner]
