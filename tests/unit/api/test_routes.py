"""What the routes answer, and how they refuse."""

from __future__ import annotations

import asyncio
import json
import re

import httpx2
import pytest

from reconciler.model import Container
from tests.unit.api.conftest import Stage


async def test_ready_only_after_every_spark_was_looked_at(stage: Stage, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}
    assert (await http.get("/readyz")).json() == {"ready": True, "reasons": []}
    stage.sparks["s3"].down = "it is off"
    await stage.rewrite(stage.desired.read_text().replace("sparks: {", "sparks: {s3: {host: 10.0.0.3}, "))
    answer = await http.get("/readyz")
    assert answer.status_code in {200, 503}, "s3 was not looked at yet, or was found off already"
    if answer.status_code == 503:
        assert answer.json() == {"ready": False, "reasons": ["s3 was not looked at yet"]}
    await asyncio.sleep(0.1)
    assert (await http.get("/readyz")).status_code == 200, "a Spark that does not answer is known not to"


async def test_status(http: httpx2.AsyncClient) -> None:
    status = (await http.get("/api/status")).json()
    assert set(status["sparks"]) == {"s1", "s2"}
    assert {name: (w["sync"], w["health"]) for name, w in status["workloads"].items()} == {
        "echo": ("Synced", "Healthy"),
        "twice": ("Synced", "Healthy"),
    }


@pytest.mark.parametrize(
    ("method", "path", "reason", "allowed"),
    [
        ("GET", "/api/workloads/ecko/why", "NoSuchWorkload", ["echo", "twice"]),
        ("GET", "/api/workloads/ecko/logs", "NoSuchWorkload", ["echo", "twice"]),
        ("POST", "/api/workloads/ecko/restart", "NoSuchWorkload", ["echo", "twice"]),
        ("POST", "/api/workloads/ecko/suspend", "NoSuchWorkload", ["echo", "twice"]),
        ("POST", "/api/sparks/s9/cordon", "NoSuchSpark", ["s1", "s2"]),
        ("GET", "/api/sparks/s9/hostkey", "NoSuchSpark", ["s1", "s2"]),
        ("GET", "/api/sparks/s9/connectivity", "NoSuchSpark", ["s1", "s2"]),
        ("GET", "/api/workloads/echo/logs?spark=s2", "NoSuchSpark", ["s1"]),
    ],
)
async def test_an_unknown_name_is_told_the_known_ones(
    http: httpx2.AsyncClient, method: str, path: str, reason: str, allowed: list[str]
) -> None:
    answer = await http.request(method, path)
    body = answer.json()
    assert (answer.status_code, body["reason"], body["allowed"], body["field"]) == (404, reason, allowed, "name")
    if "ecko" in path:
        assert "did you mean `echo`?" in body["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/api/nothing", 404, "NotFound"),
        ("DELETE", "/api/status", 405, "MethodNotAllowed"),
        ("GET", "/api/events?since=-1", 422, "InvalidRequest"),
        ("GET", "/api/actions?limit=x", 422, "InvalidRequest"),
        ("POST", "/api/sparks/s1/trust", 422, "InvalidRequest"),
        ("GET", "/api/practice", 404, "NotFound"),
    ],
)
async def test_every_refusal_has_one_shape(
    http: httpx2.AsyncClient, method: str, path: str, status: int, reason: str
) -> None:
    answer = await http.request(method, path)
    body = answer.json()
    assert (answer.status_code, body["reason"]) == (status, reason)
    assert set(body) == {"reason", "message", "field", "allowed"}


async def test_a_bug_is_an_answer_too(
    stage: Stage, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stage.context.status, "build", lambda: 1 / 0)
    answer = await http.get("/api/status")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "ZeroDivisionError" in caplog.text


