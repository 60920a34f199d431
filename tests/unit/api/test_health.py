"""Health without and with deep questions, on Sparks in memory: what counts as well, the schedule, and who may ask at once."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from api.cli import main
from api.client import Client, ServerRefused
from api.commands.asking import _ready
from reconciler.deep_health import DeepHealth
from reconciler.deep_spark import SparkCheck
from reconciler.findings import Finding, Report
from reconciler.sessions import Outcome
from state.secrets import Secrets
from tests.unit.api.conftest import DESIRED, Stage


def test_light_health_exits_with_1_for_what_is_wrong(
    served: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARKKEEP_SERVER", served.url)

    def health(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["health", *more])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    code, out, err = health()
    assert (code, err) == (0, "")
    assert out.split() == ["SPARKS", "2", "Reachable", "SYNC", "2", "Synced", "HEALTH", "2", "Healthy"]
    served.sparks["s2"].down = "its cable is out"

    async def lose() -> None:
        served.context.loop.hurry("s2")
        while not served.context.loop.workers["s2"].sight.unknown:
            await asyncio.sleep(0.01)

    served.call(lose())
    code, out, err = health()
    assert (code, err.splitlines()[0]) == (1, "s2 does not answer: its cable is out")
    told = json.loads(health("-o", "json")[1])
    assert (told["healthy"], told["ready"], told["sparks"]) == (False, True, {"Reachable": 1, "Unknown": 1})
    code, out, err = health("--deep")
    assert (code, out) == (1, "")
    assert "does not look that deep" in err


async def test_the_schedule_is_that_of_the_settings_now(stage: Stage) -> None:
    """Live: from never to often and back; the time of the next run is told."""
    loop = stage.context.loop
    await stage.rewrite(DESIRED + "settings: {deepHealthEvery: 0}\n")
    async with DeepHealth(loop) as health:
        await asyncio.sleep(0.05)
        assert health.next_at is None
        await stage.rewrite(DESIRED + "settings: {deepHealthEvery: 10m}\n")
        await asyncio.sleep(0.05)
        assert health.next_at == pytest.approx(loop.now() + 600, abs=30)
        assert health.last is None


async def test_what_is_not_answered_in_time_is_a_finding(stage: Stage) -> None:
    for spark in stage.sparks.values():
        spark.slow = 30.0
    async with DeepHealth(stage.context.loop, limit=0.2) as health:
        report = await health.check("test")
    late = [finding for finding in report.findings if "not checked within 0.2 s" in finding.message]
    assert {finding.name for finding in late} == {"s1", "s2"}
    assert not report.healthy
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("deep health")]


async def test_a_spark_that_does_not_answer_is_told_and_asked_nothing(stage: Stage) -> None:
    stage.sparks["s2"].down = "its cable is out"
    stage.context.loop.hurry("s2")
    while not stage.context.loop.workers["s2"].sight.unknown:
        await asyncio.sleep(0.01)
    ran = list(stage.sparks["s2"].ran)
    async with DeepHealth(stage.context.loop) as health:
        report = await health.check("test")
    assert stage.sparks["s2"].ran == ran
    found = {(f.name, f.spark): (f.outcome, f.message) for f in report.findings if f.spark == "s2"}
    assert found["s2", "s2"] == ("failed", "its cable is out")
    assert found["twice", "s2"] == ("failed", "s2: its cable is out")


async def test_the_routes_answer_and_share_the_last_report(stage: Stage, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/api/health/deep")).status_code == 503
    async with DeepHealth(stage.context.loop) as health:
        stage.context.health = health
        assert (await http.get("/api/health/deep")).json()["last"] is None
        answer = await http.post("/api/health/deep", headers={"sparkkeep-actor": "me@here"})
        assert answer.json()["last"]["by"].startswith("me@here")
        assert (await http.get("/api/health/deep")).json()["last"] == answer.json()["last"]


class Machine:
    """Says what a test has it say."""

    def __init__(self, **said: tuple[int, str, str]) -> None:
        self.said = {"true": (0, "", ""), **said}

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        words = script.split()
        return Outcome(*self.said["nvidia-smi" if words[0] == "timeout" else words[0]])


GOOD = {
    "docker": (0, "28.0.1\n", ""),
    "df": (0, "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 3900000000 1 2900000000 1% /\n", ""),
    "date": (0, "1000.5\n", ""),
    "nvidia-smi": (0, "NVIDIA GB10\n", ""),
}


@pytest.mark.parametrize(
    ("spoiled", "check", "outcome", "words"),
    [
        ({}, "engine", "ok", "the Docker Engine 28.0.1 answers"),
        ({}, "clock", "ok", "its clock is 0.500 s ahead of ours"),
        ({"docker": (127, "", "sh: docker: not found")}, "engine", "failed", "there is no docker program"),
        (
            {"docker": (1, "", "Cannot connect to the Docker daemon")},
            "engine",
            "failed",
            "Cannot connect to the Docker",
        ),
        ({"df": (0, "x\n/dev/x 3900000000 1 1000000 99% /\n", "")}, "disk", "failed", "1 GiB of 3719 GiB are free"),
        ({"df": (1, "", "df: no such file")}, "disk", "warning", "does not say how full its disk is"),
        ({"date": (0, "990.000000000\n", "")}, "clock", "failed", "its clock is 10.000 s behind ours"),
        ({"date": (0, "tomorrow\n", "")}, "clock", "warning", "does not tell the time"),
        ({"nvidia-smi": (127, "", "")}, "gpu", "failed", "there is no nvidia-smi, and something here wants a GPU"),
        ({"nvidia-smi": (124, "", "")}, "gpu", "failed", "nvidia-smi does not answer: exit status 124"),
        ({"true": (1, "", "this account is closed")}, "ssh", "failed", "this account is closed"),
    ],
)
async def test_what_a_spark_says_becomes_a_finding(spoiled: dict, check: str, outcome: str, words: str) -> None:
    machine = Machine(**{**GOOD, **spoiled})
    asked = SparkCheck("s", machine, clock=lambda: 0.0, now=lambda: 1000.0, gpu=True, lease=None)  # type: ignore[arg-type]
    found = {finding.check: finding for finding in await asked.findings()}
    assert found[check].outcome == outcome
    assert words in found[check].message
    assert [each for each in found if each != check and found[each].outcome != "ok"] == []


async def test_a_folder_of_secrets_open_to_others_is_told(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o755)
    async with DeepHealth(stage.context.loop, secrets=Secrets(folder)) as health:
        found = {finding.check: finding for finding in (await health.check("test")).findings}
        assert found["secrets"].outcome == "failed"
        assert f"chmod 700 {folder}" in found["secrets"].message
        folder.chmod(0o700)
        found = {finding.check: finding for finding in (await health.check("test")).findings}
        assert found["secrets"].outcome == "ok"


def test_a_report_in_a_sentence() -> None:
    failed = [
        Finding(kind="spark", name=f"s{n}", check="ssh", outcome="failed", message="gone", spark=f"s{n}")
        for n in range(5)
    ]
    good = Finding(kind="workload", name="w", check="canary", outcome="ok", message="it answers", spark="s1")
    report = Report(at=0, seconds=1.5, by="me", findings=(*failed, good))
    assert str(report) == "5 of 6 checks failed: s0: gone; s1: gone; s2: gone; and 2 more"
    assert str(Report(at=0, seconds=1.5, by="me", findings=(good,))) == (
        "all is well: 1 of 1 checks were made in 1.5 s, and none failed"
    )


def test_a_server_that_does_not_know_its_fleet_yet_is_not_well() -> None:
    """503 of /readyz is an answer; any other refusal is not."""

    def client(status: int, body: dict[str, object]) -> Client:
        return Client("http://x", transport=httpx2.MockTransport(lambda _: httpx2.Response(status, json=body)))

    waiting = {"ready": False, "reasons": ["s1 was not looked at yet"]}
    assert _ready(client(503, waiting)) == waiting
    with pytest.raises(ServerRefused):
        _ready(client(401, {"reason": "Unauthorized", "message": "no token"}))
