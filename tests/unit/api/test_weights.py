"""Weights through the API and on the command line: real disks, a real shell and the tests' own hub behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from api.assemble import running as served_by
from api.cli import main
from api.commands import weights as command
from api.folder import DataFolder
from api.practice import no_download, workshop
from reconciler.menu_recipes import Wanted
from reconciler.ssh import Outcome
from reconciler.surveyor import Disks, Surveyor
from reconciler.weights.cache import Want
from reconciler.weights.collection import digest
from reconciler.weights.fetch import Fetched, fetch
from reconciler.weights.keeper import Weights
from tests.unit.api.conftest import DESIRED, Stage
from tests.unit.reconciler.disks.trees import ONE, TWO, Cache, blob_name
from tests.unit.reconciler.weights.docker import container, path_with_docker, runs
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Blob, Hub, running
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import PACE, WEIGHTS

pytestmark = needs_tools
MODEL = """
models:
  chat:
    recipe: {engine: vllm, image: 'keep/echo:1', model: acme/old, port: 8002}
    on: s2
    suspend: true
settings: {keep: [pinned/one]}
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = [Blob("config.json", b"{}", lfs=False), Blob("model.safetensors", WEIGHTS, lfs=True)]
    with running(Hub(files)) as it:
        yield it


class Equipped:
    """A stage whose first Spark has a disk and a shell, and fetches from the hub."""

    def __init__(self, stage: Stage, disk: LocalSpark, cache: Cache) -> None:
        self.stage = stage
        self.disk = disk
        self.cache = cache

    @property
    def weights(self) -> Weights:
        assert self.stage.context.weights is not None
        return self.stage.context.weights

    async def surveyed(self) -> None:
        for name, worker in self.stage.context.loop.workers.items():
            assert worker.surveyor is not None
            if name == "s1":
                await worker.surveyor.run(worker.host)