async def test_a_body_may_have_four_mebibytes(http: httpx2.AsyncClient) -> None:
    async def body() -> object:
        for _ in range(5):
            yield b" " * 2**20

    answer = await http.post("/api/plan", content=body(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (413, "a request's body may have 4 MiB")


async def test_suspend_and_resume(stage: Stage, http: httpx2.AsyncClient) -> None:
    assert (await http.post("/api/workloads/echo/suspend")).json() == {
        "workload": "echo",
        "suspended": True,
        "plan": None,
    }
    assert (await http.get("/api/status")).json()["workloads"]["echo"]["health"] == "Suspended"
    stage.sparks["s1"].containers.pop("sparkkeep-echo")
    stage.context.loop.wake_all()
    await asyncio.sleep(0.1)
    assert "sparkkeep-echo" not in stage.sparks["s1"].containers
    assert (await http.post("/api/workloads/echo/resume")).json() == {
        "workload": "echo",
        "suspended": False,
        "plan": None,
    }
    await asyncio.sleep(0.1)
    await stage.settled()
    assert "sparkkeep-echo" in stage.sparks["s1"].containers


async def test_drain_and_undrain(stage: Stage, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/api/sparks/s2/drain", headers={"sparkkeep-actor": "ann@lab"})
    assert answer.json() == {"spark": "s2", "cordoned": True, "drained": True, "plan": None}
    await asyncio.sleep(0.1)
    await stage.settled()
    assert not stage.sparks["s2"].containers
    events = (await http.get("/api/events?since=0&spark=s2")).json()["events"]
    assert "by ann@lab (127.0.0.1)" in [event["message"] for event in events]
    assert (await http.post("/api/sparks/s2/undrain")).json()["drained"] is False
    await asyncio.sleep(0.1)
    await stage.settled()
    assert stage.sparks["s2"].containers


async def test_cordon_outlasts_a_drain(http: httpx2.AsyncClient) -> None:
    await http.post("/api/sparks/s2/cordon")
    await http.post("/api/sparks/s2/drain")
    assert (await http.post("/api/sparks/s2/undrain")).json() == {
        "spark": "s2",
        "cordoned": True,
        "drained": False,
        "plan": None,
    }
    assert (await http.post("/api/sparks/s2/uncordon")).json() == {
        "spark": "s2",
        "cordoned": False,
        "drained": False,
        "plan": None,
    }


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("/api/sparks/s2/drain", {("stop", "s2", "twice"), ("remove", "s2", "twice")}),
        ("/api/sparks/s2/cordon", set()),
        ("/api/workloads/echo/restart", {("restart", "s1", "echo")}),
        ("/api/workloads/echo/suspend", set()),
        ("/api/workloads/echo/reset-backoff", set()),
    ],
)
async def test_a_verb_is_planned_and_nothing_is_done(
    stage: Stage, http: httpx2.AsyncClient, path: str, steps: set[tuple[str, str, str]]
) -> None:
    await stage.settled()
    before = (await http.get("/api/status")).json(), {n: len(s.ran) for n, s in stage.sparks.items()}
    answer = await http.post(f"{path}?dryRun=true")
    assert answer.status_code == 200
    planned = {(step["verb"], step["spark"], step["workload"]) for step in answer.json()["plan"]["steps"]}
    assert planned == steps
    await asyncio.sleep(0.1)
    now = (await http.get("/api/status")).json()
    for read in (before[0], now):
        assert [(s["cordoned"], s["drained"]) for s in read["sparks"].values()] == [(False, False)] * 2
    assert [w["health"] for w in now["workloads"].values()] == ["Healthy"] * 2
    assert {n: len(s.ran) for n, s in stage.sparks.items()} == before[1]


async def test_what_a_verb_would_undo_is_planned_too(stage: Stage, http: httpx2.AsyncClient) -> None:
    await http.post("/api/sparks/s2/drain")
    await asyncio.sleep(0.1)
    await stage.settled()
    plan = (await http.post("/api/sparks/s2/undrain?dryRun=true")).json()["plan"]
    assert [(step["verb"], step["workload"]) for step in plan["steps"]][-1] == ("create", "twice")
    assert not stage.sparks["s2"].containers


async def test_restart(stage: Stage, http: httpx2.AsyncClient) -> None:
    assert (await http.post("/api/workloads/echo/restart")).status_code == 200
    await asyncio.sleep(0.1)
    await stage.settled()
    assert any("docker restart" in command for command in stage.sparks["s1"].ran)


async def test_logs_of_one_and_of_two(stage: Stage, http: httpx2.AsyncClient) -> None:
    answer = await http.get("/api/workloads/echo/logs?tail=3")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "one\ntwo\nthree\n"
    both = (await http.get("/api/workloads/twice/logs")).text
    assert sorted(both.splitlines()) == sorted(
        f"{s} | {line}" for s in ("s1", "s2") for line in ("one", "two", "three")
    )
    stage.sparks["s1"].down = "s1 is off"
    answer = await http.get("/api/workloads/echo/logs")
    assert (answer.status_code, answer.json()["message"]) == (503, "s1 is off")
    partly = (await http.get("/api/workloads/twice/logs")).text
    assert "(the log ends here: s1 is off)" in partly
    assert "s2 | three" in partly


async def test_why_tells_the_story(stage: Stage, http: httpx2.AsyncClient) -> None:
    await stage.rewrite(stage.desired.read_text() + "guards: {maxDestructive: 0}\n")
    await stage.rewrite(
        stage.desired.read_text().replace(
            "echo: {recipe: {image: 'keep/echo:1'", "echo: {recipe: {image: 'keep/echo:2'"
        )
    )
    why = (await http.get("/api/workloads/echo/why")).json()
    assert why["sync"] == "OutOfSync"
    assert [step["verb"] for step in why["withheld"]] == ["stop", "remove", "create"]
    story = "\n".join(why["because"])
    assert "echo is declared on s1." in story
    assert "its container is running" in story
    assert "Left alone on s1 (TooDestructive)" in story
    assert "Waits for your approval on s1: stop" in story
    assert why["actions"][-1]["verb"] == "create"
    (instance,) = why["instances"]
    assert instance["command"].startswith("docker run --detach --name sparkkeep-echo ")
    assert instance["command"].endswith(" keep/echo:2")
    assert instance["memory"] == {"bytes": 0, "source": "stated", "lines": []}
    assert [held["helps"] for held in why["held"]] == [["look at `sparkkeep plan`; `sparkkeep apply` releases it"]]
    assert why["recipe"] == {"engine": "container", "model": None, "revision": None, "image": "keep/echo:2"}


async def test_actions_and_connectivity(stage: Stage, http: httpx2.AsyncClient) -> None:
    actions = (await http.get("/api/actions?workload=echo")).json()["actions"]
    assert [(a["verb"], a["outcome"], a["exitStatus"]) for a in actions] == [("create", "ok", 0)]
    assert actions[0]["command"].startswith("docker run --detach --name sparkkeep-echo ")
    changes = (await http.get("/api/sparks/s1/connectivity")).json()["changes"]
    assert [change["reachable"] for change in changes] == [True]


async def test_trust_only_what_is_shown_and_agreed_to(stage: Stage, http: httpx2.AsyncClient) -> None:
    shown = (await http.get("/api/sparks/s1/hostkey")).json()
    assert shown == {"spark": "s1", "fingerprint": "SHA256:first", "line": "s1 ssh-ed25519 SHA256:first"}
    stage.keys.fingerprint = "SHA256:other"
    answer = await http.post("/api/sparks/s1/trust", json={"fingerprint": "SHA256:first"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "FingerprintDiffers")
    assert not stage.keys.trusted
    answer = await http.post("/api/sparks/s1/trust", json={"fingerprint": "SHA256:other"})
    assert answer.status_code == 200
    assert stage.keys.trusted == ["s1 ssh-ed25519 SHA256:other"]


async def test_the_page_has_no_inline_script(http: httpx2.AsyncClient) -> None:
    page = await http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert '<script type="module" src="/ui/' in page.text
    assert page.text.count("<script") == 1
    assert " style=" not in page.text
    assert "<style" not in page.text
    assert (await http.get("/ui/any/main.js")).headers["content-type"].startswith("text/javascript")
    css = (await http.get("/ui/any/style.css")).text
    assert "color-scheme: light dark" in css


async def test_the_pages_files_are_kept_for_good_under_the_name_of_what_they_hold(http: httpx2.AsyncClient) -> None:
    page = await http.get("/")
    assert page.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:href|src)="(/ui/[^"]+)"', page.text)
    assert len(named) > 5
    for path in named:
        file = await http.get(path)
        assert (file.status_code, file.headers["content-encoding"]) == (200, "gzip"), path
        assert "immutable" in file.headers["cache-control"]
        plain = await http.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == file.content
    old = await http.get("/ui/of-before/main.js")  # asked for by a page that was open while sparkkeep was updated
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    gone = await http.get("/ui/any/guard.py")
    assert gone.status_code == 404
    assert (await http.get("/ui/any/index.html")).status_code == 404


