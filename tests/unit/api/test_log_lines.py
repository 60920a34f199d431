"""The log as lines for programs: what stands on them, and that the lines of one pass, and only they, share an id."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.assemble import CountedJournal, running
from api.folder import DataFolder
from api.log_lines import Json, Text
from reconciler.meters import Meters
from state.connectivity_log import ConnectivityLog
from state.journal import Event, Journal, Kind
from state.journal_schema import SCHEMA
from state.log_context import about, current, outside
from tests.unit.api.conftest import DESIRED, Stage


class Lines(logging.Handler):
    """Everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(Json())
        self.said: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        assert "\n" not in text
        self.said.append(json.loads(text))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, ours = Lines(), logging.getLogger("sparkkeep")
    before = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    yield handler
    ours.removeHandler(handler)
    ours.setLevel(before)


def test_a_line_says_what_it_is_about(lines: Lines) -> None:
    log = logging.getLogger("sparkkeep.some")
    log.info("nothing in particular")
    with about(spark="s1", reconcile="abc"):
        with about(workload="w"):
            log.warning("cloning %s", "https://me:c4nary@git.lan/x")
        outside(log.info, "beside it")
        try:
            int("https://me:c4nary@git.lan/x\nis broken")
        except ValueError:
            log.exception("failed")
    plain, named, beside, failed = lines.said
    assert plain == {
        "time": plain["time"],
        "level": "info",
        "logger": "sparkkeep.some",
        "message": "nothing in particular",
    }
    assert plain["time"].endswith("Z")
    assert (named["spark"], named["workload"], named["reconcile"]) == ("s1", "w", "abc")
    assert beside.keys() - plain.keys() == {"spark"}
    assert "ValueError" in failed["exception"]
    assert current().spark == ""
    assert "c4nary" not in json.dumps(lines.said)
    record = logging.LogRecord("x", logging.INFO, "", 0, "at https://me:c4nary@git.lan", (), None)
    assert "c4nary" not in Text().format(record)


async def test_the_lines_of_a_pass_share_an_id_and_two_passes_do_not(stage: Stage, lines: Lines) -> None:
    journal = stage.context.journal
    await stage.rewrite(DESIRED.replace("echo: {recipe: {image: 'keep/echo:1'", "echo: {recipe: {image: 'keep/echo:2'"))
    await stage.settled()
    passes: dict[str, list[dict[str, Any]]] = {}
    for line in lines.said:
        if "reconcile" in line:
            passes.setdefault(line["reconcile"], []).append(line)
    assert len(passes) > 2
    for said in passes.values():
        assert len({line["spark"] for line in said}) == 1
        begun = [line for line in said if line["message"].endswith("a pass begins")]
        ended = [line for line in said if "the pass ended after" in line["message"]]
        assert len(begun) == 1
        assert len(ended) <= 1, "one is still under way"
    actions = [a for a in await journal.actions() if a.verb in {"stop", "remove", "create"} and a.workload == "echo"]
    assert all(action.reconcile for action in actions)
    changed = [action for action in actions if action.reconcile in passes]  # the first ones came before the log
    assert {action.verb for action in changed} == {"stop", "remove", "create"}
    for action in changed:
        told = [line for line in passes[action.reconcile] if line.get("workload") == "echo"]
        assert any(line["message"].startswith(f"s1: {action.verb} of echo") for line in told)
        events = [e for e in await journal.events(workload="echo") if e.reconcile == action.reconcile]
        assert events, "what came of it is told under the same id"
    assert all(e.as_dict()["reconcile"] == e.reconcile for e in await journal.events())


async def test_what_outlives_a_pass_has_no_id(stage: Stage, lines: Lines) -> None:
    """A probe is begun in a pass and goes on for days."""
    text = DESIRED.replace("port: 8000, probe: none", "port: 8000, probe: {kind: http, path: /, interval: 100ms}")
    await stage.rewrite(text)
    await stage.settled()
    while not [line for line in lines.said if "probe of echo" in line["message"]]:
        await asyncio.sleep(0.01)
    probes = [line for line in lines.said if "probe of echo" in line["message"]]
    assert all("reconcile" not in line and line["spark"] == "s1" for line in probes)


def test_every_event_is_a_line_too(lines: Lines) -> None:
    journal = CountedJournal(":memory:", Meters())
    journal.record(Event(kind=Kind.WORKLOAD, name="w", spark="s1", type="Warning", reason="Died", message="it did"))
    journal.record(Event(kind=Kind.SPARK, name="s1", spark="s1", reason="Up", message="it is"))
    journal.close()
    first, second = lines.said
    assert (first["level"], first["spark"], first["workload"]) == ("warning", "s1", "w")
    assert first["message"] == "w: Died: it did"
    assert (second["level"], second["spark"], "workload" in second) == ("info", "s1", False)


