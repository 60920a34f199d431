"""`doctor`: is a Spark fit to be kept, and what mends it if not."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from api.folder import DEFAULT, DataFolder
from api.output import Format, Output, dump, note, sentences, show, table

if TYPE_CHECKING:
    from api.doctor import Examined

app = typer.Typer()
STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "magenta"}


@app.command()
def doctor(
    sparks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPARK]...", help="declared ones, or user@host[:port]; left out: all that are declared"
        ),
    ] = None,
    desired: Annotated[Path, typer.Option(envvar="SPARKKEEP_DESIRED", help="the desired state")] = Path("desired.yaml"),
    data: Annotated[
        Path, typer.Option(envvar="SPARKKEEP_DATA", help="folder with the host keys you trusted")
    ] = DEFAULT,
    output: Output = Format.TABLE,
) -> None:
    """Is a Spark fit to be kept? Says what is wrong, why it matters, and the command that mends it.

    \b
    sparkkeep doctor                            all that desired.yaml declares
    sparkkeep doctor nvidia@192.168.1.11        one that is not declared yet

    No server is needed, and nothing on a Spark is changed. Exit status 0: nothing fails; 1: something does.
    """  # noqa: D301  # \b is typer's
    from api.doctor import as_json, look, named, told  # noqa: PLC0415  # loads SSH, which takes a second
    from api.reach import Reach  # noqa: PLC0415  # as above

    with sentences():
        wanted = named(sparks or [], desired, os.environ)
        reach = Reach.of(os.environ, DataFolder(data).known_hosts)
        found = asyncio.run(look(wanted, reach, lambda name, what: note(f"{name}: {what}")))
    if output is not Format.TABLE:
        dump(as_json(found), output)
    else:
        show(_table(found))
        for each in found:
            for line in told(each):
                print(line)  # noqa: T201  # the data
        note(summary(found))
    if not all(each.healthy for each in found):
        raise typer.Exit(1)


def _table(found: Sequence[Examined]) -> Table | Text:
    rows = (
        (each.case.name, finding.check, Text(finding.verdict, style=STYLES[finding.verdict]), finding.message)
        for each in found
        for finding in each.findings
    )
    return table(("SPARK", "CHECK", "VERDICT", "MESSAGE"), rows)


def summary(found: Sequence[Examined]) -> str:
    """`spark-1: 22 ok, 2 warn` for each."""
    counted = ((each.case.name, Counter(finding.verdict.value for finding in each.findings)) for each in found)
    lines = (f"{name}: {', '.join(f'{counts[v]} {v}' for v in STYLES if counts[v])}" for name, counts in counted)
    return "\n".join(lines)
