"""`events` and `logs`: what happens, as it happens."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.output import SERVER, Format, Output, ServerOption, age, dump, note, out, server, show, table, word

app = typer.Typer()
Json = dict[str, Any]


@app.command()
def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what happens next")] = False,
    workload: Annotated[str | None, typer.Option(help="only about this workload")] = None,
    spark: Annotated[str | None, typer.Option(help="only about this Spark")] = None,
    since: Annotated[int | None, typer.Option(min=0, help="only what came after this number")] = None,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="how many")] = 50,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """What has happened, oldest first; the same again and again is one line: 19s (x17 over 8m24s).

    With -f and -o json, one JSON object a line.
    """
    about = {"workload": workload, "spark": spark}
    with server(address) as client:
        found = client.get("/api/events", follow=False, since=since, limit=limit, **about)
        if not follow:
            _list(found, output)
            return
        console = out()
        for event in found["events"]:
            _line(console, event, output)
        after = found["events"][-1]["seq"] if since is not None and found["events"] else found["latestSeq"]
        for event in client.events(after, lost=lost, **about):
            _line(console, event, output)


def lost(why: str) -> None:
    """The server is gone, for now."""
    note(f"{why}\nwaiting for it to come back")


def _list(found: Json, output: Format) -> None:
    if output is not Format.TABLE:
        dump(found, output)
        return
    now = time.time()
    rows = ((_ages(e, now), word(e["type"]), e["reason"], _object(e), e["message"]) for e in found["events"])
    show(table(("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"), rows, empty="Nothing has happened yet."))


def _line(console: Console, event: Json, output: Format) -> None:
    if output is Format.JSON:
        print(json.dumps(event, ensure_ascii=False), flush=True)  # noqa: T201  # the data
    elif output is Format.YAML:
        print("---", flush=True)  # noqa: T201  # the data
        dump(event, output)
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(event["lastAt"]))
        often = f" (x{event['count']} over {age(event['lastAt'] - event['firstAt'])})" if event["count"] > 1 else ""
        head = Text.assemble((clock, "dim"), f"{often}  ", word(f"{event['type']:<8}"), f"{event['reason']}  ")
        console.print(head + Text(f"{_object(event)}  {event['message']}"), soft_wrap=True)
        sys.stdout.flush()


def _ages(event: Json, now: float) -> str:
    last = age(now - event["lastAt"])
    if event["count"] <= 1:
        return last
    return f"{last} (x{event['count']} over {age(now - event['firstAt'])})"


def _object(event: Json) -> str:
    about = event["object"]
    where = f" on {about['spark']}" if about["spark"] and about["spark"] != about["name"] else ""
    return f"{about['kind']}/{about['name']}{where}"


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="a workload")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what it says next")] = False,
    tail: Annotated[int, typer.Option(min=0, max=100_000, help="how many of the last lines")] = 100,
    spark: Annotated[str | None, typer.Option(help="only the one on this Spark")] = None,
    address: ServerOption = SERVER,
) -> None:
    """The log of a workload's container; of several, each line begins with its Spark."""
    with server(address) as client:
        for line in client.lines(f"/api/workloads/{name}/logs", tail=tail, follow=follow, spark=spark):
            print(line, flush=follow)  # noqa: T201  # the data
