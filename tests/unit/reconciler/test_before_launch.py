"""What comes before a launch: a login for the fetch, folders that others may write to, memory that is free."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import launch
from reconciler.act import Result, act
from reconciler.images import registry
from reconciler.model import Login, Plan, ProbeResult, Sight, Step, Verb
from reconciler.plan import plan
from reconciler.sessions import Outcome
from reconciler.shell import guarded, join
from state.secrets import SecretRefused
from tests.unit.reconciler.builders import GIB, NOW, container, declare, only, sight, world
from tests.unit.reconciler.test_delivery import Spark, host

NIM = "nvcr.io/nim/meta/llama:1"
LOGIN = Login(registry="nvcr.io", user="$oauthtoken", secret="ngc")  # noqa: S106  # the secret's name
KEY = "nvapi-$(id)'\"`\\ %s"
DOCKER = """#!/bin/sh
echo "$DOCKER_CONFIG|$*" >> "$HOME/docker.log"
if [ "$1" = login ]; then
  cat "$DOCKER_CONFIG/config.json" > "$HOME/seeded"
  stat -c %a "$DOCKER_CONFIG" "$DOCKER_CONFIG/config.json" > "$HOME/modes"
  cat > "$HOME/password"
  [ ! -e "$HOME/refuse" ]
else
  [ ! -e "$HOME/denied" ] || { echo "unauthorized: authentication required" >&2; exit 1; }