async def test_every_route_says_what_it_is(http: httpx2.AsyncClient) -> None:
    paths = (await http.get("/api/openapi.json")).json()["paths"]
    for path, methods in paths.items():
        for method, route in methods.items():
            assert route.get("summary"), (method, path)
            assert len(route.get("description", "")) > 20, (method, path)


async def test_a_container_that_is_not_ours_is_told_of_without_its_secrets(
    stage: Stage, http: httpx2.AsyncClient
) -> None:
    spark = stage.sparks["s1"]
    stranger = Container(id="f" * 64, name="whisper", image="org/whisper:1", image_id="sha256:1", state="running")
    spark.containers["whisper"] = stranger
    config = {"Image": "org/whisper:1", "Env": ["HF_TOKEN=hf_abcdefghijkl", "MODE=fast"]}
    spark.inspected[stranger.id] = json.dumps([{"Id": stranger.id, "Name": "/whisper", "Config": config}])
    stage.context.loop.wake_all()
    async with asyncio.timeout(10):
        while not stage.context.status.build()["sparks"]["s1"]["foreign"]:
            await asyncio.sleep(0.01)
    for name in ("whisper", "f" * 12):
        answer = await http.get(f"/api/sparks/s1/containers/{name}/inspect")
        assert answer.status_code == 200, answer.text
        (found,) = answer.json()
        assert found["Config"]["Env"] == ["HF_TOKEN=sk-masked-by-sparkkeep", "MODE=fast"]
    assert "docker inspect --type container " + "f" * 64 in spark.ran
    missing = await http.get("/api/sparks/s1/containers/whispr/inspect")
    assert (missing.status_code, missing.json()["reason"]) == (404, "NoSuchContainer")
    assert "`whisper`" in missing.json()["message"]
    spark.inspected[stranger.id] = "nonsense"
    assert (await http.get("/api/sparks/s1/containers/whisper/inspect")).status_code == 502
    del spark.inspected[stranger.id]
    assert (await http.get("/api/sparks/s1/containers/whisper/inspect")).status_code == 404
