"""Clients that go: how long until whoever works for them knows, in every state of a request, streamed and not.

All of `sparkkeep serve --practice` in a thread of this process, its models answered for by a server that says no more
than the state needs and then waits for the end of its connection. What waits has no backend yet: it ends when its place
in the line is free (queued), or when the start that only it wanted is taken back (loading).
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

from reconciler.practice import models
from tests.bad_input.served import Fleet, served
from tests.bench.figures import Table, against, ms, p50, p99
from tests.hosts.shell import wait_for
from tests.unit.api.proxies.stage import CHAT, read_request

GOAL: Final = 0.1
PATIENCE: Final = 20.0
SETTLED: Final = 0.005  # seconds between what a client saw and its leaving
MODEL: Final = "recipe: {engine: container, image: 'keep/echo:1', memory: 64MiB, probe: none, port: %d%s}, on: spark-1"
NEVER: Final = ", command: [--slow-start, '600']"
DESIRED: Final = (
    "sparks: {spark-1: {host: 127.0.0.1}}\nmodels:\n"
    f"  free: {{{MODEL % (9000, '')}}}\n"
    f"  busy: {{{MODEL % (9001, '')}, concurrency: 1}}\n"
    f"  slow: {{{MODEL % (9002, NEVER)}, run: on-demand}}\n"
)
PIECE: Final = b'data: {"choices": [{"index": 0, "delta": {"content": "token"}}]}\n\n'
SAID: Final = {
    "prefilling": b"",
    "streaming": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n" % (len(PIECE), PIECE),
    "not streaming": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
}
"""What the backend says before it waits for the end."""
ROWS: Final = (
    *(("queued", "busy", stream) for stream in (True, False)),
    *(("loading", "slow", stream) for stream in (True, False)),
    *(("prefilling", "free", stream) for stream in (True, False)),
    *(("streaming", "free", True), ("not streaming", "free", False)),
)


@dataclass
class Moment:
    """When something happened in the server's thread."""

    at: float = 0.0
    _come: threading.Event = field(default_factory=threading.Event)

    def now(self) -> None:
        self.at = time.monotonic()
        self._come.set()

    def wait(self, what: str) -> float:
        if not self._come.wait(PATIENCE):
            raise TimeoutError(f"{what} did not happen within {PATIENCE:g} s")
        self._come.clear()
        return self.at


@dataclass
class Watched:
    """One request's: that it is where it shall be, and that nobody works for it any more."""

    there: Moment = field(default_factory=Moment)
    over: Moment = field(default_factory=Moment)

    async def converse(self, server: models.ModelServer, reader: Any, writer: Any) -> None:
        """One connection of a model's server."""
        state = ""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while not state:
                request = await read_request(reader)
                if request.line.startswith(b"POST"):
                    state = json.loads(request.body)["user"]
                    writer.write(SAID.get(state, b""))
                    self.there.now()
                    await reader.read()
                else:
                    listed = json.dumps({"data": [{"id": server.name}]}).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(listed), listed))
        if state in SAID:
            self.over.now()
        writer.close()


def bench(samples: int) -> list[Table]:
    table = Table("Cancel: a client goes", ("state", "streamed", "p50", "p99", "longest", "goal"))
    watched = Watched()

    async def converse(server: models.ModelServer, reader: Any, writer: Any) -> None:
        await watched.converse(server, reader, writer)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(patch.object(models.ModelServer, "_converse", converse))
        fleet = stack.enter_context(served(folder, DESIRED, sparks=1))
        wait_for(lambda: _ready(fleet, "free", "busy"), "its models to run", seconds=PATIENCE, every=0.1)
        for state, model, stream in ROWS:
            with _watching(fleet, state, watched):
                times = [_one(fleet, state, model, watched, stream=stream) for _ in range(samples)]
            figures = (ms(p50(times)), ms(p99(times)), ms(max(times)))
            table.add(state, "yes" if stream else "no", *figures, against(GOAL, p99(times), "p99 <= 100 ms"))
    table.notes.append(
        f"{samples} each, one after the other, on practice Sparks with the whole of sparkkeep: from the client's "
        "`close` to the end of the connection as the model's server sees it; queued: to the place in the line that is "
        "free; loading: to the start that is taken back (news of the line are gathered for up to 20 ms)."
    )
    return [table]


@contextmanager
def _watching(fleet: Fleet, state: str, watched: Watched) -> Iterator[None]:
    """What waits has no backend that could tell. For `queued` the only place is taken."""
    context = fleet.parts.context
    routing: Any = context.wire.routing if context.wire is not None else None
    holds, demand = routing.holds, context.loop.demand
    with ExitStack() as stack:
        if state == "queued":
            stack.enter_context(_asked(fleet, "occupied", "busy", stream=False))
            watched.there.wait("the only place being taken")
            stack.enter_context(patch.object(holds, "hold", _then(holds.hold, watched.there.now)))
            stack.enter_context(patch.object(holds, "left", _then(holds.left, watched.over.now)))
        elif state == "loading":
            stack.enter_context(patch.object(demand, "ask", _then(demand.ask, watched.there.now)))
            stack.enter_context(patch.object(demand, "withdraw", _then(demand.withdraw, watched.over.now)))
        yield


def _then(work: Callable[..., Any], told: Callable[[], None]) -> Callable[..., Any]:
    def done(*args: Any) -> Any:
        result = work(*args)
        told()
        return result

    return done


def _one(fleet: Fleet, state: str, model: str, watched: Watched, *, stream: bool) -> float:
    """Seconds from one client's leaving to the end of what was done for it."""
    with _asked(fleet, state, model, stream=stream) as client:
        watched.there.wait(f"{state}, of {model}")
        if SAID.get(state):
            client.recv(1)
        time.sleep(SETTLED)
        since = time.monotonic()
    return watched.over.wait(f"the end of {state}") - since


@contextmanager
def _asked(fleet: Fleet, state: str, model: str, *, stream: bool) -> Iterator[socket.socket]:
    where = urlsplit(fleet.url)
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": model, "stream": stream, "user": state, "messages": messages}).encode()
    lines = (f"POST {CHAT} HTTP/1.1", f"Host: {where.netloc}", "Content-Type: application/json")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode()
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as client:
        client.sendall(head + body)
        yield client


def _ready(fleet: Fleet, *names: str) -> bool:
    context = fleet.parts.context
    routing: Any = context.wire.routing if context.wire is not None else None
    offers = routing.offers.each
    return all(name in offers and offers[name].backends for name in names)
