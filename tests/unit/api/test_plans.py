"""Plans: of what is in force, of what somebody wants to try, and their approval."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx2

from reconciler.disks.found import CachedFile, CachedModel, DiskSurvey, Revision
from reconciler.surveyor import Seen
from tests.unit.api.conftest import DESIRED, Stage

OTHER_IMAGE = DESIRED.replace("echo: {recipe: {image: 'keep/echo:1'", "echo: {recipe: {image: 'keep/echo:2'")


async def test_nothing_to_do(http: httpx2.AsyncClient) -> None:
    plan = (await http.post("/api/plan")).json()
    assert (plan["candidate"], plan["steps"], plan["held"]) == (False, [], [])


async def test_a_candidate_is_planned_against_the_world_and_not_stored(stage: Stage, http: httpx2.AsyncClient) -> None:
    ran = list(stage.sparks["s1"].ran)
    plan = (await http.post("/api/plan", json={"desired": OTHER_IMAGE})).json()
    assert plan["candidate"] is True
    assert [(s["spark"], s["workload"], s["verb"]) for s in plan["steps"]] == [
        ("s1", "echo", "stop"),
        ("s1", "echo", "remove"),
        ("s1", "echo", "create"),
    ]
    assert "image" in plan["steps"][0]["cause"]
    assert stage.sparks["s1"].ran == ran
    assert (await http.post("/api/plan")).json()["steps"] == []
    answer = await http.post(f"/api/plans/{plan['id']}/apply")
    assert answer.status_code == 409, "a candidate's plan is not the loop's"


async def test_a_candidate_equal_to_what_is_in_force_changes_nothing(stage: Stage, http: httpx2.AsyncClient) -> None:
    plan = (await http.post("/api/plan", json={"desired": f"# a comment\n{DESIRED}"})).json()
    assert (plan["steps"], plan["held"]) == ([], [])
    assert plan["revision"] == stage.context.loop.store.current.revision


async def test_a_candidate_with_any_keeps_its_place_and_knows_new_sparks(http: httpx2.AsyncClient) -> None:
    text = DESIRED.replace("on: s1}", "on: any}").replace("sparks: {", "sparks: {s7: {host: h}, ")
    plan = (
        await http.post("/api/plan", json={"desired": text + "  new: {recipe: keep, on: s7}\nrecipes: {}\n"})
    ).json()
    assert plan["reason"] == "Invalid"
    extra = "  new: {recipe: {image: 'keep/echo:1'}, on: s7}\n"
    plan = (await http.post("/api/plan", json={"desired": text + extra})).json()
    assert plan["steps"] == []
    assert [(h["workload"], h["reason"]) for h in plan["held"]] == [("new", "NotDeclaredYet")]


async def test_a_candidate_is_planned_with_what_the_disks_tell_of_its_memory(
    stage: Stage, http: httpx2.AsyncClient
) -> None:
    model = (
        "  new: {recipe: {engine: llamacpp, image: 'keep/echo:1', model: acme/tiny, quant: Q4, port: 8002}, on: s2}\n"
    )
    candidate = {"desired": f"{DESIRED}models:\n{model}"}
    held = (await http.post("/api/plan", json=candidate)).json()["held"]
    assert [(h["workload"], h["reason"]) for h in held] == [("new", "MemoryUnknown")]
    shape = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 128}
    weights = CachedFile(name="tiny-Q4.gguf", size=2**20)
    revision = Revision(commit="c" * 40, files=(weights,), complete=True, configs={"config.json": shape})
    survey = DiskSurvey(
        taken_at=1.0, spark_time=1.0, models=(CachedModel(repo="acme/tiny", path="/hub", revisions=(revision,)),)
    )
    stage.context.disks = cast("Any", SimpleNamespace(seen=lambda: {"s1": Seen(), "s2": Seen(survey)}))
    plan = (await http.post("/api/plan", json=candidate)).json()
    assert plan["held"] == []
    assert [(step["workload"], step["verb"]) for step in plan["steps"]] == [("new", "mkdir"), ("new", "create")]
    assert "taking up to 1.0 GiB" in plan["steps"][1]["consequence"]


async def test_an_invalid_candidate_is_refused_with_all_its_problems(http: httpx2.AsyncClient) -> None:
    text = "services:\n  a: {recipe: nope, on: s9}\n  b: {recipee: x}\n"
    answer = await http.post("/api/plan", json={"desired": text, "file": "mine.yaml"})
    body = answer.json()
    assert (answer.status_code, body["reason"]) == (422, "Invalid")
    assert len(body["problems"]) >= 3
    assert {problem["file"] for problem in body["problems"]} == {"mine.yaml"}
    assert all(problem["line"] > 0 for problem in body["problems"])
    answer = await http.post("/api/plan", json={"desird": ""})
    assert (answer.status_code, answer.json()["field"]) == (422, "desird")


async def test_what_a_guard_withholds_is_released_by_its_id_alone(stage: Stage, http: httpx2.AsyncClient) -> None:
    await stage.rewrite(OTHER_IMAGE + "guards: {maxDestructive: 0}\n")
    await asyncio.sleep(0.1)
    plan = (await http.post("/api/plan")).json()
    assert [step["verb"] for step in plan["withheld"]] == ["stop", "remove", "create"]
    refused = await http.post("/api/plans/0000000000000000/apply")
    assert (refused.status_code, refused.json()["reason"]) == (409, "PlanMoved")
    assert refused.json()["plan"]["id"] == plan["id"], "the new plan comes along"
    assert stage.sparks["s1"].containers["sparkkeep-echo"].image == "keep/echo:1"
    assert (await http.post(f"/api/plans/{plan['id']}/apply")).json()["approved"] is True
    await asyncio.sleep(0.1)
    await stage.settled()
    assert stage.sparks["s1"].containers["sparkkeep-echo"].image == "keep/echo:2"


async def test_a_plan_whose_world_moved_is_not_applied(stage: Stage, http: httpx2.AsyncClient) -> None:
    await stage.rewrite(OTHER_IMAGE + "guards: {maxDestructive: 0}\n")
    await asyncio.sleep(0.1)
    plan = (await http.post("/api/plan")).json()
    await stage.rewrite(OTHER_IMAGE.replace("port: 8001", "port: 8002") + "guards: {maxDestructive: 0}\n")
    await asyncio.sleep(0.1)
    answer = await http.post(f"/api/plans/{plan['id']}/apply")
    assert answer.status_code == 409
    assert len(answer.json()["plan"]["withheld"]) > len(plan["withheld"])
