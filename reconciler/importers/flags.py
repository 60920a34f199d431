"""An engine's arguments as a flags map: names without dashes, values as what they are.

What the map can't hold (a flag that counts each time it stands, a short one that nobody knows) is called odd; such a
command stays an argv list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from state.engines import spelling

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")
_NEGATIVE: Final = re.compile(r"-[0-9.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """How an engine reads its arguments.

    `short`: one-dash (or second) names to the long ones. `bare`: flags that take no value, to tell a positional apart.
    `each`: flags that count every time they stand. `repeats`: the engine writes a list as a flag that repeats.
    """

    short: Mapping[str, str]
    bare: frozenset[str] = frozenset()
    each: frozenset[str] = frozenset()
    repeats: bool = False


@dataclass(slots=True)
class Parsed:
    """A flags map, what stood without a flag, flags given again (name, earlier value), and what fits no map."""

    flags: dict[str, JsonValue] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)
    again: list[tuple[str, JsonValue]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def parse(arguments: Sequence[str], grammar: Grammar) -> Parsed:
    """Arguments behind the program's name."""
    parsed = Parsed()
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            parsed.positional += waiting
            break
        if not _is_flag(word):
            parsed.positional.append(word)
            continue
        name, has_value, text = word.partition("=")
        long = _long(name, grammar)
        if long is None:
            parsed.odd.append(word)
            waiting = list(_without_values(waiting))
            continue
        if has_value:
            _put(parsed, long, value(text), grammar)
        elif spelling(long) in grammar.bare:
            _put(parsed, long, True, grammar)
        else:
            count = next((n for n, later in enumerate(waiting) if _is_flag(later) or later == "--"), len(waiting))
            count = min(count, 1) if grammar.repeats else count
            _put(parsed, long, _values(waiting[:count]), grammar)
            waiting = waiting[count:]
    return parsed


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NEGATIVE.fullmatch(word)


def _without_values(words: list[str]) -> Iterator[str]:
    """What follows an unknown flag, from the next flag on."""
    started = False
    for word in words:
        started = started or _is_flag(word)
        if started:
            yield word


def _long(name: str, grammar: Grammar) -> str | None:
    """The flag's name without dashes; a short one (`-tp`, `-cc.mode`) by the table, None if it is not in it."""
    head, dot, rest = name.partition(".")
    if (known := grammar.short.get(head)) is not None:
        return known + dot + rest
    stripped = name.removeprefix("--")
    return stripped if name.startswith("--") and _NAME.fullmatch(stripped) else None


def _put(parsed: Parsed, name: str, given: JsonValue, grammar: Grammar) -> None:
    there = next((known for known in parsed.flags if spelling(known) == spelling(name)), None)
    if there is not None:
        if spelling(name) in grammar.each and not grammar.repeats:
            parsed.odd.append(f"--{name}")
            return
        if spelling(name) in grammar.each:
            earlier = parsed.flags[there]
            parsed.flags[there] = [*(earlier if isinstance(earlier, list) else [earlier]), given]
            return
        parsed.again.append((there, parsed.flags.pop(there)))
    parsed.flags[name] = given


def _values(words: Sequence[str]) -> JsonValue:
    if not words:
        return True
    return value(words[0]) if len(words) == 1 else [value(word) for word in words]


def value(word: str) -> JsonValue:
    """A word as number or map where that gives the same argument again, else as text."""
    if _NUMBER.fullmatch(word):
        number = json.loads(word)
        if json.dumps(number) == word and abs(number) < 2**53:
            return number if isinstance(number, (int, float)) else word
    if word.startswith("{"):
        found = _map(word)
        if found is not None:
            return found
    return word


def _map(word: str) -> dict[str, JsonValue] | None:
    """JSON's object, if it means the same when written again: no key twice, every number as it stands."""
    try:
        found = json.loads(word, object_pairs_hook=_once, parse_float=_as_written, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice")
    return made


def _as_written(text: str) -> float:
    if repr(float(text)) != text:
        raise ValueError("this number would be written differently")
    return float(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