def test_serve_writes_json_if_asked_to(tmp_path: Path) -> None:
    (tmp_path / "desired.yaml").write_text("sparks: {s1: {host: 127.0.0.1, port: 1}}\n")
    environ = {**os.environ, "SPARKKEEP_LOG": "json", "HOME": str(tmp_path)}
    argv = [sys.executable, "-m", "api.cli", "serve", "--desired", str(tmp_path / "desired.yaml"), "--port", "0"]
    argv += ["--host", "127.0.0.1", "--data", str(tmp_path / "data")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, text=True)
    try:
        assert process.stderr is not None
        found: list[dict[str, Any]] = []
        while not any(line.get("logger") == "sparkkeep.events" and line.get("spark") == "s1" for line in found):
            line = process.stderr.readline()
            assert line, (process.poll(), found)
            found.append(json.loads(line))
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    assert all(json.loads(line) for line in rest.splitlines())


# The connectivity log


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_connectivity_is_a_line_a_change_and_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "made" / "connectivity.json"
    log = ConnectivityLog(path, bound=600)
    for number in range(20):
        log.add(at=1.8e9 + number, spark="s1", state="unknown", reason="NoRoute", message=f"gone {number}")
    log.close()
    kept = [*written(path.with_name("connectivity.json.1")), *written(path)]
    assert [line["message"] for line in kept] == [f"gone {n}" for n in range(20 - len(kept), 20)]
    assert kept[-1] == {
        "time": "2027-01-15T08:00:19.000Z",
        "spark": "s1",
        "state": "unknown",
        "reason": "NoRoute",
        "message": "gone 19",
    }
    assert path.stat().st_size <= 600
    assert sorted(file.name for file in path.parent.iterdir()) == ["connectivity.json", "connectivity.json.1"]
    (tmp_path / "file").write_text("")
    refused = ConnectivityLog(tmp_path / "file" / "log")
    for _ in range(3):
        refused.add(at=0, spark="s1", state="reachable", reason="", message="")
    refused.close()
    assert caplog.text.count("can't be written") == 1


async def test_each_change_of_a_spark_is_written(tmp_path: Path) -> None:
    path = tmp_path / "connectivity.json"
    desired = tmp_path / "desired.yaml"
    desired.write_text("sparks: {s1: {host: 127.0.0.1, port: 1}}\n")
    with DataFolder(tmp_path / "data") as folder:
        async with asyncio.timeout(20), running(desired, folder, {"CONNECTIVITY_LOG": str(path)}) as parts:
            while not path.exists() or not path.read_text():
                await asyncio.sleep(0.02)
            journal = await parts.context.journal.connectivity("s1")
    (line,) = written(path)
    assert (line["spark"], line["state"], line["reason"]) == ("s1", "unknown", journal[0].reason)
    assert line["message"].startswith("s1 (127.0.0.1) is up, but nothing answers at its SSH port")


def test_a_journal_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    old = SCHEMA.replace("reconcile TEXT NOT NULL DEFAULT ''     -- the pass that it came from last, if any\n", "")
    old = old.replace("    last_at  REAL NOT NULL,\n", "    last_at  REAL NOT NULL\n")
    old = old.replace("''TEXT", "").replace("DEFAULT '',\n    reconcile   TEXT NOT NULL DEFAULT ''\n", "DEFAULT ''\n")
    old = old.partition("CREATE TABLE IF NOT EXISTS told")[0] + old[old.index("CREATE TABLE IF NOT EXISTS good") :]
    assert "reconcile" not in old
    database = sqlite3.connect(path)
    database.executescript(old)
    database.execute(
        "INSERT INTO events VALUES (7, 7, 'sparkkeep', 'spark', 's1', 's1', 'Normal', 'Up', 'm', 1, 1.0, 2.0)"
    )
    database.execute(
        "INSERT INTO actions VALUES (3, 'r', 's1', 'w', 'create', 'docker', 'c', 1.0, 2.0, 0, 'ok', '', '')"
    )
    database.execute("INSERT INTO overrides VALUES ('suspend', 'w', '', 'me', '', 1.0)")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    for _ in range(2):  # and once more, as it is by then
        journal = Journal(path)
        events = asyncio.run(_read(journal))
        assert events == ([(7, "Up", "")], [(3, "ok", "")])
        assert asyncio.run(journal.check()) == ""
        journal.close()
    assert not list(tmp_path.glob("*.corrupt-*"))


async def _read(journal: Any) -> tuple[list[Any], list[Any]]:
    events = [(e.seq, e.event.reason, e.reconcile) for e in await journal.events()]
    return events, [(a.id, a.outcome, a.reconcile) for a in await journal.actions()]
