"""`secret`: names for what must not stand in the desired state. Values come from standard input, and never leave."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, Final

import typer

from api.folder import DEFAULT, DataFolder, Unusable
from api.output import fail, note
from state.secrets import SecretRefused, Secrets

group = typer.Typer(
    name="secret", help="Tokens and keys, by name; kept apart from the desired state.", no_args_is_help=True
)
WELL_KNOWN: Final = "hf (Hugging Face), ngc (NVIDIA's registry and NIM)"

Data = Annotated[Path, typer.Option("--data", envvar="SPARKKEEP_DATA", help="the data folder of the server")]
Name = Annotated[str, typer.Argument(metavar="NAME", help=f"such as {WELL_KNOWN}")]


@group.command("set")
def set_(name: Name, data: Data = DEFAULT) -> None:
    """Write a secret, from standard input or asked for without an echo.

    A running server uses it from then on, and tries again what was refused for want of it.

    \b
    sparkkeep secret set hf                      asks for the value
    sparkkeep secret set ngc < key.txt           from a file
    """  # noqa: D301  # \b is typer's
    value = getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read()
    try:
        _secrets(data).set(name, value.strip("\r\n"))
    except SecretRefused as refused:
        fail(str(refused))
    note(
        f"the secret {name} is kept in {_secrets(data).folder}; "
        f"a recipe names it as env: {{VARIABLE: {{secret: {name}}}}}"
    )


@group.command("list")
def list_(data: Data = DEFAULT) -> None:
    """The names of the secrets. Values are never shown."""
    for name in _secrets(data).names():
        print(name)  # noqa: T201  # what was asked for


@group.command("remove")
def remove(name: Name, data: Data = DEFAULT) -> None:
    """Forget a secret. What runs with it goes on."""
    try:
        gone = _secrets(data).remove(name)
    except SecretRefused as refused:
        fail(str(refused))
    if not gone:
        fail(f"there is no secret {name}")


def _secrets(data: Path) -> Secrets:
    folder = DataFolder(data)
    try:
        folder.make()
    except Unusable as unusable:
        fail(str(unusable))
    return Secrets(os.environ.get("SPARKKEEP_SECRETS") or folder.secrets)
