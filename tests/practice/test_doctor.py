"""`sparkkeep doctor` and `sparkkeep init` against practice Sparks, over their real SSH, as a person types them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.cli import main
from reconciler.practice.console import USER
from reconciler.practice.docker_cli import DockerCli
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.shell_io import Buffer, Input, Io
from reconciler.practice.shell_run import Shell
from reconciler.shell import split

Cli = Callable[..., Awaitable[tuple[int, str, str]]]
PRACTICE = {"tools", "swap"}  # a practice Spark lacks some programs, and has its swap on as a DGX Spark does


class Terminal(io.TextIOWrapper):
    """Standard input as a person has it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def cli(
    fleet: PracticeFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    for name in [name for name in os.environ if name.startswith(("SPARK", "SSH_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "ssh").mkdir()
    monkeypatch.setenv("SSH_DIR", str(tmp_path / "ssh"))
    monkeypatch.setenv("SSH_KEY_PATH", str(fleet.key_path))
    monkeypatch.setenv("SSH_KNOWN_HOSTS", str(fleet.known_hosts_path))
    monkeypatch.setenv("SPARKKEEP_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0)

    async def run(*words: str, typed: str | None = None) -> tuple[int, str, str]:
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(typed.encode())))
        status = await asyncio.to_thread(call, *words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def address(fleet: PracticeFleet, name: str = "spark-1") -> str:
    return f"{USER}@{fleet[name].host}:{fleet[name].port}"


async def docker(fleet: PracticeFleet, line: str, name: str = "spark-1") -> None:
    engine = fleet[name].engine
    told = Buffer()
    status = await DockerCli(engine)(Shell({}, engine.files, {}), list(split(line)), Io(Input(), Buffer(), told))
    assert status == 0, told.text


async def findings(cli: Cli, *words: str) -> dict[str, dict[str, Any]]:
    status, out, err = await cli("doctor", *words, "-o", "json")
    told = json.loads(out)
    assert status == (0 if told["healthy"] else 1), err
    (spark,) = told["sparks"].values()
    return {found["check"]: found for found in spark["findings"]}


def bad(found: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, each in found.items() if each["verdict"] != "ok"}


async def test_a_practice_spark_is_fit(cli: Cli, fleet: PracticeFleet) -> None:
    found = await findings(cli, address(fleet))
    assert bad(found) == PRACTICE
    assert {found[name]["verdict"] for name in PRACTICE} == {"warn"}
    assert {command.argv[1] for command in fleet["spark-1"].commands} <= {"--version", "info", "ps", "inspect"}


async def test_all_that_are_declared_with_progress(cli: Cli, fleet: PracticeFleet, tmp_path: Path) -> None:
    (tmp_path / "desired.yaml").write_text(yaml.safe_dump({"sparks": fleet.desired_sparks()}))
    fleet["spark-2"].faults.daemon_down()
    status, out, err = await cli("doctor")
    assert status == 1
    assert "spark-1: logging in\n" in err
    assert "spark-2: docker-daemon: fail: it does not answer: " in out
    assert "    on spark-2: sudo systemctl enable --now docker\n" in out
    assert err.splitlines()[-2].startswith("spark-1: ")
    assert "1 fail" in err.splitlines()[-1]


FAULTS: dict[str, tuple[Callable[[Any], None], str, set[str]]] = {
    "daemon": (lambda f: f.daemon_down(), "docker-daemon", {"docker-group", "docker-version", "gpu-runtime",
                                                             "disk-docker", "forwarding", "others"}),
    "disk": (lambda f: f.disk_full(), "disk-root", {"disk-docker", "disk-weights"}),
    "memory": (lambda f: f.memory_taken(113 << 30), "memory", set()),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_found(cli: Cli, fleet: PracticeFleet, name: str) -> None:
    inject, check, also = FAULTS[name]
    inject(fleet["spark-1"].faults)
    found = await findings(cli, address(fleet))
    assert found[check]["verdict"] == "fail"
    assert bad(found) - PRACTICE == {check} | also


async def test_a_port_that_is_taken(cli: Cli, fleet: PracticeFleet, tmp_path: Path) -> None:
    recipe = {"image": "img:1", "port": 8123, "memory": "64MiB", "probe": "none"}
    declared = {"sparks": fleet.desired_sparks(), "services": {"web": {"recipe": recipe, "on": "spark-1"}}}
    (tmp_path / "desired.yaml").write_text(yaml.safe_dump(declared))
    assert (await findings(cli, "spark-1"))["ports"]["verdict"] == "ok"
    fleet["spark-1"].faults.port_taken(8123)
    assert (await findings(cli, "spark-1"))["ports"]["verdict"] == "fail"


async def test_init_asks_shows_the_key_and_writes(
    cli: Cli, fleet: PracticeFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_KNOWN_HOSTS", str(tmp_path / "none"))
    await docker(fleet, "docker run -d --name whisper --network host img:1 serve --port 18080")
    typed = f"{address(fleet)}\n{address(fleet, 'spark-2')}\n\ny\ny\ny\n"
    status, _, err = await cli("init", "fleet", typed=typed)
    assert status == 0, err
    key = fleet["spark-1"].host_key.get_fingerprint()
    assert f"shows a host key that is new here: {key}" in err
    made = tmp_path / "fleet/desired.yaml"
    text = made.read_text()
    declared = yaml.safe_load(text)
    assert declared["sparks"] == fleet.desired_sparks()
    assert declared["services"]["whisper"]["run"] == "never"
    assert declared["services"]["whisper"]["recipe"]["port"] == 18080
    assert (await cli("validate", str(made)))[0] == 0
    assert "sparkkeep serve --desired fleet/desired.yaml" in err
    status, _, err = await cli("init", "fleet", typed=typed)
    assert (status, made.read_text()) == (1, text)
    assert "is there already, and is left as it is" in err
    status, out, err = await cli("plan", "--offline", "--desired", str(made), "-o", "json")
    assert (status, json.loads(out)["steps"]) == (0, []), err


@pytest.mark.parametrize(("typed", "said"), [
    ("{0}\n\nn\n", "Nothing is trusted, and nothing is written."),
    ("{0}\n\ny\nn\n", "Nothing is written."),
    ("\n", "No Spark is named, and nothing is written."),
    ("{0}\n{0}\n\n", "is named twice"),
    ("no address at all\n\n", "is no address"),
])  # fmt: skip
async def test_a_no_writes_nothing(
    cli: Cli, fleet: PracticeFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    monkeypatch.setenv("SSH_KNOWN_HOSTS", str(tmp_path / "none"))
    status, _, err = await cli("init", "fleet", typed=typed.format(address(fleet)))
    assert status == 1
    assert said in err
    assert not (tmp_path / "fleet").exists()


async def test_without_a_terminal_it_names_the_flag(cli: Cli, fleet: PracticeFleet, tmp_path: Path) -> None:
    status, _, err = await cli("init")
    assert status == 1
    assert "--host user@host" in err
    status, _, err = await cli("init", "--host", address(fleet), "--host", "nobody@127.0.0.1:1", "--yes")
    assert status == 1
    assert "Nothing is written: mend what is said above, or leave out nobody@127.0.0.1." in err
    assert not (tmp_path / "desired.yaml").exists()


async def test_a_spark_that_is_kept_already_is_refused(cli: Cli, fleet: PracticeFleet, tmp_path: Path) -> None:
    labels = "--label sparkkeep.owner=sparkkeep --label sparkkeep.workload=web"
    await docker(fleet, f"docker run -d --name sparkkeep-web {labels} img:1 serve --port 18080")
    status, _, err = await cli("init", "--host", address(fleet), "--yes")
    assert status == 1
    assert "a sparkkeep keeps" in err
    assert "(sparkkeep-web)" in err
    assert not (tmp_path / "desired.yaml").exists()
    status, _, err = await cli("init", "--host", address(fleet), "--yes", "--owner", "second")
    assert status == 0, err
    declared = yaml.safe_load((tmp_path / "desired.yaml").read_text())
    assert declared["settings"] == {"owner": "second"}
    assert "services" not in declared
    assert (await cli("init", "x", "--host", address(fleet), "--owner", "No Owner"))[0] == 1
