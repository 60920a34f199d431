"""`GET /api/render/...` and `sparkkeep render`, over a loop with instances that answer."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest

from api.app import build
from api.cli import main
from api.guard.bearer import Token
from api.proxies.routing.fleet import Fleet
from api.proxies.routing.keys import Keys
from api.proxies.routing.ready import Ready
from api.routes.render import digest
from reconciler.canaries.exchange import NoReply, Reply
from state.proxy import AppKey
from tests.aside import aside
from tests.hosts.shell import wait_for
from tests.unit.api.conftest import Stage, serving, staged

SPARKS = "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}\n"
RECIPE = "recipe: {image: 'keep/echo:1', port: 8000, probe: none}"
ONE = f"{SPARKS}models:\n  m: {{{RECIPE}, on: s1}}\n"
BOTH = f"{SPARKS}models:\n  m: {{{RECIPE}, on: [s1, s2]}}\n"


@asynccontextmanager
async def answering(folder: Path, text: str = ONE) -> AsyncIterator[Stage]:
    async with staged(folder, text) as stage, Ready(stage.context.loop) as ready:
        for spark in stage.sparks.values():
            spark.exchange = _silence  # type: ignore[attr-defined]  # it has no list of models
        stage.context.fleet = Fleet(ready)
        await stage.settled()
        async with asyncio.timeout(10):
            while not ready.offers.backends:
                await asyncio.sleep(0.01)
        yield stage


async def _silence(*_: object, **__: object) -> Reply:
    raise NoReply("nobody answers")


def client(stage: Stage, **more: object) -> httpx2.AsyncClient:
    app = build(stage.context, version="1", **more)  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999")


async def test_who_answers_stands_in_it_and_sparkkeep_where_it_was_found(tmp_path: Path) -> None:
    async with answering(tmp_path) as stage, client(stage) as http:
        text = (await http.get("/api/render/haproxy")).text
        assert "    server s1 10.0.0.1:8000 " in text
        assert "    server sparkkeep 127.0.0.1:9999 backup" in text
        text = (await http.get("/api/render/nginx", params={"keeper": "box:80", "listen": "127.0.0.1:81"})).text
        assert "    server 10.0.0.1:8000 " in text
        assert "    server box:80 backup;" in text
        assert "    listen 127.0.0.1:81;" in text


async def test_what_only_sparkkeep_can_do_is_left_to_it(tmp_path: Path) -> None:
    async with answering(tmp_path) as stage, client(stage) as http:
        key = AppKey(name="app", secret="app")  # noqa: S106  # a name
        stage.context.app_keys = Keys(lambda: [key], lambda _: "word", lambda _: 0)
        text = (await http.get("/api/render/haproxy")).text
        assert "Keys are asked for" in text
        assert "10.0.0.1" not in text
        stage.context.app_keys = None
    async with answering(tmp_path) as stage, client(stage, token=Token("word")) as http:
        shown = {"authorization": "Bearer word"}
        text = (await http.get("/api/render/nginx", headers=shown)).text
        assert "A token is asked for" in text
        assert "10.0.0.1" not in text


async def test_an_on_demand_model_is_used_through_sparkkeep_which_counts(tmp_path: Path) -> None:
    more = f"  d: {{{RECIPE.replace('8000', '8001')}, on: s2, run: on-demand}}\n"
    async with answering(tmp_path, ONE + more) as stage, client(stage) as http:
        text = (await http.get("/api/render/haproxy")).text
        assert "/m/m/v1" in text
        assert "/m/d/v1" not in text


async def test_a_text_is_waited_for(tmp_path: Path) -> None:
    async with answering(tmp_path) as stage, client(stage) as http:
        text = (await http.get("/api/render/nginx")).text
        query = {"unless": digest(text)}
        assert (await http.get("/api/render/nginx", params=query)).status_code == 204
        waiting = asyncio.create_task(http.get("/api/render/nginx", params=query | {"wait": 30}))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await stage.rewrite(BOTH)
        news = await asyncio.wait_for(waiting, 20)
        assert news.status_code == 200
        assert "10.0.0.2:8000" in news.text


@pytest.mark.parametrize("query", ["listen=a b:1", "keeper=a:1;", "listen=8080", "unless=x", "wait=61"])
async def test_what_may_not_stand_in_it_is_refused(tmp_path: Path, query: str) -> None:
    async with answering(tmp_path) as stage, client(stage) as http:
        refused = await http.get(f"/api/render/haproxy?{query}")
        assert refused.status_code == 422
        assert refused.json()["field"] == query.partition("=")[0]


@asynccontextmanager
async def _far(folder: Path) -> AsyncIterator[Stage]:
    async with answering(folder) as stage, serving(stage) as url:
        loop = asyncio.get_running_loop()
        stage.url = url
        stage.call = lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(20)
        yield stage


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Stage]:
    with aside(_far(tmp_path)) as made:
        yield made


def test_it_is_printed(served: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["render", "nginx", "--server", served.url, "--listen", "127.0.0.1:81"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "listen 127.0.0.1:81;" in printed
    assert printed == httpx2.get(f"{served.url}/api/render/nginx?listen=127.0.0.1:81").text


def test_watched_it_is_written_and_told_once_for_each_change(served: Stage, tmp_path: Path) -> None:
    file, copy, told = tmp_path / "sparkkeep.cfg", tmp_path / "copy", tmp_path / "told"
    script = 'cp "$0" "$1" && echo told >> "$2"'
    with watching(served, file, ["sh", "-c", script, str(file), str(copy), str(told)]):
        wait_for(lambda: told.exists() and "10.0.0.1:8000" in copy.read_text(), "the first", seconds=30)
        served.call(served.rewrite(BOTH))
        wait_for(lambda: "10.0.0.2:8000" in copy.read_text(), "the other Spark", seconds=30)
        assert file.read_text() == copy.read_text()
        wait_for(lambda: told.read_text() == "told\n" * 2, "the reload to end")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_the_proxy_does_not_take_is_taken_back_and_tried_again(served: Stage, tmp_path: Path) -> None:
    file, wish = tmp_path / "sparkkeep.cfg", tmp_path / "wish"
    file.write_text("as before\n")
    with watching(served, file, ["test", "-e", str(wish)]) as process:
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(2)]
        assert said[0] == f"{file} is written\n"
        assert said[1].startswith("test ended with 1")
        wait_for(lambda: file.read_text() == "as before\n", "the old text")
        wish.touch()
        wait_for(lambda: "10.0.0.1:8000" in file.read_text(), "the next try", seconds=30)


@contextmanager
def watching(stage: Stage, file: Path, reload: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Until Ctrl-C."""
    argv = [sys.executable, "-m", "api.cli", "render", "haproxy", "-w", "-o", str(file), "--server", stage.url, "--"]
    with subprocess.Popen([*argv, *reload], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
