"""`sparkkeep doctor` and `sparkkeep init` on real hosts: each seeded fault is found and explained, a healthy host is fit."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from api.cli import main
from reconciler.doctor.checks import CHECKS
from tests.hosts.faults import FAULTS, USER, Fault, declared, healthy
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.shell import call

Cli = Callable[..., tuple[int, str, str]]
PASSING = {"ok"}


@pytest.fixture
def host(hosts: list[Host]) -> Iterator[Host]:
    with healthy(hosts[0]):
        yield hosts[0]


@pytest.fixture
def cli(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line as its user has it: with this fleet's key and host keys, and nothing of this machine's."""
    for name in [name for name in os.environ if name.startswith(("SPARK", "SSH_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "ssh").mkdir()
    monkeypatch.setenv("SSH_DIR", str(tmp_path / "ssh"))
    monkeypatch.setenv("SSH_KEY_PATH", str(fleet.key))
    monkeypatch.setenv("SSH_KNOWN_HOSTS", str(fleet.known_hosts))
    monkeypatch.setenv("SPARKKEEP_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def findings(cli: Cli, *words: str) -> dict[str, dict[str, Any]]:
    status, out, err = cli("doctor", *words, "-o", "json")
    told = json.loads(out)
    assert status == (0 if told["healthy"] else 1), err
    (spark,) = told["sparks"].values()
    return {found["check"]: found for found in spark["findings"]}


@pytest.mark.parametrize("user", ["root", USER])
def test_a_healthy_host_has_no_finding(cli: Cli, host: Host, user: str) -> None:
    found = findings(cli, f"{user}@{host.address}")
    assert list(found) == list(CHECKS)
    assert {name: each["message"] for name, each in found.items() if each["verdict"] != "ok"} == {}
    status, out, err = cli("doctor", f"{user}@{host.address}")
    assert (status, err.splitlines()[-1]) == (0, f"{user}@{host.address}: {len(CHECKS)} ok")
    assert "why:" not in out


def test_nothing_is_changed_by_looking(cli: Cli, host: Host) -> None:
    host.clear_commands()
    findings(cli, f"root@{host.address}")
    asked = {tuple(argv[:2]) for argv in host.commands()}
    assert asked <= {("docker", "--version"), ("docker", "info"), ("docker", "ps"), ("docker", "inspect")}
    assert host.leases() == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_found_and_explained(
    fault: Fault, cli: Cli, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fault.key:
        other = tmp_path / "other"
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)])
        monkeypatch.setenv("SSH_KEY_PATH", str(other))
    address = f"{fault.user}@{fault.host or host.address}" + (f":{fault.port}" if fault.port else "")
    named = ["spark-1", "--desired", str(declared(host, fault, tmp_path))] if fault.wanted else [address]
    with ExitStack() as stack:
        fault.seed(host, stack)
        found = findings(cli, *named)
        each = found[fault.check]
        assert each["verdict"] == fault.verdict, found
        assert fault.words in each["message"]
        assert each["why"]
        assert each["fix"]["commands"]
        rest = {name for name, other in found.items() if other["verdict"] in {"warn", "fail"}} - {fault.check}
        assert rest == set(), found
        unknown = {name for name, other in found.items() if other["verdict"] == "unknown"}
        behind = set(CHECKS) if not fault.reached else fault.also
        assert unknown <= behind, found
        if not fault.wanted:
            _founded(fault, cli, tmp_path, address, each["message"])
        if fault.mended:
            _mend(host, each, fault)
            assert findings(cli, *named)[fault.check]["verdict"] == "ok"


def _founded(fault: Fault, cli: Cli, folder: Path, address: str, message: str) -> None:
    """`init` tells it as well: it writes nothing of a Spark that it can't reach, and marks one that is not fit."""
    status, _, err = cli("init", str(folder / "made"), "--host", address, "--yes")
    explained = re.search(rf"^spark-1: {fault.check}: {fault.verdict}: (.*)$", err, re.MULTILINE)
    assert explained is not None, err
    assert fault.words in explained[1]
    assert "    why: " in err
    made = folder / "made/desired.yaml"
    assert made.exists() == fault.reached, err
    assert status == (0 if fault.reached else 1)
    if fault.reached:
        assert cli("validate", str(made))[0] == 0
        assert (f"# not fit yet: {fault.check}" in made.read_text()) == (fault.verdict == "fail")
    else:
        assert "Nothing is written" in err


def _mend(host: Host, found: dict[str, Any], fault: Fault) -> None:
    """The commands, typed on the host by somebody who may."""
    home = "/root" if fault.user == "root" else f"/home/{fault.user}"
    for command in found["fix"]["commands"]:
        host.run(["env", f"HOME={home}", "bash", "-c", command.replace("sudo ", "")])


def test_a_new_host_key_is_shown_and_only_then_believed(
    cli: Cli, host: Host, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_KNOWN_HOSTS", str(tmp_path / "none"))
    address = f"root@{host.address}"
    (host.control / "hostkey.pub").read_text()
    fingerprint = call(["ssh-keygen", "-lf", str(host.control / "hostkey.pub")]).split()[1]
    found = findings(cli, address)
    assert found["host-key"]["verdict"] == "fail"
    assert fingerprint in found["host-key"]["message"]
    assert not (tmp_path / "data/known_hosts").exists()
    status, _, err = cli("init", "made", "--host", address)
    assert status == 1
    assert fingerprint in err
    assert "nobody is there to compare it" in err
    assert not (tmp_path / "data/known_hosts").exists()
    status, _, err = cli("init", "made", "--host", address, "--yes")
    assert status == 0, err
    assert fingerprint in err
    assert findings(cli, address)["host-key"]["verdict"] == "ok"


def test_what_runs_there_is_read_and_left_alone(cli: Cli, host: Host, tmp_path: Path) -> None:
    secret = "hf_" + "a1" * 17
    argv = ["--name", "whisper", "-e", f"HF_TOKEN={secret}", "-e", "TINY=yes", "keep/echo:1", "--port", "9301"]
    host.docker("run", "-d", "--network", "host", *argv)
    host.docker("run", "-d", "--network", "none", "--name", "cron", "--entrypoint", "sleep", "keep/argv:1", "1000")
    host.docker("run", "-d", "--network", "host", "--name", "sparkrun_77_solo", "keep/echo:1", "--port", "9302")
    before = host.docker("ps", "--all", "--no-trunc")[:4000].count("Up")
    host.clear_commands()
    status, _, err = cli("init", "--host", f"root@{host.address}", "--yes")
    assert status == 0, err
    text = (tmp_path / "desired.yaml").read_text()
    assert secret not in text + err
    assert cli("validate")[0] == 0
    _, out, _ = cli("validate", "-o", "json")
    assert json.loads(out)["workloads"] == ["whisper"]
    assert re.search(r'image: keep/echo:1\n.*command:\n.*- --port\n.*- "?\'?9301', text, re.DOTALL)
    assert "HF_TOKEN:\n" in text
    assert "run: never" in text
    assert "# on spark-1: docker stop whisper && docker rm whisper" in text
    assert re.search(r"^# spark-1: cron: it uses no GPU and no port", text, re.MULTILINE)
    assert re.search(r"^# spark-1: sparkrun_77_solo: another manager", text, re.MULTILINE)
    assert {argv[1] for argv in host.commands()} <= {"--version", "info", "ps", "inspect"}
    assert host.docker("ps", "--all", "--no-trunc")[:4000].count("Up") == before
    status, _, err = cli("init", "--host", f"root@{host.address}", "--yes")
    assert status == 1
    assert "is there already, and is left as it is" in err
    assert (tmp_path / "desired.yaml").read_text() == text
    status, out, err = cli("plan", "--offline", "--desired", "desired.yaml", "-o", "json")
    assert (status, json.loads(out)["steps"]) == (0, []), err
