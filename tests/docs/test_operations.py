"""What docs/OPERATIONS.md says one sees: the stories that its commands alone don't show."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from api.cli import main
from api.folder import DataFolder, Unusable
from tests.docs.conftest import Stage
from tests.docs.pages import ROOT

pytestmark = pytest.mark.xdist_group("docs")

HANDBOOK = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
Said = tuple[int, str]


@pytest.fixture
def right(stage: Stage) -> Iterator[Stage]:
    stage.put_right()
    yield stage
    stage.put_right()


@pytest.fixture
def cli(right: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Exit status, and what was said in all."""
    monkeypatch.setenv("SPARKKEEP_SERVER", right.url)

    def run(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run


def until(stage: Stage, met: Callable[[dict[str, dict[str, dict[str, object]]]], bool]) -> None:
    end = time.monotonic() + 30
    while not met(status := stage.ask("GET", "/api/status")):
        assert time.monotonic() < end, json.dumps(status["sparks"])[:3000]
        time.sleep(0.05)


def running(stage: Stage, spark: str) -> set[str]:
    """The containers of ours that really run there."""

    async def look() -> set[str]:
        containers = stage.fleet.room.fleet[spark].engine.containers.values()
        return {each.name for each in containers if each.name.startswith("sparkkeep-") and each.state == "running"}

    return stage.fleet.call(look)


def test_a_changed_host_key_is_believed_once_the_old_one_is_removed(right: Stage, cli: Callable[..., Said]) -> None:
    fleet = right.fleet.room.fleet
    before = fleet.known_hosts_path.read_text()

    async def reinstall() -> None:
        fleet["spark-2"].faults.new_host_key()
        fleet["spark-2"].faults.drop()

    right.fleet.call(reinstall)
    until(right, lambda status: status["sparks"]["spark-2"]["reason"] == "HostKeyChanged")
    assert "`HostKeyChanged`" in HANDBOOK
    code, said = cli("trust", "spark-2", "--yes")
    assert (code, "not taken unseen" in said) == (1, True)
    shown = right.ask("GET", "/api/sparks/spark-2/hostkey")["fingerprint"]
    name = f"[{fleet['spark-2'].host}]:{fleet['spark-2'].port}"
    remove = ["ssh-keygen", "-R", name, "-f", str(fleet.known_hosts_path)]
    subprocess.run(remove, check=True, capture_output=True)
    assert cli("trust", "spark-2", "--fingerprint", shown)[0] == 0
    until(right, lambda status: bool(status["sparks"]["spark-2"]["reachable"]))
    fleet.known_hosts_path.write_text(before)
    (right.data / "known_hosts").unlink()


def test_a_drain_over_the_budget_waits_for_a_word(right: Stage, cli: Callable[..., Said]) -> None:
    right.ask("PATCH", "/api/desired/guards", json={"maxDestructive": 0})
    cli("drain", "spark-2")
    code, said = cli("plan")
    assert (code, "TooDestructive" in said or "maxDestructive" in said) == (2, True), said
    assert running(right, "spark-2") == {"sparkkeep-hello"}
    code, said = cli("apply", "--yes")
    assert (code, "being drained" in said) == (0, True), said
    assert running(right, "spark-2") == set()
    assert "Drained" in cli("get", "sparks")[1]


def test_an_empty_desired_state_stops_nothing_by_itself(right: Stage, cli: Callable[..., Said]) -> None:
    empty = right.desired[: right.desired.index("models:")]
    yaml = {"content-type": "application/yaml"}
    right.ask("PUT", "/api/desired", content=empty, headers=yaml)
    withheld = right.ask("POST", "/api/plan")["withheld"]
    names = ("bge-m3", "bge-reranker", "hello", "kokoro", "parakeet", "qwen3-8b", "speakers")
    assert {step["workload"] for step in withheld} == set(names)
    assert "EmptyDesired" in json.dumps(right.ask("POST", "/api/plan"))
    assert "`EmptyDesired`" in HANDBOOK
    assert cli("rollback", "HEAD~1", "--yes")[0] == 0
    assert running(right, "spark-1") == {f"sparkkeep-{name}" for name in names}


def test_what_runs_on_a_spark_that_is_declared_no_more_is_left_running(right: Stage) -> None:
    there = right.ask("GET", "/api/desired", headers={"accept": "application/json"})
    there["services"]["hello"]["on"] = ["spark-1"]
    del there["sparks"]["spark-2"]
    right.ask("PUT", "/api/desired", json=there)
    until(right, lambda status: set(status["sparks"]) == {"spark-1"})
    right.fleet.settle()
    assert running(right, "spark-2") == {"sparkkeep-hello"}


def test_a_second_server_is_kept_from_the_data_folder(right: Stage) -> None:
    with pytest.raises(Unusable, match=r"another sparkkeep \(process \d+\) already uses"):
        DataFolder(right.data).__enter__()
