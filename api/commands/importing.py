"""`import`: recipes of other tools, read into ours: on standard output, and what could not be carried on the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from api.client import Client
from api.commands.names import one_of
from api.output import SERVER, Format, ServerOption, dump, fail, note, server
from api.yaml_text import yaml_text
from reconciler.importers.accounts import Fate, Imported, Note, Outcome
from state.problems import Invalid, Problem
from state.yaml_read import MAX_BYTES

group = typer.Typer(name="import", help="Recipes of other tools, read into ours.", no_args_is_help=True)
Json = dict[str, Any]
Reader = Callable[[bytes, str], Outcome]
STDIN: Final = "-"
HANDOVER: Final = (
    "{name} goes on running on {spark} as it is: sparkkeep never stops or removes a container that is not its own. "
    "To hand it over, declare it as below and then, on {spark}: `docker stop {name} && docker rm {name}`. "
)
WITH_PORT: Final = "Until its port is free, sparkkeep holds the workload back and says so; then it starts its own."
PORTLESS: Final = "No port of it is known: declare it after that, not before, or both run side by side."
EXPECTED: Final = 16 * MAX_BYTES  # more is no configuration

Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="files, or - for standard input")]
Output = Annotated[Format, typer.Option("--output", "-o", help="yaml (also table) or json")]
InPlace = Annotated[
    bool, typer.Option("--in-place", help="print a piece of desired.yaml, with the recipes in the workloads")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="tell only what was not carried")]


@group.command()
def sparkrun(
    files: Files,
    image: Annotated[str | None, typer.Option(help="the image for recipes that name none")] = None,
    output: Output = Format.YAML,
    in_place: InPlace = False,
    quiet: Quiet = False,
) -> None:
    """Recipes of sparkrun (version 2), and of eugr (version 1)."""
    from reconciler.importers.sparkrun import read_recipe  # noqa: PLC0415  # loads the schema

    _import(files, partial(read_recipe, image=image), output, in_place=in_place, quiet=quiet)


@group.command()
def eugr(files: Files, output: Output = Format.YAML, in_place: InPlace = False, quiet: Quiet = False) -> None:
    """Recipes of eugr/spark-vllm-docker; the same as `import sparkrun`, which reads both versions."""
    sparkrun(files, None, output, in_place, quiet)


@group.command("llama-swap")
def llama_swap(
    files: Files,
    image: Annotated[str | None, typer.Option(help="the image for programs that llama-swap starts on the host")] = None,
    output: Output = Format.YAML,
    in_place: InPlace = False,
    quiet: Quiet = False,
) -> None:
    """The models of a llama-swap config.yaml."""
    from reconciler.importers.llamaswap import read_config  # noqa: PLC0415  # loads the schema

    _import(files, partial(read_config, image=image), output, in_place=in_place, quiet=quiet)


@group.command()
def inspect(files: Files, output: Output = Format.YAML, in_place: InPlace = False, quiet: Quiet = False) -> None:
    r"""Containers that run already, from `docker inspect NAME IMAGE` of a Spark.

    \b
    ssh spark-1 docker inspect whisper IMAGE | sparkkeep import inspect -
    """
    from reconciler.importers.inspected import read_inspected  # noqa: PLC0415  # loads the schema

    _import(files, read_inspected, output, in_place=in_place, quiet=quiet)


@group.command()
def containers(
    spark: Annotated[str, typer.Argument(help="the Spark that they run on")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="containers; left out: all that run and are not ours"),
    ] = None,
    output: Output = Format.YAML,
    in_place: InPlace = False,
    quiet: Quiet = False,
    address: ServerOption = SERVER,
) -> None:
    r"""Containers that run on a Spark already, asked of the server. Nothing is changed by asking.

    \b
    sparkkeep import containers spark-1                  all that are not sparkkeep's
    sparkkeep import containers spark-1 whisper -q       one of them
    """
    from reconciler.importers.inspected import read_inspected  # noqa: PLC0415  # loads the schema

    with server(address) as client:
        wanted = names or _strangers(client, spark)
        told = {name: client.get(f"/api/sparks/{quote(spark)}/containers/{quote(name)}/inspect") for name in wanted}

    def read(data: bytes, name: str) -> Outcome:
        outcome = read_inspected(data, f"{spark}: {name}")
        for each in outcome.imported:
            port = each.recipe.get("port") or each.recipe.get("ports")
            note(HANDOVER.format(name=name, spark=spark) + (WITH_PORT if port else PORTLESS))
        return replace(outcome, imported=tuple(_on(each, spark) for each in outcome.imported))

    _make(
        ((json.dumps(found).encode(), name) for name, found in told.items()),
        read,
        output,
        in_place=in_place,
        quiet=quiet,
    )


def _strangers(client: Client, spark: str) -> list[str]:
    """The containers that run there and are not ours."""
    status = client.get("/api/status")
    if one_of(status, spark) != "sparks":
        fail(f"{spark} is a workload; name a Spark: {', '.join(status['sparks'])}")
    found = [each["name"] for each in status["sparks"][spark]["foreign"] if each["state"] == "running"]
    return found or fail(f"nothing runs on {spark} that is not sparkkeep's")


def _on(imported: Imported, spark: str) -> Imported:
    return replace(imported, workload={**imported.workload, "on": spark})


def _import(files: Sequence[str], reader: Reader, output: Format, *, in_place: bool, quiet: bool) -> None:
    """Every file; exit status 1 if one of them gave nothing."""

    def pieces() -> Iterator[tuple[bytes | Invalid, str]]:
        for file in files:
            try:
                yield _read(file), "standard input" if file == STDIN else file
            except Invalid as unreadable:
                yield unreadable, file

    _make(pieces(), reader, output, in_place=in_place, quiet=quiet)


def _make(
    pieces: Iterable[tuple[bytes | Invalid, str]], reader: Reader, output: Format, *, in_place: bool, quiet: bool
) -> None:
    """Recipes from every piece, printed; exit status 1 if one of them gave nothing."""
    imported: list[Imported] = []
    notes: list[Note] = []
    problems: list[Problem] = []
    for data, name in pieces:
        try:
            if isinstance(data, Invalid):
                raise data
            outcome = reader(data, name)
        except Invalid as invalid:
            problems += invalid.problems
            continue
        imported += outcome.imported
        notes += outcome.notes
    problems += _twice(imported)
    imported, shared = _own_aliases(imported)
    notes += shared
    if output is Format.JSON:
        _as_json(imported, notes, problems)
    else:
        if imported:
            print(_as_yaml(imported, in_place=in_place), flush=True)  # noqa: T201  # the data
        _tell(notes, problems, quiet=quiet)
    if problems or not imported:
        raise typer.Exit(1)


def _read(file: str) -> bytes:
    try:
        data = sys.stdin.buffer.read(EXPECTED) if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        raise Invalid([Problem(file, 0, 0, "", f"can't be read: {error.strerror}")]) from None
    return data


def _twice(imported: Sequence[Imported]) -> list[Problem]:
    names = [each.name for each in imported]
    again = sorted({name for name in names if names.count(name) > 1})
    return [Problem("", 0, 0, name, "is the name of two recipes: only the last one was printed") for name in again]


def _own_aliases(imported: Sequence[Imported]) -> tuple[list[Imported], list[Note]]:
    """A name that apps use means one workload: the first that has it keeps it."""
    owners = {each.name: each.name for each in imported}
    made, notes = list[Imported](), list[Note]()
    for each in imported:
        aliases = each.workload.get("aliases", [])
        own = [alias for alias in aliases if owners.setdefault(alias, each.name) == each.name]
        for alias in aliases:
            if alias not in own:
                notes.append(Note(each.name, f"aliases: {alias}", Fate.LOST, f"{owners[alias]} has that name already"))
        rest = {key: value for key, value in each.workload.items() if key != "aliases"}
        made.append(replace(each, workload=rest | ({"aliases": own} if own else {})))
    return made, notes


def _tell(notes: Iterable[Note], problems: Iterable[Problem], *, quiet: bool) -> None:
    told = [found for found in notes if found.fate is Fate.LOST or (found.fate is Fate.CONSUMED and not quiet)]
    for found in sorted(told, key=lambda found: found.fate is not Fate.LOST):
        note(str(found))
    for problem in problems:
        note(str(problem))


def _workload(each: Imported, recipe: object) -> Json:
    return {"recipe": recipe, **each.workload}


def _pieces(imported: Iterable[Imported], *, in_place: bool) -> Json:
    """`models` and `services` as desired.yaml has them."""
    made: Json = {}
    for each in imported:
        made.setdefault(each.section, {})[each.name] = _workload(each, each.recipe if in_place else each.name)
    return made


def _as_json(imported: Sequence[Imported], notes: Iterable[Note], problems: Iterable[Problem]) -> None:
    data = {
        "recipes": {each.name: each.recipe for each in imported},
        "models": {},
        "services": {},
        **_pieces(imported, in_place=False),
        "notes": [found.as_dict() for found in notes],
        "problems": [problem.as_dict() for problem in problems],
    }
    dump(json.loads(json.dumps(data)), Format.JSON)


def _as_yaml(imported: Sequence[Imported], *, in_place: bool) -> str:
    """A recipe file, with the workloads as a comment; or with `in_place` a piece of desired.yaml."""
    if in_place:
        return yaml_text(_pieces(imported, in_place=True))
    recipes = yaml_text({"recipes": {each.name: each.recipe for each in imported}})
    example = yaml_text(_pieces(imported, in_place=False))
    head = "# desired.yaml then says where and when; for instance:"
    return "\n".join([head, *(f"#   {line}" for line in example.splitlines()), recipes])
