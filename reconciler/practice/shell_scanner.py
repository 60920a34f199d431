"""Reads a shell's characters into words: quotes, variables and `$(...)`. `shell_parser` makes commands of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from reconciler.practice.shell_tree import Part, Sequence, Substitution, Text, Variable, Word

META: Final = frozenset(" \t\n;&|<>()")


class ShellSyntaxError(Exception):
    """What dash would say, after `sh: LINE: Syntax error: `."""


class Scanner:
    """A cursor over one script."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

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
        while not self._end():
            if self._looking_at("\\\n"):
                self._at += 2
            elif self._text[self._at] in " \t":
                self._at += 1
            elif self._text[self._at] == "#":
                ending = self._text.find("\n", self._at)
                self._at = len(self._text) if ending < 0 else ending
            else:
                return

    def word(self) -> Word:
        """One argument, up to a blank or an operator."""
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
                ending = self._at + 1
                while (
                    ending < len(self._text) and self._text[ending] not in META and self._text[ending] not in "'\"\\$`"
                ):
                    ending += 1
                parts.append(Text(self._text[self._at : ending], quoted=False))
                self._at = ending
        return Word(tuple(parts))

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
        self._at += 1
        return Text(character, quoted=True)

    def document(self) -> Word:
        """The whole text as an unquoted here-document: variables yes, quotes no."""
        parts: list[Part] = []
        while not self._end():
            parts.append(self._inside_quotes("$`\\\n"))
        return Word(tuple(parts))

    def _dollar(self, *, quoted: bool) -> Part:
        if self._looking_at("$(("):
            raise ShellSyntaxError("arithmetic is more than this shell can do")
        if self._looking_at("$("):
            self._at += 2
            body = self.commands_until(")")
            self._at += 1
            return Substitution(body, quoted)
        if self._looking_at("${"):
            match = re.compile(r"\$\{(\w+|[?@*#$])(:-([^}]*))?\}", re.ASCII).match(self._text, self._at)
            if match is None:
                raise ShellSyntaxError("Bad substitution")
            self._at = match.end()
            otherwise = Scanner(match[3]).word() if match[3] else None
            return Variable(match[1], quoted, otherwise)
        match = re.compile(r"\$([A-Za-z_]\w*|[0-9?@*#$!])", re.ASCII).match(self._text, self._at)
        if match is None:
            self._at += 1
            return Text("$", quoted=True)
        self._at = match.end()
        return Variable(match[1], quoted)
