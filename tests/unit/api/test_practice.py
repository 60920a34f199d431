"""All of it at once: `serve --practice` as a process, and the command line against it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from api.cli import main
from api.folder import DataFolder
from api.practice import workshop

PROGRAM = (sys.executable, "-m", "api.cli")
TEMPLATE = """\
sparks: {spark-1: {host: h}}
services:
  echo: {recipe: {image: 'python:3.13-slim', port: 18080, memory: 64MiB, probe: {kind: http, path: /}}, on: spark-1}
guards: {maxDestructive: 0}
"""


class Served:
    """A server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "template.yaml").write_text(TEMPLATE)
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "SSH_", "MODELS"))},
            "SPARKKEEP_DATA": str(folder / "data"),
        }
        argv = [*PROGRAM, "serve", "--practice", "1", "--port", "0", "--desired", str(folder / "template.yaml")]
        self.process = subprocess.Popen(
            argv, env=self.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.environ["SPARKKEEP_SERVER"] = found[0]
            if line.startswith("Ctrl-C"):
                break

    @property
    def desired(self) -> Path:
        return self.folder / "data" / "practice" / "desired.yaml"

    def run(self, *arguments: str) -> SimpleNamespace:
        """The command line, in this process: a tenth of the time."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environ, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main(arguments)
        return SimpleNamespace(returncode=ended.value.code, stdout=out.getvalue(), stderr=err.getvalue())

    def again(self) -> subprocess.CompletedProcess[str]:
        """A second server on the same data folder."""
        argv = [*PROGRAM, "serve", "--practice", "1", "--port", "0"]
        return subprocess.run(argv, env=self.environ, text=True, capture_output=True, timeout=40, check=False)

    def healthy(self) -> bool:
        echo = json.loads(self.run("get", "echo", "-o", "json").stdout)["echo"]
        return bool(echo["health"] == "Healthy" and echo["sync"] == "Synced")

    def until(self, what, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.run("get").stdout
            time.sleep(0.2)

    def end(self) -> tuple[int, float]:
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=15)
        return self.process.returncode, time.monotonic() - began


@pytest.fixture
def practice(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.communicate()


@pytest.mark.xdist_group("practice-ports")
def test_a_newcomers_first_minutes(practice: Served) -> None:
    practice.until(practice.healthy)
    assert practice.run("apply").returncode == 0
    assert practice.run("plan").returncode == 0
    assert "listening on" in practice.run("logs", "echo").stdout

    twice = practice.again()
    assert (twice.returncode, "already uses" in twice.stderr) == (1, True)

    assert practice.run("practice", "kill", "spark-1", "sparkkeep-echo").returncode == 0
    practice.until(lambda: "ContainerExited" in practice.run("events").stdout)
    practice.until(practice.healthy)

    practice.desired.write_text(
        practice.desired.read_text().replace("64MiB", "65MiB").replace("path: /", "path: /health")
    )
    practice.desired.write_text(practice.desired.read_text().replace("18080", "18081"))
    practice.until(lambda: practice.run("plan").returncode == 2)
    assert "withheld" in practice.run("plan").stdout
    applied = practice.run("apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    assert practice.run("practice", "explode", "spark-1").returncode == 1
    assert practice.run("practice", "reboot", "spark-1", "soon").returncode == 1

    practice.desired.write_text(practice.desired.read_text() + "nonsense: 1\n")
    practice.until(lambda: bool(json.loads(practice.run("get", "-o", "json").stdout)["problems"]))
    code, took = practice.end()
    assert code == 0
    assert took < 10


@pytest.mark.xdist_group("practice-ports")
async def test_the_host_key_is_shown_and_trusted(tmp_path: Path) -> None:
    from api.assemble import running

    template = tmp_path / "t.yaml"
    template.write_text(TEMPLATE)
    with DataFolder(tmp_path / "data") as folder:
        async with (
            workshop(1, folder, template, first_port=0) as room,
            running(room.desired, folder, {}, reach=room.reach) as parts,
        ):
            keys = parts.context.keys
            assert keys is not None
            before, _ = await keys.shown("spark-1")
            assert await room.inject("spark-1", "new_host_key", {}) is None
            after, line = await keys.shown("spark-1")
            assert before != after
            keys.trust(line)
            assert line in folder.known_hosts.read_text()
            with pytest.raises(ValueError, match="seconds"):
                await room.inject("spark-1", "reboot", {"seconds": "soon"})
            with pytest.raises(ValueError, match="No such container"):
                await room.inject("spark-1", "kill", {"container": "nobody"})


@pytest.mark.xdist_group("practice-ports")
async def test_plan_and_apply_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.offline import apply_offline, plan_offline

    template = tmp_path / "t.yaml"
    template.write_text(TEMPLATE)
    with DataFolder(tmp_path / "room") as folder:
        async with workshop(1, folder, template, first_port=0) as room:
            environ = {"SSH_DIR": str(room.fleet.folder), "SSH_KEY_PATH": str(room.fleet.key_path)}
            said: list[str] = []
            made = await plan_offline(room.desired, tmp_path / "data", environ, said.append)
            assert [step["verb"] for step in made["steps"]] == ["pull"]
            assert said == ["looking at spark-1"]
            result = await apply_offline(room.desired, tmp_path / "data", environ, made, said.append, limit=30)
            assert result.good, result.lines
            assert any(line.startswith("Created  echo on spark-1") for line in said)
            made = await plan_offline(room.desired, tmp_path / "data", environ, said.append)
            assert made["steps"] == []
