"""Secrets with unmistakable values, in use while a real repository takes changes, goes back, syncs and refuses.

In use are a token of Hugging Face, the login of a registry, the secret of the git server's webhook, the bearer token, and
the user and password that a person wrote into the URL of the remote. Afterwards every object of the repositories, here and
at the remote, every reflog and every other file that git or we wrote, every answer with its head, every metric, event,
command and status, every line of the log and all of the journal are searched.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.guard.bearer import Token
from api.versioned import Versioned
from tests.bad_input.served import Fleet, served
from tests.gitops.conftest import git
from tests.security.canaries import Argvs, Search, canary, unpacked
from tests.security.door import Heard
from tests.security.git_hub import Hub, hub

DESIRED = """\
# our Sparks
sparks: {spark-1: {host: h}, spark-2: {host: h}}
settings: {registries: {registry.lan: {user: me, secret: login}}}
services:
  echo:   # says what it hears
    recipe:
      image: python:3.13-slim
      port: 18080
      memory: 64MiB
      probe: {kind: http, path: /}
      env: {HF_TOKEN: {secret: hf}}
    on: spark-1
  lan: {recipe: {image: 'registry.lan/echo:1', port: 18081, memory: 64MiB, probe: none}, on: spark-2}
"""
SECRETS = ("hf", "login", "git-webhook")
ECHO = "/api/desired/services/echo"
JSON = {"content-type": "application/json"}
SHOWN = (
    *("/api/status", "/api/actions", "/api/events?follow=false&limit=5000", "/api/secrets", "/metrics", "/api/desired"),
    *("/api/desired/settings", "/api/workloads/echo/why", "/api/workloads/lan/why", "/api/weights", "/readyz"),
)
HANDED_ON = b"remote-http\0", b"git\0send-pack\0"  # git's own helpers get the URL as git has it


@dataclass
class Trial:
    """What was done, and what it left."""

    fleet: Fleet
    folder: Path
    values: dict[str, str]
    heard: Heard
    argvs: Argvs
    hub: Hub
    config: bytes
    client: httpx2.Client
    answers: list[tuple[str, int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found_in = Search(self.values.values()).found_in

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """A request, which is answered so. All that comes back is kept."""
        answer = self.client.request(method, path, **options)
        head = str(answer.headers.multi_items()).encode()
        self.answers.append((f"{method} {path}", answer.status_code, head + answer.content))
        assert answer.status_code == status, (method, path, answer.text)
        return answer.json() if "json" in answer.headers["content-type"] else answer.text


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("canaries-in-git")
    values = {name: canary(name) for name in (*SECRETS, "bearer", "password")}
    heard, argvs = Heard(), Argvs()
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    argvs.start()
    try:
        with hub(folder, "me", values["password"]) as server:
            config = repository(folder, f"http://me:{values['password']}@{server.address}/hub.git")
            versioned = Versioned(remote="origin", every=3600)
            with served(folder, DESIRED, versioned=versioned, token=Token(values["bearer"])) as fleet:
                shown = {"authorization": f"Bearer {values['bearer']}"}
                with httpx2.Client(base_url=fleet.url, headers=shown, trust_env=False, timeout=30) as client:
                    made = Trial(fleet, folder, values, heard, argvs, server, config, client)
                    play(made)
                    yield made
    finally:
        argvs.end()
        root.setLevel(level)
        root.removeHandler(heard)


def repository(folder: Path, url: str) -> bytes:
    """A person's repository with the login in the remote's URL. Gives its configuration."""
    data = folder / "data"
    data.mkdir()
    git(data, "init", "--quiet", "--initial-branch=main", ".")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "hub.git")
    git(folder / "hub.git", "config", "http.receivepack", "true")
    (data / "desired.yaml").write_text(DESIRED)
    git(data, "add", "desired.yaml")
    git(data, "commit", "--quiet", "-m", "the fleet")
    git(data, "remote", "add", "origin", url)
    return (data / ".git" / "config").read_bytes()


def play(trial: Trial) -> None:
    """Set the secrets, have them used, and do everything that leaves something in the repository."""
    use(trial)
    change(trial)
    refuse(trial)
    with_the_remote(trial)


def use(trial: Trial) -> None:
    async def spoil() -> None:
        trial.fleet.room.fleet["spark-2"].faults.registry_wants("registry.lan", "me", trial.values["login"])

    trial.fleet.call(spoil)
    for name in SECRETS:
        trial.ask("PUT", f"/api/secrets/{name}", json={"value": trial.values[name]})
    trial.fleet.settle()


def change(trial: Trial) -> None:
    trial.ask("PATCH", ECHO, json={"priority": 3}, params={"reason": "more weight"})
    trial.ask("PATCH", ECHO, json={"priority": 4}, params={"dryRun": "true"})
    hello = {"recipe": {"image": "python:3.13-slim", "env": {"KEY": {"secret": "hf"}}}, "on": "spark-2"}
    trial.ask("PUT", "/api/desired/services/hello", json=hello)
    trial.ask("PATCH", "/api/desired/guards", json={"maxDestructive": 3})
    whole = trial.ask("GET", "/api/desired", headers={"accept": "application/json"})
    trial.ask("PUT", "/api/desired", json={**whole, "guards": {"maxDestructive": 4}})
    text = trial.ask("GET", "/api/desired")
    trial.ask("PUT", "/api/desired", content=f"{text}# by hand\n", headers={"content-type": "application/yaml"})
    trial.ask("DELETE", "/api/desired/services/hello")
    trial.ask("POST", "/api/rollback", json={"revision": "HEAD~2", "reason": "it was better"})
    trial.ask("POST", "/api/rollback", json={"revision": "HEAD~1"}, params={"dryRun": "true"})
    file = trial.data / "desired.yaml"
    file.write_text(f"{file.read_text()}# by hand, and not committed\n")
    trial.ask("PATCH", ECHO, json={"priority": 5})


def refuse(trial: Trial) -> None:
    """Everything that is refused could say too much."""
    trial.ask("POST", "/api/rollback", 409, json={"revision": "HEAD~2"})
    git(trial.data, "checkout", "--quiet", "--", "desired.yaml")
    trial.ask("PATCH", ECHO, 412, json={"priority": 1}, headers={"if-match": '"0000"'})
    trial.ask("PATCH", ECHO, 422, json={"on": "spark-9"})
    trial.ask("PUT", "/api/desired", 422, content="services: {echo: 3", headers={"content-type": "application/yaml"})
    trial.ask("POST", "/api/rollback", 404, json={"revision": "nowhere"})
    trial.ask("GET", "/api/status", 401, headers={"authorization": f"Bearer {trial.values['bearer'][:-1]}"})
    trial.ask("GET", f"/api/secrets/{'x' * 9}", 405)
    trial.ask("PUT", "/api/secrets/hf", 422, json={"value": trial.values["hf"] + "\x1b"})
    hook(trial, 403, {"x-hub-signature-256": "sha256=" + "0" * 64})


def hook(trial: Trial, status: int, signed: dict[str, str]) -> None:
    trial.ask("POST", "/api/hooks/git", status, content=b"{}", headers=JSON | signed)


def with_the_remote(trial: Trial) -> None:
    """It takes what we have, is away, wants another login, and fails; a hook calls; a colleague is in the way."""
    assert trial.ask("POST", "/api/sync")["remote"]["good"]
    hook(trial, 202, {"x-gitlab-token": trial.values["git-webhook"]})
    signature = hmac.new(trial.values["git-webhook"].encode(), b"{}", hashlib.sha256).hexdigest()
    hook(trial, 202, {"x-hub-signature-256": f"sha256={signature}"})
    login = trial.hub.login
    for answers, shown in ((500, login), (403, login), (0, "another")):
        trial.hub.answers, trial.hub.login = answers, shown
        assert trial.ask("POST", "/api/sync")["remote"]["reason"] == "RemoteDown"
        trial.ask("PATCH", ECHO, json={"priority": 10 + answers % 7})
        trial.ask("GET", "/api/history")
    trial.hub.answers, trial.hub.login = 0, login
    conflict(trial)


def conflict(trial: Trial) -> None:
    other = trial.folder / "colleague"
    git(trial.folder, "clone", "--quiet", "hub.git", "colleague")
    file = other / "desired.yaml"
    file.write_text(re.sub(r"priority: \d+", "priority: 77", file.read_text()))
    git(other, "commit", "--quiet", "-am", "77")
    git(other, "push", "--quiet")
    trial.ask("PATCH", ECHO, json={"priority": 78})
    remote = trial.ask("POST", "/api/sync")["remote"]
    assert remote["reason"] == "Conflict", remote
    git(trial.data, "-c", "core.editor=true", "rebase", "--quiet", "-X", "theirs", "origin/main")
    assert trial.ask("POST", "/api/sync")["remote"]["reason"] in {"Pushed", "InSync"}  # it may have seen that by itself


def test_all_of_them_were_in_use(trial: Trial) -> None:
    """Otherwise the rest would prove nothing."""

    async def look() -> str:
        return str(trial.fleet.room.fleet["spark-1"].engine.find("sparkkeep-echo").spec.environment["HF_TOKEN"])

    assert trial.fleet.call(look) == trial.values["hf"]
    events = trial.ask("GET", "/api/events", params={"follow": "false", "limit": 5000})["events"]
    assert ("lan", "Pulled") in {(each["object"]["name"], each["reason"]) for each in events}, "the registry's login"
    assert trial.hub.served > 10, "the remote's login"
    subjects = git(trial.data, "log", "--format=%s").splitlines()
    assert len(subjects) > 10
    assert git(trial.folder / "hub.git", "log", "--format=%s").splitlines() == subjects


@pytest.mark.parametrize("name", ["data", "hub.git", "colleague"])
def test_no_object_of_a_repository_holds_one(trial: Trial, name: str) -> None:
    """Reachable or not: what a refused change or a rebase left lying around, too."""
    argv = ["git", "cat-file", "--batch-all-objects", "--unordered", "--batch"]
    done = subprocess.run(argv, cwd=trial.folder / name, check=True, capture_output=True)
    assert done.stdout.count(b"\ntree ") > 5, "commits are among them"
    assert trial.found_in(done.stdout) == []


def test_no_reflog_and_no_other_file_of_a_repository_holds_one(trial: Trial) -> None:
    """But the configuration, where a person wrote it: it stands there as they left it."""
    config = trial.data / ".git" / "config"
    assert config.read_bytes() == trial.config
    assert trial.found_in(trial.config)
    own, searched = trial.data / "secrets", set()
    for path in sorted(trial.folder.rglob("*")):
        if path.is_file() and path != config and own not in path.parents:
            assert trial.found_in(unpacked(path)) == [], path
            searched.add(str(path.relative_to(trial.folder)))
    assert {"data/.git/logs/HEAD", "data/.git/logs/refs/remotes/origin/main"} <= searched
    assert {"data/journal.sqlite", "data/desired.yaml"} <= searched


def test_no_answer_and_no_head_of_one_holds_one(trial: Trial) -> None:
    assert {status for _, status, _ in trial.answers} >= {200, 202, 401, 403, 404, 409, 412, 422}
    assert [asked for asked, _, said in trial.answers if trial.found_in(said)] == []


def test_nothing_that_is_shown_of_it_afterwards_holds_one(trial: Trial) -> None:
    """Status, history, differences, events, commands, metrics, and why."""
    commits = trial.ask("GET", "/api/history", params={"limit": 1000})["commits"]
    shown = [trial.ask("GET", f"/api/history/{each['revision']}/diff") for each in commits]
    shown += [trial.ask("GET", path) for path in SHOWN]
    shown.append(trial.ask("POST", "/api/plan", json={"desired": DESIRED}))
    assert len(commits) > 10
    assert trial.found_in(json.dumps(shown)) == []


def test_no_line_of_the_log_holds_one(trial: Trial) -> None:
    assert any("the remote:" in line for line in trial.heard.lines), "it spoke of the remote"
    assert [line for line in trial.heard.lines if trial.found_in(line)] == []


def test_no_argv_of_ours_holds_one(trial: Trial) -> None:
    """git itself hands the URL to its helpers, which is why docs/SECURITY.md says not to write a password there."""
    assert any(b"git\0" in argv for argv in trial.argvs.seen), "they were looked at"
    found = [argv for argv in trial.argvs.seen if trial.found_in(argv)]
    assert [argv for argv in found if not any(helper in argv for helper in HANDED_ON)] == []