@asynccontextmanager
async def equip(stage: Stage, hub: Hub, folder: Path) -> AsyncIterator[Equipped]:
    disk = LocalSpark(folder / "home", path=path_with_docker(folder / "programs"))
    runs(disk)
    cache = Cache(disk.hub)
    cache.put("acme/old", ONE, "model.safetensors", 1000, 1)
    cache.put("acme/old", TWO, "model.safetensors", 3000, 2)
    cache.ref("acme/old", "main", TWO)
    cache.put("pinned/one", ONE, "model.safetensors", 500, 3)
    cache.put("who/knows", ONE, "model.safetensors", 1, 4)
    os.truncate(cache.repo("who/knows") / "blobs" / blob_name(4), 2**30)  # a hole
    memory = stage.sparks["s1"]
    started = memory.run

    async def run(script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        await memory.connect()
        ours = script.startswith("docker ")
        return await (started(script, timeout=timeout) if ours else disk.run(script, timeout=timeout))

    memory.run, memory.stream = run, disk.stream  # type: ignore[method-assign]  # its disk is this machine's
    await stage.rewrite(DESIRED + MODEL)
    loop = stage.context.loop
    for name, worker in loop.workers.items():
        worker.surveyor = Surveyor(name, now=lambda: 1000.0)
    stage.context.disks = Disks(
        surveyors=lambda: {name: worker.surveyor for name, worker in loop.workers.items() if worker.surveyor},
        wanted=lambda: Wanted(recipes={}, declared={}),
    )
    bring = partial(fetch, endpoint=hub.origin, margin=0, pace=PACE)
    async with Weights(loop, bring=bring) as stage.context.weights:
        yield Equipped(stage, disk, cache)
    await disk.ended()


@pytest.fixture
async def equipped(stage: Stage, hub: Hub, tmp_path: Path) -> AsyncIterator[Equipped]:
    async with equip(stage, hub, tmp_path) as made:
        yield made


async def over(http: httpx2.AsyncClient, number: int) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            found = (await http.get(f"/api/weights/fetches/{number}")).json()
            if found["endedAt"] is not None:
                return dict(found)
            await asyncio.sleep(0.02)


async def test_what_lies_where_and_who_needs_it(equipped: Equipped, http: httpx2.AsyncClient) -> None:
    await equipped.surveyed()
    answer = (await http.get("/api/weights")).json()
    assert answer["fetches"] == []
    assert answer["sparks"]["s2"] == {"surveyedAt": None, "reason": "", "message": "", "repositories": []}
    first = answer["sparks"]["s1"]
    assert (first["surveyedAt"], first["reason"]) == (1000.0, "")
    assert [(r["repository"], r["bytes"], r["referencedBy"]) for r in first["repositories"]] == [
        ("acme/old", 4000, ["workload chat"]),
        ("pinned/one", 500, ["keep"]),
        ("who/knows", 2**30, []),
    ]
    assert first["repositories"][0]["revisions"] == [
        {"commit": ONE, "refs": [], "bytes": 1000, "complete": True},
        {"commit": TWO, "refs": ["main"], "bytes": 3000, "complete": True},
    ]


async def test_a_fetch(equipped: Equipped, http: httpx2.AsyncClient, hub: Hub) -> None:
    asked = await http.post("/api/weights/s1/fetch", json={"repository": REPO, "files": ["*.json", "model*"]})
    assert asked.status_code == 202
    begun = asked.json()
    assert (begun["id"], begun["spark"], begun["repository"], begun["revision"]) == (1, "s1", REPO, "main")
    done = await over(http, 1)
    assert (done["state"], done["reason"], done["commit"], done["attempts"]) == ("done", "", COMMIT, 1)
    total = len(WEIGHTS) + 2
    assert done["progress"] | {"rate": 0.0} == {
        "bytes": total, "total": total, "filesDone": 2, "files": 2, "rate": 0.0, "eta": 0.0,
        "source": hub.origin.removeprefix("http://"),
    }  # fmt: skip
    assert (await http.get("/api/weights")).json()["fetches"] == [done]
    actions = [a for a in (await http.get("/api/actions")).json()["actions"] if a["verb"] == "fetch"]
    assert [(a["spark"], a["outcome"], a["command"]) for a in actions] == [
        ("s1", "ok", f"fetch {REPO} at main into $HOME/.cache/huggingface/hub")
    ]
    events = (await http.get("/api/events?follow=false&spark=s1")).json()["events"]
    assert f"{REPO} is on s1 (3.0 MiB, from {hub.origin.removeprefix('http://')})" in [e["message"] for e in events]


async def test_a_fetch_that_fails_and_one_that_is_ended(equipped: Equipped, http: httpx2.AsyncClient, hub: Hub) -> None:
    await http.post("/api/weights/s1/fetch", json={"repository": "acme/nowhere"})
    failed = await over(http, 1)
    assert (failed["state"], failed["reason"], failed["progress"]) == ("failed", "NotFound", None)
    hub.slow = 0.05
    await http.post("/api/weights/s1/fetch", json={"repository": REPO})
    queued = (await http.post("/api/weights/s1/fetch", json={"repository": REPO, "revision": COMMIT})).json()
    assert (queued["id"], queued["state"]) == (3, "queued")
    for number in (3, 2):
        ended = await http.delete(f"/api/weights/fetches/{number}")
        assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    unknown = await http.delete("/api/weights/fetches/9")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "NoSuchFetch")
    assert unknown.json()["allowed"] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "repository"),
        ({"repository": "a b"}, "repository"),
        ({"repository": "../../etc"}, "repository"),
        ({"repository": "a/b/c"}, "repository"),
        ({"repository": "a/b", "revision": "x..y"}, "revision"),
        ({"repository": "a/b", "revision": "$(id)"}, "revision"),
        ({"repository": "a/b", "files": ["$(id)"]}, "files[0]"),
        ({"repository": "a/b", "files": ["*.json"] * 101}, "files"),
        ({"repository": "a/b", "quant": "Q4 K"}, "quant"),
        ({"repository": "a/b", "host": "x"}, "host"),
    ],
)
async def test_bad_wishes_are_refused(
    equipped: Equipped, http: httpx2.AsyncClient, body: dict[str, object], field: str
) -> None:
    refused = await http.post("/api/weights/s1/fetch", json=body)
    assert (refused.status_code, refused.json()["reason"], refused.json()["field"]) == (422, "InvalidRequest", field)
    assert (await http.post("/api/weights/s9/fetch", json={"repository": "a/b"})).json()["reason"] == "NoSuchSpark"
    assert equipped.weights.fetches.all() == ()


