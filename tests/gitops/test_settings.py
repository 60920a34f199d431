"""Settings by the API: many at once, one commit; or a no that says all that is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import yaml

from api.environment import Completion
from api.started import Start
from state.desired import Settings
from state.settings import SETTINGS, setting_at
from tests.gitops.conftest import TEXT, Room, Said, git, room_in

COMMENTED = (
    TEXT
    + """
settings:   # the knobs
  # the switch gets hot
  scanInterval: 20s   # calm
  keep:
    - Qwen/Qwen3-8B   # the good one
"""
)
BEGINNING = "Begin the history of the desired state"


async def post(room: Room, values: dict[str, Any], query: str = "", **more: Any) -> httpx2.Response:
    return await room.http.post(f"/api/settings{query}", json={"values": values, **more})


async def read(room: Room) -> tuple[dict[str, dict[str, Any]], dict[str, Any], str]:
    """Fields by name, values, tag."""
    answer = await room.http.get("/api/settings")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert answer.headers["etag"] == f'"{said["tag"]}"'
    return {field["name"]: field for field in said["fields"]}, said["values"], said["tag"]


def in_a_folder(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "desired"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


async def test_several_settings_are_one_commit_that_keeps_every_comment(room: Room) -> None:
    await room.stage.rewrite(COMMENTED)
    git(room.folder, "commit", "--all", "--message", "by hand")
    answer = await post(
        room,
        {"settings.scanInterval": "45s", "guards.maxDestructive": 3, "settings.keep": ["Qwen/Qwen3-8B", "a/b"]},
        reason="a quiet night",
    )
    assert answer.status_code == 200, answer.text
    assert (
        room.text()
        == COMMENTED.replace("20s ", "45s ").replace(
            "    - Qwen/Qwen3-8B   # the good one\n", "    - Qwen/Qwen3-8B   # the good one\n    - a/b\n"
        )
        + "\nguards:\n  maxDestructive: 3\n"
    )
    assert room.committed() == room.text()
    assert room.commits() == [
        "Change settings.scanInterval, guards.maxDestructive, settings.keep",
        "by hand",
        BEGINNING,
    ]
    assert "a quiet night" in git(room.folder, "log", "-1", "--format=%b")
    said = answer.json()
    assert said["commit"] == git(room.folder, "rev-parse", "HEAD").strip()
    assert said["revision"] == room.stage.context.loop.store.current.revision
    assert said["plan"]["steps"] == []
    desired = room.stage.context.loop.store.current.loaded.desired
    assert (desired.settings.scan_interval, desired.guards.max_destructive) == (45.0, 3)
    fields, values, tag = await read(room)
    assert said["tag"] == tag
    assert values["settings.scanInterval"] == "45s"
    assert fields["settings.scanInterval"]["source"] == "saved"
    assert fields["settings.scanInterval"]["place"].endswith("desired.yaml:13:3")
    assert fields["settings.reserve"]["source"] == "default"


async def test_null_takes_a_setting_back_to_its_base(room: Room) -> None:
    await post(room, {"settings.scanInterval": "45s", "settings.reserve": "6GiB"})
    answer = await post(room, {"settings.scanInterval": None, "settings.keep": None})
    assert answer.status_code == 200
    assert room.text() == TEXT + "\nsettings:\n  reserve: 6GiB\n"
    assert answer.json()["values"]["settings.scanInterval"] == "30s"
    again = await post(room, {"settings.scanInterval": None})
    assert again.json()["commit"] is None, "there is nothing to take back"
    one = await post(room, {"settings.reserve": None})
    assert room.commits()[0] == "Unset settings.reserve"
    assert one.json()["values"]["settings.reserve"] == "4GiB"


async def test_everything_that_is_wrong_is_told_by_its_name_and_nothing_happens(room: Room) -> None:
    room.stage.context.started = ()
    answer = await post(
        room,
        {
            "settings.scanInterval": "0.5s",
            "settings.reserve": "1GiB",
            "settings.scan_interval": "45s",
            "guards.maxDestructive": 4,
            "settings.keep": ["../etc", "a/b"],
        },
    )
    assert answer.status_code == 422, answer.text
    problems = {problem["field"]: problem for problem in answer.json()["problems"]}
    assert set(problems) == {
        "settings.scanInterval", "settings.reserve", "settings.scan_interval", "settings.keep[0]"
    }  # fmt: skip
    assert problems["settings.reserve"]["allowed"] == ["at least 2GiB", "at most 1TiB"]
    assert problems["settings.scanInterval"]["message"] == "must be at least 1; it is 0.5"
    assert "did you mean settings.scanInterval" in problems["settings.scan_interval"]["message"]
    assert (room.text(), room.commits()) == (TEXT, [BEGINNING])
    bodies: list[dict[str, Any]] = [{"values": {}}, {}, {"values": {"settings.owner": "a"}, "more": 1}]
    for body in bodies:
        assert (await room.http.post("/api/settings", json=body)).status_code == 422
    assert room.text() == TEXT


async def test_no_setting_takes_what_is_of_another_kind(room: Room) -> None:
    for value in ("what? no", {"a b": {"b": 1}}, [[1]], -1):
        answer = await post(room, dict.fromkeys(SETTINGS, value), "?dryRun=true")
        assert answer.status_code == 422, (value, answer.text)
        found = {setting.name for problem in answer.json()["problems"] if (setting := setting_at(problem["field"]))}
        assert found == set(SETTINGS), value


async def test_a_dry_run_tells_and_stores_nothing(room: Room) -> None:
    before = (await room.http.get("/api/settings")).json()
    answer = (await post(room, {"settings.owner": "somebody"}, "?dryRun=true")).json()
    assert answer["dryRun"]
    assert answer["commit"] is None
    assert answer["values"]["settings.owner"] == "somebody"
    assert answer["tag"] != before["tag"]
    assert {held["reason"] for held in answer["plan"]["held"]} == {"NameTaken"}, "the old ones stand in the way"
    assert (await room.http.get("/api/settings")).json() == before
    assert (room.text(), room.commits()) == (TEXT, [BEGINNING])


async def test_who_has_read_an_older_state_changes_nothing(room: Room) -> None:
    _, _, old = await read(room)
    await post(room, {"settings.scanInterval": "45s"})
    text = room.text()
    header = await room.http.post(
        "/api/settings", json={"values": {"guards.maxDestructive": 1}}, headers={"if-match": f'"{old}"'}
    )
    body = await post(room, {"guards.maxDestructive": 1}, tag=old)
    for answer in (header, body):
        assert answer.status_code == 412
        assert answer.json()["current"] == {"settings": {"scanInterval": "45s"}, "guards": {}}
    assert room.text() == text
    _, _, new = await read(room)
    assert new == header.json()["tag"]
    assert (await post(room, {"guards.maxDestructive": 1}, tag=new)).status_code == 200


async def test_another_part_of_the_desired_state_is_no_reason_to_refuse(room: Room) -> None:
    _, _, tag = await read(room)
    await room.http.patch("/api/desired/services/echo", json={"run": "never"})
    assert (await post(room, {"settings.keep": ["a/b"]}, tag=tag)).status_code == 200


async def test_of_many_writers_with_one_tag_one_wins(room: Room) -> None:
    _, _, tag = await read(room)
    answers = await asyncio.gather(*(post(room, {"guards.maxDestructive": n}, tag=tag) for n in range(8)))
    won = [answer.json()["values"]["guards.maxDestructive"] for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert [answer.status_code for answer in answers].count(412) == 7
    assert (await read(room))[1]["guards.maxDestructive"] == won[0]
    assert len(room.commits()) == 2


async def test_each_setting_stays_in_the_file_that_it_stands_in(tmp_path: Path) -> None:
    fleet = "settings: {scanInterval: 20s}   # here\n" + TEXT
    folder = in_a_folder(tmp_path, a=fleet, b="guards:\n  maxDestructive: 2   # few\nsettings: {reserve: 8GiB}\n")
    async with room_in(folder, "", whole=True) as room:
        answer = await post(
            room, {"settings.scanInterval": "1m", "guards.maxDestructive": None, "settings.reserve": "5GiB"}
        )
        assert answer.status_code == 200, answer.text
        assert (folder / "a.yaml").read_text() == fleet.replace("20s", "1m")
        assert (folder / "b.yaml").read_text() == "guards: {}\nsettings: {reserve: 5GiB}\n"
        assert len(git(folder, "log", "--format=%s").splitlines()) == 2, "one commit for both files"
        assert len(git(folder, "show", "--stat", "--format=", "HEAD").splitlines()) == 3


async def test_a_hand_edit_beside_a_change_is_neither_lost_nor_committed(room: Room) -> None:
    await room.stage.rewrite(TEXT + "# mine\n")
    assert (await post(room, {"settings.keep": ["a/b"]})).status_code == 200
    assert "# mine" in room.text()
    assert "keep: [a/b]" in room.text()
    assert "# mine" not in room.committed()
    assert "keep: [a/b]" in room.committed()


async def test_the_environment_lies_under_what_is_saved(tmp_path: Path) -> None:
    folder = in_a_folder(tmp_path)
    complete = Completion({"SPARKKEEP_SETTINGS_SCAN_INTERVAL": "45s", "SPARKKEEP_GUARDS_MAX_DESTRUCTIVE": "3"})
    async with room_in(folder, complete=complete) as room:

        def settings() -> Settings:
            return room.stage.context.loop.store.current.loaded.desired.settings

        fields, values, _ = await read(room)
        told = {key: fields["settings.scanInterval"][key] for key in ("source", "place", "base", "default")}
        assert told == {
            "source": "environment", "place": "SPARKKEEP_SETTINGS_SCAN_INTERVAL", "base": "45s", "default": "30s"
        }  # fmt: skip
        assert values["settings.scanInterval"] == "45s"
        assert settings().scan_interval == 45.0
        await post(room, {"settings.scanInterval": "10s"})
        assert settings().scan_interval == 10.0
        fields, values, _ = await read(room)
        assert (fields["settings.scanInterval"]["source"], values["settings.scanInterval"]) == ("saved", "10s")
        assert fields["settings.scanInterval"]["base"] == "45s"
        back = await post(room, {"settings.scanInterval": None})
        assert back.json()["values"]["settings.scanInterval"] == "45s"
        assert settings().scan_interval == 45.0
        assert "scanInterval" not in room.text(), "the environment is not written into the file"


async def test_what_the_server_was_started_with_is_shown_and_not_changed(room: Room) -> None:
    room.stage.context.started = (
        Start(name="serve.port", help="port", flag="--port", variables=("SPARKKEEP_PORT",), default=9999, value=9),
    )
    fields, values, _ = await read(room)
    assert list(fields)[-1] == "serve.port"
    assert values["serve.port"] == 9
    assert fields["serve.port"]["readOnly"] == "it is set when the server starts (--port, SPARKKEEP_PORT)"
    answer = await post(room, {"serve.port": 8, "settings.reserve": "6GiB"})
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert (problem["field"], problem["message"]) == (
        "serve.port",
        "can't be changed here: it is set when the server starts (--port, SPARKKEEP_PORT)",
    )
    assert room.text() == TEXT


async def test_a_server_without_a_history_shows_settings_and_takes_none(room: Room) -> None:
    room.stage.context.desk = None
    shown = await room.http.get("/api/settings")
    assert (shown.status_code, shown.json()["tag"], "etag" in shown.headers) == (200, None, False)
    assert (await post(room, {"settings.keep": ["a/b"]})).status_code == 503


async def test_a_file_that_cannot_be_read_leaves_the_values_that_are_in_force(room: Room) -> None:
    await post(room, {"settings.scanInterval": "45s"})
    room.file.write_text("settings: {scanInterval: [")
    await room.stage.context.loop.store.reload()
    shown = (await room.http.get("/api/settings")).json()
    assert (shown["values"]["settings.scanInterval"], shown["tag"]) == ("45s", None)
    answer = await post(room, {"settings.scanInterval": "50s"})
    assert answer.status_code == 422
    assert room.file.read_text() == "settings: {scanInterval: ["


class TestTheCommandLine:
    """`sparkkeep settings` against a real server."""

    def test_settings_are_set_shown_and_taken_back(self, cli: Callable[..., Said], far: tuple[str, Path]) -> None:
        file = far[1]
        code, out, err = cli(
            "settings", "set", "settings.scanInterval=45s", "settings.keep=[a/b]", "settings.owner=7", "-m", "why not"
        )
        assert (code, out) == (0, "")
        assert err.startswith('settings.scanInterval: 45s from now on\nsettings.keep: ["a/b"] from now on\n')
        assert file.read_text() == TEXT + '\nsettings:\n  scanInterval: 45s\n  keep: [a/b]\n  owner: "7"\n'
        assert "why not" in git(file.parent, "log", "-1", "--format=%b")
        code, out, err = cli("settings")
        assert (code, err) == (0, "")
        row = next(line for line in out.splitlines() if line.startswith("settings.scanInterval"))
        assert row.split()[1:4] == ["45s", "saved", "30s"]
        code, out, _ = cli("settings", "get", "settings.scanInterval")
        assert (
            f"saved ({file}:{1 + file.read_text()[: file.read_text().index('scanInterval')].count(chr(10))}:3)" in out
        )
        said = json.loads(cli("settings", "get", "settings.keep", "-o", "json")[1])
        assert (said["values"], [field["name"] for field in said["fields"]]) == (
            {"settings.keep": ["a/b"]},
            ["settings.keep"],
        )
        assert yaml.safe_load(cli("settings", "-o", "yaml")[1])["values"]["settings.owner"] == "7"
        assert cli("settings", "unset", "settings.keep", "settings.owner", "settings.scanInterval")[0] == 0
        assert file.read_text() == TEXT + "\nsettings: {}\n"

    def test_what_is_wrong_is_told_and_is_1(self, cli: Callable[..., Said], far: tuple[str, Path]) -> None:
        code, out, err = cli("settings", "set", "settings.scanInterval=0.1s", "guards.maxDestructive=lots", "x.y=1")
        assert (code, out) == (1, "")
        for told in ("at least 1s, at most 1h", "'lots' is not a whole number", "x.y: is no setting"):
            assert told in err
        for words in (
            ("set", "settings.owner"),
            ("get", "nope"),
            ("set", "settings.keep=["),
            ("set", "settings.keep="),
        ):
            code, out, err = cli("settings", *words)
            assert (code, out, len(err.splitlines())) == (1, "", 1), words
        dry = cli("settings", "set", "guards.maxDestructive=2", "--dry-run")
        assert dry == (0, "", "guards.maxDestructive: 2 then\n")
        assert far[1].read_text() == TEXT
