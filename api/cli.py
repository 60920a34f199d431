"""`sparkkeep`: the command line. Each verb lives in `api.commands`; here they are put into one program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Annotated, Final

import typer

from api.client import TOKEN_FILE
from api.commands import (
    asking,
    doctor,
    following,
    history,
    importing,
    init,
    models,
    planning,
    reading,
    rendering,
    requests,
    secrets,
    serving,
    settings,
    verbs,
    weights,
)

HELP = """Keeps your Sparks in the state you declared.

\b
sparkkeep serve --practice 2     try it without a Spark
sparkkeep get                    how everything is
sparkkeep plan                   what would be done, and why

Data goes to standard output, everything else to standard error. Exit status: 0 done, 1 an error
or a no; `plan` adds 2: 0 nothing to do, 2 changes, 1 an error. Colour only in a terminal, and never with NO_COLOR.
"""

app = typer.Typer(
    name="sparkkeep",
    help=HELP,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (serving, init, doctor, planning, reading, following, history, models, verbs, asking, requests, rendering):
    app.registered_commands.extend(group.app.registered_commands)
app.add_typer(importing.group)
app.add_typer(weights.group)
app.add_typer(secrets.group)
app.add_typer(asking.group)
app.add_typer(settings.group)


@app.callback()
def everywhere(
    token_file: Annotated[
        Path | None,
        typer.Option(envvar="SPARKKEEP_TOKEN_FILE", help="file with the token that the server asks for, if it does"),
    ] = None,
) -> None:
    """What holds for every verb."""
    TOKEN_FILE.set(token_file)


USAGE_ERROR: Final = typer.BadParameter.__mro__[1]  # typer keeps the name of its base to itself


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Wrong usage is 1 like any error, since 2 is what `plan` says for changes."""
    assert issubclass(USAGE_ERROR, Exception)  # noqa: S101  # a law of typer's, not input
    try:
        code = copy_context().run(app, arguments, prog_name="sparkkeep", standalone_mode=False)
    except USAGE_ERROR as error:
        error.show()  # type: ignore[attr-defined]  # as above
        code = 1
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
