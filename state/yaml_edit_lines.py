"""A text as lines: where they begin and end, and what stands on them.

Lines and places (characters) count from 0. What breaks a line is what the YAML parser takes for a break.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_GAP: Final = re.compile("(?:[ \t\r\n\x85\u2028\u2029]|#[^\r\n\x85\u2028\u2029]*)*")


class Lines:
    """The lines of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in BREAK.finditer(text))]

    @property
    def broken_off(self) -> bool:
        """Whether the last line ends without a break."""
        return self._starts[-1] < len(self.text)

    def line(self, at: int) -> int:
        """The line that holds this place; -1 before the text."""
        return bisect_right(self._starts, at) - 1

    def column(self, at: int) -> int:
        """How many characters stand before it on its line."""
        return at - self._starts[self.line(at)]

    def begin(self, line: int) -> int:
        """Where a line begins; the end of the text for one beyond it."""
        return self._starts[line] if line < len(self._starts) else len(self.text)

    def end(self, line: int) -> int:
        """Where a line's break stands, or the text ends."""
        found = BREAK.search(self.text, self.begin(line))
        return found.start() if found else len(self.text)

    def line_end(self, at: int) -> int:
        """The end of the line that holds this place."""
        return self.end(self.line(at))

    def words(self, line: int) -> str:
        """A line without the space around its words."""
        return self.text[self.begin(line) : self.end(line)].strip(" \t")

    def beyond(self, line: int) -> bool:
        """Whether the text is over before this line."""
        return self.begin(line) >= len(self.text)

    def indent(self, line: int) -> int:
        """How far its first word is indented."""
        shown = self.text[self.begin(line) : self.end(line)]
        return len(shown) - len(shown.lstrip(" "))

    def alone(self, at: int) -> bool:
        """Whether only spaces stand before this place on its line."""
        return self.indent(self.line(at)) == self.column(at)

    def ends_line(self, at: int) -> bool:
        """Whether nothing but a comment follows on its line."""
        return self.past_gap(at) >= self.line_end(at)

    def newline(self, at: int = 0) -> str:
        """The break to write here: the next one that stands in the text, or its first."""
        found = BREAK.search(self.text, at) or BREAK.search(self.text)
        return found[0] if found else "\n"

    def past_gap(self, at: int) -> int:
        """The first character from here on that is no space and no comment."""
        found = _GAP.match(self.text, at)
        return found.end() if found else at

    def comma(self, at: int) -> int:
        """Where the comma after this place stands (only space and comments lie between), or -1."""
        found = self.past_gap(at)
        return found if self.text.startswith(",", found) else -1
