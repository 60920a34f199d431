"""Secrets with unmistakable values, used as they are meant to be; then everything that leaves a trace is searched.

Values go in through the API and the command line, and reach a container on a practice Spark as its environment, and a
registry as its password. Afterwards no answer, no line of log at any level, no row of the journal, no argv and no
file but the secrets' own holds one of them, or the half of one.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.bad_input.served import Fleet, served
from tests.security.canaries import Argvs, Search, canary, unpacked
from tests.security.door import Heard

DESIRED = """\
sparks: {spark-1: {host: h}}
settings: {registries: {registry.lan: {user: me, secret: login}}}
"""
SERVICES = """\
services:
  echo:
    recipe:
      image: python:3.13-slim
      port: 18080
      memory: 64MiB
      probe: {kind: http, path: /}
      env: {HF_TOKEN: {secret: hf}, GREETING: {secret: plain}}
    on: spark-1
  lan: {recipe: {image: 'registry.lan/echo:1', port: 18081, memory: 64MiB, probe: none}, on: spark-2}
  bad: {recipe: {image: 'python:3.13-slim', port: 18082, memory: 64MiB, env: {X: {secret: plain}}}, on: spark-2}
  none: {recipe: {image: 'python:3.13-slim', port: 18083, memory: 64MiB, env: {X: {secret: missing}}}, on: spark-2}
