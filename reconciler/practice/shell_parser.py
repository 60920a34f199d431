"""Reads POSIX shell, as much of it as scripts over SSH use, the way dash does: one complete command at a time.

That last part matters. A script that breaks off half-way runs up to the break, unless it stands in `{ ... }`;
a practice Spark has to do the same, or the guard in `reconciler.shell` would never be put to the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reconciler.practice.shell_scanner import META, Scanner, ShellSyntaxError
from reconciler.practice.shell_tree import (
    AndOr,
    Command,
    For,
    Function,
    Group,
    If,
    Item,
    Pipeline,
    Redirect,
    Sequence,
    Simple,
    Text,
    While,
    Word,
)

ASSIGNED: Final = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)
NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
REDIRECT: Final = re.compile(r"(\d*)(<<-|<<|<>|>>|>&|<&|>\||>|<)")
BEGINS_REDIRECT: Final = frozenset("0123456789<>")
RESERVED: Final = frozenset({"then", "else", "elif", "fi", "do", "done", "}"})
OPENING: Final = re.compile(
    r"\(|(?:\{|if|for|while|until|then|else|elif|fi|do|done|\})(?=[ \t\n;&|<>()]|$)"
)  # no simple command


@dataclass(frozen=True, slots=True)
class Script:
    """What a text holds: each complete command with the place where it ends, and what is wrong behind the last."""

    commands: tuple[tuple[Sequence, int], ...]
    problem: str = ""
    line: int = 0  # of the problem


@lru_cache(maxsize=256)
def read(text: str, *, whole: bool = True) -> Script:
    """The commands of a script. One that is not `whole` may go on after its last line."""
    parser, commands = Parser(text, whole=whole), list[tuple[Sequence, int]]()
    try:
        for sequence in parser.commands():
            commands.append((sequence, parser.position))
    except ShellSyntaxError as error:
        return Script(tuple(commands), str(error), parser.line)
    return Script(tuple(commands))


@lru_cache(maxsize=1024)
def _alone(line: str, number: int) -> tuple[Item, ...]:
    """The commands of a line that means the same wherever it stands; none if it goes on, or ends what is begun above.

    Scripts that differ in a name or a number share all other lines, and what those mean is kept once.
    """
    parser = Parser(line + "\n", whole=False, number=number)
    try:
        items = parser.items()
    except ShellSyntaxError:
        return ()
    return tuple(items) if parser.at_last_newline else ()


class Parser(Scanner):
    """What a script's words mean. A script that is not `whole` may go on after its last line."""

    def __init__(self, text: str, *, whole: bool = True, number: int = 0) -> None:
        """`number`: of the only line that this is of its script."""
        super().__init__(text)
        self._whole = whole
        self._number = number
        self._waiting: list[tuple[Redirect, str, bool]] = []  # here-documents whose lines are still to come

    @property
    def line(self) -> int:
        """Where the cursor is, from 1."""
        return self._number or super().line

    @property
    def at_last_newline(self) -> bool:
        """Nothing is left but the end of the line, and no here-document is to follow."""
        return self._at == len(self._text) - 1 and not self._waiting

    def commands(self) -> Iterator[Sequence]:
        """Each complete line of commands, as soon as it is read. Raises ShellSyntaxError after the last good one."""
        while True:
            self._skip_lines()
            if self._end():
                return
            items = self._known_line() or self.items()
            if not self._end() and self._text[self._at] != "\n":
                raise self._unexpected()
            self._newline()
            yield Sequence(tuple(items))

    def items(self) -> list[Item]:
        """Commands up to the end of the line in which the last of them ends. Raises ShellSyntaxError."""
        items = [self._and_or()]
        while self._separator() and not self._end() and self._text[self._at] != "\n":
            items.append(self._and_or())
        return items

    def _known_line(self) -> tuple[Item, ...]:
        """The commands of the line that begins here, which is then read; none where it has to be read in place."""
        ending = self._text.find("\n", self._at)
        if self._number or self._waiting or ending < 0:
            return ()
        line = self._text[self._at : ending]
        found = _alone(line, self.line) if not line.endswith("\\") else ()
        if found:
            self._at = ending
        return found

    def _newline(self) -> None:
        """Step over a line's end, and over the here-documents that it owes."""
        if self._end():
            if self._waiting:
                raise self._unexpected()
            return
        self._at += 1
        for redirect, mark, quoted in self._waiting:
            lines: list[str] = []
            while True:
                if self._end() and not self._whole:
                    raise self._unexpected()
                if self._end():
                    break  # dash takes what there is
                ending = self._text.find("\n", self._at)
                ending = len(self._text) if ending < 0 else ending
                line = self._text[self._at : ending]
                self._at = min(ending + 1, len(self._text))
                line = line.lstrip("\t") if redirect.operator == "<<-" else line
                if line == mark:
                    break
                lines.append(line + "\n")
            body = "".join(lines)
            redirect.target = Word.of([Text(body, quoted=True)]) if quoted else Parser(body).document()
        self._waiting.clear()

    def _skip_lines(self) -> None:
        self._skip_blank()
        while self._looking_at("\n"):
            self._newline()
            self._skip_blank()

    def _separator(self) -> bool:
        """Step over one `;`: there is no `&`, since no script of ours runs anything in the background."""
        self._skip_blank()
        if self._looking_at(";") and not self._looking_at(";;"):
            self._at += 1
            self._skip_blank()
            return True
        return False

    def _unexpected(self, expecting: str = "") -> ShellSyntaxError:
        self._skip_blank()
        if self._end():
            what = "end of file"
        elif self._looking_at("\n"):
            what = "newline"
        else:
            operator = re.match(r"&&|\|\||;;|[;&|<>()]|[^\s;&|<>()]+", self._text[self._at :])
            what = f'"{operator[0]}"' if operator else "word"
        more = f' (expecting "{expecting}")' if expecting else ""
        return ShellSyntaxError(f"{what} unexpected{more}")

    # Commands

    def commands_until(self, end: str) -> Sequence:
        """The body of `$(...)`."""
        return self._list(end)

    def _list(self, *ends: str) -> Sequence:
        """Commands up to one of the keywords `ends`, which stays unread."""
        items: list[Item] = []
        self._skip_lines()
        while not self._at_keyword(ends):
            if self._end():
                raise self._unexpected(ends[0])
            if known := self._known_line():
                items += known
            else:
                items.append(self._and_or())
            if not self._separator() and not self._looking_at("\n") and not self._at_keyword(ends):
                raise self._unexpected(ends[0])
            self._skip_lines()
        if not items:
            raise self._unexpected()
        return Sequence(tuple(items))

    def _at_keyword(self, words: tuple[str, ...]) -> bool:
        for word in words:
            after = self._at + len(word)
            if self._looking_at(word) and (word == ")" or after >= len(self._text) or self._text[after] in META):
                return True
        return False

    def _keyword(self, word: str) -> None:
        self._skip_lines()
        if not self._at_keyword((word,)):
            raise self._unexpected(word)
        self._at += len(word)

    def _and_or(self) -> Item:
        first = self._pipeline()
        rest: list[tuple[str, Command | Pipeline]] = []
        while True:
            self._skip_blank()
            operator = self._text[self._at : self._at + 2]
            if operator not in {"&&", "||"}:
                return AndOr(first, tuple(rest)) if rest else first
            self._at += 2
            self._skip_lines()
            rest.append((operator, self._pipeline()))

    def _pipeline(self) -> Command | Pipeline:
        self._skip_blank()
        negated = self._at_keyword(("!",))
        if negated:
            self._at += 1
        commands = [self._command()]
        self._skip_blank()
        while self._looking_at("|") and not self._looking_at("||"):
            self._at += 1
            self._skip_lines()
            commands.append(self._command())
            self._skip_blank()
        return Pipeline(negated, tuple(commands)) if negated or len(commands) > 1 else commands[0]

    def _command(self) -> Command:
        self._skip_blank()
        if OPENING.match(self._text, self._at) is None:
            return self._simple()
        if self._looking_at("("):
            self._at += 1
            body = self._list(")")
            self._at += 1
            return Group(body, self._redirects(), subshell=True)
        if self._at_keyword(("{",)):
            self._at += 1
            body = self._list("}")
            self._at += 1
            return Group(body, self._redirects(), subshell=False)
        if self._at_keyword(("if",)):
            return self._if()
        if self._at_keyword(("for",)):
            return self._for()
        if self._at_keyword(("while", "until")):
            return self._while()
        if self._at_keyword(tuple(RESERVED)):
            raise self._unexpected()
        return self._simple()

    def _if(self) -> If:
        branches: list[tuple[Sequence, Sequence]] = []
        word = "if"
        while True:
            self._keyword(word)
            condition = self._list("then")
            self._keyword("then")
            branches.append((condition, self._list("fi", "elif", "else")))
            if self._at_keyword(("elif",)):
                word = "elif"
                continue
            otherwise = None
            if self._at_keyword(("else",)):
                self._keyword("else")
                otherwise = self._list("fi")
            self._keyword("fi")
            return If(tuple(branches), otherwise)

    def _for(self) -> For:
        self._keyword("for")
        self._skip_blank()
        match = NAME.match(self._text, self._at)
        if match is None:
            raise ShellSyntaxError("Bad for loop variable")
        self._at = match.end()
        self._keyword("in")
        words: list[Word] = []
        self._skip_blank()
        while not self._end() and self._text[self._at] not in ";\n":
            words.append(self.word())
            self._skip_blank()
        self._separator()
        self._keyword("do")
        body = self._list("done")
        self._keyword("done")
        return For(match[0], tuple(words), body)

    def _while(self) -> While:
        until = self._at_keyword(("until",))
        self._keyword("until" if until else "while")
        condition = self._list("do")
        self._keyword("do")
        body = self._list("done")
        self._keyword("done")
        return While(condition, body, until)

    def _simple(self) -> Command:
        line, start = self.line, self._at
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        while True:
            self._skip_blank()
            redirects.extend(self._redirects())
            if self._end() or self._text[self._at] in META:
                break
            if not words and (match := ASSIGNED.match(self._text, self._at)):
                self._at = match.end()
                empty = self._end() or self._text[self._at] in META
                assignments.append((match[1], Word() if empty else self.word()))
                continue
            words.append(self.word())
            if len(words) == 1 and self._looking_at("()") and not assignments:
                self._at += 2
                self._skip_lines()
                return Function(words[0].literal or "", self._command())
        if self._at == start or self._looking_at("("):
            raise self._unexpected()
        texts = [word.fixed for word in words if word.fixed is not None]
        fixed = tuple(texts) if len(texts) == len(words) else None
        return Simple(line, tuple(assignments), tuple(words), tuple(redirects), fixed)

    def _redirects(self) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        self._skip_blank()
        while self._text[self._at : self._at + 1] in BEGINS_REDIRECT and (
            match := REDIRECT.match(self._text, self._at)
        ):
            self._at = match.end()
            operator = match[2]
            number = int(match[1]) if match[1] else (0 if operator.startswith("<") else 1)
            self._skip_blank()
            if self._end() or self._text[self._at] in META:
                raise self._unexpected()
            redirect = Redirect(number, operator, self.word())
            if operator.startswith("<<"):
                mark = "".join(part.text for part in redirect.target.parts if isinstance(part, Text))
                self._waiting.append((redirect, mark, redirect.target.literal is None))
            found.append(redirect)
            self._skip_blank()
        return tuple(found)
