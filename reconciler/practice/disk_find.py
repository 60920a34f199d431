"""`find` on a practice Spark: tests, `!`, `-o`, brackets, -prune, -print, -print0 and -exec, as GNU's does them.

What lies in a folder comes in the order of its names, where a real disk has an order of its own.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.practice.files import Files
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell

UNITS: Final = {"c": 1, "b": 512, "k": 1024, "M": 1024**2, "G": 1024**3}


class Refused(Exception):
    """What GNU's find, or this one, has to say against the arguments."""


@dataclass(slots=True)
class Spot:
    """One thing on the way: as it is shown, where it is, and how deep."""

    shown: str
    path: str
    kind: int
    size: int
    pruned: bool = False


Check = Callable[[Spot], bool]


@dataclass(slots=True)
class Search:
    """What the arguments ask for."""

    files: Files
    words: list[str]
    follow: bool = False
    least: int = 0
    most: int = 10**6
    acts: bool = False
    output: list[str] = field(default_factory=list)
    batches: list[tuple[list[str], list[str]]] = field(default_factory=list)  # a command of -exec +, and its files

    def expression(self) -> Check:
        """One alternative after the other. Raises Refused."""
        checks = [self._all()]
        while self.words and self.words[0] in {"-o", "-or"}:
            self.words.pop(0)
            checks.append(self._all())
        return lambda spot: any(check(spot) for check in checks)

    def whole(self) -> Check:
        """The expression, or what is true of everything. Raises Refused if words are left."""
        check: Check = self.expression() if self.words else (lambda _: True)
        if self.words:
            raise Refused(f"paths must precede expression: `{self.words[0]}'")
        return check

    def _all(self) -> Check:
        checks: list[Check] = []
        while self.words and self.words[0] not in {"-o", "-or", ")"}:
            if self.words[0] in {"-a", "-and"}:
                self.words.pop(0)
            checks.append(self._one())
        return lambda spot: all(check(spot) for check in checks)

    def _one(self) -> Check:
        word = self._next("an expression")
        if word in {"!", "-not"}:
            check = self._one()
            return lambda spot: not check(spot)
        if word == "(":
            check = self.expression()
            if self._next(")") != ")":
                raise Refused("invalid expression; I was expecting to find a ')' somewhere but did not see one.")
            return check
        return self._test(word)

    def _test(self, word: str) -> Check:
        match word:
            case "-name":
                pattern = self._next(word)
                return lambda spot: fnmatch.fnmatchcase(posixpath.basename(spot.shown), pattern)
            case "-path":
                whole = self._next(word)
                return lambda spot: fnmatch.fnmatchcase(spot.shown, whole)
            case "-type":
                kind = {"f": self.files.FILE, "d": self.files.FOLDER, "l": self.files.LINK}[self._next(word)]
                return lambda spot: spot.kind == kind
            case "-size":
                return _sized(self._next(word))
            case "-maxdepth" | "-mindepth":
                return self._depth(word, int(self._next(word)))
            case "-prune":
                return _prune
            case "-print" | "-print0":
                self.acts = True
                end = "\0" if word == "-print0" else "\n"
                return _keep(self.output, end)
            case "-exec":
                return self._exec()
        raise Refused(f"unknown predicate `{word}'")

    def _depth(self, word: str, depth: int) -> Check:
        if word == "-maxdepth":
            self.most = depth
        else:
            self.least = depth
        return lambda _: True

    def _exec(self) -> Check:
        """Only `-exec ... {} +`."""
        self.acts = True
        command: list[str] = []
        while (word := self._next("-exec")) != "+" or command[-1:] != ["{}"]:
            if word == ";":
                raise Refused("practice: only `-exec ... {} +` is known here")
            command.append(word)
        batch: list[str] = []
        self.batches.append((command[:-1], batch))
        return _keep(batch, "")

    def _next(self, after: str) -> str:
        if not self.words:
            raise Refused(f"missing argument to `{after}'")
        return self.words.pop(0)


def _keep(kept: list[str], end: str) -> Check:
    def keep(spot: Spot) -> bool:
        kept.append(spot.shown + end)
        return True

    return keep


def _prune(spot: Spot) -> bool:
    spot.pruned = True
    return True


def _sized(text: str) -> Check:
    """`-size 12k`, `+12k`, `-12k`: rounded up to whole units, as GNU does."""
    sign, number = (text[0], text[1:]) if text[:1] in {"+", "-"} else ("", text)
    unit = UNITS.get(number[-1:], 512)
    count = int(number.rstrip("cbkMG"))

    def check(spot: Spot) -> bool:
        units = -(-spot.size // unit)
        return units > count if sign == "+" else units < count if sign == "-" else units == count

    return check


async def find(shell: Shell, argv: list[str], io: Io) -> int:
    """`find [-L] [START]... [EXPRESSION]`."""
    words = argv[1:]
    follow = words[:1] == ["-L"]
    words = words[1:] if follow else words
    starts: list[str] = []
    while words and not words[0].startswith(("-", "(", "!")):
        starts.append(words.pop(0))
    search = Search(shell.files, words, follow=follow)
    try:
        check = search.whole()
    except Refused as refused:
        io.error(f"find: {refused}\n")
        return 1
    status = _look(shell, search, starts or ["."], check, io)
    for command, batch in search.batches:
        tool = shell.tools.get(command[0])
        if batch and tool is None:
            io.error(f"find: '{command[0]}': No such file or directory\n")
        if batch and (tool is None or await tool(shell, [*command, *batch], io)):
            status = 1
    return status


def _look(shell: Shell, search: Search, starts: list[str], check: Check, io: Io) -> int:
    below = shell.files.tree()
    status = 0
    for start in starts:
        try:
            path = shell.files.real(shell.files.normal(start, shell.folder), last=search.follow)
            for spot in _walk(search, below, start, path, 0, check):
                if not search.acts:
                    search.output.append(spot.shown + "\n")
        except OSError as error:
            io.error(f"find: '{start}': {error.strerror}\n")
            status = 1
    io.out("".join(search.output))
    return status


def _walk(
    search: Search, below: dict[str, list[str]], shown: str, path: str, depth: int, check: Check
) -> Iterator[Spot]:
    """Everything from here on that passes, a folder before what lies in it. Raises OSError for the start."""
    files = search.files
    spot = _spot(files, shown, path, follow=search.follow)
    if depth >= search.least and check(spot):
        yield spot
    if spot.kind != files.FOLDER or spot.pruned or depth >= search.most:
        return
    for name in below.get(spot.path, ()):
        yield from _walk(search, below, f"{shown.rstrip('/')}/{name}", f"{spot.path}/{name}", depth + 1, check)


def _spot(files: Files, shown: str, path: str, *, follow: bool) -> Spot:
    if follow:
        with suppress(OSError):  # a link that dangles is shown as the link it is
            path = files.real(path)
    kind, size, _ = files.stat(path)
    return Spot(shown, path, kind, size)
