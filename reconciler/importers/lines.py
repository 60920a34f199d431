"""A command line as a shell would split it, with what a shell would still do to it pointed out.

Words come out as they are after quoting; what a shell would replace in one (`$HOME`, `$(date)`, `~`, `{a,b}`) is
kept beside it, since a recipe's argv has no shell around it. Operators and ends of lines are marks. Pure text work:
nothing here runs or builds a command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MARK: Final = re.compile(r"\d*(?:&>>|&>|>>|>&|>\||>|<<<|<<|<&|<)|&&|\|\||;;|[|&;()\n]")
_NAMED: Final = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])")
_BRACES: Final = re.compile(r"\{[^{}\s]*(?:,|\.\.)[^{}\s]*\}")
_BROKEN_CONTINUATION: Final = re.compile(r"\\[ \t]+\n")


class Unreadable(Exception):
    """A line that has no one meaning; the text says why."""


@dataclass(frozen=True, slots=True)
class Word:
    """An argument. `live` is what a shell would replace in it; `bare` how it stands without quotes, if so."""

    text: str
    live: tuple[str, ...] = ()
    bare: bool = True


@dataclass(frozen=True, slots=True)
class Mark:
    """An operator such as `|` or `2>`, or the end of a line."""

    text: str


Token = Word | Mark


def scan(line: str) -> list[Token]:
    r"""The tokens of a POSIX shell's line. A backslash followed by blanks still continues it. Raises Unreadable."""
    return _Scanner(_BROKEN_CONTINUATION.sub("\\\n", line), special=True).tokens()


def split(line: str) -> list[Word]:
    """The words of a line that no shell ever sees: blanks and quotes only, everything else is text."""
    return [token for token in _Scanner(line, special=False).tokens() if isinstance(token, Word)]


class _Scanner:
    def __init__(self, line: str, *, special: bool) -> None:
        self._line = line
        self._special = special  # what a shell would do is looked for
        self._at = 0
        self._out: list[Token] = []
        self._begin()

    def _begin(self) -> None:
        self._text: list[str] = []
        self._live: list[str] = []
        self._started = False
        self._bare = True

    def _end(self) -> None:
        if self._started:
            text = "".join(self._text)
            if self._special and self._bare and (found := _BRACES.search(text)):
                self._live.append(found[0])
            self._out.append(Word(text, tuple(self._live), self._bare))
        self._begin()

    def tokens(self) -> list[Token]:
        """Walk the line once."""
        while self._at < len(self._line):
            self._step(self._line[self._at])
        self._end()
        return self._out

    def _step(self, char: str) -> None:
        if char in " \t\r" or (char == "\n" and not self._special):
            self._end()
            self._at += 1
        elif char == "\\":
            self._escape()
        elif char in "'\"":
            self._started, self._bare = True, False
            self._at += 1
            self._single() if char == "'" else self._double()
        elif self._special and char == "#" and not self._started:
            end = self._line.find("\n", self._at)
            self._at = len(self._line) if end < 0 else end
        elif self._special and (mark := self._mark()):
            self._out.append(Mark(mark))
        elif self._special and char in "$`":
            self._expansion()
        else:
            if self._special and char == "~" and not self._started:
                self._live.append("~")
            self._take(char)

    def _take(self, text: str) -> None:
        self._started = True
        self._text.append(text)
        self._at += len(text)

    def _mark(self) -> str:
        """The operator that stands here; digits before a redirection belong to it."""
        found = _MARK.match(self._line, self._at)
        if found is None or (found[0][0].isdigit() and self._started):
            return ""
        self._end()
        self._at = found.end()
        return found[0]

    def _escape(self) -> None:
        following = self._line[self._at + 1 : self._at + 2]
        self._at += 2
        if following == "\n" or not following:  # continued on the next line, or a last one that continues nothing
            return
        self._started, self._bare = True, False
        self._text.append(following)

    def _single(self) -> None:
        end = self._line.find("'", self._at)
        if end < 0:
            raise Unreadable("a ' has no partner")
        self._text.append(self._line[self._at : end])
        self._at = end + 1

    def _double(self) -> None:
        while self._at < len(self._line):
            char = self._line[self._at]
            following = self._line[self._at + 1 : self._at + 2]
            if char == '"':
                self._at += 1
                return
            if char == "\\" and following and following in '$`"\\\n':
                self._text.append("" if following == "\n" else following)
                self._at += 2
            elif self._special and char in "$`":
                self._expansion()
            else:
                self._take(char)
        raise Unreadable('a " has no partner')

    def _expansion(self) -> None:
        """`$NAME`, `${...}`, `$(...)`, a pair of backquotes; a lone `$` is text."""
        rest = self._line[self._at :]
        if rest.startswith(("${", "$(", "`", "$'", '$"')):
            found = rest[: _closing(rest)]
        elif named := _NAMED.match(rest):
            found = named[0]
        else:
            self._take("$")
            return
        self._live.append(found)
        self._take(found)


def _closing(text: str) -> int:
    """Where the expansion that `text` begins with ends."""
    pairs = {"${": "}", "$(": ")", "$'": "'", '$"': '"'}
    opening, closing = text[:2] if text[0] == "$" else "`", pairs.get(text[:2], "`")
    depth, at = 0, len(opening)
    while at < len(text):
        if text[at] == closing:
            if depth == 0:
                return at + 1
            depth -= 1
        elif text[at] == opening[-1] and closing in "})":
            depth += 1
        at += 1
    raise Unreadable(f"a {opening} has no partner")
