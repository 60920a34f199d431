"""The account of an import: what became of every key of the input.

A format's reader says of each key that it knows what became of it. Whatever it did not mention is lost, and the
account says so by itself: that is how an unknown key, today's or next year's, is always listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from state.problems import dotted

Json = dict[str, Any]
Key = tuple[str | int, ...]
UNKNOWN: Final = "is not a key that this importer knows"


def named(text: str) -> tuple[str, ...]:
    """Names that stand in one text, with blanks between them."""
    return tuple(text.split())


class Fate(StrEnum):
    """What became of a key."""

    CARRIED = "carried"
    CONSUMED = "consumed"
    LOST = "not carried"


@dataclass(frozen=True, slots=True)
class Note:
    """One key of the input. `key` is a dotted path, `message` what became of it."""

    file: str
    key: str
    fate: Fate
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.fate}: {self.key}: {self.message}"

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"file": self.file, "key": self.key, "fate": self.fate.value, "message": self.message, "text": str(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One recipe, and its workload as far as the input knew it (`on` or `across` name example Sparks)."""

    name: str
    recipe: Json
    workload: Json = field(default_factory=dict)
    section: Literal["models", "services"] = "models"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one file gave."""

    imported: tuple[Imported, ...]
    notes: tuple[Note, ...]

    @property
    def lost(self) -> tuple[Note, ...]:
        """What a person has to look at."""
        return tuple(note for note in self.notes if note.fate is Fate.LOST)


class Account:
    """Collects the fates of the keys of one document."""

    def __init__(self, file: str, data: object, *, unknown: str = UNKNOWN) -> None:
        self.file = file
        self._unknown = unknown
        self._data = data
        self._fates: dict[Key, list[tuple[Fate, str]]] = {}
        self._said: list[Note] = []

    def carry(self, *key: str | int, to: str) -> None:
        """The value went to the recipe's field `to`. Holds for everything below the key."""
        self._fates.setdefault(key, []).append((Fate.CARRIED, to))

    def consume(self, *key: str | int, why: str) -> None:
        """The value has no field of its own here, and needs none."""
        self._fates.setdefault(key, []).append((Fate.CONSUMED, why))

    def lose(self, *key: str | int, why: str) -> None:
        """The value could not be carried."""
        self._fates.setdefault(key, []).append((Fate.LOST, why))

    def say(self, key: str, fate: Fate, message: str) -> None:
        """Of a part of a value, such as one flag of a command."""
        self._said.append(Note(self.file, key, fate, message))

    def knows(self, *key: str | int) -> bool:
        """Something was said of this very key, or of a part of it."""
        return self._mentioned(key)

    def notes(self) -> tuple[Note, ...]:
        """Every key, in the order of the input; what was never mentioned is lost."""
        return (*self._walk((), self._data), *self._said)

    def _walk(self, key: Key, node: object) -> Iterator[Note]:
        for fate, message in dict.fromkeys(self._fates.get(key, ())):
            yield Note(self.file, dotted(key), fate, message)
        children = list(_children(node))
        if key in self._fates:  # covers what is below; what was said of a part is said besides
            for part, child in children:
                if self._mentioned((*key, part)):
                    yield from self._walk((*key, part), child)
        elif not key or (children and self._mentioned(key)):
            for part, child in children:
                yield from self._walk((*key, part), child)
        else:
            yield Note(self.file, dotted(key), Fate.LOST, self._unknown)

    def _mentioned(self, key: Key) -> bool:
        return any(known[: len(key)] == key for known in self._fates)


def _children(node: object) -> Iterator[tuple[str | int, object]]:
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)
