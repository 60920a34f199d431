"""What a piece of POSIX shell means, once it is read: the nodes that `shell_parser` makes and `shell_run` runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Text:
    """Characters as they are. Only unquoted ones can be a keyword, an operator or a tilde."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`, `${name}` or `${name:-otherwise}`."""

    name: str
    quoted: bool
    otherwise: Word | None = None


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$(...)`."""

    body: Sequence
    quoted: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`$((...))`."""

    expression: str
    quoted: bool


Part = Text | Variable | Substitution | Arithmetic


@dataclass(frozen=True, slots=True)
class Word:
    """One argument, before its expansion. `fixed`: its text, where that is the same whatever the shell knows."""

    parts: tuple[Part, ...] = ()
    fixed: str | None = None

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Word:
        """A word of these parts, in this order."""
        held = tuple(parts)
        texts = [part.text for part in held if isinstance(part, Text)]
        tilde = isinstance(first := next(iter(held), None), Text) and not first.quoted and first.text[:1] == "~"
        return cls(held, None if tilde or not held or len(texts) < len(held) else "".join(texts))

    @property
    def literal(self) -> str | None:
        """Its text if nothing in it is quoted or expanded: only such a word can be a keyword."""
        if all(isinstance(part, Text) and not part.quoted for part in self.parts):
            return "".join(part.text for part in self.parts if isinstance(part, Text))
        return None


@dataclass(slots=True)
class Redirect:
    """`2>file`, `2>&1`, `<file` or a here-document (whose `target` is filled in when its lines come)."""

    number: int
    operator: str
    target: Word = field(default_factory=Word)


@dataclass(frozen=True, slots=True)
class Simple:
    """Assignments and a command with its arguments. `fixed`: these, where all are the same whatever the shell knows."""

    line: int
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...]
    fixed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """`{ ... }`, or `( ... )` with variables of its own."""

    body: Sequence
    redirects: tuple[Redirect, ...]
    subshell: bool


@dataclass(frozen=True, slots=True)
class If:
    """`if ...; then ...; elif ...; else ...; fi`."""

    branches: tuple[tuple[Sequence, Sequence], ...]
    otherwise: Sequence | None


@dataclass(frozen=True, slots=True)
class For:
    """`for name in words; do ...; done`."""

    name: str
    words: tuple[Word, ...]
    body: Sequence


@dataclass(frozen=True, slots=True)
class While:
    """`while ...; do ...; done`, or `until`."""

    condition: Sequence
    body: Sequence
    until: bool


@dataclass(frozen=True, slots=True)
class Function:
    """`name() { ... }`."""

    name: str
    body: Command


Command = Simple | Group | If | For | While | Function


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`[!] a | b`. One command that is not negated stands for itself."""

    negated: bool
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class AndOr:
    """`a && b || c`: the first, then operators with theirs. One alone stands for itself."""

    first: Command | Pipeline
    rest: tuple[tuple[str, Command | Pipeline], ...]


Item = Command | Pipeline | AndOr


@dataclass(frozen=True, slots=True)
class Sequence:
    """Commands one after the other."""

    items: tuple[Item, ...]
