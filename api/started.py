"""What the server was started with: the options of `serve`, and what only the environment says. Shown, never changed.

The options are taken from the command itself, so that a new one is shown without another word. Where a token or a
secret lies is shown; what it is, never.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import typer

from state.git import masked

Whose = Literal["command line", "environment", "default"]

NAMED: Final = {
    "MODELS_YAML": "a file of recipes in place of those that ship",
    "MODELS_OVERRIDES": "a file of recipes over those",
    "SERVICES_OVERRIDES": "another file of recipes over those",
    "SPARKKEEP_MODS": "the folder of mods",
    "SPARKKEEP_SECRETS": "the folder of secrets, in place of the one in the data folder",
    "SSH_DIR": "the folder of ssh's key, configuration and known hosts",
    "SSH_KEY_PATH": "the private key to log in to the Sparks with",
    "SSH_KNOWN_HOSTS": "the file of host keys that are believed",
    "REDACTION_MAP_DB": "the file of what redacted sessions have masked, encrypted (docs/REDACTION_GATEWAY.md)",
    "CONNECTIVITY_LOG": "a file with a line for each time that a Spark answers again, or no more",
}
SHORTEST: Final = 3  # characters of `--x`


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One thing that is set when the server starts."""

    name: str
    help: str
    flag: str = ""
    variables: tuple[str, ...] = ()
    default: Any = None
    value: Any = None
    source: Whose = "default"

    @property
    def how(self) -> str:
        """In words."""
        ways = [way for way in (self.flag, *self.variables) if way]
        return f"it is set when the server starts ({', '.join(ways)})"


def options(command: Any) -> Iterator[Start]:
    """The options of `serve`; `command` is typer's."""
    for option in command.params:
        variables = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        if not variables:
            continue
        flag = next(flag for flag in option.opts if len(flag) >= SHORTEST)
        yield Start(
            name=_name(option.name),
            help=option.help or "",
            flag=flag,
            variables=tuple(variables),
            default=str(option.default) if isinstance(option.default, Path) else option.default,
        )


def given(context: typer.Context) -> Iterator[Start]:
    """The options with their values, as `serve` was called."""
    names = {_name(option.name): option.name for option in context.command.params if option.name}
    for option in options(context.command):
        source = context.get_parameter_source(names[option.name])
        said = source.name.lower() if source is not None else ""
        whose: Whose = (
            "command line" if said == "commandline" else "environment" if said == "environment" else "default"
        )
        yield replace(option, value=_plain(context.params[names[option.name]]), source=whose)


def in_force(started: Iterable[Start], **came: Any) -> Iterator[Start]:
    """With what some of them came to be: a server that was told nothing chooses its address, say."""
    known = {_name(option): _plain(value) for option, value in came.items()}
    for start in started:
        yield replace(start, value=known.get(start.name, start.value))


def named(environ: Mapping[str, str]) -> Iterator[Start]:
    """What only the environment says."""
    for variable, text in NAMED.items():
        said = environ.get(variable) or None
        whose: Whose = "environment" if said else "default"
        name = _name(variable.removeprefix("SPARKKEEP_").lower())
        yield Start(name=name, help=text, variables=(variable,), value=said, source=whose)


def _name(option: str) -> str:
    return "serve." + re.sub(r"_(\w)", lambda found: found[1].upper(), option)


def _plain(value: Any) -> Any:
    """For JSON. A remote may be an address with a password in it."""
    if isinstance(value, Path):
        return os.fspath(value.expanduser())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return masked(value) if isinstance(value, str) else value
