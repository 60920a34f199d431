"""What changed between two JSON documents, as a JSON Patch (RFC 6902), and the second made from the first and that.

`diff` goes down into objects, member by member; an array that differs is replaced whole, since its order is its meaning
and most of ours are short. So only `add`, `replace` and `remove` of members of objects occur, or `replace` of the
whole, and `apply` knows no more than that. Neither changes what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Json = Any
Patch = list[dict[str, Json]]


class NotApplicable(Exception):
    """The patch was made from another document, or is none of ours."""


def diff(before: Json, after: Json) -> Patch:
    """What leads from `before` to `after`; empty where they are the same."""
    return list(_changes("", before, after))


def _changes(path: str, before: Json, after: Json) -> Iterator[dict[str, Json]]:
    if not isinstance(before, dict) or not isinstance(after, dict):
        if not _same(before, after):
            yield {"op": "replace", "path": path, "value": after}
        return
    for name in before:
        if name not in after:
            yield {"op": "remove", "path": f"{path}/{_escaped(name)}"}
    for name, value in after.items():
        if name not in before:
            yield {"op": "add", "path": f"{path}/{_escaped(name)}", "value": value}
        else:
            yield from _changes(f"{path}/{_escaped(name)}", before[name], value)


def _same(before: Json, after: Json) -> bool:
    """Equal as JSON, where `true` is not 1."""
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(value, after[name]) for name, value in before.items())
    return bool(before == after) and isinstance(before, bool) is isinstance(after, bool)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def apply(document: Json, patch: Iterable[dict[str, Json]]) -> Json:
    """The document that a patch leads to. Raises NotApplicable."""
    for change in patch:
        names = [name.replace("~1", "/").replace("~0", "~") for name in change["path"].split("/")[1:]]
        document = _changed(document, names, change)
    return document


def _changed(document: Json, names: Sequence[str], change: dict[str, Json]) -> Json:
    operation = change["op"]
    if not names:
        if operation != "replace":
            raise NotApplicable(f"{operation} of the whole document")
        return change["value"]
    name, *rest = names
    known = isinstance(document, dict) and name in document
    if not isinstance(document, dict) or known is (operation == "add" and not rest):
        raise NotApplicable(f"{operation} of {change['path']}: the document is another one")
    if rest:
        return {**document, name: _changed(document[name], rest, change)}
    if operation == "remove":
        return {key: value for key, value in document.items() if key != name}
    if operation not in {"add", "replace"}:
        raise NotApplicable(f"{operation} is never made here")
    return {**document, name: change["value"]}