async def test_deleting_exactly_what_was_shown(equipped: Equipped, http: httpx2.AsyncClient) -> None:
    plan = (await http.get("/api/weights/gc?spark=s1")).json()
    old, lone = f"acme/old at {ONE[:12]}", "who/knows: all of it, 1 revision"
    assert plan["bytes"] == 1000 + 2**30
    assert [(d["what"], d["bytes"], d["why"]) for d in plan["sparks"]["s1"]["delete"]] == [
        (old, 1000, "nothing refers to this revision"),
        (lone, 2**30, "nothing refers to it"),
    ]
    assert plan["sparks"]["s1"]["keep"] == [
        {"what": f"acme/old at {TWO[:12]}", "why": "workload chat"},
        {"what": f"pinned/one at {ONE[:12]}", "why": "keep"},
    ]
    whole = (await http.get("/api/weights/gc")).json()
    assert "nothing is deleted" in whole["sparks"]["s2"]["message"]
    assert whole["digest"] == plan["digest"]
    done = await http.post("/api/weights/gc/apply", json={"digest": plan["digest"], "spark": "s1"})
    assert (done.status_code, done.json()) == (
        200,
        {"sparks": {"s1": {"deleted": [old, lone], "bytes": 1000 + 2**30, "problems": []}}},
    )
    assert not (equipped.cache.hub / "models--who--knows").exists()
    actions = [a for a in (await http.get("/api/actions")).json()["actions"] if a["verb"] == "delete"]
    assert [(a["spark"], a["outcome"]) for a in actions] == [("s1", "ok")]
    assert f"rm -rf -- {equipped.disk.hub}/models--who--knows\n" in actions[0]["command"]


async def test_a_plan_that_changed_deletes_nothing(equipped: Equipped, http: httpx2.AsyncClient) -> None:
    lone = equipped.cache.hub / "models--who--knows"
    plan = (await http.get("/api/weights/gc?spark=s1")).json()
    runs(equipped.disk, container("job", str(equipped.disk.hub), "serve", "who/knows"))
    asked = {"digest": plan["digest"], "spark": "s1"}
    refused = await http.post("/api/weights/gc/apply", json=asked)
    assert (refused.status_code, refused.json()["reason"]) == (409, "PlanChanged")
    assert refused.json()["plan"]["bytes"] == 1000
    assert lone.exists()
    runs(equipped.disk)
    await equipped.stage.rewrite(DESIRED + MODEL.replace("pinned/one", "who/knows"))
    assert (await http.post("/api/weights/gc/apply", json=asked)).status_code == 409
    await equipped.stage.rewrite(DESIRED + MODEL)
    equipped.stage.sparks["s1"].down = "it is gone"
    gone = await http.post("/api/weights/gc/apply", json=asked)
    assert (gone.status_code, gone.json()["plan"]["sparks"]["s1"]["message"]) == (409, "it is gone")
    equipped.stage.sparks["s1"].down = ""
    assert lone.exists()
    assert (await http.post("/api/weights/gc/apply", json=asked)).status_code == 200
    assert not lone.exists()


async def test_what_is_being_fetched_is_kept(equipped: Equipped, http: httpx2.AsyncClient, hub: Hub) -> None:
    hub.slow = 0.05
    equipped.cache.put(REPO, ONE, "model.safetensors", 10, 9)
    await http.post("/api/weights/s1/fetch", json={"repository": REPO})
    kept = (await http.get("/api/weights/gc?spark=s1")).json()["sparks"]["s1"]["keep"]
    assert {"what": f"{REPO} at {ONE[:12]}", "why": "it is being fetched"} in kept


