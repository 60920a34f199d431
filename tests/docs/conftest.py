"""Where the commands of the documents are run: practice Sparks under real git with a remote, served on loopback.

What the documents speak of is there: `qwen3-8b`, `bge-m3`, `bge-reranker`, `hello`, `parakeet` and `speakers` run, a stranger's
container `whisper` too, some fetches have been asked for, `phone`, `team` and `hook` take what they are sent, and in the
folder in which the commands run lie the files that they name.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.versioned import Versioned
from reconciler.canaries.sounds import tone
from reconciler.practice.console import USER
from reconciler.practice.docker_cli import DockerCli
from reconciler.practice.fleet import PracticeFleet, PracticeSpark
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from tests.aside import aside
from tests.bad_input.served import Fleet, served
from tests.gitops.conftest import git
from tests.unit.api.notify.listener import Listener, listening

DESIRED = """\
sparks:
  spark-1: {host: 127.0.0.1}
  spark-2: {host: 127.0.0.1}

settings:
  notifications:
    - {name: phone, kind: ntfy, url: 'LISTENER/phone', after: 1d}
    - {name: team, kind: slack, url: {secret: slack-url}, after: 1d}
    - {name: hook, url: 'LISTENER/hook', after: 1d}

models:
  qwen3-8b: {recipe: qwen3-8b, on: spark-1}
  bge-m3: {recipe: bge-m3, on: spark-1}
  bge-reranker: {recipe: bge-reranker, on: spark-1}

services:
  parakeet:
    recipe: {image: 'python:3.13-slim', port: 8103, memory: 64MiB, probe: transcription}
    on: spark-1
  speakers:
    recipe: {image: 'python:3.13-slim', port: 8200, memory: 64MiB, probe: diarization}
    on: spark-1
  kokoro:
    recipe: {image: 'python:3.13-slim', port: 8205, memory: 64MiB, probe: speech}
    on: spark-1
  hello:
    recipe:
      image: python:3.13-slim
      command: [python, -m, http.server, "8080"]
      port: 8080
      memory: 64MiB
      probe: {kind: http, path: /}
    on: [spark-1, spark-2]
