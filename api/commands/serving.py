"""`serve` and `validate`: what needs no server, because it is one or reads files."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.environment import Completion
from api.folder import DEFAULT
from api.output import Format, Output, dump, fail, note, sentences
from state.problems import Invalid
from state.sources import read_desired, read_recipes, recipe_files

if TYPE_CHECKING:
    from state.load import Loaded

app = typer.Typer()


@app.command()
def serve(
    desired: Annotated[
        Path | None,
        typer.Option(envvar="SPARKKEEP_DESIRED", help="the desired state: a file, or a folder of them"),
    ] = None,
    practice: Annotated[
        int, typer.Option(envvar="SPARKKEEP_PRACTICE", min=0, max=16, help="keep this many practice Sparks instead")
    ] = 0,
    host: Annotated[
        str | None,
        typer.Option(envvar="SPARKKEEP_HOST", help="address to listen on (default 0.0.0.0; 127.0.0.1 with --practice)"),
    ] = None,
    port: Annotated[
        int, typer.Option(envvar=["SPARKKEEP_PORT", "BIND_PORT"], min=0, max=65535, help="port; 0: any free one")
    ] = 9999,
    data: Annotated[
        Path, typer.Option(envvar="SPARKKEEP_DATA", help="folder for the journal, secrets and known hosts")
    ] = DEFAULT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(envvar="SPARKKEEP_ALLOW_HOST", help="a further name that this server answers to (repeatable)"),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="tell more on standard error")] = False,
) -> None:
    """Keep the Sparks as declared, and serve the API and the page.

    \b
    sparkkeep serve --practice 2                 try everything without a Spark
    sparkkeep serve --desired desired.yaml       mind the Sparks named there

    Ctrl-C (or SIGTERM) ends it within ten seconds; nothing on the Sparks is stopped by that.
    """  # noqa: D301  # \b is typer's
    from api.serve import Options  # noqa: PLC0415  # loads SSH and the web server, which takes a second
    from api.serve import serve as serve_until_told  # noqa: PLC0415  # as above

    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # warns of every connection that went away
    for name in ("sparkkeep", "state"):
        logging.getLogger(name).setLevel(level)
    options = Options(
        desired=desired, practice=practice, host=host, port=port, data=data, allow_hosts=tuple(allow_host or ())
    )
    with sentences():
        asyncio.run(serve_until_told(options))


@app.command()
def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", envvar="SPARKKEEP_DESIRED", help="files or folders; default desired.yaml"),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Check a desired state, offline. Exit status 0: valid; 1: not, with every problem as file:line:col.

    \b
    sparkkeep validate                           desired.yaml of this folder
    sparkkeep validate fleet/ extra.yaml         several, as one desired state
    """  # noqa: D301  # \b is typer's
    from state.load import load_sources  # noqa: PLC0415  # loads the schema

    given = paths or [Path("desired.yaml")]
    try:
        sources = Completion(os.environ)(read_desired(given))
        loaded = load_sources(sources, read_recipes(recipe_files(os.environ)))
    except Invalid as invalid:
        if output is not Format.TABLE:
            dump({"valid": False, "problems": [problem.as_dict() for problem in invalid.problems]}, output)
            raise typer.Exit(1) from None
        for problem in invalid.problems:
            print(problem)  # noqa: T201  # what was asked for
        count = len(invalid.problems)
        fail("1 problem" if count == 1 else f"{count} problems")
    if output is not Format.TABLE:
        dump(_valid(loaded), output)
        return
    desired = loaded.desired
    note(
        f"valid: {len(desired.sparks)} Sparks, {len(desired.models)} models, {len(desired.services)} services "
        f"(sha256:{loaded.digest[:12]})"
    )


def _valid(loaded: Loaded) -> dict[str, Any]:
    return {
        "valid": True,
        "problems": [],
        "revision": f"sha256:{loaded.digest[:12]}",
        "sparks": list(loaded.desired.sparks),
        "workloads": list(loaded.resolved),
    }
