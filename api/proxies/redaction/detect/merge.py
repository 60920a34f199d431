"""One row of finds out of many that overlap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import regex

from api.proxies.redaction.finds import Find

_PLACED: Final = frozenset({"ADDRESS", "LOCATION"})
_PLACES: Final = frozenset({"ADDRESS", "LOCATION", "ORGANIZATION", "PERSON"})
_BETWEEN: Final = regex.compile(r"[ ]?[,.]?[ ]*(?:\n[ >*?|#-]*(?:\n[ ]*)?)?,?[ ]*")
_WHOLES: Final = frozenset({"ADDRESS", "EMAIL", "IBAN", "SECRET", "URL"})
"""What may hold other finds (a name in an address of mail) and stays whole."""


def merged(finds: Iterable[Find], text: str) -> list[Find]:
    """Sorted and disjoint; all that was found by any is still covered.

    The surer one wins, the longer of equals; of a loser that overlaps in part what sticks out stays a find.
    """
    taken: list[Find] = []
    for find in sorted(finds, key=_rank):
        pieces = [(find.start, find.end)]
        for other in taken:
            pieces = [rest for piece in pieces for rest in _outside(piece, other)]
        for start, end in pieces:
            if find.type != "SECRET":
                start, end = _trimmed(text, start, end)
            whole = (start, end) == (find.start, find.end)
            if start < end and (whole or any(char.isupper() or char.isdigit() for char in text[start:end])):
                taken.append(Find(start, end, find.type, find.score))
    return _joined(sorted(taken, key=lambda find: find.start), text)


def _joined(finds: list[Find], text: str) -> list[Find]:
    """Parts of one address that stand side by side are one find: also the name that a street has."""
    joined: list[Find] = []
    for find in finds:
        last = joined[-1] if joined else None
        near = last is not None and _BETWEEN.fullmatch(text, last.end, find.start)
        kinds = {last.type, find.type} if last else set()
        # A street may have somebody's name; who stands before a comma or a line's end lives there.
        close = last is not None and (kinds <= _PLACED or find.start - last.end <= 1)
        if last and near and close and "ADDRESS" in kinds and kinds <= _PLACES:
            joined[-1] = Find(last.start, find.end, "ADDRESS", max(last.score, find.score))
        else:
            joined.append(find)
    return joined


def _rank(find: Find) -> tuple[float, int, int, str]:
    bonus = 0.3 if find.type in _WHOLES else 0.0
    return -(find.score + bonus), find.start - find.end, find.start, find.type


def _outside(piece: tuple[int, int], other: Find) -> list[tuple[int, int]]:
    start, end = piece
    if end <= other.start or start >= other.end:
        return [piece]
    return [part for part in ((start, other.start), (other.end, end)) if part[0] < part[1]]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Without blanks and marks at its ends that are of the sentence."""
    while start < end and (text[start].isspace() or text[start] in ",;:.!?)]}"):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in ",;:!?([{"):
        end -= 1
    return start, end
