"""A plan as a person reads it: what is done where, why, what it costs, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from api import output
from api.output import out

Json = dict[str, Any]
SYMBOLS: Final = {
    "create": ("+", "green"),
    "start": ("+", "green"),
    "unpause": ("+", "green"),
    "pull": ("~", "cyan"),
    "build": ("~", "cyan"),
    "mkdir": ("~", "cyan"),
    "deliver": ("~", "cyan"),
    "free": ("~", "cyan"),
    "update": ("~", "cyan"),
    "restart": ("↻", "yellow"),
    "stop": ("-", "red"),
    "remove": ("-", "red"),
}
INDENT: Final = 7
NOTHING: Final = "Nothing to do. The Sparks are as declared."


def show(plan: Json, *, commands: bool) -> None:
    """Print it. With `commands` the exact commands are printed whole, otherwise cut at the terminal's width."""
    console = out()
    width = (console.width if console.is_terminal else 120) - INDENT
    output.show(Group(*_parts(plan, 0 if commands else width)))


def _parts(plan: Json, width: int) -> Iterator[RenderableType]:
    number = 0
    for title, steps in (("", plan["steps"]), ("withheld until you approve (`sparkkeep apply`)", plan["withheld"])):
        for spark, found in groupby(sorted(steps, key=lambda step: str(step["spark"])), key=lambda step: step["spark"]):
            yield Text(spark, style="bold") + Text(f"  {title}" if title else "", style="yellow")
            for step in found:
                number += 1
                yield from _step(number, step, width)
            yield Text()
    if plan["held"]:
        yield Text("left alone, because", style="bold")
        yield from (Padding(_held(held), (0, 0, 0, 2)) for held in plan["held"])
        yield Text()
    yield Text(summary(plan), style="bold")


def _step(number: int, step: Json, width: int) -> Iterator[RenderableType]:
    symbol, style = SYMBOLS[step["verb"]]
    rank = f" (rank {step['rank']})" if step["rank"] else ""
    yield Text.assemble(
        f"{number:>3}. ", (f"{symbol} {step['verb']} {step['workload']}", style), f"{rank}: {step['cause']}"
    )
    yield _indented(Text(step["consequence"]))
    if step["lookFirst"]:
        yield _indented(Text(f"after another look: {step['lookFirst']}", style="dim"))
    command = Text(f"$ {step['command']}", style="dim", overflow="fold")
    if width:
        command = Text(f"$ {step['command'].partition(chr(10))[0]}", style="dim", no_wrap=True)
        command.truncate(max(20, width), overflow="ellipsis")
    yield _indented(command)


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, INDENT))


def _held(held: Json) -> Text:
    where = f"{held['workload']} on {held['spark']}" if held["spark"] else held["workload"]
    return Text.assemble((where, ""), f": {held['message']} ", (f"({held['reason']})", "dim"))


def summary(plan: Json) -> str:
    """The last line: how much is to be done."""
    parts = [f"{count} to {what}" for what, count in _counts(plan["steps"])]
    if not plan["steps"] and not plan["withheld"]:
        waits = sum(1 for held in plan["held"] if held["until"] or held["reason"] in WAITING)
        return f"Nothing to do now. {_many(waits, 'workload')} waiting." if waits else _nothing(plan)
    text = f"Plan: {', '.join(parts)}." if parts else "Plan: nothing without your approval."
    if plan["withheld"]:
        text += f" {_many(len(plan['withheld']), 'step')} withheld until you approve."
    return text


WAITING: Final = frozenset(
    {
        *(
            "Backoff",
            "InsufficientMemory",
            "PortTaken",
            "Pulling",
            "Building",
            "WaitingTurn",
            "Removing",
            "Restarting",
            "NameTaken",
        ),
        *("WeightsUnknown", "WeightsWaiting", "WeightsFetching"),
    }
)
CONTENT: Final = frozenset({"OnDemand", "Suspended", "Drained", "Cordoned"})


def _nothing(plan: Json) -> str:
    troubled = [held for held in plan["held"] if held["reason"] not in CONTENT]
    if not troubled:
        return NOTHING
    return f"Nothing to do. {_many(len(troubled), 'workload')} left alone, for the reasons above."


def _counts(steps: Iterable[Json]) -> Iterator[tuple[str, int]]:
    """Containers that come, are replaced, change or go; preparations are counted only if nothing else is done."""
    verbs: dict[tuple[str, str, int], set[str]] = {}
    for step in steps:
        verbs.setdefault((step["spark"], step["workload"], step["rank"]), set()).add(step["verb"])
    kinds = [_kind(found) for found in verbs.values()]
    usual = {"create", "recreate", "remove"} if {"create", "recreate", "remove"} & set(kinds) else set()
    for kind in ("create", "recreate", "start", "restart", "change", "stop", "remove", "fetch"):
        if kind in kinds or kind in usual:
            yield kind, kinds.count(kind)


def _kind(verbs: set[str]) -> str:
    if "create" in verbs:
        return "recreate" if "remove" in verbs else "create"
    for verb, kind in (
        ("restart", "restart"),
        ("start", "start"),
        ("unpause", "start"),
        ("remove", "remove"),
        ("stop", "stop"),
        ("update", "change"),
    ):
        if verb in verbs:
            return kind
    return "fetch"


def _many(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