fi
"""


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spark:
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return Short(tmp_path)


class Short(Spark):
    """Whatever the limit."""

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        del timeout
        return await super().run(script, timeout=9, reserved=reserved)


def fetch() -> Step:
    target = declare(f"services: {{a: {{recipe: {{image: '{NIM}'}}, on: s1}}}}")
    [step] = plan(target, world()).steps
    return step


def docker_log(spark: Spark) -> list[list[str]]:
    return [line.split("|") for line in (spark.home / "docker.log").read_text().splitlines()]


def test_the_plan_says_who_logs_in_and_no_key() -> None:
    step = fetch()
    assert step.login == LOGIN
    assert step.command == f"docker pull {NIM}"
    assert "as $oauthtoken of nvcr.io if there is a secret ngc" in step.consequence
    other = plan(declare("services: {a: {recipe: {image: 'ghcr.io/a/b:1'}, on: s1}}"), world()).steps
    assert [step.login for step in other] == [None]


def test_the_registry_is_in_the_images_name() -> None:
    assert [registry(name) for name in (NIM, "a/b", "b:1", "lan:5000/a", "localhost/a")] == [
        *("nvcr.io", "docker.io", "docker.io", "lan:5000", "localhost")
    ]


async def test_the_key_goes_in_by_standard_input_and_nothing_of_it_stays(spark: Spark) -> None:
    report = await act(fetch(), host(spark), {"ngc": KEY}.__getitem__)
    assert report.result is Result.DONE
    (config, login), (again, pull) = docker_log(spark)
    assert login == "login --username $oauthtoken --password-stdin nvcr.io"
    assert pull == f"pull {NIM}"
    assert config == again != ""
    assert not Path(config).exists()
    assert (spark.home / "password").read_text() == KEY
    assert (spark.home / "modes").read_text() == "700\n600\n"
    assert json.loads((spark.home / "seeded").read_text()) == {"auths": {"nvcr.io": {}}}


async def test_a_login_that_is_refused_leaves_the_fetch_as_it_would_be(spark: Spark) -> None:
    (spark.home / "refuse").touch()
    assert (await act(fetch(), host(spark), {"ngc": KEY}.__getitem__)).result is Result.DONE
    (config, _), (again, pull) = docker_log(spark)
    assert (again, pull) == ("", f"pull {NIM}")
    assert not Path(config).exists()


async def test_without_the_secret_it_is_tried_and_the_advice_names_it(spark: Spark) -> None:
    def refuse(name: str) -> str:
        raise SecretRefused(f"there is no secret {name}: put it into /s/{name} (mode 0600)")

    assert (await act(fetch(), host(spark), refuse)).result is Result.DONE
    assert docker_log(spark) == [["", f"pull {NIM}"]]
    (spark.home / "denied").touch()
    report = await act(fetch(), host(spark), refuse)
    assert report.why is not None
    assert report.why.reason == "PullDenied"
    told = "Nobody logged in to nvcr.io for it: there is no secret ngc: put it into /s/ngc (mode 0600)."
    assert report.why.advice.endswith(told)
    assert report.why.message.endswith(told)


def test_settings_name_registries_beside_nvidias() -> None:
    own = "settings: {registries: {'lan:5000': {user: me, secret: lan}}}"
    assert declare(own).logins == {
        "nvcr.io": LOGIN,
        "lan:5000": Login(registry="lan:5000", user="me", secret="lan"),  # noqa: S106  # the secret's name
    }


def test_a_nims_folders_may_be_written_to_by_its_user(tmp_path: Path) -> None:
    recipe = f"{{engine: nim, image: '{NIM}', memory: 8GiB}}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    assert only(target).create_folders == ()
    steps = plan(target, world(sights={"s1": sight(images=frozenset({NIM}))}, lenient=True)).steps
    [made] = [step for step in steps if step.verb is Verb.MKDIR]
    assert made.argv[-2:] == tuple(map(launch.home_path, ("$HOME/.cache/nim", "$HOME/.local/share/nim/workspace")))
    for shell in ("dash", "bash"):
        if shutil.which(shell):
            home = tmp_path / shell
            (home / ".cache" / "nim").mkdir(parents=True, mode=0o700)
            subprocess.run(
                [shell], check=True, input=guarded(join(made.argv)).encode(), env={**os.environ, "HOME": str(home)}
            )
            folders = (home / ".cache" / "nim", home / ".local" / "share" / "nim" / "workspace")
            assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o777, 0o777]


# The page cache


def cached(free: int) -> Sight:
    seen = sight(images=frozenset({"keep/echo:1"}), free=52 * GIB)
    assert seen.scan is not None
    return replace(seen, scan=replace(seen.scan, facts=replace(seen.scan.facts, memory_free=free)))


def starting(free: int, *, engine: str = "engine: vllm, model: x/y", rest: str = "") -> Plan:
    recipe = f"{{{engine}, image: 'keep/echo:1', gpus: all, memory: 40GiB}}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}\n{rest}")
    return plan(target, world(sights={"s1": cached(free)}, lenient=True))


def test_the_page_cache_is_dropped_where_it_holds_what_a_model_needs() -> None:
    steps = [step for step in starting(3 * GIB).steps if step.verb is not Verb.MKDIR]
    assert [step.verb for step in steps] == [Verb.FREE, Verb.CREATE]
    assert steps[0].cause == (
        "m needs 40.0 GiB and 3.0 GiB are free, of 52.0 GiB available: the rest is page cache, which CUDA calls taken"
    )
    assert steps[0].argv == ("sh", "-c", launch.FREED)
    assert not steps[0].destructive


@pytest.mark.parametrize(
    "result",
    [
        starting(40 * GIB),
        starting(3 * GIB, engine="engine: container"),
        starting(3 * GIB, rest="settings: {dropPageCache: false}"),
    ],
    ids=["enough is free", "no engine", "switched off"],
)
def test_it_is_left_alone_elsewhere(result: Plan) -> None:
    assert [step.verb for step in result.steps if step.verb is not Verb.MKDIR] == [Verb.CREATE]


def test_it_is_dropped_before_what_ended_starts_again() -> None:
    target = declare(
        "models: {m: {recipe: {engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: 40GiB}, on: s1}}"
    )
    gone = container(only(target), state="exited")
    seen = cached(3 * GIB)
    assert seen.scan is not None
    seen = replace(seen, scan=replace(seen.scan, containers=(gone,)))
    found = plan(target, world(sights={"s1": seen}, lenient=True)).steps
    assert [step.verb for step in found] == [Verb.FREE, Verb.START]


def restarting(free: int, memory: str = "40GiB") -> list[Verb]:
    """The plan for a model that has answered once and does not any more."""
    recipe = f"{{engine: vllm, model: x/y, image: 'keep/echo:1', gpus: all, memory: {memory}}}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    mute = container(only(target))
    seen = cached(free)
    assert seen.scan is not None
    seen = replace(seen, scan=replace(seen.scan, containers=(mute,)))
    silent = ProbeResult(container=mute.id, ready=False, ready_at=NOW - 900, failing_since=NOW - 90, failures=9)
    found = plan(target, world(sights={"s1": seen}, probes={("m", "s1"): silent}, lenient=True)).steps
    return [step.verb for step in found]


def test_it_is_dropped_before_what_does_not_answer_is_restarted() -> None:
    """The restart is one command: what loads in it finds the page cache as it was before."""
    assert restarting(3 * GIB) == [Verb.FREE, Verb.RESTART]
    assert restarting(40 * GIB) == [Verb.RESTART]
    assert restarting(3 * GIB, memory="50GiB") == [Verb.STOP, Verb.START]
