"""`get -w`: a screen that is drawn anew, lines that are added in a pipe, or data, each time something is another one.

One stream from the server (`GET /api/watch`), taken up again where it broke off.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from api.client import Client
from api.commands.following import lost
from api.output import Format, age, dump, out, show, word

Json = dict[str, Any]
Rows = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class View:
    """What of the status is shown: as tables; as rows, by name and without measurements; as data."""

    tables: Callable[[Json], RenderableType]
    rows: Callable[[Json], Rows]
    part: Callable[[Json], Any]


def watching(client: Client, view: View, output: Format) -> None:
    """Until Ctrl-C. Raises NoServer if the server was never there."""
    if output is not Format.TABLE:
        _data(client, view, output)
    elif out().is_terminal:
        _screen(client, view)
    else:
        _lines(client, view)


def _data(client: Client, view: View, output: Format) -> None:
    before: Any = None
    for status in client.watch(lost=lost):
        part = view.part(status)
        if part == before:
            continue
        before = part
        if output is Format.JSON:
            print(json.dumps(part, ensure_ascii=False), flush=True)  # noqa: T201  # the data
        else:
            print("---", flush=True)  # noqa: T201  # the data
            dump(part, output)


def _lines(client: Client, view: View) -> None:
    before: Rows | None = None
    for status in client.watch(lost=lost):
        rows = view.rows(status)
        if before is None:
            show(view.tables(status))
        else:
            clock = time.strftime("%H:%M:%S")
            for line in changed(before, rows):
                print(f"{clock}  {line}", flush=True)  # noqa: T201  # the data
        before = rows


def changed(before: Rows, after: Rows) -> Iterator[str]:
    """What is another one now, a line each."""
    for name, cells in after.items():
        if before.get(name) != cells:
            yield "  ".join([name, *cells]).rstrip()
    for name in before:
        if name not in after:
            yield f"{name}  gone"


class Screen:
    """What stands on it: drawn once a second too, since it says how long ago things were."""

    def __init__(self, view: View, status: Json) -> None:
        self._view = view
        self.status = status
        self._at = time.monotonic()
        self._trouble = ""

    def show(self, status: Json) -> None:
        """There is news."""
        self.status, self._trouble = status, ""

    def lost(self, why: str) -> None:
        """From now on it is old."""
        self._trouble, self._at = why, time.monotonic()

    def __call__(self) -> RenderableType:
        """As it is now."""
        tables = self._view.tables(self.status)
        if not self._trouble:
            return tables
        ago = age(time.monotonic() - self._at)
        head = Text.assemble(word("Unknown"), f": this is {ago} old. {self._trouble}", style="yellow")
        return Group(head, Text(), tables)


def _screen(client: Client, view: View) -> None:
    troubles = list[Callable[[str], None]]()

    def told(why: str) -> None:
        for trouble in troubles:
            trouble(why)

    statuses: Generator[Json, None, None] = client.watch(lost=told)
    screen = Screen(view, next(statuses))
    with Live(get_renderable=screen, console=out(), screen=True, refresh_per_second=1) as live:
        troubles.append(screen.lost)
        for status in statuses:
            screen.show(status)
            live.refresh()
