"""Long texts in pieces that overlap, and one row of finds out of theirs.

A piece ends where a line does, else where a sentence or at least a word does, and the next begins well before that. So
whatever is shorter than what they share is seen whole by one of them, and all that any has seen is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from api.proxies.redaction.detect.merge import merged
from api.proxies.redaction.finds import Find

PIECE: Final = 8_000
OVERLAP: Final = 800
_ENDS: Final = tuple(regex.compile(pattern) for pattern in (r"(?r)\n", r"(?r)(?<=[.!?])\s", r"(?r)\s"))


@dataclass(frozen=True, slots=True)
class Piece:
    """text[start:end]."""

    start: int
    end: int


def pieces(text: str, size: int = PIECE, overlap: int = OVERLAP) -> list[Piece]:
    """Each but the last as long as `size` or a little less; together they hold all of it."""
    found: list[Piece] = []
    start = 0
    while len(text) - start > size:
        end = _end(text, start + size - overlap // 2, start + size)
        found.append(Piece(start, end))
        begin = end - overlap
        start = max(start + 1, _end(text, begin, begin + overlap // 4))
    found.append(Piece(start, len(text)))
    return found


def _end(text: str, least: int, most: int) -> int:
    for end in _ENDS:
        if found := end.search(text, least, most):
            return int(found.end())
    return most


def joined(text: str, parts: Sequence[tuple[Piece, Sequence[Find]]]) -> list[Find]:
    """The finds of all pieces, in the places of the whole text."""
    if len(parts) == 1:
        return list(parts[0][1])
    moved: list[Find] = []
    for piece, finds in parts:
        for find in finds:
            moved.append(Find(find.start + piece.start, find.end + piece.start, find.type, find.score))
    return merged(moved, text)
