"""How the command line speaks: data on standard output, everything else on standard error; colour only for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any, Final, NoReturn

import typer
import yaml
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from api.client import DEFAULT, Client, NoServer, ServerRefused
from api.folder import Unusable
from state.problems import Invalid

WIDE: Final = 10_000  # columns where nobody looks: nothing is cut in a pipe


class Format(StrEnum):
    """How a read is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml")]
ServerOption = Annotated[
    str, typer.Option("--server", envvar="SPARKKEEP_SERVER", help="where `sparkkeep serve` runs", show_default=True)
]
SERVER: Final = DEFAULT

STYLES: Final = {
    "Synced": "green",
    "OutOfSync": "yellow",
    "Healthy": "green",
    "Progressing": "yellow",
    "Degraded": "red",
    "Missing": "red",
    "Suspended": "dim",
    "Unknown": "magenta",
    "Reachable": "green",
    "Normal": "",
    "Warning": "yellow",
}


def out() -> Console:
    """Standard output. Rich itself looks for a terminal and for NO_COLOR."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)
    return console


def show(what: RenderableType) -> None:
    """Print for people; in a pipe without the spaces that fill a line."""
    console = out()
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        print(line.rstrip())  # noqa: T201  # the data
    sys.stdout.flush()


def note(text: str) -> None:
    """Something for the person, beside the data."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # that is what it is for


def fail(text: str, code: int = 1) -> NoReturn:
    """Say why, and end."""
    note(text)
    raise typer.Exit(code)


@contextmanager
def sentences() -> Iterator[None]:
    """What can go wrong for reasons outside of us becomes one sentence and exit status 1."""
    try:
        yield
    except (NoServer, Unusable) as error:
        fail(str(error))
    except ServerRefused as error:
        fail("\n".join([str(error), *_more(error.body)]))
    except Invalid as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(0) from None


def _more(body: dict[str, Any]) -> Iterator[str]:
    """What else a refusal has for people: each problem, or the names that there are."""
    problems = body.get("problems") or []
    if len(problems) > 1:
        yield from (f"  {problem['text']}" for problem in problems)
    allowed = body.get("allowed") or []
    if allowed and not problems:
        yield f"there are: {', '.join(allowed)}"


@contextmanager
def server(address: str) -> Iterator[Client]:
    """The server, with its errors told in sentences."""
    with sentences(), Client(address) as client:
        yield client


def dump(data: Any, form: Format) -> None:
    """JSON or YAML, for programs."""
    if form is Format.JSON:
        text = json.dumps(data, indent=2, ensure_ascii=False)
    else:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True).rstrip("\n")
    print(text, flush=True)  # noqa: T201  # the data


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, empty: str = "") -> Table | Text:
    """A table without lines; `empty` in its place where there is nothing to show."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_header=bool(columns))
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column not in {"MESSAGE", "COMMAND", "CAUSE"})
    for row in rows:
        made.add_row(*row)
    return made if made.row_count or not empty else Text(empty, style="dim")


def word(text: str) -> Text:
    """A verdict in its colour; the word alone says it all."""
    return Text(text, style=STYLES.get(text, ""))


def age(seconds: float) -> str:
    """`19s`, `8m24s`, `3h12m`, `5d4h`: two units at most."""
    whole = max(0, int(seconds))
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    for (size, name), (below, under) in zip(units, (*units[1:], (0, "")), strict=True):
        if whole >= size or size == 1:
            rest = (whole % size) // below if below else 0
            return f"{whole // size}{name}{f'{rest}{under}' if rest else ''}"
    return "0s"


def size(number: float | None) -> str:
    """Bytes for people."""
    if number is None:
        return "-"
    for power, unit in ((40, "TiB"), (30, "GiB")):
        if abs(number) >= 2**power:
            return f"{number / 2**power:.1f} {unit}"
    return f"{number / 2**20:.0f} MiB"
