"""A remote beside the fleet: what is pushed there comes into force, what is changed here gets there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from api.folder import Unusable
from api.versioned import Versioned
from tests.gitops.conftest import TEXT, Room, git, room_in

ECHO = "/api/desired/services/echo"


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[tuple[Room, Path]]:
    """A fleet whose folder is a clone, and another clone that a colleague works in."""
    bare, folder, other = tmp_path / "hub.git", tmp_path / "desired", tmp_path / "colleague"
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", str(bare))
    git(tmp_path, "clone", "-q", str(bare), str(other))
    (other / "desired.yaml").write_text(TEXT)
    git(other, "checkout", "-q", "-b", "main")
    git(other, "add", "desired.yaml")
    git(other, "commit", "-qm", "first")
    git(other, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", str(bare), str(folder))
    async with room_in(folder, versioned=Versioned(remote="origin", every=3600)) as room:
        await until(room, lambda checkout: checkout["remote"] is not None)
        yield room, other


async def until(room: Room, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(40):
        while not met(checkout := (await room.http.get("/api/status")).json()["checkout"]):
            await asyncio.sleep(0.05)
    return dict(checkout)


def push(other: Path, old: str, new: str) -> str:
    """A colleague's change, pushed. Returns its commit."""
    git(other, "pull", "-q", "--rebase", "origin", "main")
    file = other / "desired.yaml"
    file.write_text(file.read_text().replace(old, new))
    git(other, "commit", "-qam", f"{old} is {new}")
    git(other, "push", "-q", "origin", "main")
    return git(other, "rev-parse", "HEAD").strip()


async def test_a_change_here_is_pushed_and_one_there_comes_into_force(shared: tuple[Room, Path]) -> None:
    room, other = shared
    made = (await room.http.patch(ECHO, json={"run": "never"})).json()["commit"]
    await until(room, lambda c: c["remote"]["upstream"] == made)
    push(other, "on: [s1, s2]", "on: s2")
    synced = (await room.http.post("/api/sync")).json()
    assert (synced["remote"]["reason"], synced["dirty"]) == ("FastForwarded", [])
    assert room.stage.context.loop.store.current.loaded.desired.services["twice"].on == ["s2"]
    assert "run: never" in room.text()


async def test_a_conflict_is_a_condition_and_what_was_in_force_stays(shared: tuple[Room, Path]) -> None:
    room, other = shared
    push(other, "on: s1 ", "on: s2 ")
    (other.parent / "hub.git").rename(other.parent / "away")
    answer = await room.http.patch(ECHO, json={"on": ["s1", "s2"]})
    assert answer.status_code == 200
    away = (await room.http.post("/api/sync")).json()["remote"]
    assert (away["reason"], away["good"]) == ("RemoteDown", False)
    (other.parent / "away").rename(other.parent / "hub.git")
    remote = (await room.http.post("/api/sync")).json()["remote"]
    assert (remote["reason"], remote["files"]) == ("Conflict", ["desired.yaml"])
    assert "git rebase" in remote["message"]
    assert room.stage.context.loop.store.current.loaded.desired.services["echo"].on == ["s1", "s2"]
    assert room.commits()[0] == "Change services.echo: on"
    git(room.folder, "-c", "core.editor=true", "rebase", "-q", "-X", "theirs", "origin/main")  # a person settles it
    remote = (await room.http.post("/api/sync")).json()["remote"]
    assert remote["reason"] == "Pushed", remote
    assert git(other.parent / "hub.git", "show", "main:desired.yaml") == room.text()


async def test_what_the_remote_brings_must_be_valid_to_come_into_force(shared: tuple[Room, Path]) -> None:
    room, other = shared
    before = room.stage.context.loop.store.current.revision
    push(other, "on: s1 ", "on: s9 ")
    await room.http.post("/api/sync")
    status = (await room.http.get("/api/status")).json()
    assert status["revision"] == before
    assert "'s9'" in status["problems"][0]["message"]
    push(other, "on: s9 ", "on: s2 ")
    await room.http.post("/api/sync")
    status = (await room.http.get("/api/status")).json()
    assert (status["revision"] != before, status["problems"]) == (True, [])


async def test_a_webhook_is_taken_from_who_knows_the_secret(shared: tuple[Room, Path]) -> None:
    room, other = shared
    body = json.dumps({"ref": "refs/heads/main"}).encode()
    head = {"content-type": "application/json"}
    unset = await room.http.post("/api/hooks/git", content=body, headers=head)
    assert (unset.status_code, unset.json()["reason"]) == (503, "NoSecret")
    assert room.stage.context.secrets is not None
    room.stage.context.secrets.set("git-webhook", "hush")
    theirs = push(other, "on: [s1, s2]", "on: s2")
    for signature in ("", "sha256=" + "0" * 64):
        wrong = await room.http.post("/api/hooks/git", content=body, headers={**head, "x-hub-signature-256": signature})
        assert (wrong.status_code, wrong.json()["reason"]) == (403, "BadSignature")
    signed = "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()
    taken = await room.http.post("/api/hooks/git", content=body, headers={**head, "x-hub-signature-256": signed})
    assert taken.status_code == 202
    # the reason passes by: what came in is itself a change that is synced, and that one ends InSync
    await until(room, lambda c: c["remote"]["good"] and c["revision"] == c["remote"]["upstream"] == theirs)
    assert room.stage.context.loop.store.current.loaded.desired.services["twice"].on == ["s2"]


async def test_a_hand_edit_shows_as_dirty(shared: tuple[Room, Path]) -> None:
    room, _ = shared
    room.file.write_text(TEXT.replace("on: s1 ", "on: s2 "))
    await room.stage.context.loop.store.reload()
    assert (await until(room, lambda c: bool(c["dirty"])))["dirty"] == ["desired.yaml"]


async def test_a_remote_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "desired"
    folder.mkdir()
    with pytest.raises(Unusable, match="no remote origin"):
        async with room_in(folder, versioned=Versioned(remote="origin")):
            pass


async def test_who_follows_no_remote_says_so(room: Room) -> None:
    assert (await room.http.post("/api/sync")).json()["reason"] == "NoRemote"
    assert (await room.http.post("/api/hooks/git", json={})).json()["reason"] == "NoRemote"
