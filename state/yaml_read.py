"""YAML to plain data, with the place of every key, and nothing that could surprise.

Only what JSON knows comes out: text, numbers, true/false, null, lists, maps with text keys. The traps of YAML 1.1
are shut: `on`, `off`, `yes` and `no` are text, 010 and 0x1F and 1:30 and dates are text, a key that stands twice is
refused. A number remembers how it was written. Anchors, aliases and merge keys (`<<`) work within a budget.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from state.problems import Invalid, Problem
from state.yaml_build import Builder
from state.yaml_tree import Node

MAX_BYTES: Final = 4 * 2**20

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used, never its constructors
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read(data: bytes | str, file: str) -> Node:
    """The document's one root; an empty document is an empty map. Raises Invalid with every problem found."""
    tree, problems = read_tree(data, file)
    if tree is None or problems:
        raise Invalid(problems)
    return tree


def read_tree(data: bytes | str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree and what is wrong with it. Where a fault leaves a tree standing there are both."""
    builder = Builder(file)
    text = ""
    try:
        text = _text(data, file)
        return builder.document(yaml.parse(text, Loader=_LOADER)), builder.problems
    except Invalid as invalid:
        return None, builder.problems or invalid.problems  # all of them: which are shown is for later to say
    except yaml.MarkedYAMLError as error:
        return None, [*builder.problems, _syntax(error, text, file)]
    except yaml.YAMLError as error:
        return None, [*builder.problems, Problem(file, 0, 0, "", f"is not YAML: {error}")]


def _text(data: bytes | str, file: str) -> str:
    """UTF-8 within the limits, without characters that YAML forbids."""
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise Invalid([Problem(file, 0, 0, "", f"has {size} bytes; a document may have {MAX_BYTES}")])
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise Invalid([Problem(file, line, column, "", "is not UTF-8 text")]) from None
    if found := _UNPRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        message = f"character U+{ord(found[0]):04X} is not allowed in YAML"
        raise Invalid([Problem(file, line, column, "", message)])
    return text


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    """The parser's complaint, with its place and, where a tab is to blame, a word about that."""
    mark: yaml.Mark | None = error.problem_mark or error.context_mark
    message = " ".join(part for part in (error.problem, error.context) if part) or "is not YAML"
    if mark is None:
        return Problem(file, 0, 0, "", message)
    lines = _BREAK.split(text)
    if mark.line >= len(lines):  # the parser counts on beyond the end
        return Problem(file, len(lines), len(lines[-1]) + 1, "", message)
    if "\t" in lines[mark.line][: mark.column + 1]:
        message += " (a tab stands here: YAML is indented with spaces)"
    return Problem(file, mark.line + 1, mark.column + 1, "", message)
