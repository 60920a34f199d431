"""The docker CLI's way of reading a command line: Go's pflag, with its errors word for word.

A command is described by one line per flag, `--long,-s kind`. Strict on purpose: a flag that docker does not
know fails here as it fails there, so a mistake in our quoting can't slip through.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

UNITS: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}
TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
ULIMITS: Final = frozenset(
    [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


class BadUsage(Exception):
    """The command line is wrong: what goes to standard error, and the exit status."""

    def __init__(self, text: str, status: int = 125) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a command."""

    name: str
    short: str
    kind: str

    @property
    def shown(self) -> str:
        """As pflag names it in an error."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


@dataclass(frozen=True, slots=True)
class Usage:
    """A command of the docker CLI: its usage line, how many arguments it wants, its flags."""

    name: str
    synopsis: str
    flags: Mapping[str, Flag]
    least: int = 0
    most: int | None = None
    interspersed: bool = True  # whether flags may stand after arguments

    def problem(self, text: str) -> BadUsage:
        """An error in a flag."""
        return BadUsage(f"{text}\n\n{self._usage()}\n\nRun 'docker {self.name} --help' for more information\n")

    def wrong_count(self) -> BadUsage:
        """Too few or too many arguments."""
        if self.most == 0:
            return BadUsage(
                f"docker: 'docker {self.name}' accepts no arguments\n\n{self._usage()}\n\n"
                f"Run 'docker {self.name} --help' for more information\n",
                1,
            )
        count = "exactly" if self.least == self.most else "at least"
        plural = "" if self.least == 1 else "s"
        return BadUsage(
            f"docker: 'docker {self.name}' requires {count} {self.least} argument{plural}\n\n{self._usage()}\n\n"
            f"See 'docker {self.name} --help' for more information\n",
            1,
        )

    def _usage(self) -> str:
        return f"Usage:  docker {self.name} {self.synopsis}"


@dataclass(slots=True)
class Parsed:
    """Flags by long name, in the order given, and the arguments."""

    flags: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)

    def last(self, name: str, default: str = "") -> str:
        """The value that counts where a flag is given twice."""
        return self.flags.get(name, [default])[-1]

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.last(name, "false") in TRUE

    def all(self, name: str) -> list[str]:
        """Every value, in the order given."""
        return self.flags.get(name, [])


def usage(
    name: str, synopsis: str, flags: str, *, least: int = 0, most: int | None = None, interspersed: bool = True
) -> Usage:
    """`flags` is a text of `long[,short]=kind` words."""
    found: dict[str, Flag] = {}
    for word in flags.split():
        names, _, kind = word.partition("=")
        long, _, short = names.partition(",")
        found[long] = Flag(long, short, kind or "string")
    return Usage(name, synopsis, found, least, most, interspersed)


def parse(command: Usage, argv: list[str]) -> Parsed:
    """Raises BadUsage."""
    parsed = Parsed()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.arguments += rest
            break
        if word.startswith("--"):
            _long(command, word[2:], rest, parsed)
        elif word.startswith("-") and word != "-":
            _short(command, word[1:], rest, parsed)
        else:
            parsed.arguments.append(word)
            if not command.interspersed:
                parsed.arguments += rest
                break
    count = len(parsed.arguments)
    if count < command.least or (command.most is not None and count > command.most):
        raise command.wrong_count()
    return parsed


def _long(command: Usage, word: str, rest: list[str], parsed: Parsed) -> None:
    name, equals, value = word.partition("=")
    if not name or name.startswith("-") or word.startswith("="):
        raise command.problem(f"bad flag syntax: --{word}")
    flag = command.flags.get(name)
    if flag is None:
        raise command.problem(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == "bool":
            value = "true"
        elif not rest:
            raise command.problem(f"flag needs an argument: --{name}")
        else:
            value = rest.pop(0)
    _put(command, flag, value, parsed)


def _short(command: Usage, letters: str, rest: list[str], parsed: Parsed) -> None:
    """`-it`, `-n5`, `-n=5`, `-n 5`."""
    for at, letter in enumerate(letters):
        flag = next((flag for flag in command.flags.values() if flag.short == letter), None)
        if flag is None:
            raise command.problem(f"unknown shorthand flag: '{letter}' in -{letters}")
        after = letters[at + 1 :]
        if after.startswith("=") and len(after) > 1:
            return _put(command, flag, after[1:], parsed)
        if flag.kind == "bool":
            _put(command, flag, "true", parsed)
            continue
        if after:
            return _put(command, flag, after, parsed)
        if not rest:
            raise command.problem(f"flag needs an argument: '{letter}' in -{letters}")
        return _put(command, flag, rest.pop(0), parsed)
    return None


def _put(command: Usage, flag: Flag, value: str, parsed: Parsed) -> None:
    try:
        CHECKS[flag.kind](value)
    except ValueError as error:
        raise command.problem(f'invalid argument "{value}" for "{flag.shown}" flag: {error}') from error
    parsed.flags.setdefault(flag.name, []).append(value)


# What a value must look like; each raises ValueError with Docker's words.


def size(text: str) -> int:
    """go-units' RAMInBytes: `16g`, `1.5GiB`, `64m`, bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(\D*)", text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    unit = match[2].lower()
    scale = UNITS.get(re.sub(r"^([kmgtp])i?b?$", r"\1", unit))
    if scale is None:
        raise ValueError(f"invalid suffix: '{match[2]}'")
    return int(float(match[1]) * scale)


