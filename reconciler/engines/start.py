"""The words a container starts with: the engine's program, and how they get past the image's entrypoint.

Images differ in what they begin with by themselves: nothing that is of use, a script that prepares the ground and then
runs what it is given (NVIDIA's), or the engine itself (upstream vLLM). A `Start` says which of these it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from state.engines import active, given
from state.recipes import Recipe

_NUMBER: Final = r"-\d+(\.\d+)?"


class NotLaunchable(Exception):
    """A recipe that can't be turned into a command; the text says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The whole program with its arguments, and how the image begins by itself."""

    argv: tuple[str, ...]
    through: bool = False  # the image's own entrypoint is a script that must stay: it runs the argv
    built_in: tuple[str, ...] = ()  # the words that the image's own entrypoint already holds
    page: str = "/health"  # tells the server's health


def past_the_entrypoint(recipe: Recipe, start: Start) -> tuple[list[str] | None, list[str]]:
    """`entrypoint` and `command` of the container that runs `start`."""
    argv, written = list(start.argv), recipe.entrypoint
    if written is not None and argv[: len(written)] == written:
        return written, argv[len(written) :]
    if written is None and start.through:
        return None, argv
    built_in = list(start.built_in)
    if written is None and built_in and argv[: len(built_in)] == built_in:
        return None, argv[len(built_in) :]
    return argv[:1], argv[1:]


def program(recipe: Recipe, words: Sequence[str]) -> tuple[str, ...]:
    """The engine's program: `words`, behind the recipe's entrypoint or replaced by it.

    An entrypoint that ends as the program does (`... serve`) is the program; any other is something that runs it.
    """
    written = tuple(recipe.entrypoint or ())
    ends_alike = written and written[-1].rpartition("/")[2] == words[-1].rpartition("/")[2]
    return written if ends_alike else (*written, *words)


def repository(image: str) -> str:
    """An image's name without tag and digest, and without Docker's own registry."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return re.sub(r"^(docker\.io|index\.docker\.io)/", "", f"{head}{slash}{last.partition(':')[0]}")


def of_nvidia(image: str) -> bool:
    """NVIDIA's own images begin with a script that checks the driver and sets up the libraries: it must stay."""
    return repository(image).startswith("nvcr.io/nvidia/")


def beneath(derived: Mapping[str, JsonValue], flags: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The recipe's flags over those that the engine derives, whatever their spelling."""
    return {**{name: value for name, value in derived.items() if given(flags, name) is None}, **flags}


def flag_arguments(flags: Mapping[str, JsonValue]) -> Iterator[str]:
    """A flags map as arguments, by name: `true` is a bare flag, `false` and null leave it out, maps become JSON.

    The order in the file means nothing, so it must not look like drift.
    """
    for name, value in sorted(active(flags).items()):
        yield f"--{name}"
        if value is True:
            continue
        if isinstance(value, list):
            yield from (flag_text(item) for item in value)
        else:
            yield flag_text(value)


def parsed_arguments(flags: Mapping[str, JsonValue], *, repeat: bool = False) -> Iterator[str]:
    """The same for engines that read their flags with argparse or click, where a value may not look like a flag.

    A value that begins with `-` is joined to its flag. A list becomes several values of one flag, or with `repeat` one
    flag for each. Raises NotLaunchable for a list whose items would be taken for flags.
    """
    for name, value in sorted(active(flags).items()):
        if value is True:
            yield f"--{name}"
        elif isinstance(value, list) and not repeat:
            yield f"--{name}"
            yield from _items(name, map(flag_text, value))
        else:
            for item in value if isinstance(value, list) else [value]:
                text = flag_text(item)
                yield from (f"--{name}={text}",) if text.startswith("-") else (f"--{name}", text)


def repeated_arguments(flags: Mapping[str, JsonValue]) -> Iterator[str]:
    """The same for llama.cpp, which takes the next word for the value whatever it looks like; lists repeat the flag."""
    for name, value in sorted(active(flags).items()):
        for item in value if isinstance(value, list) else [value]:
            yield from (f"--{name}",) if item is True else (f"--{name}", flag_text(item))


def _items(name: str, items: Iterable[str]) -> Iterator[str]:
    for item in items:
        if item.startswith("-") and not re.fullmatch(_NUMBER, item):
            raise NotLaunchable(f"flags: {name} has an item that begins with '-': the engine would take it for a flag")
        yield item


def flag_text(value: JsonValue) -> str:
    """A flag's value as one argument: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def whole(flags: Mapping[str, JsonValue], *names: str) -> int | None:
    """A flag's value as a whole number of at least 1; None if it is not given. Raises NotLaunchable."""
    value = given(flags, *names)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise NotLaunchable(f"flags: {names[0]} must be a whole number of at least 1")
    return value
