"""JSON as it travels: strict in reading, compact in writing."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def loads(text: bytes | str) -> Any:
    """The value. Raises ValueError: not JSON, not UTF-8, NaN, or nested too deeply."""
    try:
        return json.loads(text, parse_constant=_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def dumps(value: object) -> bytes:
    """As UTF-8; half a surrogate pair, which UTF-8 can't hold, stays the escape that it came as."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