async def test_what_another_spark_fetches_is_kept_too(equipped: Equipped) -> None:
    """The Spark with the copy may be its source: a collection there took the files away under it."""

    async def endless(*_: object, **__: object) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    async with Weights(equipped.stage.context.loop, bring=endless) as weights:
        weights.fetches.start("s2", Want("who/knows"))
        (made,) = await weights.plans("s1")
    assert made.plan is not None
    assert {each.what: each.why for each in made.plan.kept}[f"who/knows at {ONE[:12]}"] == "it is being fetched"


async def test_what_is_declared_while_the_spark_is_looked_at_is_not_deleted(
    equipped: Equipped, http: httpx2.AsyncClient
) -> None:
    """The plan was made with what was declared when the look began."""
    plan = (await http.get("/api/weights/gc?spark=s1")).json()
    look = equipped.disk.run
    late = MODEL.replace("settings:", "  late: {recipe: {engine: vllm, image: 'keep/echo:1', model: who/knows, port: 8003}, "
                         "on: s2, suspend: true}\nsettings:")  # fmt: skip

    async def run(script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        outcome = await look(script, timeout=timeout)
        if "who/knows" not in str(equipped.stage.context.loop.store.current.loaded.resolved):
            await equipped.stage.rewrite(DESIRED + late)
        return outcome

    equipped.disk.run = run  # type: ignore[method-assign]  # somebody declares a workload in these seconds
    refused = await http.post("/api/weights/gc/apply", json={"digest": plan["digest"], "spark": "s1"})
    assert (refused.status_code, refused.json()["reason"]) == (409, "PlanChanged")
    assert {"what": f"who/knows at {ONE[:12]}", "why": "workload late"} in refused.json()["plan"]["sparks"]["s1"][
        "keep"
    ]
    assert (equipped.cache.repo("who/knows") / "blobs" / blob_name(4)).exists()


async def test_names_and_bodies_of_gc(equipped: Equipped, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/api/weights/gc?spark=s9")).status_code == 404
    assert (await http.post("/api/weights/gc/apply", json={"digest": "0" * 16, "spark": "s9"})).status_code == 404
    assert (await http.post("/api/weights/gc/apply", json={"digest": "x"})).json()["field"] == "digest"


async def test_a_server_without_weights(stage: Stage, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/api/weights")).json()["reason"] == "NoWeights"


async def test_a_peer_is_a_spark_that_has_it(equipped: Equipped) -> None:
    """Not one that does not have it, and none without an address."""
    from reconciler.weights.cache import Want

    await equipped.surveyed()
    fleet = equipped.weights._fleet
    assert fleet.peers("s2", Want("acme/old")) == []  # it has no network that is known
    loop = equipped.stage.context.loop

    sight = loop.workers["s1"].sight
    assert sight.scan is not None
    facts = dataclasses.replace(sight.scan.facts, interfaces={"enp1s0f0np0": ("192.168.177.11",)})
    loop.workers["s1"].sight = dataclasses.replace(sight, scan=dataclasses.replace(sight.scan, facts=facts))
    assert [(p.name, p.address) for p in fleet.peers("s2", Want("acme/old"))] == [("s1", "192.168.177.11")]
    assert [p.name for p in fleet.peers("s2", Want("acme/old", ONE))] == ["s1"]
    assert fleet.peers("s2", Want("acme/old", "v9")) == []
    assert fleet.peers("s2", Want("acme/new")) == []
    assert fleet.peers("s1", Want("acme/old")) == []


async def test_practice_sparks_delete_and_do_not_download(tmp_path: Path) -> None:
    with DataFolder(tmp_path) as folder:
        async with (
            workshop(1, folder, None, first_port=0) as room,
            served_by(room.desired, folder, {}, reach=room.reach, bring=no_download) as parts,
        ):
            weights, loop = parts.context.weights, parts.context.loop
            assert weights is not None
            async with asyncio.timeout(60):
                while loop.workers["spark-1"].passes == 0:
                    await asyncio.sleep(0.05)
                asked = weights.fetches.start("spark-1", Want("acme/new"))
                while not asked.over:
                    await asyncio.sleep(0.01)
            assert asked.why is not None
            assert asked.why.message.startswith("practice Sparks do not download")
            (plan,) = await weights.plans("spark-1")
            assert plan.plan is not None
            assert [d.what for d in plan.plan.deletions] == ["microsoft/phi-4: all of it, 1 revision"]
            (done,) = await weights.collect(digest([plan]), spark="spark-1")
            assert done.problems == ()
            (plan,) = await weights.plans("spark-1")
            assert plan.plan is not None
            assert plan.plan.deletions == ()
            assert "Qwen/Qwen3-8B at b968826d9c46" in [kept.what for kept in plan.plan.kept]


# The command line


@pytest.fixture
def cli(
    served: Stage, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[SimpleNamespace]:
    """Run a verb of `weights` against a server of its own thread."""
    room = equip(served, hub, tmp_path)
    call: Any = served.call
    equipped = call(room.__aenter__())
    monkeypatch.setenv("SPARKKEEP_SERVER", served.url)
    monkeypatch.setattr(command, "EVERY", 0.05)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(("weights", *arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    yield SimpleNamespace(run=run, equipped=equipped, call=call)
    call(room.__aexit__(None, None, None))


def squeezed(text: str) -> list[list[str]]:
    return [[cell for cell in line.split("   ") if cell.strip()] for line in text.splitlines()]


def test_the_table(cli: SimpleNamespace) -> None:
    cli.call(cli.equipped.surveyed())
    code, out, err = cli.run()
    assert (code, err) == (0, "")
    assert [[cell.strip() for cell in line] for line in squeezed(out)] == [
        ["SPARK", "REPOSITORY", "REVISION", "SIZE", "COMPLETE", "NEEDED BY"],
        ["s1", "acme/old", ONE[:12], "0 MiB", "yes", "workload chat"],
        ["s1", "acme/old", "main", "0 MiB", "yes", "workload chat"],
        ["s1", "pinned/one", ONE[:12], "0 MiB", "yes", "keep"],
        ["s1", "who/knows", ONE[:12], "1.0 GiB", "yes", "-"],
        ["s2: its disk was not looked at yet"],
    ]
    assert list(json.loads(cli.run("-o", "json")[1])) == ["sparks", "fetches"]


def test_fetching_and_watching(cli: SimpleNamespace) -> None:
    code, out, err = cli.run("fetch", "s1", REPO, "--file", "*.json", "--file", "model*")
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == f"{REPO} at {COMMIT[:12]} is on s1"
    code, out, err = cli.run("fetch", "s1", REPO, "-o", "json")
    assert json.loads(out)["state"] == "done"
    code, _, err = cli.run("fetch", "s1", "acme/nowhere")
    assert code == 1
    assert "acme/nowhere at main did not come to s1: " in err
    assert cli.run("fetch", "s1", "a b")[0] == 1
    assert "no spark is named `s9`" in cli.run("fetch", "s9", REPO)[2]
    rows = squeezed(cli.run()[1])
    assert ["FETCH", "SPARK", "REPOSITORY", "STATE"] in [[cell.strip() for cell in row[:4]] for row in rows]


def test_ctrl_c_ends_the_watching_only(cli: SimpleNamespace, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.slow = 0.05
    slept: list[float] = []

    def interrupted(seconds: float) -> None:
        slept.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", interrupted)
    code, _, err = cli.run("fetch", "s1", REPO)
    monkeypatch.undo()
    assert (code, len(slept)) == (130, 1)
    assert "fetch 1 goes on; `sparkkeep weights` shows it, `sparkkeep weights cancel 1` ends it\n" in err
    assert [each.over for each in cli.equipped.weights.fetches.all()] == [False]
    url = cli.equipped.stage.url
    code, _, err = cli.run("fetch", "s1", REPO, "--detach", "--server", url)
    assert (code, err) == (0, "fetch 1 is fetching; `sparkkeep weights` shows how far it is\n")
    assert cli.run("cancel", "1", "--server", url) == (0, "", f"fetch 1 ({REPO} to s1) is cancelled\n")


def test_gc_shows_asks_and_deletes(cli: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    lone = cli.equipped.cache.hub / "models--who--knows"
    code, out, err = cli.run("gc", "--spark", "s1")
    assert (code, err) == (0, "")
    assert [[cell.strip() for cell in line] for line in squeezed(out)] == [
        ["SPARK", "WEIGHTS", "SIZE", "WHY"],
        ["s1", "delete", f"acme/old at {ONE[:12]}", "0 MiB", "nothing refers to this revision"],
        ["s1", "delete", "who/knows: all of it, 1 revision", "1.0 GiB", "nothing refers to it"],
        ["s1", "keep", f"acme/old at {TWO[:12]}", "workload chat"],
        ["s1", "keep", f"pinned/one at {ONE[:12]}", "keep"],
        ["1.0 GiB would be freed."],
    ]
    code, _, err = cli.run("gc", "--spark", "s1", "--apply")
    assert (code, err) == (1, "nobody is there to ask: use --yes to delete without asking. Nothing was deleted.\n")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert cli.run("gc", "--spark", "s1", "--apply")[2] == "Nothing was deleted.\n"
    assert lone.exists()

    def meanwhile(*_: object, **__: object) -> bool:
        runs(cli.equipped.disk, container("job", str(cli.equipped.disk.hub), "serve", "who/knows"))
        return True

    monkeypatch.setattr("typer.confirm", meanwhile)
    code, out, err = cli.run("gc", "--spark", "s1", "--apply")
    assert (code, err.splitlines()) == (
        1,
        ["Meanwhile something changed; this is the plan now:",
         "Nothing was deleted. Look at the new plan, and run it again."],
    )  # fmt: skip
    assert out.endswith("0 MiB would be freed.\n")
    assert lone.exists()
    runs(cli.equipped.disk)
    code, _, err = cli.run("gc", "--spark", "s1", "--apply", "--yes")
    assert code == 0
    deleted = f"acme/old at {ONE[:12]}, who/knows: all of it, 1 revision"
    assert err == f"s1: deleted 1.0 GiB: {deleted}\n"
    assert not lone.exists()
    assert cli.run("gc", "--spark", "s1", "--apply", "--yes")[2] == "There is nothing to delete.\n"


def test_gc_for_programs_says_in_json_that_the_plan_changed(
    cli: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symptom: `gc --apply --yes -o json | jq` broke on a table where something changed between look and deletion."""

    def meanwhile(*_: object, **__: object) -> None:
        runs(cli.equipped.disk, container("job", str(cli.equipped.disk.hub), "serve", "who/knows"))

    monkeypatch.setattr(command, "_agree", meanwhile)
    code, out, err = cli.run("gc", "--apply", "--yes", "-o", "json")
    assert code == 1
    assert [deletion["what"] for deletion in json.loads(out)["sparks"]["s1"]["delete"]] == [f"acme/old at {ONE[:12]}"]
    assert err.splitlines() == [
        "Meanwhile something changed; this is the plan now:",
        "Nothing was deleted. Look at the new plan, and run it again.",
    ]
    assert (cli.equipped.cache.hub / "models--who--knows").exists()


def test_gc_for_programs(cli: SimpleNamespace) -> None:
    plan = json.loads(cli.run("gc", "-o", "json")[1])
    assert plan["bytes"] == 1000 + 2**30
    assert cli.run("gc", "--apply", "-o", "json")[0] == 1
    done = json.loads(cli.run("gc", "--apply", "--yes", "-o", "json")[1])
    assert done["sparks"]["s1"]["bytes"] == 1000 + 2**30
