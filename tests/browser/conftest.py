"""The dashboard in a real Chromium, over practice Sparks, a real git repository and the real server.

The fleet and the server live in threads of their own, so that the server can end and begin anew under an open page while
the Sparks go on. Every page that a test opens is watched: what it asks for, what it logs, what its CSP forbids.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, sync_playwright

from api.app import build
from api.assemble import running
from api.folder import DataFolder
from api.practice import PracticeReach, no_download, with_sparks
from api.serve import _listen, configured
from api.versioned import Versioned
from reconciler.hostkeys import HostKeys
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.aside import aside
from tests.browser.serving import served_on

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 30_000  # milliseconds: for a machine that does much else; nothing is measured by it
DESIRED = """\
# My Sparks.
sparks: {}

models:
  qwen3-8b:
    recipe: qwen3-8b   # the small one
    on: spark-1
    run: always   # for the team

services:
  reranker: {recipe: bge-reranker, on: spark-2}
  hello:
    recipe: {image: 'python:3.13-slim', command: [python, -m, http.server, '8080'], port: 8080, memory: 64MiB, probe: {kind: http, path: /}}
    on: [spark-1, spark-2]   # one on each
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.timeout(180))
            if CHROMIUM is None and not os.environ.get("SPARKKEEP_REQUIRE_HOSTS"):
                item.add_marker(pytest.mark.skip(reason="no Chromium here: apt-get install chromium"))


@dataclass
class Seen:
    """What a page did beside what it was asked to."""

    asked: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    forbidden: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Desk:
    """One server and its Sparks, as a person at a browser has them."""

    url: str
    folder: Path
    fleet: PracticeFleet
    server: Callable[[], AbstractContextManager[tuple[str, FastAPI]]]
    app: FastAPI | None = None
    _open: AbstractContextManager[tuple[str, FastAPI]] | None = None

    @property
    def desired(self) -> Path:
        return self.folder / "desired.yaml"

    def start(self) -> None:
        self._open = self.server()
        self.url, self.app = self._open.__enter__()

    def stop(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = None

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.url}{path}", timeout=20).json()

    def wait(self, fits: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Until the status fits."""
        for _ in range(600):
            status: dict[str, Any] = self.get("/api/status")
            if fits(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"{what}: {status}")

    def well(self) -> None:
        self.wait(
            lambda s: s["workloads"] and all(w["health"] in {"Healthy", "Suspended"} for w in s["workloads"].values()),
            "not everything became healthy",
        )

    def asks(self, model: str) -> int:
        """The status that an app gets which asks this model something."""
        said = {"model": model, "messages": [{"role": "user", "content": "Good morning"}]}
        return httpx2.post(f"{self.url}/v1/chat/completions", json=said, timeout=30, trust_env=False).status_code

    def commits(self) -> list[str]:
        return [commit["subject"] for commit in self.get("/api/history")["commits"]]


@asynccontextmanager
async def _fleet(folder: Path) -> AsyncIterator[PracticeFleet]:
    settings = Settings(pull_seconds=0.05, load_seconds=0.05)
    async with PracticeFleet(2, folder, first_port=0, settings=settings, foreign=("grafana",)) as fleet:
        yield fleet


@asynccontextmanager
async def _server(data: Path, desired: Path, fleet: PracticeFleet, port: int) -> AsyncIterator[tuple[str, FastAPI]]:
    hostkeys = HostKeys([fleet.known_hosts_path], own=data / "known_hosts")
    reach = PracticeReach(hostkeys=hostkeys, key=fleet.key_path, fleet=fleet)
    with DataFolder(data) as folder, _listen("127.0.0.1", port) as listener:
        parts = running(desired, folder, {}, reach=reach, bring=no_download, before_launch=False, versioned=Versioned())
        async with parts as made:
            app = build(made.context, version="1")
            async with served_on(configured(app, made.context.wire), made.context, listener) as url:
                yield url, app


def made(folder: Path, fleet: PracticeFleet) -> Desk:
    """A desk whose server is not started yet. It keeps its port from the first start on."""
    desired = folder / "desired" / "desired.yaml"
    desired.parent.mkdir()
    desired.write_bytes(with_sparks(DESIRED.encode(), fleet.desired_sparks()))

    def server() -> AbstractContextManager[tuple[str, FastAPI]]:
        port = int(desk.url.rpartition(":")[2] or 0) if desk.url else 0
        return aside(_server(folder / "data", desired, fleet, port))

    desk = Desk(url="", folder=desired.parent, fleet=fleet, server=server)
    return desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("browser")
    with aside(_fleet(folder / "sparks")) as fleet:
        desk = made(folder, fleet)
        desk.start()
        try:
            desk.well()
            yield desk
        finally:
            desk.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, seen: Seen, **how: Any) -> Iterator[Page]:
    """A page in a browser of its own, watched."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    context.expose_function("cspReport", lambda report: seen.forbidden.append(report))  # noqa: PLW0108  # Playwright marks it
    context.add_init_script(
        "addEventListener('securitypolicyviolation', e => cspReport({what: e.violatedDirective, uri: e.blockedURI}))"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("console", lambda message: seen.logged.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.logged.append(f"error: {error}"))
    try:
        page.goto(url)
        yield page
    finally:
        context.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(chromium: Browser, desk: Desk, seen: Seen) -> Iterator[Page]:
    """The first page, live. Afterwards: nothing was asked of anybody else, and nothing was forbidden."""
    with opened(chromium, desk.url, seen) as page:
        page.get_by_text("● live").wait_for()
        yield page
    assert [url for url in seen.asked if not url.startswith((f"{desk.url}/", "data:", "blob:"))] == []
    assert seen.forbidden == []
    refused = "the server responded with a status of 4"  # which the page tells in its own words
    assert [line for line in seen.logged if line.startswith("error:") and refused not in line] == []