"""
LLAMA_SWAP = "models: {qwen: {cmd: 'llama-server --port ${PORT} -hf Qwen/Qwen3-8B-GGUF'}}\n"
SPARKRUN = "{recipe_version: '2', model: org/Some-8B, runtime: vllm, container: 'ghcr.io/org/image:1', defaults: {port: 8010}}\n"
WEBHOOK = "the-words-of-the-webhook"

WORKLOADS = 7  # of these
CALM = 8  # looks, a quarter of a second apart


def desired(listener: Listener) -> str:
    """Where those who are told listen is known when they do."""
    return DESIRED.replace("LISTENER", f"http://127.0.0.1:{listener.port}")


class Stage:
    """What the commands work on."""

    def __init__(self, fleet: Fleet, folder: Path, listener: Listener, fresh: PracticeSpark) -> None:
        """`fresh`: a Spark that nobody keeps and whose host key nobody knows."""
        self.fleet = fleet
        self.listener = listener
        self.desired = desired(listener)
        self.url = fleet.url
        self.data = folder / "data"
        self.home = folder / "home"
        self.ssh = {
            "SSH_KEY_PATH": str(fleet.room.fleet.key_path),
            "SSH_KNOWN_HOSTS": str(fleet.room.fleet.known_hosts_path),
        }
        first = fleet.room.fleet["spark-1"]
        self.addresses = {
            "nvidia@192.168.1.11": f"{USER}@{first.host}:{first.port}",
            "nvidia@192.168.1.13": f"{USER}@{fresh.host}:{fresh.port}",
        }
        self.cwd = folder / "cwd"
        self.http = httpx2.Client(base_url=fleet.url, trust_env=False, timeout=30)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def docker(self, *argv: str) -> None:
        """What somebody types on spark-1."""

        async def run() -> None:
            engine, told = self.fleet.room.fleet["spark-1"].engine, Buffer()
            shell = Shell({}, engine.files, {})
            assert await DockerCli(engine)(shell, ["docker", *argv], Io(Input(), Buffer(), told)) == 0, told.text

        self.fleet.call(run)

    def put_right(self) -> None:
        """As it was at first: the desired state, the Sparks, and what was said once."""
        self.fleet.mend()
        self.docker("start", "whisper")
        if (self.data / "desired.yaml").read_text() != self.desired:
            yaml = {"content-type": "application/yaml", "if-match": "*"}
            self.ask("PUT", "/api/desired", content=self.desired.encode(), headers=yaml)
        status = self.ask("GET", "/api/status")
        for name in status["sparks"]:
            self.ask("POST", f"/api/sparks/{name}/undrain")
            self.ask("POST", f"/api/sparks/{name}/uncordon")
        for name in status["workloads"]:
            self.ask("POST", f"/api/workloads/{name}/resume")
        self.settle()

    def settle(self) -> None:
        """Until there is nothing to do and everything answers, and goes on to: a restart is not seen at once."""
        end = time.monotonic() + 50
        times = 0
        while times < CALM:
            status = self.ask("GET", "/api/status")
            found = {name: each["health"] for name, each in status["workloads"].items()}
            calm = set(found.values()) == {"Healthy"} and len(found) == WORKLOADS and not status["plan"]["steps"]
            times = times + 1 if calm else 0
            assert time.monotonic() < end, found
            time.sleep(0.25)

    def typed(self, asked: str) -> str:
        """What a person types who is asked for this secret."""
        return f"http://127.0.0.1:{self.listener.port}/team" if asked == "slack-url" else "hf_0123456789"

    def variable(self, name: str) -> str:
        """What a document's `$NAME` stands for, looked up when it is used."""
        if name == "PLAN":
            return str(self.ask("POST", "/api/plan")["id"])
        if name == "DIGEST":
            return str(self.ask("GET", "/api/weights/gc")["digest"])
        if name == "FINGERPRINT":
            return str(self.ask("GET", "/api/sparks/spark-1/hostkey")["fingerprint"])
        if name == "SESSION":
            return str(self.ask("POST", "/api/redact", json={"text": "write to jane@example.org"})["session"])
        if name == "SEQ":
            return str(self.ask("GET", "/api/events?follow=false")["latestSeq"] - 1)
        return {"S": self.url, "TOKEN": WEBHOOK, "HOME": str(self.home), "PORT": self.url.rpartition(":")[2]}[name]


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if missing := [tool for tool in ("curl", "git", "ssh-keygen") if shutil.which(tool) is None]:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("documents")
    with (
        aside(listening()) as listener,
        served(
            folder,
            _repository(folder / "data", folder / "hub.git", desired(listener)),
            versioned=Versioned(remote="origin", every=3600),
        ) as fleet,
        ExitStack() as entered,
    ):
        (folder / "fresh").mkdir()
        shutil.copy(fleet.room.fleet.key_path, folder / "fresh")
        fresh = entered.enter_context(aside(PracticeFleet(1, folder / "fresh", first_port=0)))
        made = Stage(fleet, folder, listener, fresh["spark-1"])
        made.settle()
        made.docker("run", "-d", "--name", "whisper", "--network", "host", "python:3.13-slim", "sleep", "inf")
        for repository in ("a/b", "a/c", "a/d"):
            made.ask("POST", "/api/weights/spark-1/fetch", json={"repository": repository})
        made.ask("PUT", "/api/secrets/git-webhook", json={"value": WEBHOOK})
        made.ask("PUT", "/api/secrets/slack-url", json={"value": made.typed("slack-url")})
        _files(made)
        yield made
        made.http.close()


def _repository(data: Path, hub: Path, text: str) -> str:
    """The desired state in a repository with a remote, as a team has it; the text again."""
    data.mkdir()
    git(data, "init", "--quiet", "--initial-branch=main", ".")
    git(data, "init", "--quiet", "--bare", "--initial-branch=main", str(hub))
    (data / "desired.yaml").write_text(text)
    git(data, "add", "desired.yaml")
    for number in range(2):
        git(data, "commit", "--quiet", "--allow-empty", "-m", f"the fleet, {number}")
    git(data, "remote", "add", "origin", str(hub))
    return text


def _files(stage: Stage) -> None:
    for path in (stage.cwd / "recipes", stage.cwd / "fleet", stage.home / ".config"):
        path.mkdir(parents=True)
    where = f"sparks: {json.dumps(stage.fleet.room.fleet.desired_sparks())}\n\n"  # for who looks without the server
    files = {
        "cwd/desired.yaml": where + stage.desired[stage.desired.index("settings:") :],
        "cwd/new.yaml": stage.desired.replace("[spark-1, spark-2]", "spark-2"),
        "cwd/fleet/desired.yaml": stage.desired,
        "cwd/value.json": json.dumps({"value": "hf_0123456789"}),
        "cwd/key.txt": "hf_0123456789\n",
        "cwd/header.txt": "Authorization: Bearer 0123456789abcdef0123456789abcdef\n",
        "cwd/config.yaml": LLAMA_SWAP,
        "cwd/recipes/some.yaml": SPARKRUN,
        "home/.config/sparkkeep-token": "0123456789abcdef0123456789abcdef\n",
    }
    for name, text in files.items():
        path = stage.home.parent / name
        path.write_text(text)
        path.chmod(0o600)
    (stage.cwd / "call.wav").write_bytes(tone(5))
