"""`{key}` in a recipe's command, filled as sparkrun fills it.

A key is filled from the recipe's defaults, and what comes in may hold keys again. A brace that holds no known key is
text, so JSON passes. `{{` stands for one brace, in a text that uses it at all: JSON never opens with two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_PASSES: Final = 10
_KEY: Final = re.compile(r"\{([^{}]*)\}")
_ESCAPED: Final = re.compile(r"\{\{|\}\}|\{[^{}]*\}")  # from left to right, so that {{{key}}} is a key in braces
_UNFILLED: Final = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_.]*)\}")
_OPEN, _CLOSE = "\ue000", "\ue001"  # stand for escaped braces meanwhile; private characters, which no flag holds


_ESCAPES: Final = {"{{": _OPEN, "}}": _CLOSE}


@dataclass(frozen=True, slots=True)
class Filled:
    """The text, the keys that went into it, and those that look like keys but have no value."""

    text: str
    used: frozenset[str]
    missing: tuple[str, ...]


def fill(template: str, values: Mapping[str, Any]) -> Filled:
    """Fill a template. A value that holds itself stops after a few rounds, and then counts as missing."""
    text, used = _masked(template), set[str]()

    def one(found: re.Match[str]) -> str:
        if values.get(found[1]) is None:
            return found[0]
        used.add(found[1])
        return _masked(written(values[found[1]]), value=True)

    for _ in range(MAX_PASSES):
        filled = _KEY.sub(one, text)
        if filled == text:
            break
        text = filled
    missing = tuple(dict.fromkeys(_UNFILLED.findall(text)))
    return Filled(text.replace(_OPEN, "{").replace(_CLOSE, "}"), frozenset(used), missing)


def _masked(text: str, *, value: bool = False) -> str:
    """Escaped braces out of the way; a value is escaped by itself, and JSON in one holds no keys to fill."""
    if "{{" not in text:
        return text.replace("{", _OPEN).replace("}", _CLOSE) if value and _is_json(text) else text
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[0], found[0]), text)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def written(value: Any) -> str:
    """A default as it stands in a command: true is `True`, as Python says it, 0.80 is 0.8, a map is JSON."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return repr(float(value))
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
