"""`sparkkeep`: the command line. Each verb lives in `api.commands`; here they are put into one program."""

from __future__ import annotations

import typer

from api.commands import following, planning, reading, serving, verbs

HELP = """Keeps your Sparks in the state you declared.

\b
sparkkeep serve --practice 2     try it without a Spark
sparkkeep get                    how everything is
sparkkeep plan                   what would be done, and why

Data goes to standard output, everything else to standard error. Exit status: 0 done, 1 an error or a no, 2 wrong
usage; `plan` has its own: 0 nothing to do, 2 changes, 1 an error. Colour only in a terminal, and never with NO_COLOR.
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
for group in (serving, planning, reading, following, verbs):
    app.registered_commands.extend(group.app.registered_commands)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
