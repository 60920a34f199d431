"""`get -w`: what it prints as things change, that it outlives a restart of the server, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest
import yaml

from api.client import Client, NoServer
from api.commands.watching import changed
from state.journal_rows import Override
from tests.aside import aside
from tests.unit.api.conftest import Stage, serving, staged

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE = 30.0


class Said:
    """What a process prints, line by line, with a limit to the waiting."""

    def __init__(self, source: IO[bytes]) -> None:
        self._lines = queue.Queue[str | None]()
        self._thread = threading.Thread(target=self._read, args=(source,))
        self._thread.start()

    def _read(self, source: IO[bytes]) -> None:
        with source:
            for line in source:
                self._lines.put(line.decode().rstrip("\n"))
        self._lines.put(None)

    def until(self, wanted: str) -> list[str]:
        """The lines up to the one that holds it."""
        found = list[str]()
        end = time.monotonic() + PATIENCE
        while not found or wanted not in found[-1]:
            line = self._lines.get(timeout=max(0.01, end - time.monotonic()))
            assert line is not None, found
            found.append(line)
        return found


@contextmanager
def running(*arguments: str, url: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "SPARKKEEP_SERVER": url, "TERM": "xterm", "COLUMNS": "160", "LINES": "40"}
    argv = [sys.executable, "-m", "api.cli", "get", "-w", *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    with subprocess.Popen(argv, cwd=REPOSITORY, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def cordon(stage: Stage, *, on: bool) -> None:
    async def run() -> None:
        stage.context.loop.override(Override.CORDON, "s2", on=on, by="me")

    stage.call(run())


def ended_by_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()


def test_in_a_pipe_changed_lines_are_added(served: Stage) -> None:
    with running(url=served.url) as process:
        assert process.stdout is not None
        said = Said(process.stdout)
        tables = said.until("s2  ")
        assert tables[0].startswith("WORKLOAD")
        cordon(served, on=True)
        (line,) = said.until("spark/s2")[-1:]
        assert re.fullmatch(r"\d\d:\d\d:\d\d  spark/s2  10\.0\.0\.2  Reachable, Cordoned", line)
        cordon(served, on=False)
        assert said.until("spark/s2")[-1].endswith("  spark/s2  10.0.0.2  Reachable")
        ended_by_ctrl_c(process)


def test_for_programs_one_object_a_line(served: Stage) -> None:
    with running("s2", "-o", "json", url=served.url) as process:
        assert process.stdout is not None
        said = Said(process.stdout)
        first = json.loads(said.until("s2")[0])
        assert (list(first), first["s2"]["cordoned"]) == (["s2"], False)
        cordon(served, on=True)
        assert json.loads(said.until('"cordoned": true')[-1])["s2"]["reason"] == "Reachable"
        ended_by_ctrl_c(process)


def test_yaml_and_a_name_that_goes_and_comes_back(served: Stage) -> None:
    with running("twice", "-o", "yaml", url=served.url) as process:
        assert process.stdout is not None
        said = Said(process.stdout)
        said.until("---")
        before = served.desired.read_text()
        served.call(served.rewrite(before.replace("twice:", "thrice:")))
        assert yaml.safe_load("\n".join(said.until("twice: null")[-1:])) == {"twice": None}
        served.call(served.rewrite(before))
        said.until("twice:")
        ended_by_ctrl_c(process)


def test_on_a_terminal_it_is_drawn_anew(served: Stage) -> None:
    ours, theirs = pty.openpty()
    with running("sparks", url=served.url, stdout=theirs) as process:
        os.close(theirs)
        shown = b""

        def until(wanted: bytes) -> None:
            nonlocal shown
            while wanted not in shown:
                shown += os.read(ours, 65536)

        until(b"10.0.0.2")
        cordon(served, on=True)
        until(b"Cordoned")
        ended_by_ctrl_c(process)
    os.close(ours)
    assert shown.startswith(b"\x1b[?1049h"), "a screen of its own"


def test_a_name_that_is_not_there_is_said_at_once(served: Stage) -> None:
    with running("twise", url=served.url) as process:
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert b"did you mean twice?" in process.stderr.read()


def test_without_a_server_it_does_not_wait() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(NoServer):
        next(client.watch(lost=lambda _: None))


@asynccontextmanager
async def _on(port: int, folder: Path, name: str) -> AsyncIterator[Stage]:
    text = f"sparks: {{s1: {{host: 10.0.0.1}}}}\nservices: {{{name}: {{recipe: {{image: 'keep/echo:1'}}, on: s1}}}}\n"
    async with staged(folder, text) as stage, serving(stage, port=port):
        yield stage


def test_who_has_gone_astray_begins_anew() -> None:
    """A patch that does not fit the status: never a guess, and the next time without a place to go on from."""
    asked = list[str | None]()

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers.get("last-event-id"))
        status = f"event: status\nid: e.1.0\ndata: {json.dumps({'number': len(asked)})}\n\n"
        change = json.dumps([{"op": "replace", "path": "/nothing", "value": 1}])
        return httpx2.Response(200, text=f"{status}event: bookmark\nid: e.1.5\ndata: {{}}\n\n" + (
            f"event: patch\nid: e.2.5\ndata: {change}\n\n" if len(asked) == 2 else ""
        ))  # fmt: skip

    with Client("http://127.0.0.1:1", transport=httpx2.MockTransport(answer)) as client:
        statuses = client.watch()
        assert [next(statuses) for _ in range(3)] == [{"number": 1}, {"number": 2}, {"number": 3}]
        statuses.close()
    assert asked == [None, "e.1.5", None]


def test_a_server_that_comes_back_is_gone_on_with(tmp_path: Path) -> None:
    """It is another process by then: the whole status again, and one word of it in between."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    heard, seen = queue.Queue[str](), queue.Queue[str]()

    def read(name: str) -> None:
        while name not in next(statuses)["workloads"]:
            pass
        seen.put(name)

    with Client(f"http://127.0.0.1:{port}") as client:
        statuses = client.watch(lost=heard.put)
        with aside(_on(port, tmp_path, "first")):
            read("first")
        reading = threading.Thread(target=read, args=("second",))
        reading.start()
        assert f"http://127.0.0.1:{port}" in heard.get(timeout=PATIENCE)
        with aside(_on(port, tmp_path, "second")):
            assert [seen.get(timeout=PATIENCE) for _ in range(2)] == ["first", "second"]
        reading.join()
        statuses.close()
    assert heard.empty(), "said once"


def test_lines_of_what_changed() -> None:
    before = {"a": ("1",), "b": ("2",), "c": ("3",)}
    assert list(changed(before, before)) == []
    assert list(changed(before, {"a": ("1",), "b": ("x", ""), "d": ()})) == ["b  x", "d", "c  gone"]
