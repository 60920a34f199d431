"""Where each value of a YAML text begins and ends, for edits that splice text rather than dump documents.

The marks of the parser that `state.yaml_read` trusts are taken as they are where they are exact (scalars, flow
collections), and mended where they are not: a block collection ends with its last value, not where the parser noticed,
and an absent value stands right after its colon. Positions count characters of the text without its byte order mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import yaml

from state.yaml_edit_lines import Lines

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used, as in `yaml_read`
_BEFORE_COLON: Final = re.compile(r"[ \t]*:")
_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]*)*")


class Unspliceable(Exception):
    """The text is written in a way that no splice is known for. `at` is the place."""

    def __init__(self, at: int, why: str) -> None:
        self.at, self.why = at, why
        super().__init__(why)


@dataclass(slots=True)
class Span:
    """A value in the text. `head` is where it begins once an anchor and a tag are passed."""

    start: int
    end: int
    head: int
    kind: str  # scalar, literal (a block scalar), alias, map, list
    flow: bool = False
    entries: list[Entry] = field(default_factory=list)
    merges: bool = False  # a map with `<<` in it
    keeps: bool = False  # a block scalar that ends with `+`: blank lines below are its own

    @property
    def block(self) -> bool:
        """Whether it is a collection written in lines."""
        return self.kind in {"map", "list"} and not self.flow


@dataclass(slots=True)
class Entry:
    """A key with its value, or an item of a list. `colon` is the place right after the colon; -1 if there is none.

    `key` is None for what no path can name: items, `<<`, and keys that are not plain text.
    """

    start: int
    value: Span
    key: str | None = None
    key_end: int = -1
    colon: int = -1


@dataclass(frozen=True, slots=True)
class Anchored:
    """`&name` with what it stands for, or `*name`."""

    name: str
    span: Span


class Document(Lines):
    """The spans of one text, and its lines."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.anchors: list[Anchored] = []
        self.aliases: list[Anchored] = []
        self.text_ends: set[int] = set()  # the last line of each block scalar
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self.root: Span | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.root = self._span(next(self._events), flow=False)

    def _span(self, event: yaml.Event, *, flow: bool) -> Span:
        start, end = _place(event, end=False), _place(event, end=True)
        span = Span(start, end, start, "scalar", flow=flow)
        if isinstance(event, yaml.AliasEvent):
            span.kind = "alias"
            self.aliases.append(Anchored(str(event.anchor), span))
            return span
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            self.anchors.append(Anchored(event.anchor, span))
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
            found = _PROPERTIES.match(self.text, start)
            span.head = found.end() if found else start
        if not isinstance(event, yaml.ScalarEvent):
            self._collection(span, event)
        elif event.style in {"|", ">"}:
            self._literal(span)
        return span

    def _literal(self, span: Span) -> None:
        """It ends with its last line; blank lines below are its own only if it says so."""
        span.kind = "literal"
        first, last = self.line(span.head), self.line(span.end)
        span.keeps = "+" in self.text[span.head : self.end(first)].partition("#")[0]
        if last > first and span.end <= self.begin(last):
            last -= 1
        if not span.keeps:
            body = next((line for line in range(first + 1, last + 1) if self.words(line)), last)
            while last > first and not self.words(last) and self.end(last) - self.begin(last) <= self.indent(body):
                last -= 1
        span.end = min(span.end, self.end(last))
        self.text_ends.add(last)

    def _collection(self, span: Span, event: yaml.Event) -> None:
        sequence = isinstance(event, yaml.SequenceStartEvent)
        span.kind = "list" if sequence else "map"
        span.flow = bool(getattr(event, "flow_style", False))
        at = span.head
        while not isinstance(inner := next(self._events), yaml.CollectionEndEvent):
            entry = self._item(inner, span, at) if sequence else self._pair(inner, span)
            span.entries.append(entry)
            at = entry.value.end
        span.end = _place(inner, end=True)
        if span.entries and (not span.flow or self.text[span.head] not in "{["):  # `[a: 1]` holds a map without braces
            span.end = at

    def _item(self, event: yaml.Event, span: Span, at: int) -> Entry:
        value = self._span(event, flow=span.flow)
        return Entry(value.start if span.flow else self.past_gap(at), value)

    def _pair(self, event: yaml.Event, span: Span) -> Entry:
        key = self._span(event, flow=span.flow)
        value = self._span(next(self._events), flow=span.flow)
        entry = Entry(key.start, value, key_end=key.end)
        if found := _BEFORE_COLON.match(self.text, key.end):
            entry.colon = found.end()
        if value.start == value.end:
            value.start = value.end = value.head = max(entry.colon, key.end)
        if isinstance(event, yaml.ScalarEvent):
            plain = bool(event.implicit[0])
            if plain and event.value == "<<":
                span.merges = True
            else:
                entry.key = event.value
        return entry


def _place(event: yaml.Event, *, end: bool) -> int:
    mark = event.end_mark if end else event.start_mark
    return mark.index if mark is not None else 0
