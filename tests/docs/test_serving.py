"""The ways of starting a server that the documents name are started, answer, and end as they are told to."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, Command, every_block, every_command
from tests.docs.programs import kind
from tests.gitops.conftest import git

UNITS = [block for block in every_block() if block.language == "ini"]
LINES = [command for command in every_command() if kind(command) == "serve"]
LONG = bool(os.environ.get("SPARKKEEP_LONG"))
NO_SPARKS = "sparks: {}\n"
ADDRESS = re.compile(r" at (http://127\.0\.0\.1:\d+)")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A fleet without Sparks in a repository with a remote, and a token."""
    (tmp_path / "fleet").mkdir()
    (tmp_path / "desired.yaml").write_text(NO_SPARKS)
    (tmp_path / "fleet" / "desired.yaml").write_text(NO_SPARKS)
    for argv in (["init", "-q", "-b", "main"], ["add", "desired.yaml"], ["commit", "-qm", "none yet"]):
        git(tmp_path / "fleet", *argv)
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
    git(tmp_path / "fleet", "remote", "add", "origin", str(tmp_path / "hub.git"))
    (tmp_path / ".config").mkdir()
    token = tmp_path / ".config" / "sparkkeep-token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    return tmp_path


def placed(words: list[str], home: Path) -> list[str]:
    """The words with the folders of this test, on a free port of this machine only."""
    said = [re.sub(r"^~/", f"{home}/", word) for word in words[words.index("serve") :]]
    for flag, folder in (("--desired", "fleet"), ("--data", "data")):
        if flag in said:
            said[said.index(flag) + 1] = str(home / folder)
    if "--data" not in said:
        said += ["--data", str(home / "data")]
    return [*said, "--host", "127.0.0.1", "--port", "0"]


def serves(words: list[str], home: Path) -> None:
    argv = [sys.executable, "-m", "api.cli", *placed(words, home)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    process = subprocess.Popen(argv, cwd=home, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        found = ADDRESS.search(process.stdout.readline())
        assert found, process.stderr.read()
        ready = subprocess.run(
            ["curl", "-sS", "--max-time", "20", f"{found[1]}/readyz"], check=False, capture_output=True, text=True
        )
        assert ready.stdout == '{"ready":true,"reasons":[]}', ready.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_a_unit_of_systemd(unit: Block, home: Path) -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(unit.text)
    serves(shlex.split(parser["Service"]["ExecStart"]), home)


@pytest.mark.skipif(not LONG, reason="takes seconds each: with SPARKKEEP_LONG=1")
@pytest.mark.parametrize("command", LINES, ids=str)
def test_a_line_that_starts_a_server(command: Command, home: Path) -> None:
    serves(list(command.argv), home)
