"""`serve` and `validate`: what needs no server, because it is one or reads files."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api import collector
from api.client import TOKEN_FILE
from api.environment import Completion
from api.folder import DEFAULT
from api.log_lines import begin
from api.output import Format, Output, dump, fail, note, sentences
from api.started import given
from state.problems import Invalid
from state.sources import read_desired, read_recipes, recipe_files

if TYPE_CHECKING:
    from state.load import Loaded

app = typer.Typer()


class LogForm(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


@app.command()
def serve(
    context: typer.Context,
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
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SPARKKEEP_ALLOW_ORIGIN",
            help="an origin whose pages may call the proxies, such as https://chat.lan, or * (repeatable)",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SPARKKEEP_TOKEN_FILE", help="file of mode 0600 with a token that every call then has to show"
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            envvar="SPARKKEEP_DRAIN", min=0, max=3600, help="seconds for answers under way when it is told to end"
        ),
    ] = 5,
    git_remote: Annotated[
        str | None,
        typer.Option(
            envvar="SPARKKEEP_GIT_REMOTE",
            help="a remote of the desired state's repository to pull from and push to, such as origin",
        ),
    ] = None,
    git_branch: Annotated[
        str | None, typer.Option(envvar="SPARKKEEP_GIT_BRANCH", help="the remote's branch (default: the one here)")
    ] = None,
    git_every: Annotated[
        float, typer.Option(envvar="SPARKKEEP_GIT_EVERY", min=5, max=86400, help="seconds between two pulls")
    ] = 60,
    log: Annotated[
        LogForm, typer.Option(envvar="SPARKKEEP_LOG", help="how to write the log: text, or json (one object a line)")
    ] = LogForm.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="tell more on standard error")] = False,
) -> None:
    """Keep the Sparks as declared, and serve the API and the page.

    \b
    sparkkeep serve --practice 2                 try everything without a Spark
    sparkkeep serve --desired desired.yaml       mind the Sparks named there

    Ctrl-C (or SIGTERM) ends it within ten seconds (more with a longer --drain), a second one at once; nothing on the
    Sparks is stopped by that.
    """  # noqa: D301  # \b is typer's
    from api.serve import Options  # noqa: PLC0415  # loads SSH and the web server, which takes a second
    from api.serve import serve as serve_until_told  # noqa: PLC0415  # as above
    from api.turns import loop_factory  # noqa: PLC0415  # for this verb alone
    from api.versioned import Versioned  # noqa: PLC0415  # as above

    begin(log.value, verbose=verbose)
    options = Options(
        desired=desired,
        practice=practice,
        host=host,
        port=port,
        data=data,
        allow_hosts=tuple(allow_host or ()),
        allow_origins=tuple(allow_origin or ()),
        token_file=token_file or TOKEN_FILE.get(),
        drain=drain,
        started=tuple(given(context)),
        versioned=Versioned(remote=git_remote, branch=git_branch, every=git_every),
    )
    with sentences():
        collector.settle()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve_until_told(options))


@app.command()
def validate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", envvar="SPARKKEEP_DESIRED", help="files or folders; default desired.yaml"),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Check a desired state, offline. Exit status 0: valid; 1: not, with every problem as file:line:col.

    Flags that the engine of a recent version does not know, or not so, are warnings: the image may be another.

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
    for name, warnings in _warnings(loaded).items():
        for warning in warnings:
            print(f"warning: {name}: {warning}")  # noqa: T201  # what was asked for
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
        "warnings": _warnings(loaded),
    }


def _warnings(loaded: Loaded) -> dict[str, list[str]]:
    """What the shipped tables have to say on the flags of each workload. Never a reason to refuse: images differ."""
    from reconciler.diagnosis import flag_warnings  # noqa: PLC0415  # loads the tables of flags

    found = {name: list(flag_warnings(declaration.recipe)) for name, declaration in loaded.resolved.items()}
    return {name: warnings for name, warnings in found.items() if warnings}
