"""The one program that a command line starts, with its environment and working folder.

A container runs one program. What a shell would do around it is taken apart: variables set before it become its
environment, `cd` its working folder, `bash -c '...'` is opened, output that goes to a file or to `tee` stays in the
container's log. Whatever else needs a shell is refused, in words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.importers.lines import Mark, Token, Unreadable, Word, scan
from reconciler.importers.masks import MASKED, arguments_masked

MAX_DEPTH: Final = 4
_SET: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ash"})
_SHELL_TEXT: Final = re.compile(r"-[a-z]*c")
_OUTPUT: Final = re.compile(r"(?:[12]|&)?(?:>>|>\||>&|>)|&>>")


class Refused(Exception):
    """A command that sparkkeep can't start without a shell; the text says which part of it."""


@dataclass(slots=True)
class Program:
    """What is started. `left_out` says in sentences what the shell would have done besides, without effect here."""

    argv: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    workdir: str | None = None
    left_out: list[str] = field(default_factory=list)


def program(line: str) -> Program:
    """Read a shell's command line. Raises Refused."""
    made = Program()
    _read(line, made, 0)
    if not made.argv:
        raise Refused("it starts no program")
    return made


def _read(line: str, made: Program, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Refused(f"a shell inside a shell, more than {MAX_DEPTH} deep")
    try:
        tokens = scan(line)
    except Unreadable as error:
        raise Refused(str(error)) from None
    commands = _commands(tokens, made)
    if not commands:
        return
    for before in commands[:-1]:
        _prepare(before, made)
    _start(commands[-1], made, depth)


def _commands(tokens: Sequence[Token], made: Program) -> list[list[Word]]:
    """Commands that follow each other; redirections of output and `| tee` are told and left out."""
    commands: list[list[Word]] = [[]]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if isinstance(token, Word):
            commands[-1].append(token)
        elif _OUTPUT.fullmatch(token.text):
            target = tokens[at] if at < len(tokens) else Mark("")
            at += 1
            where = target.text if isinstance(target, Word) else "nothing"
            made.left_out.append(f"{token.text} {where}: the output stays in the container's log")
        elif token.text in {";", "\n", "&&"}:
            commands.append([])
        elif token.text == "|" and _is_tee(tokens[at:]):
            made.left_out.append("| tee: the output stays in the container's log")
            at += next((n for n, later in enumerate(tokens[at:]) if isinstance(later, Mark)), len(tokens) - at)
        else:
            raise Refused(f"`{token.text}` needs a shell, and a container runs one program")
    return [command for command in commands if command]


def _is_tee(tokens: Sequence[Token]) -> bool:
    return bool(tokens) and isinstance(tokens[0], Word) and tokens[0].text == "tee"


def _prepare(words: list[Word], made: Program) -> None:
    """What may stand before the program: variables, `cd`, and the shell's settings about itself."""
    head = words[0].text
    rest = words[1:] if head in {"export", "declare"} else words
    if rest and all(word.bare or "=" in word.text for word in rest) and all(_SET.fullmatch(w.text) for w in rest):
        for word in rest:
            _variable(word, made)
    elif head == "cd" and len(words) == 2:  # noqa: PLR2004  # `cd` and the folder
        made.workdir = _plain(words[1])
    elif head in {"set", "ulimit", "echo", "shopt", "umask"}:
        text = " ".join(word.text for word in words)
        made.left_out.append(f"`{text}`: about the shell, which there is none of")
    else:
        text = " ".join(arguments_masked(word.text for word in words)).replace(MASKED, "***")
        raise Refused(f"`{text}` would run before the program: put it into the image, or into a mod")


def _variable(word: Word, made: Program) -> None:
    found = _SET.fullmatch(_plain(word))
    assert found is not None  # noqa: S101  # the caller looked
    made.env[found[1]] = found[2]


def _start(words: list[Word], made: Program, depth: int) -> None:
    words = list(words)
    while words and words[0].text.split("=", 1)[0].isidentifier() and _SET.fullmatch(words[0].text):
        _variable(words.pop(0), made)
    if not words:
        return
    head = words[0].text.rsplit("/", 1)[-1]
    if head in {"exec", "env", "nohup", "command"} and len(words) > 1:
        _after(head, words[1:], made, depth)
    elif head in _SHELLS and len(words) > 2 and _SHELL_TEXT.fullmatch(words[1].text):  # noqa: PLR2004  # sh -c text
        if len(words) > 3:  # noqa: PLR2004  # and arguments for it
            raise Refused(f"`{head} {words[1].text}` with arguments needs a shell")
        _read(_plain(words[2]), made, depth + 1)
    else:
        made.argv = [_plain(word) for word in words]


def _after(head: str, words: list[Word], made: Program, depth: int) -> None:
    if words[0].text.startswith("-"):
        raise Refused(f"`{head} {words[0].text}` is not something this importer knows")
    _start(words, made, depth)


def _plain(word: Word) -> str:
    if word.live:
        raise Refused(f"`{word.live[0]}` is something that only a shell could fill in")
    return word.text
