"""Changes by the API: each one a commit that keeps what people wrote, or a no that loses nothing."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from state.desk import Change, Desk, SeveralFiles
from state.journal import Journal
from state.problems import Invalid
from state.repository import Repository
from state.repository_commit import Actor
from state.store import DesiredStore
from tests.gitops.conftest import TEXT, Room, git, room_in

ECHO = "/api/desired/services/echo"


def lines(before: str, after: str) -> list[str]:
    """What is in the one and not in the other."""
    old, new = before.splitlines(), after.splitlines()
    return [f"-{line}" for line in old if line not in new] + [f"+{line}" for line in new if line not in old]


async def test_a_patch_is_one_commit_that_keeps_every_comment(room: Room) -> None:
    answer = await room.http.patch(
        f"{ECHO}?reason=too+loud",
        json={"on": "s2", "env": {"A": "1"}},
        headers={"sparkkeep-actor": "ann@desk", "user-agent": "sparkkeep/1"},
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert lines(TEXT, room.text()) == [
        "-    on: s1     # the quiet one",
        "+    on: s2     # the quiet one",
        '+    env: {A: "1"}',
    ]
    assert room.committed() == room.text()
    assert room.commits() == ["Change services.echo: on, env", "Begin the history of the desired state"]
    assert git(room.folder, "log", "-1", "--format=%H|%an|%cn|%b").strip() == (
        f"{said['commit']}|ann@desk (127.0.0.1) (cli)|sparkkeep|too loud\n\nSparkkeep-Actor: ann@desk (127.0.0.1) (cli)"
    )
    assert said["value"]["on"] == "s2"
    assert answer.headers["etag"] == f'"{said["tag"]}"'
    assert said["revision"] == room.stage.context.loop.store.current.revision
    assert {(step["verb"], step["spark"]) for step in said["plan"]["steps"]} >= {("stop", "s1"), ("create", "s2")}
    assert git(room.folder, "status", "--porcelain") == ""


async def test_the_plan_of_a_change_is_what_it_does_however_soon_the_loop_has_done_it(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = room.stage.context.desk
    assert desk is not None
    write = desk.write

    async def and_wait(*args: Any, **kwargs: Any) -> Any:
        done = await write(*args, **kwargs)
        await room.in_force()
        await room.stage.settled()
        return done

    monkeypatch.setattr(desk, "write", and_wait)
    said = (await room.http.patch(ECHO, json={"on": "s2"})).json()
    assert {(step["verb"], step["spark"]) for step in said["plan"]["steps"]} >= {("stop", "s1"), ("create", "s2")}


async def test_a_change_is_carried_out(room: Room) -> None:
    await room.http.patch(ECHO, json={"on": "s2"})
    await room.in_force()
    await room.stage.settled()
    where = {n: [c.workload for c in s.containers.values()] for n, s in room.stage.sparks.items()}
    assert "echo" not in where["s1"]
    assert "echo" in where["s2"]


async def test_put_makes_replaces_and_delete_removes(room: Room) -> None:
    new = {"recipe": {"image": "keep/echo:1", "port": 8002, "probe": "none"}, "on": "s2"}
    made = await room.http.put("/api/desired/services/third", json=new, headers={"if-none-match": "*"})
    assert made.status_code == 200, made.text
    assert (await room.http.get("/api/desired/services/third")).json() == new
    again = await room.http.put("/api/desired/services/third", json=new, headers={"if-none-match": "*"})
    assert (again.status_code, again.json()["reason"]) == (412, "Changed")
    same = await room.http.put("/api/desired/services/third", json=new)
    assert (same.status_code, same.json()["commit"]) == (200, None)
    gone = await room.http.delete("/api/desired/services/third")
    assert (gone.status_code, gone.json()["value"]) == (200, None)
    assert room.text() == TEXT
    assert len(room.commits()) == 3
    assert (await room.http.delete("/api/desired/services/third")).json()["reason"] == "NoSuchService"


async def test_who_shows_an_old_tag_changes_nothing(room: Room) -> None:
    seen = await room.http.get(ECHO)
    await room.http.patch(ECHO, json={"on": "s2"})
    before, commits = room.text(), room.commits()
    now = (await room.http.get(ECHO)).headers["etag"]
    for ask in (
        room.http.patch(ECHO, json={"run": "never"}, headers={"if-match": seen.headers["etag"]}),
        room.http.put(ECHO, json={"recipe": "bge-m3", "on": "s1"}, headers={"if-match": seen.headers["etag"]}),
        room.http.delete(ECHO, headers={"if-match": seen.headers["etag"]}),
    ):
        answer = await ask
        assert answer.status_code == 412
        assert answer.json()["current"]["on"] == "s2"
        assert answer.json()["tag"] == now.strip('"')
    assert (room.text(), room.commits()) == (before, commits)
    done = await room.http.patch(ECHO, json={"run": "never"}, headers={"if-match": f'"else", {now}'})
    assert done.status_code == 200
    bad = await room.http.patch(ECHO, json={"run": "never"}, headers={"if-match": "no-quotes"})
    assert (bad.status_code, bad.json()["field"]) == (422, "If-Match")


async def test_what_would_be_invalid_is_refused_with_the_place_and_nothing_happens(room: Room) -> None:
    for path, body, field in (
        (ECHO, {"on": "s9"}, "services.echo.on"),
        (ECHO, {"recipe": {"port": 70000}}, "services.echo.recipe.port"),
        (ECHO, {"ruun": "always"}, "services.echo.ruun"),
        ("/api/desired/services/twice", {"recipe": {"port": 8000}}, "services.twice"),
        ("/api/desired/sparks/s2", {"host": "not a host"}, "sparks.s2.host"),
    ):
        answer = await room.http.patch(path, json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["problems"][0]["field"] == field
        assert answer.json()["problems"][0]["line"] > 0
    used = await room.http.delete("/api/desired/sparks/s1")
    assert used.status_code == 422
    assert room.text() == TEXT
    assert room.commits() == ["Begin the history of the desired state"]


async def test_a_dry_run_plans_and_stores_nothing(room: Room) -> None:
    before = room.stage.context.loop.store.current.revision
    answer = (await room.http.delete(f"{ECHO}?dryRun=true")).json()
    assert answer["dryRun"]
    assert answer["commit"] is None
    assert {step["verb"] for step in answer["plan"]["steps"]} == {"stop", "remove"}
    assert room.text() == TEXT
    assert room.commits() == ["Begin the history of the desired state"]
    assert room.stage.context.loop.store.current.revision == before


async def test_beside_a_hand_edit_only_the_change_is_committed(room: Room) -> None:
    by_hand = TEXT.replace("on: [s1, s2]}", "on: [s1, s2], priority: 3}   # mine")
    room.file.write_text(by_hand)
    answer = await room.http.patch(ECHO, json={"on": "s2"})
    assert answer.status_code == 200, answer.text
    assert room.text() == by_hand.replace("on: s1 ", "on: s2 ")
    assert room.committed() == TEXT.replace("on: s1 ", "on: s2 ")
    assert (await room.http.get("/api/history")).json()["checkout"]["dirty"] == ["desired.yaml"]
    assert git(room.folder, "status", "--porcelain") == " M desired.yaml\n"


async def test_what_stands_only_in_a_hand_edit_stays_the_persons_to_commit(room: Room) -> None:
    new = "  third: {recipe: {image: 'keep/echo:1', port: 8002, probe: none}, on: s2}\n"
    room.file.write_text(TEXT + new)
    answer = await room.http.patch("/api/desired/services/third", json={"run": "never"})
    assert (answer.status_code, answer.json()["commit"]) == (200, None)
    assert room.text() == TEXT + new.replace("on: s2}", "on: s2, run: never}")
    assert room.committed() == TEXT


async def test_a_file_that_is_broken_by_hand_can_only_be_replaced(room: Room) -> None:
    room.file.write_text(TEXT + "  : [\n")
    answer = await room.http.patch(ECHO, json={"on": "s2"})
    assert answer.status_code == 422
    assert room.text() == TEXT + "  : [\n"
    seen = {"content-type": "application/yaml", "if-match": "*"}
    mended = await room.http.put("/api/desired", content=TEXT.encode(), headers=seen)
    assert mended.status_code == 200, mended.text
    assert room.text() == TEXT


async def test_a_whole_file_takes_no_hand_edit_away_that_nobody_has_seen(room: Room) -> None:
    """A PUT of the whole text wrote over an edit that was not committed."""
    by_hand = TEXT.replace("[s1, s2]}", "[s1, s2], priority: 3}")
    room.file.write_text(by_hand)
    for body, kind in ((TEXT.encode(), "application/yaml"), (b'{"sparks": {}}', "application/json")):
        refused = await room.http.put("/api/desired", content=body, headers={"content-type": kind})
        assert (refused.status_code, refused.json()["reason"]) == (409, "DirtyFiles")
    assert room.text() == by_hand
    assert room.commits() == ["Begin the history of the desired state"]
    tag = (await room.http.get("/api/desired")).headers["etag"]
    seen = {"content-type": "application/yaml", "if-match": tag}
    assert (await room.http.put("/api/desired", content=TEXT.encode(), headers=seen)).status_code == 200
    assert room.text() == TEXT


async def test_the_whole_of_it(room: Room) -> None:
    yaml = await room.http.get("/api/desired")
    assert yaml.text == TEXT
    assert yaml.headers["content-type"].startswith("application/yaml")
    found = await room.http.get("/api/desired", headers={"accept": "application/json"})
    assert found.headers["etag"] == yaml.headers["etag"]
    value = found.json()
    value["services"].pop("twice")
    value["guards"] = {"maxDestructive": 2}
    done = await room.http.put("/api/desired", json=value, headers={"if-match": yaml.headers["etag"]})
    assert done.status_code == 200, done.text
    assert lines(TEXT, room.text()) == [f"-{TEXT.splitlines()[-1]}", "+guards:", "+  maxDestructive: 2"]
    late = await room.http.put("/api/desired", json=value, headers={"if-match": yaml.headers["etag"]})
    assert late.status_code == 412
    for body, kind in ((b"[1]", "application/json"), (b"{", "application/json"), (b"a: [", "application/yaml")):
        bad = await room.http.put("/api/desired", content=body, headers={"content-type": kind})
        assert bad.status_code == 422, bad.text


async def test_settings_and_guards(room: Room) -> None:
    assert (await room.http.get("/api/desired/settings")).json() == {}
    answer = await room.http.patch("/api/desired/settings", json={"scanInterval": "20s", "fetchWeights": False})
    assert answer.status_code == 200, answer.text
    assert room.stage.context.loop.store.current.loaded.desired.settings.scan_interval == 20
    await room.http.patch("/api/desired/settings", json={"scanInterval": None})
    assert (await room.http.get("/api/desired/settings")).json() == {"fetchWeights": False}
    bad = await room.http.patch("/api/desired/guards", json={"maxDestructive": -1})
    assert (bad.status_code, bad.json()["field"]) == (422, "guards.maxDestructive")


async def test_several_files_each_keep_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "desired"
    folder.mkdir()
    last = TEXT.splitlines()[-1]
    first, second = TEXT.replace(f"{last}\n", ""), f"services:   # in a file of their own\n{last}\n"
    (folder / "a.yaml").write_text(first)
    (folder / "b.yaml").write_text(second)
    with closing(Journal(":memory:")) as journal:
        store = DesiredStore(folder, generations=journal)
        await store.open()
        desk = Desk(store=store, repository=await Repository.open(folder))
        actor = Actor("ann", "api")
        for change in (
            Change(how="patch", route=("services", "twice"), value={"on": "s2"}),
            Change(how="patch", route=("sparks", "s1"), value={"user": "nvidia"}),
        ):
            await desk.write(change, message="one", actor=actor)
        assert (folder / "b.yaml").read_text() == second.replace("[s1, s2]", "s2")
        assert (folder / "a.yaml").read_text() == first.replace("{host: 10.0.0.1}", "{host: 10.0.0.1, user: nvidia}")
        with pytest.raises(SeveralFiles):
            await desk.write(Change(how="put", route=(), value={}), message="all", actor=actor)
        await desk.replace(str(folder / "b.yaml"), b"services: {}\n", tags=(), message="b", actor=actor)
        assert list(store.current.loaded.resolved) == ["echo"]
        with pytest.raises(Invalid, match="twice"):  # the same name in two files
            await desk.replace(str(folder / "b.yaml"), first.encode(), tags=(), message="b", actor=actor)
        assert (folder / "b.yaml").read_text() == "services: {}\n"
        assert git(folder, "log", "--format=%s").splitlines()[:3] == ["b", "one", "one"]


async def test_fifty_writers_at_once_lose_nothing(room: Room) -> None:
    await room.http.patch(ECHO, json={"env": {"COUNT": "0"}})

    async def write() -> None:
        while True:
            seen = await room.http.get(ECHO)
            value: dict[str, Any] = seen.json()
            value["env"]["COUNT"] = str(int(value["env"]["COUNT"]) + 1)
            done = await room.http.put(ECHO, json=value, headers={"if-match": seen.headers["etag"]})
            if done.status_code == 200:
                return
            assert done.status_code == 412, done.text

    await asyncio.gather(*(write() for _ in range(50)))
    assert (await room.http.get(ECHO)).json()["env"] == {"COUNT": "50"}
    assert len(room.commits()) == 52
    assert room.committed() == room.text()
    assert lines(TEXT, room.text()) == ['+    env: {COUNT: "50"}']


async def test_history_diff_and_rollback(room: Room) -> None:
    first = git(room.folder, "rev-parse", "HEAD").strip()
    await room.http.patch(f"{ECHO}?reason=trying", json={"on": "s2"})
    history = (await room.http.get("/api/history")).json()
    assert [(c["subject"], c["reason"], c["files"]) for c in history["commits"][:1]] == [
        ("Set services.echo.on to s2", "trying", ["desired.yaml"])
    ]
    older = (await room.http.get(f"/api/history?before={history['commits'][0]['revision']}")).json()
    assert [c["revision"] for c in older["commits"]] == [first]
    diff = (await room.http.get(f"/api/history/{first}/diff")).json()["diff"]
    assert "-    on: s1     # the quiet one\n+    on: s2     # the quiet one\n" in diff
    dry = (await room.http.post("/api/rollback?dryRun=true", json={"revision": first[:9]})).json()
    assert dry["dryRun"]
    assert "s2" in room.text()
    room.file.write_text(room.text() + "# by hand\n")
    refused = await room.http.post("/api/rollback", json={"revision": first})
    assert (refused.status_code, refused.json()["reason"]) == (409, "RollbackRefused")
    git(room.folder, "checkout", "-q", ".")
    done = await room.http.post("/api/rollback", json={"revision": first, "reason": "too loud"})
    assert done.status_code == 200, done.text
    assert room.text() == TEXT
    assert len(room.commits()) == 3
    for unknown in ("0" * 40, "nothing", "HEAD~99"):
        assert (await room.http.get(f"/api/history/{unknown}/diff")).status_code == 404
        assert (await room.http.post("/api/rollback", json={"revision": unknown})).status_code == 404
    for odd in ("--output=x", "a b", "a:b", "HEAD@{0}"):
        assert (await room.http.post("/api/rollback", json={"revision": odd})).status_code == 422


async def test_without_git_the_files_are_kept_and_changes_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "desired"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    async with room_in(folder) as room:
        answer = await room.http.patch(ECHO, json={"on": "s2"})
        assert (answer.status_code, answer.json()["reason"]) == (503, "NoHistory")
        assert "git" in answer.json()["message"]
        status = await room.http.get("/api/status")
        assert status.json()["checkout"] is None
        assert status.json()["workloads"]["echo"]["sync"] == "Synced"