"""
BY_API = ("plain", "login", "unused")
BY_CLI = ("hf",)
MEANT = {("lan", "Pulled"), ("bad", "ContainerExited"), ("none", "SecretRefused")}


class Trial:
    """What was done, and what it left."""

    def __init__(self, fleet: Fleet, folder: Path, values: dict[str, str], heard: Heard, argvs: Argvs) -> None:
        self.fleet = fleet
        self.folder = folder
        self.values = values
        self.heard = heard
        self.argvs = argvs
        self.found_in = Search(values.values()).found_in


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("canaries")
    values = {name: canary(name) for name in (*BY_API, *BY_CLI)}
    heard, argvs = Heard(), Argvs()
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    argvs.start()
    try:
        with served(folder, DESIRED) as fleet:
            play(fleet, folder, values)
            yield Trial(fleet, folder, values, heard, argvs)
    finally:
        argvs.end()
        root.setLevel(level)
        root.removeHandler(heard)


def play(fleet: Fleet, folder: Path, values: dict[str, str]) -> None:
    """Set them, have them used, let some of it fail, and do it again."""

    async def spoil() -> None:
        faults = fleet.room.fleet["spark-2"].faults
        faults.registry_wants("registry.lan", "me", values["login"])
        faults.exit_after("sparkkeep-bad", 0.1)

    fleet.call(spoil)
    with httpx2.Client(base_url=fleet.url, trust_env=False, timeout=20) as client:
        for name in BY_API:
            client.put(f"/api/secrets/{name}", json={"value": values[name]}).raise_for_status()
        for name in BY_CLI:
            argv = [sys.executable, "-m", "api.cli", "secret", "set", name, "--data", str(folder / "data")]
            environ = {k: v for k, v in os.environ.items() if k != "SPARKKEEP_SECRETS"}
            subprocess.run(argv, input=values[name], text=True, check=True, env=environ, timeout=30)
        with fleet.room.desired.open("a") as file:
            file.write(SERVICES)
        running(client)
        client.post("/api/practice/spark-1/kill", json={"container": "sparkkeep-echo"}).raise_for_status()
        client.post("/api/workloads/echo/restart").raise_for_status()
        running(client)
        client.put("/api/secrets/plain", json={"value": values["plain"] + "\x1b"})
        client.put("/api/secrets/plain", content=values["plain"], headers={"content-type": "text/plain"})
        client.put("/api/secrets/plain", content=values["plain"], headers={"content-type": "application/json"})
        client.delete("/api/secrets/unused").raise_for_status()


def running(client: httpx2.Client) -> None:
    """Until echo answers, and all that shall fail has failed."""
    for _ in range(150):
        echo = client.get("/api/status").json()["workloads"].get("echo", {})
        told = client.get("/api/events", params={"follow": "false", "limit": 5000}).json()["events"]
        seen = {(each["object"]["name"], each["reason"]) for each in told}
        if echo.get("health") == "Healthy" and seen >= MEANT:
            return
        time.sleep(0.2)
    raise AssertionError(sorted(seen))


def inside(trial: Trial) -> dict[str, str]:
    """The environment that the container really has."""

    async def look() -> dict[str, str]:
        container = trial.fleet.room.fleet["spark-1"].engine.find("sparkkeep-echo")
        return dict(container.spec.environment)

    return trial.fleet.call(look)


def places(trial: Trial, client: httpx2.Client) -> Iterator[str]:
    """Every GET of the API, with every name that there is."""
    status = client.get("/api/status").json()
    ids = [str(each["id"]) for each in client.get("/api/weights").json()["fetches"]] or ["1"]
    containers = [(s, c) for s in status["sparks"] for c in ("sparkkeep-echo", "sparkkeep-lan", "grafana")]
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        if "get" not in methods:
            continue
        if path.startswith("/api/workloads/"):
            yield from (path.replace("{name}", name) for name in status["workloads"])
        elif "/containers/" in path:
            yield from (path.replace("{name}", spark).replace("{id}", c) for spark, c in containers)
        elif path.startswith("/api/sparks/"):
            yield from (path.replace("{name}", name) for name in status["sparks"])
        elif "{" in path:
            yield from (path.replace("{id}", each) for each in ids)
        else:
            yield path


def test_the_container_got_them(trial: Trial) -> None:
    """Otherwise the rest would prove nothing."""
    environment = inside(trial)
    assert environment["HF_TOKEN"] == trial.values["hf"]
    assert environment["GREETING"] == trial.values["plain"]


def read(client: httpx2.Client, path: str) -> httpx2.Response:
    """The answer; of the stream that never ends, what it begins with: all the events, and then a bookmark."""
    if path != "/api/watch":
        return client.get(path, params={"follow": "false", "limit": 1000})
    with client.stream("GET", path, headers={"last-event-id": f"{'0' * 16}.1.0"}) as answer:
        said = b""
        for data in answer.iter_bytes():
            said += data
            if b"event: bookmark" in said:
                break
        return httpx2.Response(answer.status_code, headers={"id": answer.headers["content-type"]}, content=said)


def test_no_answer_holds_one(trial: Trial) -> None:
    asked = 0
    with httpx2.Client(base_url=trial.fleet.url, trust_env=False, timeout=20) as client:
        for path in places(trial, client):
            answer = read(client, path)
            asked += answer.status_code == 200
            assert trial.found_in(answer.content + str(answer.headers).encode()) == [], path
        for path, body in (("/api/plan", None), ("/api/plan", {"desired": DESIRED + SERVICES})):
            assert trial.found_in(client.post(path, json=body).content) == []
        for path in ("/", "/ui/any/main.js", "/metrics", "/api/openapi.json"):
            assert trial.found_in(client.get(path).content) == []
    assert asked > 20


def test_no_line_of_the_log_holds_one(trial: Trial) -> None:
    assert len(trial.heard.lines) > 100, "it said a lot"
    assert [line for line in trial.heard.lines if trial.found_in(line)] == []


def test_no_argv_holds_one(trial: Trial) -> None:
    assert any(b"secret\0set\0hf" in argv for argv in trial.argvs.seen), "they were looked at"
    assert [argv for argv in trial.argvs.seen if trial.found_in(argv)] == []


def test_no_file_but_its_own_holds_one(trial: Trial) -> None:
    """Of the data folder: the journal with what is not yet in it, the desired state, and the practice Sparks' keys."""
    own = trial.folder / "data" / "secrets"
    assert sorted(path.name for path in own.iterdir()) == sorted({*BY_API, *BY_CLI} - {"unused"})
    searched = set()
    for path in sorted(trial.folder.rglob("*")):
        if path.is_file() and own not in path.parents:
            assert trial.found_in(unpacked(path)) == [], path
            searched.add(path.name)
    assert {"journal.sqlite", "desired.yaml"} <= searched
    for path in own.iterdir():
        assert trial.found_in(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o600


def test_no_label_and_no_argument_of_a_container_holds_one(trial: Trial) -> None:
    """Where everybody who may ask Docker on the Spark would read it."""

    async def look() -> str:
        container = trial.fleet.room.fleet["spark-1"].engine.find("sparkkeep-echo")
        return json.dumps([container.spec.labels, list(container.spec.command)], default=str)

    said = trial.fleet.call(look)
    assert re.search(r"sparkkeep\.spec", said)
    assert trial.found_in(said) == []
