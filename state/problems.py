"""What is wrong with a document, said so that the person who wrote it can put it right.

A `Problem` names the place (file, line, column), the field, what is wrong, and what would be allowed. Every way
in collects all of them before it refuses, since being told of one mistake at a time is a slow way to learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_PROBLEMS = 200
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. Line and column count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `field` is a dotted path, empty where the document itself is at fault."""

    file: str
    line: int
    column: int
    field: str
    message: str
    allowed: tuple[str, ...] = ()

    @classmethod
    def at(cls, place: Place, field: str, message: str, allowed: Iterable[str] = ()) -> Problem:
        """Say `message` of the field that stands at `place`."""
        return cls(place.file, place.line, place.column, field, message, tuple(allowed))

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.file, self.line, self.column)

    def __str__(self) -> str:
        said = f"{self.place}: {self.field}: {self.message}" if self.field else f"{self.place}: {self.message}"
        return f"{said}; allowed: {', '.join(self.allowed)}" if self.allowed else said

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the fields, and the whole sentence as `text`."""
        return {**asdict(self), "allowed": list(self.allowed), "text": str(self)}


class Invalid(Exception):
    """A document is refused; `problems` says why, in the order of the files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        ordered = sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column))
        kept = ordered[:MAX_PROBLEMS]
        if len(ordered) > MAX_PROBLEMS:
            last = kept[-1]
            more = f"at least {len(ordered) - MAX_PROBLEMS} more problems are not shown"
            kept.append(Problem(last.file, 0, 0, "", more))
        self.problems: list[Problem] = kept
        super().__init__("\n".join(str(problem) for problem in kept))


def shown(value: object) -> str:
    """A value as a person would recognise it: short, on one line, in quotes if it is text."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    line = repr(value)
    return line if len(line) <= MAX_SHOWN else f"{line[: MAX_SHOWN - 1]}…"


def dotted(path: Iterable[str | int]) -> str:
    """`models.qwen.on[0]` from its parts."""
    said = ""
    for part in path:
        said += f"[{part}]" if isinstance(part, int) else f".{part}" if said else str(part)
    return said
