"""The menu, through the API and on the command line."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Self, cast

import httpx2
import pytest
import yaml
from fastapi import FastAPI

from api.app import build
from api.commands import models as command
from api.routes import models as route
from reconciler.disks.found import CachedModel, DiskSurvey, GgufFile, Other, Revision
from reconciler.menu import Entry, menu
from reconciler.menu_recipes import Wanted
from reconciler.surveyor import Seen
from state.recipes import Recipe

QWEN = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "Qwen/Qwen3-8B", "port": 8000})
GPT = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "openai/gpt-oss-20b", "port": 8000})
BGE = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "BAAI/bge-m3", "port": 8000})
C = "c" * 40


def cached(repo: str, complete: bool, **more: object) -> CachedModel:
    revision = Revision(commit=C, refs=("main",), size=2**34, complete=complete, missing=() if complete else ("x", "y"))
    return CachedModel(repo=repo, path=f"/hub/{repo}", revisions=(revision,), size_on_disk=2**34, **more)


FIRST = DiskSurvey(
    taken_at=1000.0,
    spark_time=1000.0,
    models=(cached("Qwen/Qwen3-8B", True), cached("microsoft/phi-4", True), cached("openai/gpt-oss-20b", False)),
    ggufs=(GgufFile(path="/m/own.gguf", name="own.gguf", size=2**31),),
    others=(Other("/hub", "models--a\\nb"),),
    problems=("/hub/closed: this folder can't be read",),
)


class Room:
    """Two Sparks; the second was never looked at."""

    def __init__(self, survey: DiskSurvey | None = FIRST) -> None:
        self.asked: list[str | None] = []
        self.known = {
            "s1": Seen(survey),
            "s2": Seen(None, "ConnectTimeout", "s2 did not answer in time", 1200.0),
        }

    def seen(self) -> Mapping[str, Seen]:
        return self.known

    async def menu(self) -> tuple[Entry, ...]:
        recipes = {"qwen": QWEN, "gpt": GPT, "bge": BGE}
        surveys = {name: seen.survey for name, seen in self.known.items()}
        return menu(surveys, Wanted(recipes=recipes, declared={"chat": QWEN}), infer=lambda repo, _: {"model": repo})

    def look(self, spark: str | None = None) -> tuple[str, ...]:
        self.asked.append(spark)
        return tuple(self.known) if spark is None else (spark,)


def app(room: Room | None) -> FastAPI:
    made = build(cast("Any", SimpleNamespace(practice=None, disks=room)), version="1")
    if not any(getattr(each, "path", "") == "/api/models" for each in made.routes):
        made.include_router(route.router)
    return made


def client(room: Room | None) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app(room)), base_url="http://127.0.0.1:9999")


async def test_the_menu() -> None:
    async with client(Room()) as http:
        answer = (await http.get("/api/models")).json()
    assert [(m["repository"], m["file"], m["kind"], m["state"]) for m in answer["models"]] == [
        ("", "own.gguf", "gguf", "needs_setup"),
        ("BAAI/bge-m3", None, "model", "unknown"),
        ("microsoft/phi-4", None, "model", "needs_setup"),
        ("openai/gpt-oss-20b", None, "model", "incomplete"),
        ("Qwen/Qwen3-8B", None, "model", "ready_to_run"),
    ]
    assert answer["models"][4] == {
        "repository": "Qwen/Qwen3-8B",
        "kind": "model",
        "file": None,
        "state": "ready_to_run",
        "size": 2**34,
        "recipes": ["qwen"],
        "workloads": ["chat"],
        "sparks": {
            "s1": {
                "revision": C,
                "refs": ["main"],
                "size": 2**34,
                "sizeOnDisk": 2**34,
                "complete": True,
                "downloading": False,
                "incompleteBytes": 0,
                "missing": [],
                "path": "/hub/Qwen/Qwen3-8B",
            }
        },
        "inferred": None,
    }
    assert answer["models"][2]["inferred"] == {"model": "microsoft/phi-4"}
    assert answer["sparks"] == {
        "s1": {
            "surveyedAt": 1000.0,
            "reason": "",
            "message": "",
            "failedAt": None,
            "problems": ["/hub/closed: this folder can't be read"],
            "others": [{"folder": "/hub", "name": "models--a\\nb"}],
        },
        "s2": {
            "surveyedAt": None,
            "reason": "ConnectTimeout",
            "message": "s2 did not answer in time",
            "failedAt": 1200.0,
            "problems": [],
            "others": [],
        },
    }


async def test_asking_for_a_survey() -> None:
    room = Room()
    async with client(room) as http:
        all_of_them = await http.post("/api/models/survey")
        one = await http.post("/api/models/survey?spark=s2")
        none = await http.post("/api/models/survey?spark=s3")
    assert (all_of_them.status_code, all_of_them.json()) == (202, {"asked": ["s1", "s2"]})
    assert (one.status_code, one.json()) == (202, {"asked": ["s2"]})
    assert (none.status_code, none.json()["reason"], none.json()["allowed"]) == (404, "NoSuchSpark", ["s1", "s2"])
    assert room.asked == [None, "s2"]


async def test_a_server_without_disks() -> None:
    async with client(None) as http:
        answer = await http.get("/api/models")
    assert (answer.status_code, answer.json()["reason"]) == (503, "NoSurvey")


class Through:
    """The command line's client, answered by the app."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str) -> Any:
        return asyncio.run(self._ask("GET", path))

    def post(self, path: str) -> Any:
        return asyncio.run(self._ask("POST", path))

    async def _ask(self, method: str, path: str) -> Any:
        async with client(self.room) as http:
            return (await http.request(method, path)).json()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(room: Room, *arguments: str) -> tuple[int, str, str]:
        from api.cli import main

        monkeypatch.setattr(command, "server", lambda _: Through(room))
        monkeypatch.setattr("time.time", lambda: 1300.0)
        with pytest.raises(SystemExit) as ended:
            main(("models", *arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_table(cli) -> None:
    code, out, err = cli(Room())
    assert (code, err) == (0, "")
    lines = [" | ".join(re.split(" {2,}", line)) for line in out.splitlines()]
    assert lines == [
        "MODEL | SPARKS | SIZE | STATE | RECIPE",
        "own.gguf | s1 | 2.0 GiB | needs setup | -",
        "BAAI/bge-m3 | - | - | unknown | bge",
        "microsoft/phi-4 | s1 | 16.0 GiB | needs setup | -",
        "openai/gpt-oss-20b | s1 (2 missing) | 16.0 GiB | incomplete | gpt",
        "Qwen/Qwen3-8B | s1 | 16.0 GiB | ready to run | qwen",
        "s1: /hub/closed: this folder can't be read",
        "s2: its disks were not looked at yet: s2 did not answer in time",
    ]


def test_an_old_survey_says_its_age(cli) -> None:
    room = Room()
    room.known = {"s1": Seen(FIRST, "ConnectionLost", "the connection was lost", 1290.0)}
    assert "s1: as of 5m ago: the connection was lost\n" in cli(room)[1]


def test_nothing_is_known(cli) -> None:
    room = Room(None)
    room.known = {}
    room.menu = lambda: asyncio.sleep(0, ())  # type: ignore[method-assign]
    assert cli(room)[1] == "No model is known yet.\n"


def test_for_programs(cli) -> None:
    data = json.loads(cli(Room(), "-o", "json")[1])
    assert [m["state"] for m in data["models"]] == [
        "needs_setup",
        "unknown",
        "needs_setup",
        "incomplete",
        "ready_to_run",
    ]
    assert yaml.safe_load(cli(Room(), "-o", "yaml")[1]) == data


def test_asking_for_a_survey_first(cli) -> None:
    room = Room()
    _, out, err = cli(room, "--survey")
    assert room.asked == [None]
    assert err == "asked s1, s2 to look again; what follows is what was known before\n"
    assert out.startswith("MODEL")
