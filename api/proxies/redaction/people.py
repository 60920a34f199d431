"""Which part of a person's name stands somewhere: "Ada", after "Ada Lovelace", is a part of the same placeholder."""

from __future__ import annotations

import re
from typing import Final

PERSON: Final = "PERSON"
TITLES: Final = frozenset(
    {"mr", "mrs", "ms", "miss", "mx", "dr", "prof", "professor", "sir", "dame", "lord", "lady", "herr", "frau",
     "madame", "monsieur", "mme", "mlle", "señor", "señora", "sr", "sra"}
)  # fmt: skip
POSSESSIVE: Final = re.compile(r"['\u2019]s?$")
MARKS: Final = ".,;:!?\"'()\u2019\u201c\u201d"


class People:
    """The full names of a conversation, by the placeholder each was given."""

    def __init__(self) -> None:
        self._words: dict[str, tuple[str, ...]] = {}
        self._with: dict[str, dict[str, None]] = {}  # whose names hold a word, the latest last

    def know(self, base: str, original: str) -> None:
        """A name as it was written. Of several for one person the longest counts."""
        words = words_of(original)
        if base not in self._words or len(words) > len(self._words[base]):
            self._words[base] = words
            for word in words:
                bases = self._with.setdefault(word, {})
                bases.pop(base, None)
                bases[base] = None

    def tie(self, original: str) -> tuple[str, str] | None:
        """Whose name this is a part of, or the longer form of, and which part. Of several, the latest."""
        words = words_of(original)
        for word in words:
            for base in reversed(self._with.get(word, {})):
                if part := _part(words, self._words[base], plain=len(original.split()) == 1):
                    return base, "" if part == "OTHER" else part
        return None


def words_of(name: str) -> tuple[str, ...]:
    """Its words, without titles, marks and a possessive."""
    words = (POSSESSIVE.sub("", word.strip(MARKS)).strip(MARKS) for word in name.casefold().split())
    return tuple(word for word in words if word and word not in TITLES)


def _part(words: tuple[str, ...], known: tuple[str, ...], *, plain: bool) -> str:
    """Empty: none of it."""
    if len(known) == 1 < len(words) and known[0] in words:
        return "FULL"
    if not known or not set(words) <= set(known):
        return ""
    if len(words) > 1 or not plain or len(known) == 1:
        return "OTHER"
    if words[0] == known[0]:
        return "FIRST"
    return "LAST" if words[0] == known[-1] else "MIDDLE"
