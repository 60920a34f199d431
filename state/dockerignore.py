"""What a `.dockerignore` leaves out of a build, by Docker's rules. Pure.

A pattern is a path from the context's root: `*` and `?` stand for anything but `/`, `**` for any number of folders, and
`!` takes back what an earlier line left out; the last line that fits decides. What lies in a folder that fits is left
out with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from posixpath import normpath
from typing import Final

NAME: Final = ".dockerignore"
KEPT: Final = "Dockerfile"  # whatever the patterns say: nothing can be built without it

Rule = tuple[re.Pattern[str], bool]


def skips(text: str) -> Callable[[str, bool], bool]:
    """Whether a path (and whether it is a folder) is left out. A folder is looked into while any line begins with `!`.

    Raises ValueError for a pattern that can't be read.
    """
    rules = tuple(_rules(text))
    looks = any(not out for _, out in rules)

    def left_out(path: str, folder: bool) -> bool:
        if path == NAME:
            return True
        if path == KEPT or (folder and looks):
            return False
        return _left_out(path, rules)

    return left_out


def _left_out(path: str, rules: tuple[Rule, ...]) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    outcome = False
    for pattern, out in rules:
        if outcome != out and any(pattern.fullmatch(each) for each in above):
            outcome = out
    return outcome


def _rules(text: str) -> Iterator[Rule]:
    for line in text.removeprefix("\ufeff").splitlines():
        word = line.strip()
        if not word or line.startswith("#"):
            continue
        out = not word.startswith("!")
        word = normpath("/" + word.removeprefix("!").strip()).lstrip("/")
        if word:
            yield re.compile(_expression(word), re.DOTALL), out


def _expression(pattern: str) -> str:
    """The pattern as a regular expression: Go's filepath.Match, and `**`."""
    found, at = "", 0
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                found, at = found + "(?:.*/)?", at + 1
            else:
                found += ".*"
            continue
        if sign == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise ValueError(f"{pattern!r} has a [ without its ]")
            inner = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&")
            found, at = f"{found}[{inner}]", end + 1
            continue
        if sign == "\\" and at + 1 < len(pattern):
            at += 1
            sign = re.escape(pattern[at])
        else:
            sign = {"*": "[^/]*", "?": "[^/]"}.get(sign) or re.escape(sign)
        found, at = found + sign, at + 1
    return found
