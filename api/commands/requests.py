"""`requests`: what apps ask of the models, now and lately."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from api.client import Client
from api.output import SERVER, Format, Output, ServerOption, dump, note, server, show, table

app = typer.Typer()
Json = dict[str, Any]

EVERY: Final = 1.0  # seconds between two looks
MOST: Final = 1000  # that may end between them
OK: Final = 400  # statuses below this are answers
COLUMNS: Final = ("TIME", "WHO", "MODEL", "WENT TO", "STATE", "QUEUE", "FIRST", "TOTAL", "TOKENS", "TOKENS/S", "WHY")
STATE: Final = COLUMNS.index("STATE")


@app.command()
def requests(
    workload: Annotated[str | None, typer.Argument(metavar="[NAME]", help="only those to this workload")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="go on with each that ends, until Ctrl-C")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=10_000, help="how many that have ended")] = 20,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """What apps ask of the models: requests under way, and the last that ended.

    \b
    sparkkeep requests               now and lately
    sparkkeep requests qwen3-8b -w   those to one workload, a line for each that ends
    """  # noqa: D301  # \b is typer's
    with server(address) as client:
        found = _ask(client, limit, workload)
        if watch:
            _follow(client, workload, found, output)
        elif output is not Format.TABLE:
            dump(found, output)
        else:
            rows = [*map(_row, reversed(found["ended"])), *map(_row, found["inFlight"])]
            show(table(COLUMNS, rows, empty="No app has asked for anything yet: docs/LLM_PROXY.md shows how."))
            note(f"{len(found['inFlight'])} under way, {len(found['ended'])} ended")


def _ask(client: Client, limit: int, workload: str | None) -> Json:
    found: Json = client.get("/api/requests", limit=limit, workload=workload)
    return found


def _follow(client: Client, workload: str | None, found: Json, output: Format) -> None:
    """Each once, in the order in which they end."""
    seen = _marks(found)
    if output is Format.TABLE:
        show(table(COLUMNS, map(_row, reversed(found["ended"]))))
    while True:
        time.sleep(EVERY)
        found = _ask(client, MOST, workload)
        for each in reversed([each for each in found["ended"] if _mark(each) not in seen]):
            line = json.dumps(each, ensure_ascii=False) if output is not Format.TABLE else "  ".join(_cells(each))
            print(line, flush=True)  # noqa: T201  # the data
        seen = _marks(found)


def _marks(found: Json) -> set[tuple[str, float]]:
    return set(map(_mark, found["ended"]))


def _mark(each: Json) -> tuple[str, float]:
    return each["id"], each["at"]


def _row(each: Json) -> tuple[str | Text, ...]:
    cells: list[str | Text] = list(_cells(each))
    cells[STATE] = Text(str(cells[STATE]), style=_style(each))
    return tuple(cells)


def _style(each: Json) -> str:
    if each["state"] != "ended":
        return "yellow"
    return "" if each["status"] is not None and each["status"] < OK and each["cause"] == "answered" else "red"


def _cells(each: Json) -> Iterator[str]:
    yield time.strftime("%H:%M:%S", time.localtime(each["at"]))
    yield each["who"] or "-"
    yield each["model"] or "-"
    yield each["backend"] or "-"
    yield each["state"] if each["state"] != "ended" else f"{each['status'] or '-'} {each['cause']}"
    yield _seconds(each["queuedSeconds"])
    yield _seconds(each["firstByteSeconds"])
    yield _seconds(each["totalSeconds"])
    counts = (each["promptTokens"], each["completionTokens"])
    yield "-" if counts == (None, None) else "+".join("?" if count is None else str(count) for count in counts)
    yield "-" if each["tokensPerSecond"] is None else f"{each['tokensPerSecond']:.1f}"
    yield each["why"] or (each["waiting"] or {}).get("message") or "-"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
