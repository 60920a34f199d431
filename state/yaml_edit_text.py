"""New values as YAML text, the way a person would have typed them.

Text stands without quotes where every reader takes it for text: this project's own, for which only YAML 1.2's words and
numbers are something else, and those of YAML 1.1, to which `no`, `1:30`, `0x1F` and `2024-01-02` are not text either.
The key `on` is the exception: the schema's own word, written bare in every file. Lists of a few words stand on one
line, maps have a line for each key, and text of several lines is a block of lines where that says it exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from state.yaml_tree import MAX_DIGITS, WrittenFloat, scalar

WIDTH: Final = 100  # columns that a collection on one line may reach
LIST_WIDTH: Final = 72  # columns that a list on one line may take

_UNSAFE_START: Final = "!\"#%&'*,:<=>?@[]`{|}"  # indicators, and what YAML 1.1 gives a meaning
_NOT_PLAIN: Final = re.compile(r"""\s|-(?:\s|$)|---|\.\.\.|.*(?::(?:\s|$)|\s#|[\x00-\x1f]|\s$)""", re.DOTALL)
_FLOW: Final = re.compile(r"[\[\]{},?]")  # PyYAML takes a question mark in brackets for an indicator
_LEGACY_WORDS: Final = frozenset({"y", "Y", "n", "N"})  # booleans by the letter of YAML 1.1
_ESCAPED: Final = re.compile("[\x7f-\xa0\xad\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_LINES: Final = re.compile(r"[^\s\x00-\x1f](?:[^\x00-\x09\x0b-\x1f]*[^\s\x00-\x1f])?\n?")


class Unwritable(ValueError):
    """YAML, as it is read here, has no way to say this value."""


def key_text(key: str, *, flow: bool) -> str:
    """A key, in quotes only where it needs them."""
    return key if key == "on" else scalar_text(key, flow=flow)


def scalar_text(value: object, *, flow: bool) -> str:
    """Text, a number, true/false or null, on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if _plain(value, flow=flow) else _quoted(value)
    if isinstance(value, int):
        return _digits(value)
    if isinstance(value, float):
        return _float(value)
    raise Unwritable(f"a value of type {type(value).__name__} can't be written")


def flow_text(value: Any) -> str:
    """Any value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key_text(key, flow=True)}: {flow_text(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return scalar_text(value, flow=True)


def block_text(value: Any, column: int, step: int, *, literal: bool = True) -> tuple[str, list[str]]:
    """What follows the colon or dash on its own line, and the lines below, of which the first stands at `column`.

    Without `literal` text is never a block of lines: such a block can't end a file that has no break at its end.
    """
    pad = " " * column
    if isinstance(value, Mapping) and value:
        return "", map_lines(value, column, step, literal=literal)
    if isinstance(value, list) and value:
        if not any(isinstance(item, (Mapping, list)) for item in value) and len(text := flow_text(value)) <= LIST_WIDTH:
            return text, []
        return "", list_lines(value, column, step, literal=literal)
    if literal and isinstance(value, str) and "\n" in value and _as_lines(value):
        chomp = "" if value.endswith("\n") else "-"
        return f"|{chomp}", [f"{pad}{line}" if line else "" for line in value.removesuffix("\n").split("\n")]
    return flow_text(value), []


def map_lines(value: Mapping[str, Any], column: int, step: int, *, literal: bool = True) -> list[str]:
    """A line (or more) for each key."""
    lines: list[str] = []
    for key, below in value.items():
        head, more = block_text(below, column + step, step, literal=literal)
        lines += [f"{' ' * column}{key_text(key, flow=False)}:{head and ' '}{head}", *more]
    return lines


def list_lines(items: list[Any], column: int, step: int, *, literal: bool = True) -> list[str]:
    """A line (or more) for each item."""
    lines: list[str] = []
    for item in items:
        head, more = block_text(item, column + 2, step, literal=literal)
        if not head:
            head, *more = more
        lines += [f"{' ' * column}- {head.lstrip(' ')}", *more]
    return lines


def _plain(text: str, *, flow: bool) -> bool:
    if not text or text[0] in _UNSAFE_START or _NOT_PLAIN.match(text) or not _plain_letters(text):
        return False
    if (flow and _FLOW.search(text)) or text in _LEGACY_WORDS or not isinstance(scalar(text), str):
        return False
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[0], [])
    return not any(pattern.match(text) for _, pattern in resolvers)


def _plain_letters(text: str) -> bool:
    return not (_ESCAPED.search(text) or _SURROGATE.search(text))


def _quoted(text: str) -> str:
    if _SURROGATE.search(text):
        raise Unwritable("text with half a character (a lone surrogate) can't be written")
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def _as_lines(text: str) -> bool:
    """Whether a block of lines says exactly this: it begins and ends with a word, no line is mere space."""
    return bool(_LINES.fullmatch(text)) and _plain_letters(text) and not re.search(r"\n[ \t]+(?:\n|$)", text)


def _digits(value: int) -> str:
    if abs(value) >= 10**MAX_DIGITS or len(str(value)) > MAX_DIGITS:
        raise Unwritable(f"a number of more than {MAX_DIGITS} digits can't be written")
    return str(value)


def _float(value: float) -> str:
    if isinstance(value, WrittenFloat):
        return value.written
    if not math.isfinite(value):
        raise Unwritable(f"the number {value} can't be written")
    mantissa, letter, exponent = repr(value).partition("e")
    return mantissa + (".0" if letter and "." not in mantissa else "") + letter + exponent
