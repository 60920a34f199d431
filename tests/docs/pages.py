"""Reading Markdown: its blocks, and the commands in them.

What may stand in a block is told by its language; an indented block holds commands. A language that nobody named here is
an error, and so is a program that `programs` does not know: what is not tested is left out by name, not by chance.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"CHANGELOG.md"}  # what was, not what is
COMMANDS = {"", "console", "sh"}
DATA = {"yaml", "json", "ini", "text", "dockerfile", "python"}
FENCE = re.compile(r"^ *```(\w*) *$")
EXPECTED = re.compile(r"#.*?\b(exit status|answers) (\d+)")
PIPE, FROM, INTO = {"|"}, {"<"}, {">", ">>"}
SEPARATORS = {"|", "&&", "||", ";"}
OPENING = re.compile(r"`(sparkkeep [^`]+)`")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One program of a line, with what is read from (`<`, or what is piped into it) and written to."""

    page: str
    line: int
    argv: tuple[str, ...]
    comment: str
    piped: bool = False
    source: str = ""
    target: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.argv)}"

    @property
    def expected(self) -> int | None:
        """The exit status or HTTP status that the comment promises; None: the usual good one."""
        found = EXPECTED.search(self.comment)
        return int(found[2]) if found else None


def pages() -> list[Path]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md")]
    return sorted(page for page in found if page.name not in LEFT_OUT)


def blocks(page: Path) -> Iterator[Block]:
    lines, name, at = page.read_text(encoding="utf-8").splitlines(), str(page.relative_to(ROOT)), 0
    while at < len(lines):
        begin = at
        if fence := FENCE.match(lines[at]):
            at += 1
            while not FENCE.match(lines[at]):
                at += 1
            yield Block(name, begin + 2, fence[1] or "text", "\n".join(lines[begin + 1 : at]))
        elif lines[at].startswith("    ") and _may_begin(lines, at):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield Block(name, begin + 1, "", "\n".join(line[4:] for line in lines[begin:at]).rstrip())
            continue
        at += 1


def _may_begin(lines: list[str], at: int) -> bool:
    """An indented block follows an empty line or the beginning, and is not the rest of a list's item."""
    if at and lines[at - 1].strip():
        return False
    above = next((line for line in reversed(lines[:at]) if line.strip() and not line.startswith(" ")), "")
    return not re.match(r"([-*]|\d+\.) ", above)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block. Raises ValueError for what is not written as a shell would take it."""
    for number, told in _joined(block):
        text, comment = _without_comment(told)
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        argv, piped = list[str](), False
        for token in [*lexer, ";"]:
            if token in SEPARATORS:
                if argv:
                    yield _command(block, number, argv, comment, piped=piped)
                argv, piped = [], token in PIPE
            elif token not in {"(", ")"}:
                argv.append(token)


def _joined(block: Block) -> Iterator[tuple[int, str]]:
    """Lines, with those that a backslash continues; of a console only what is typed."""
    whole, begin = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        begin = begin if whole else number
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        whole += line
        if block.language == "console":
            whole = whole[2:] if whole.startswith("$ ") else ""
        if whole.strip() and not whole.lstrip().startswith("#"):
            yield begin, whole.strip()
        whole = ""


def _without_comment(line: str) -> tuple[str, str]:
    found = re.search(r"\s#\s.*$", line)
    return (line[: found.start()], found[0].strip()) if found else (line, "")


def _command(block: Block, line: int, argv: list[str], comment: str, *, piped: bool) -> Command:
    source = target = ""
    plain = list[str]()
    tokens = iter(argv)
    for token in tokens:
        if token in FROM:
            source = next(tokens)
        elif token in INTO:
            target = next(tokens)
        else:
            plain.append(token)
    return Command(block.page, line, tuple(plain), comment, piped, source, target)


def every_block() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]


def every_command() -> list[Command]:
    return [command for block in every_block() if block.language in COMMANDS for command in commands(block)]


def mentioned() -> list[tuple[str, str]]:
    """(page, text) of each command of ours within a sentence."""
    return [
        (str(page.relative_to(ROOT)), " ".join(found.split()))
        for page in pages()
        for found in OPENING.findall(page.read_text())
    ]