def whole(text: str) -> int:
    """Go's ParseInt."""
    if not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _boolean(text: str) -> None:
    if text not in TRUE | FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _environment(text: str) -> None:
    if not text or text.startswith("="):
        raise ValueError(f"invalid environment variable: {text}")


def _label(text: str) -> None:
    if not text or text.startswith("="):
        raise ValueError(f"invalid label '{text}': empty name")


def ulimit(text: str) -> tuple[str, int, int]:
    """`nofile=1024:2048`: name, soft, hard."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:  # noqa: PLR2004 - soft and hard
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers = [whole(part) for part in parts]
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return name, soft, hard


def fields(text: str) -> list[str]:
    """One line of CSV with Go's quoting: a field with a comma stands in double quotes."""
    if bare := re.search(r'(?:^|,)[^",][^,]*"', text):
        raise ValueError(f'parse error on line 1, column {bare.end()}: bare " in non-quoted-field')
    return next(csv.reader([text]), [])


def gpus(text: str) -> dict[str, object]:
    """`all`, a number, or `device=0`: the Engine's DeviceRequest."""
    request: dict[str, object] = {"Driver": "", "Count": 0, "DeviceIDs": None}
    for part in fields(text):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "count", part
        if key == "count":
            request["Count"] = -1 if value == "all" else whole(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key not in {"driver", "capabilities", "options"}:
            raise ValueError(f"unexpected key '{key}' in '{part}'")
    return {**request, "Capabilities": [["gpu"]], "Options": {}}


def mount(text: str) -> dict[str, str]:
    """The fields of `--mount`, by their long names."""
    found = {"type": "volume"}
    aliases = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    for part in fields(text):
        name, equals, value = part.partition("=")
        key = aliases.get(name.lower(), name.lower())
        if not equals:
            if key not in {"readonly", "volume-nocopy", "bind-nonrecursive"}:
                raise ValueError(f"invalid field '{part}' must be a key=value pair")
            value = "true"
        if key not in MOUNT_KEYS:
            raise ValueError(f"unexpected key '{key}' in '{part}'")
        found[key] = value
    if not found.get("target"):
        raise ValueError("target is required")
    return found


MOUNT_KEYS: Final = frozenset(
    [
        "type",
        "source",
        "target",
        "readonly",
        "consistency",
        "bind-propagation",
        "bind-nonrecursive",
        "bind-recursive",
        "volume-nocopy",
        "volume-label",
        "volume-driver",
        "volume-opt",
        "volume-subpath",
        "tmpfs-size",
        "tmpfs-mode",
    ]
)


def _anything(_text: str) -> None:
    return


CHECKS: Final[Mapping[str, Callable[[str], object]]] = {
    "string": _anything,
    "list": _anything,
    "bool": _boolean,
    "int": whole,
    "bytes": size,
    "env": _environment,
    "label": _label,
    "ulimit": ulimit,
    "gpus": gpus,
    "mount": mount,
}
