"""Splices inside brackets: `{a: 1}` and `[a, b]`, on one line or over several.

Where each entry has a line of its own, entries come and go as lines, with their comments; where they stand in a row, as
words between commas. A comma after the last entry stays if there was one, and may be left behind by one that goes.
"""

from __future__ import annotations

import re
from typing import Any

from state.yaml_edit_block import Splice, first_line, lines_gone
from state.yaml_edit_spans import Document, Entry, Span, Unspliceable
from state.yaml_edit_text import flow_text


def replace(doc: Document, entry: Entry, value: Any) -> Splice:
    """Another value for a key."""
    old, new = entry.value, flow_text(value)
    if entry.colon < 0:
        if old.start != old.end or not doc.text.startswith((",", "}"), doc.past_gap(entry.key_end)):
            raise Unspliceable(entry.start, "this key and its colon stand apart: write them together")
        return old.start, old.end, f": {new}"
    return old.start, old.end, new if doc.text[old.start - 1].isspace() else f" {new}"


def insert(doc: Document, node: Span, index: int, texts: list[str]) -> list[Splice]:
    """New entries after the one numbered `index`; before the first one for -1."""
    if not node.entries:
        start = node.head + 1
        return [(start, start if doc.text[start : node.end - 1].strip() else node.end - 1, ", ".join(texts))]
    if index < 0:
        first = node.entries[0].start
        return [(first, first, "".join(f"{text}, " for text in texts))]
    entry = node.entries[index]
    end = entry.value.end
    comma = doc.comma(end)
    after = max(end, comma + 1)
    if not (doc.alone(entry.start) and doc.ends_line(after)):
        gap = " " if entry.colon == end else ""  # `{a:}`: a comma after the colon would be part of a word
        return [(end, end, gap + "".join(f", {text}" for text in texts))]
    at = doc.line_end(after)
    pad = doc.newline(at) + " " * doc.column(entry.start)
    added = ",".join(pad + text for text in texts)
    return [(at, at, f"{added},")] if comma >= 0 else [(end, end, ","), (at, at, added)]


def remove(doc: Document, node: Span, index: int) -> Splice:
    """One entry less."""
    text, entry = doc.text, node.entries[index]
    start, end = entry.start, entry.value.end
    after = max(end, doc.comma(end) + 1)
    before = node.entries[index - 1].value.end if index else node.head + 1
    if doc.alone(start) and doc.ends_line(after):
        floor = doc.line(before)
        return lines_gone(doc, first_line(doc, entry, floor), doc.line(after), floor)
    following = doc.past_gap(after)
    last = index == len(node.entries) - 1
    if last and "#" not in text[before:start]:
        return before, end if index or "#" in text[end:following] else following, ""
    if not last and not re.search(r"[#\r\n]", text[end:following]):
        return start, following, ""
    while doc.ends_line(after) and text[start - 1] in " \t":
        start -= 1
    return start, after, ""
