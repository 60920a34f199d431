"""What changed between the spec that a container was created from and the one that is declared, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from reconciler.model import SPEC, Container, Instance

TELLABLE: Final = 3  # words of a list that are shown one by one


def drift(container: Container, instance: Instance) -> str:
    """Which fields of the spec differ, old to new, read from the container's own label."""
    old = _labelled(container)
    new = {name: _listed(value) for name, value in instance.spec.given().items()}
    changed = [_change(field, old, new) for field in sorted({*old, *new}) if old.get(field) != new.get(field)]
    return "changed: " + ("; ".join(changed) or "its spec (the container's label says nothing more)")


def _labelled(container: Container) -> Mapping[str, object]:
    """The spec in the container's label. Anybody may write labels, so nonsense is no spec."""
    try:
        spec = json.loads(container.labels.get(SPEC, "{}"))
    except (ValueError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}


def _listed(value: object) -> object:
    """A value of a spec as JSON gives it back."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _change(field: str, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    before, after = old.get(field), new.get(field)
    if field in {"env", "secrets"}:
        return f"{field} {_names(before, after)}"
    if isinstance(before, list) and isinstance(after, list) and (words := _words(before, after)):
        return f"{field} {words}"
    if isinstance(before, (list, dict)) or isinstance(after, (list, dict)):
        return field
    return f"{field} {before if before is not None else '(none)'} -> {after if after is not None else '(none)'}"


def _names(before: object, after: object) -> str:
    """The variables that came, went or changed; never their values, which people take for private."""
    old, new = (dict(_pairs(value)) for value in (before, after))
    return ", ".join(sorted(name for name in {*old, *new} if old.get(name) != new.get(name)))


def _pairs(value: object) -> Iterator[tuple[str, object]]:
    """Name and value of each variable; what is no such pair is nothing."""
    for item in value if isinstance(value, list) else ():
        match item:
            case [str() as name, told]:
                yield name, told


def _words(before: list[object], after: list[object]) -> str:
    """The few words of an argv that changed, each behind its flag; empty if it changed beyond telling so."""
    if len(before) != len(after):
        return ""
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if len(changed) > TELLABLE:
        return ""
    flags = [f"{after[at - 1]} " if at and str(after[at - 1]).startswith("-") else "" for at in changed]
    return ", ".join(f"{flag}{before[at]!s:.60} -> {after[at]!s:.60}" for flag, at in zip(flags, changed, strict=True))
