"""A question of one's own, and deep health, against model servers on practice Sparks: over SSH, HTTP and the command line."""

from __future__ import annotations

import base64
import io
import json
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.cli import main
from api.routes import trying
from reconciler import deep_health
from reconciler.canaries.sounds import tone
from reconciler.practice.model_answers import vector
from tests.bad_input.served import Fleet, served

DESIRED = """\
sparks: {spark-1: {host: h}}
models:
""" + "\n".join(
    f"  {kind}: {{recipe: {{engine: container, image: 'keep/{kind}:1', command: [--served-model-name, {kind}],"
    f" port: {18100 + number}, memory: 64MiB, probe: {kind}}}, on: spark-{1 + number % 2}}}"
    for number, kind in enumerate(("chat", "completion", "embedding", "rerank", "transcription", "speech"))
)
DESIRED += """
  asleep: {recipe: {engine: container, image: 'keep/chat:1', port: 18120, memory: 64MiB, probe: chat}, on: spark-1, run: on-demand}
services:
  page: {recipe: {image: 'python:3.13-slim', port: 18130, memory: 64MiB, probe: {kind: http, path: /}}, on: spark-1}
  quiet: {recipe: {image: 'python:3.13-slim', memory: 64MiB, probe: none}, on: spark-2}
  never: {recipe: {image: 'python:3.13-slim', port: 18131, memory: 64MiB}, on: spark-2, run: never}
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with served(tmp_path_factory.mktemp("watching"), DESIRED) as running:
        until(running, "speech", "chat", "page", "quiet", "embedding", "rerank", "transcription", "completion")
        yield running
        assert not running.complaints.said, "\n\n".join(running.complaints.said)


@pytest.fixture(autouse=True)
def mended(fleet: Fleet) -> Iterator[None]:
    yield
    fleet.mend()


def until(fleet: Fleet, *names: str, health: str = "Healthy") -> None:
    end = time.monotonic() + 40
    while True:
        found = httpx2.get(f"{fleet.url}/api/status").json()["workloads"]
        if all(found[name]["health"] == health for name in names):
            return
        assert time.monotonic() < end, {name: (w["health"], w["message"]) for name, w in found.items()}
        time.sleep(0.05)


def asked(fleet: Fleet, name: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = httpx2.post(f"{fleet.url}/api/workloads/{name}/try", json=body, timeout=30)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("forwarding", [True, False])
def test_each_kind_gives_its_own_answer(fleet: Fleet, forwarding: bool) -> None:
    for spark in fleet.room.fleet.sparks.values():
        spark.faults.forwarding_refused(not forwarding)
    found = {}
    for kind in ("chat", "completion", "embedding", "rerank", "transcription", "speech"):
        text = "which one\nwhich one is it\nnothing of that" if kind == "rerank" else "Say ping"
        status, answer = asked(fleet, kind, text=text)
        assert (status, answer["kind"], answer["workload"]) == (200, kind, kind), answer
        assert answer["milliseconds"] > 0
        found[kind] = answer
    assert found["chat"]["text"].startswith("Practice answer ")
    assert found["chat"]["text"].endswith("to: Say ping")
    assert found["chat"]["tokens"] == 6
    assert found["completion"]["text"].endswith("to: Say ping")
    assert (found["embedding"]["dimensions"], found["embedding"]["vector"]) == (64, vector("Say ping", 64)[:8])
    first, second = found["rerank"]["scores"]
    assert (first["text"], second["text"]) == ("which one is it", "nothing of that")
    assert first["score"] > second["score"]
    assert found["transcription"]["text"].endswith("of 1.0 seconds.")
    with wave.open(io.BytesIO(base64.b64decode(found["speech"]["audio"]))) as sound:
        assert sound.getnframes() == int(16000 * 0.05 * len("Say ping"))
    assert found["speech"]["contentType"] == "audio/wav"
    assert not any(answer["truncated"] for answer in found.values())


def test_a_sound_of_ones_own_is_heard(fleet: Fleet) -> None:
    status, answer = asked(fleet, "transcription", audio=base64.b64encode(tone(2.5)).decode())
    assert (status, answer["text"][-15:]) == (200, "of 2.5 seconds.")
    for bad in ("!!!", base64.b64encode(b"no wave").decode(), base64.b64encode(tone(40.0)).decode()):
        status, answer = asked(fleet, "transcription", audio=bad)
        assert (status, answer["field"]) == (422, "audio")


def test_what_can_not_be_asked_says_why(fleet: Fleet) -> None:
    status, answer = asked(fleet, "cat")
    assert (status, answer["reason"]) == (404, "NoSuchWorkload")
    status, answer = asked(fleet, "asleep")
    assert (status, answer["reason"]) == (409, "NotHealthy")
    assert answer["message"].startswith("asleep does not serve now: ")
    assert (asked(fleet, "never")[0], asked(fleet, "never")[1]["reason"]) == (409, "NotHealthy")
    status, answer = asked(fleet, "quiet")
    assert (status, answer["reason"]) == (409, "DoesNotServe")
    status, answer = asked(fleet, "page")
    assert (status, answer["field"], answer["allowed"][0]) == (422, "kind", "chat")
    assert asked(fleet, "chat", text="")[0] == 422
    assert asked(fleet, "chat", text="x" * 8001)[0] == 422
    assert asked(fleet, "speech", text="x" * 1001)[1]["field"] == "text"
    assert asked(fleet, "chat", kind="dance")[1]["field"] == "kind"
    half = httpx2.post(f"{fleet.url}/api/workloads/chat/try", content=b'{"text": "half \\ud800"}',
                       headers={"content-type": "application/json"})  # fmt: skip
    assert (half.status_code, half.json()["field"]) == (422, "text")


def test_a_model_that_hangs_is_504_and_its_seat_is_given_back(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "PATIENCE", 0.3)
    name = next(iter(httpx2.get(f"{fleet.url}/api/status").json()["workloads"]["chat"]["instances"]))["name"]
    fleet.room.fleet["spark-1"].faults.hung(name)
    for _ in range(8):
        status, answer = asked(fleet, "chat")
        assert (status, answer["reason"]) == (504, "NoAnswer")
        assert "no answer within 0.3 s" in answer["message"]
    fleet.room.fleet["spark-1"].faults.hung(name, False)
    monkeypatch.undo()
    assert asked(fleet, "chat")[0] == 200


def test_a_model_that_refuses_is_502_in_its_own_words(fleet: Fleet) -> None:
    status, answer = asked(fleet, "page", kind="chat", text="hello")
    # the practice server answers any kind: what it refuses is a body that asks nothing
    assert (status, answer["kind"]) == (200, "chat")
    name = next(iter(httpx2.get(f"{fleet.url}/api/status").json()["workloads"]["page"]["instances"]))["name"]
    fleet.room.fleet["spark-1"].faults.loading(name)
    status, answer = asked(fleet, "page", kind="chat")
    assert status in {409, 502}, "the prober may have seen it first"
    if status == 502:
        assert answer["message"].endswith("it answers 503: Loading model")


# Deep health


def findings(report: dict[str, Any]) -> dict[tuple[str, str, str], tuple[str, str]]:
    return {(f["name"], f["spark"], f["check"]): (f["outcome"], f["message"]) for f in report["findings"]}


def deep(fleet: Fleet) -> dict[str, Any]:
    answer = httpx2.post(f"{fleet.url}/api/health/deep", timeout=60)
    assert answer.status_code == 200
    assert httpx2.get(f"{fleet.url}/api/health/deep").json()["last"] == answer.json()["last"]
    report: dict[str, Any] = answer.json()["last"]
    return report


def commands(fleet: Fleet) -> list[str]:
    changing = {"run", "create", "start", "stop", "rm", "restart", "kill", "pull"}
    return [
        " ".join(command.argv)
        for spark in fleet.room.fleet.sparks.values()
        for command in spark.commands
        if command.argv[0] == "docker" and command.argv[1] in changing
    ]


def test_deep_health_asks_everything_and_changes_nothing(fleet: Fleet) -> None:
    fleet.settle()
    before = commands(fleet)
    report = deep(fleet)
    assert commands(fleet) == before
    assert report["healthy"], report
    found = findings(report)
    assert found["chat", "spark-1", "canary"] == ("ok", "POST /v1/chat/completions on port 18100 gives a token")
    assert found["page", "spark-1", "canary"] == ("ok", "GET / on port 18130 answers 200")
    assert found["quiet", "spark-2", "canary"] == ("ok", "its container runs; it declares nothing to ask it")
    assert found["asleep", "spark-1", "canary"][0] == "skipped"
    assert ("never", "spark-2", "canary") not in found
    for spark in ("spark-1", "spark-2"):
        assert [found[spark, spark, check][0] for check in ("ssh", "engine", "disk", "clock", "gpu")] == ["ok"] * 5
    assert [found["sparkkeep", "", check][0] for check in ("journal", "desired", "secrets")] == ["ok"] * 3
    timed = [f for f in report["findings"] if f["milliseconds"] is not None]
    assert {f["check"] for f in timed} == {"canary", "ssh", "engine", "gpu"}
    assert all(f["milliseconds"] > 0 for f in timed)
    events = httpx2.get(f"{fleet.url}/api/events", params={"since": 0, "limit": 5000}).json()["events"]
    told = [e["reason"] for e in events if e["object"]["name"] == "deep-health"]
    assert "DeepHealthStarted" in told
    assert "DeepHealthPassed" in told


def test_deep_health_finds_what_is_broken(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep_health, "CANARY", 0.4)
    instances = httpx2.get(f"{fleet.url}/api/status").json()["workloads"]["chat"]["instances"]
    fleet.room.fleet["spark-1"].faults.hung(instances[0]["name"])
    fleet.room.fleet["spark-2"].faults.disk_full()
    secrets = fleet.parts.context.secrets
    assert secrets is not None
    secrets.set("open", "x")
    (secrets.folder / "open").chmod(0o644)
    try:
        report = deep(fleet)
    finally:
        secrets.remove("open")
    found = findings(report)
    assert not report["healthy"]
    # it served a moment ago, so one question without an answer may only mean that it is busy
    assert found["chat", "spark-1", "canary"][0] == "warning"
    assert "got no answer within 0.4 s" in found["chat", "spark-1", "canary"][1]
    assert found["spark-2", "spark-2", "disk"][0] == "failed"
    assert found["sparkkeep", "", "secrets"][0] == "failed"
    assert "chmod 600" in found["sparkkeep", "", "secrets"][1]


def test_those_who_ask_at_once_share_one_run(fleet: Fleet) -> None:
    async def twice() -> tuple[Any, Any]:
        import asyncio

        health = fleet.parts.context.health
        assert health is not None
        return tuple(await asyncio.gather(health.check("one"), health.check("other")))  # type: ignore[return-value]

    one, other = fleet.call(twice)
    assert one is other
    assert one.by == "one"


# The command line


@pytest.fixture
def cli(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SPARKKEEP_SERVER", fleet.url)
    for name in ("SPARKKEEP_DESIRED", "SPARKKEEP_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_try_on_the_command_line(cli, tmp_path: Path) -> None:
    code, out, err = cli("try", "chat", "Say ping")
    assert (code, out.strip()[-8:]) == (0, "Say ping")
    assert err.startswith("chat of chat on spark-1, in ")
    code, out, err = cli("try", "embedding", "Say ping")
    assert (code, len(out.split())) == (0, 9)
    assert "the first 8 of 64 numbers" in err
    sound = tmp_path / "said.wav"
    code, out, err = cli("try", "speech", "Good morning", "--save", str(sound))
    assert (code, out, sound.read_bytes()[:4]) == (0, "", b"RIFF")
    code, out, _ = cli("try", "transcription", "--audio", str(sound), "-o", "json")
    assert (code, json.loads(out)["text"][-15:]) == (0, "of 0.6 seconds.")
    code, out, err = cli("try", "rerank", "one two\none two three\nfour", "--kind", "rerank")
    assert (code, out.splitlines()[1].split(None, 1)[1]) == (0, "one two three")
    code, out, err = cli("try", "asleep", "hello")
    assert (code, out) == (1, "")
    assert "asleep does not serve now" in err
    assert cli("try", "transcription", "--audio", str(tmp_path / "none.wav"))[0] == 1


def test_health_on_the_command_line(cli, fleet: Fleet) -> None:
    fleet.settle()
    until(fleet, "chat", "page")
    code, out, err = cli("health")
    assert (code, err) == (0, "")
    assert "2 Reachable" in out
    code, out, err = cli("health", "--deep")
    assert (code, out.split()[:6]) == (0, ["NAME", "SPARK", "CHECK", "OUTCOME", "MS", "MESSAGE"])
    code, out, _ = cli("health", "--deep", "-o", "json")
    assert (code, json.loads(out)["healthy"]) == (0, True)
    fleet.room.fleet["spark-2"].faults.disk_full()
    assert cli("health", "--deep")[0] == 1
