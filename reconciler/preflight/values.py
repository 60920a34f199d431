"""One flag's value against what the flag takes: its type, and its choices where it has some.

Pure. Values mean what the engines' launchers make of them: true is a bare flag, false and null leave it out, a map
becomes JSON, a list several values.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import Final

from pydantic import JsonValue

from reconciler.preflight.tables import Flag

MOST_SHOWN: Final = 12  # allowed values in one sentence
LONGEST_SHOWN: Final = 60  # characters of a value

_INTEGER: Final = re.compile(r"[+-]?\d+")
_SIZE: Final = re.compile(r"-?\d+(\.\d+)?[kKmMgGtT]?|auto")
_WANTED: Final = {
    "integer": "a whole number",
    "number": "a number",
    "size": "a whole number (such as 65536 or 64k) or auto",
}


def mistake(value: JsonValue, flag: Flag, *, negation: bool, several: bool) -> str | None:
    """What is wrong with the value's type, in words.

    `negation`: it is given to the flag's `no-` form; `several`: the engine may get a flag more than once, so a list
    will do.
    """
    if value is True and {"on", "off"} <= set(flag.choices):
        return 'needs a word; in YAML, "on" and "off" need their quotes'
    if flag.kind == "switch" or negation:
        return None if value is True else f"takes no value: write true, not {shown(value)}"
    if value is True:
        return None if flag.kind == "optional" else "needs a value"
    if isinstance(value, list):
        if flag.kind == "list" or several:
            return None
        hint = f": write it as text, '{text_of(value)}'" if flag.kind == "json" else ", not a list"
        return f"takes one value{hint}"
    return _wrong_type(value, flag)


def _wrong_type(value: JsonValue, flag: Flag) -> str | None:
    text = text_of(value)
    if flag.kind == "json":
        return _not_json(text, flag)
    if isinstance(value, dict) and flag.kind in {"integer", "number", "size"}:
        return f"needs {_WANTED[flag.kind]}, not a map"
    if flag.kind == "integer" and not _INTEGER.fullmatch(text.strip()):
        return f"needs {_WANTED['integer']}, not {shown(value)}"
    if flag.kind == "number" and number(text) is None:
        return f"needs {_WANTED['number']}, not {shown(value)}"
    if flag.kind == "size" and not _SIZE.fullmatch(text.strip()):
        return f"needs {_WANTED['size']}, not {shown(value)}"
    return None


def _not_json(text: str, flag: Flag) -> str | None:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        return f"needs JSON, best written as a map; {shown(text)} is none ({error})"
    if flag.name.endswith(("config", "kwargs")) and not isinstance(parsed, dict):
        return f"needs a map (a JSON object), not {shown(text)}"
    return None


def outside(value: JsonValue, flag: Flag) -> str | None:
    """Values that are none of the choices. Upper and lower case, - and _ count as the same: engines differ there."""
    if not flag.choices or isinstance(value, (bool, dict)):
        return None
    allowed = {_loose(choice) for choice in flag.choices}
    for part in value if isinstance(value, list) else [value]:
        text = text_of(part)
        if _loose(text) not in allowed:
            close = get_close_matches(text, flag.choices, n=1, cutoff=0.6)
            guess = f"; did you mean {close[0]}?" if close else "."
            more = f", … ({len(flag.choices)} in all)" if len(flag.choices) > MOST_SHOWN else ""
            return f"{shown(text)} is not allowed{guess} Allowed: {', '.join(flag.choices[:MOST_SHOWN])}{more}"
    return None


def number(text: str) -> float | None:
    """The number that the text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def _loose(text: str) -> str:
    return text.casefold().replace("-", "_")


def text_of(value: JsonValue) -> str:
    """The argument that `launch` makes of it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def shown(value: JsonValue) -> str:
    """The value as it may stand in a sentence."""
    text = text_of(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
