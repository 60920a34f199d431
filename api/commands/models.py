"""`models`: what lies on the Sparks' disks, and what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from api.output import SERVER, Format, Output, ServerOption, age, dump, note, server, show, size, table

app = typer.Typer()
Json = dict[str, Any]

STYLES = {"ready_to_run": "green", "needs_setup": "yellow", "downloading": "yellow", "incomplete": "red"}
WORDS = {
    "ready_to_run": "ready to run",
    "needs_setup": "needs setup",
    "not_downloaded": "not downloaded",
}


@app.command()
def models(
    survey: Annotated[bool, typer.Option("--survey", help="ask the Sparks to look at their disks again")] = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """What lies on the Sparks' disks, and which recipe would run it."""
    with server(address) as client:
        if survey:
            asked = client.post("/api/models/survey")["asked"]
            note(f"asked {', '.join(asked) or 'no Spark'} to look again; what follows is what was known before")
        answer = client.get("/api/models")
        if output is Format.TABLE:
            show(Group(*_shown(answer)))
        else:
            dump(answer, output)


def _shown(answer: Json) -> Iterator[RenderableType]:
    columns = ("MODEL", "SPARKS", "SIZE", "STATE", "RECIPE")
    yield table(columns, (_row(entry) for entry in answer["models"]), empty="No model is known yet.")
    now = time.time()
    for name, spark in answer["sparks"].items():
        if spark["surveyedAt"] is None:
            yield Text(f"{name}: its disks were not looked at yet{_why(spark)}", "yellow")
        elif spark["reason"]:
            yield Text(f"{name}: as of {age(now - spark['surveyedAt'])} ago{_why(spark)}", "yellow")
        for problem in spark["problems"]:
            yield Text(f"{name}: {problem}", "yellow")


def _why(spark: Json) -> str:
    return f": {spark['message']}" if spark["message"] else ""


def _row(entry: Json) -> tuple[str | Text, ...]:
    name = "/".join(part for part in (entry["repository"], entry["file"]) if part)
    word = str(WORDS.get(entry["state"], entry["state"]))
    recipes = ", ".join(entry["recipes"]) or ", ".join(f"(in {name})" for name in entry["workloads"]) or "-"
    sparks = ", ".join(_spark(*there) for there in entry["sparks"].items()) or "-"
    return name, sparks, size(entry["size"] or None), Text(word, style=STYLES.get(entry["state"], "")), recipes


def _spark(name: str, there: Json) -> str:
    """A Spark's name, and what is amiss there."""
    if there["complete"]:
        return name
    if there["complete"] is None:
        return f"{name} (unreadable)"
    missing = len(there["missing"])
    amiss = "downloading" if there["downloading"] else f"{missing} missing" if missing else "incomplete"
    return f"{name} ({amiss})"
