"""Every command and every call of the documents is run as it stands there, and ends as they say.

A page is run from its top, on a fleet that was put right before: what one of its commands has made, a later one may use.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli import main
from tests.docs.conftest import WEBHOOK, Stage
from tests.docs.pages import Command, every_command, mentioned
from tests.docs.programs import OURS, VERBS, kind, unknown_flags, verb_of

pytestmark = pytest.mark.xdist_group("docs")

COMMANDS = every_command()
RUN = [command for command in COMMANDS if kind(command) in {"curl", "ours"}]
ASKING = {"try", "health"}
LASTING = {"-f", "--follow", "-w", "--watch"}
# The command line, with its Ctrl-C: what a shell puts into the background is started without.
INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("api.cli", run_name="__main__", alter_sys=True)
"""
CUT_OFF = 28  # curl's exit status for --max-time
CHANGES = 2  # what `plan` exits with besides 0


class Terminal(io.TextIOWrapper):
    """Standard input as a person has it."""

    def isatty(self) -> bool:
        return True


def words_of(command: Command, stage: Stage) -> list[str]:
    """What stands there with its variables, addresses and patterns filled in, as a shell would."""
    said = list[str]()
    for word in command.argv:
        filled = re.sub(r"\$([A-Z]+)\b", lambda found: stage.variable(found[1]), word)
        filled = re.sub(r"http://[a-z0-9.-]+:9999", stage.url, filled)
        filled = stage.addresses.get(filled, filled)
        filled = re.sub(r"^~/", f"{stage.home}/", filled)
        paths = sorted(str(path.relative_to(stage.cwd)) for path in stage.cwd.glob(filled)) if "*" in filled else []
        said += paths or [filled]
    return [*said[: said.index("--") + 1], "true"] if "--" in said else said  # behind it stands another's program


@pytest.fixture(scope="session", autouse=True)
def last_page() -> list[str]:
    return [""]


@pytest.fixture
def ready(stage: Stage, last_page: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The stage as a page begins with it, and the environment of its commands."""
    command = request.node.callspec.params["command"]
    if command.page != last_page[0]:
        stage.put_right()
        last_page[0] = command.page
    monkeypatch.chdir(stage.cwd)
    monkeypatch.setenv("SPARKKEEP_SERVER", stage.url)
    monkeypatch.setenv("SPARKKEEP_DATA", str(stage.data))
    monkeypatch.setenv("HOME", str(stage.home))
    for name, value in stage.ssh.items():
        monkeypatch.setenv(name, value)
    return stage


@pytest.mark.parametrize("command", RUN, ids=str)
def test_it_ends_as_the_document_says(command: Command, ready: Stage, capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    words = words_of(command, ready)
    if any(word.rpartition("/")[2] in ASKING for word in words):
        ready.settle()  # what a command above made anew is waited for, as a person would
    if kind(command) == "curl":
        status, said = called(words, ready)
        assert status == command.expected or (command.expected is None and status // 100 == 2), (status, said)
        return
    assert unknown_flags(words) == set()
    if LASTING & {*words}:
        status, said = interrupted(words, ready)
        assert status == 130, said
        return
    monkeypatch.setattr(sys, "stdin", input_of(command, words, ready))
    monkeypatch.setattr("api.commands.secrets.getpass", lambda _: ready.typed(words[-1]))
    with pytest.raises(SystemExit) as ended:
        main(words[1:])
    said = str(capsys.readouterr())
    good = {0, CHANGES} if verb_of(words) == "plan" else {0}
    status = int(ended.value.code or 0)
    assert status == command.expected or (command.expected is None and status in good), (status, said)
    if "git-webhook" in words:
        ready.ask("PUT", "/api/secrets/git-webhook", json={"value": WEBHOOK})


def called(words: list[str], stage: Stage) -> tuple[int, str]:
    """The status of a call by curl, and what was answered. One that streams (-N) is cut off after half a second."""
    lasting = "-N" in words
    argv = [
        *words[:1],
        "--max-time",
        "0.5" if lasting else "40",
        "-sS",
        "-o",
        "answer",
        "-w",
        "%{http_code}",
        *words[1:],
    ]
    done = subprocess.run(argv, cwd=stage.cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in ({0, CUT_OFF} if lasting else {0}), done.stderr
    return int(done.stdout), (stage.cwd / "answer").read_text(errors="replace")


def interrupted(words: list[str], stage: Stage) -> tuple[int, str]:
    """What goes on for ever gets a Ctrl-C after its first words, as in a terminal."""
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ours, its = os.openpty()
    argv = [sys.executable, "-c", INTERRUPTIBLE, *words[1:]]
    process = subprocess.Popen(argv, cwd=stage.cwd, env=environ, stdin=subprocess.DEVNULL, stdout=its, stderr=its)
    os.close(its)
    said = os.read(ours, 1)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # so a terminal says that nobody writes to it any more
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    return process.wait(20), said.decode()


def input_of(command: Command, words: list[str], stage: Stage) -> io.TextIOWrapper:
    if command.source:
        return io.TextIOWrapper(io.BytesIO((stage.cwd / command.source).read_bytes()))
    if command.piped:
        found = stage.ask("GET", "/api/sparks/spark-1/containers/whisper/inspect")
        return io.TextIOWrapper(io.BytesIO(json.dumps(found).encode()))
    return Terminal(io.BytesIO(b"y\n"))


@pytest.mark.parametrize("command", [c for c in COMMANDS if kind(c) in {"serve", "named"}], ids=str)
def test_it_would_be_started_with_these_flags(command: Command) -> None:
    """A server, and what is run as another user: here their words are read as they would read them."""
    words = list(command.argv)
    words = words[next(at for at, word in enumerate(words) if word in OURS) :]
    assert unknown_flags(words) == set()
    verb = verb_of(words)
    VERBS[verb].make_context(verb, words[words.index(verb.split()[-1]) + 1 :])


@pytest.mark.parametrize(("page", "text"), sorted(set(mentioned())))
def test_a_command_in_a_sentence_is_there(page: str, text: str) -> None:
    words = shlex.split(text)
    if words[1:] == ["VERB", "--help"]:
        return
    if words[1] not in {"import", "secret"} or len(words) > 2:  # a group is named as a whole
        assert unknown_flags(words) == set(), page


def test_every_verb_is_run_by_some_document() -> None:
    ran = {verb_of(list(command.argv)) for command in COMMANDS if kind(command) in {"ours", "serve", "named"}}
    assert sorted(set(VERBS) - ran) == []
