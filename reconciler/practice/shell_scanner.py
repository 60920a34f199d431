"""Reads a shell's characters into words: quotes, variables and `$(...)`. `shell_parser` makes commands of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from reconciler.practice.shell_tree import Arithmetic, Part, Sequence, Substitution, Text, Variable, Word

META: Final = frozenset(" \t\n;&|<>()")
ENDED: Final = META | {""}  # what may follow a word
MAY_BE_BLANK: Final = frozenset(" \t\\#")
BLANK: Final = re.compile(r"(?:[ \t]|\\\n|#[^\n]*)*")
UNQUOTED: Final = re.compile(r"[^ \t\n;&|<>()'\"\\$`]+")
BETWEEN_QUOTES: Final = re.compile(r"[^\"$`\\]+")
IN_BRACES: Final = re.compile(r"\$\{(\w+|[?@*#$])(:-([^}]*))?\}", re.ASCII)
NAMED: Final = re.compile(r"\$([A-Za-z_]\w*|[0-9?@*#$!])", re.ASCII)
ARITHMETIC: Final = re.compile(r"\$\(\(([\w\s$+-]+)\)\)", re.ASCII)


class ShellSyntaxError(Exception):
    """What dash would say, after `sh: LINE: Syntax error: `."""


@lru_cache(maxsize=1024)
def plain(text: str) -> Word:
    """A word without quotes, variables or substitutions: most are, and most come again and again."""
    return Word.of([Text(text, quoted=False)])


class Scanner:
    """A cursor over one script."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def position(self) -> int:
        """How far the cursor has come, in characters."""
        return self._at

    @property
    def line(self) -> int:
        """Where the cursor is, from 1."""
        return self._text.count("\n", 0, self._at) + 1

    def commands_until(self, end: str) -> Sequence:
        """The commands up to `end`, which stays unread. The parser knows how."""
        raise NotImplementedError

    def _end(self) -> bool:
        return self._at >= len(self._text)

    def _looking_at(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip_blank(self) -> None:
        if self._text[self._at : self._at + 1] not in MAY_BE_BLANK:
            return
        skipped = BLANK.match(self._text, self._at)
        self._at = skipped.end() if skipped else self._at

    def word(self) -> Word:
        """One argument, up to a blank or an operator."""
        run = UNQUOTED.match(self._text, self._at)
        if run and self._text[run.end() : run.end() + 1] in ENDED:
            self._at = run.end()
            return plain(run[0])
        parts: list[Part] = []
        while not self._end() and self._text[self._at] not in META:
            character = self._text[self._at]
            if character == "'":
                ending = self._text.find("'", self._at + 1)
                if ending < 0:
                    raise ShellSyntaxError("Unterminated quoted string")
                parts.append(Text(self._text[self._at + 1 : ending], quoted=True))
                self._at = ending + 1
            elif character == '"':
                self._at += 1
                parts.extend(list(self._quoted()) or [Text("", quoted=True)])
            elif character == "\\":
                if not self._looking_at("\\\n"):
                    parts.append(Text(self._text[self._at + 1 : self._at + 2] or "\\", quoted=True))
                self._at += 2
            elif character == "$":
                parts.append(self._dollar(quoted=False))
            elif character == "`":
                raise ShellSyntaxError("backquotes are more than this shell can read")
            else:
                parts.append(Text(self._run(UNQUOTED), quoted=False))
        return Word.of(parts)

    def _run(self, plain: re.Pattern[str]) -> str:
        """So many characters that mean nothing but themselves; one at least, whatever it is."""
        run = plain.match(self._text, self._at)
        ending = run.end() if run else self._at + 1
        text, self._at = self._text[self._at : ending], ending
        return text

    def _quoted(self) -> Iterator[Part]:
        """What stands between double quotes; the first is read already."""
        while not self._end() and self._text[self._at] != '"':
            yield self._inside_quotes('$`"\\\n')
        if self._end():
            raise ShellSyntaxError("Unterminated quoted string")
        self._at += 1

    def _inside_quotes(self, escapable: str) -> Part:
        character = self._text[self._at]
        if character == "$":
            return self._dollar(quoted=True)
        if character == "\\" and self._text[self._at + 1 : self._at + 2] in tuple(escapable):
            self._at += 2
            escaped = self._text[self._at - 1]
            return Text("" if escaped == "\n" else escaped, quoted=True)
        if character == "`":
            raise ShellSyntaxError("backquotes are more than this shell can read")
        return Text(self._run(BETWEEN_QUOTES), quoted=True)

    def document(self) -> Word:
        """The whole text as an unquoted here-document: variables yes, quotes no."""
        parts: list[Part] = []
        while not self._end():
            parts.append(self._inside_quotes("$`\\\n"))
        return Word.of(parts)

    def _dollar(self, *, quoted: bool) -> Part:
        if self._looking_at("$(("):
            sum_of = ARITHMETIC.match(self._text, self._at)
            if sum_of is None:
                raise ShellSyntaxError("sums and differences are all the arithmetic that this shell can do")
            self._at = sum_of.end()
            return Arithmetic(sum_of[1], quoted)
        if self._looking_at("$("):
            self._at += 2
            body = self.commands_until(")")
            self._at += 1
            return Substitution(body, quoted)
        if self._looking_at("${"):
            match = IN_BRACES.match(self._text, self._at)
            if match is None:
                raise ShellSyntaxError("Bad substitution")
            self._at = match.end()
            otherwise = Scanner(match[3]).word() if match[3] else None
            return Variable(match[1], quoted, otherwise)
        match = NAMED.match(self._text, self._at)
        if match is None:
            self._at += 1
            return Text("$", quoted=True)
        self._at = match.end()
        return Variable(match[1], quoted)
