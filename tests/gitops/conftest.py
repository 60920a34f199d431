"""A loop over Sparks in memory whose desired state is under real git, and its API."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import build
from api.cli import main
from api.versioned import Versioned
from state.secrets import Secrets
from tests.aside import aside
from tests.unit.api.conftest import Stage, serving, staged

TEXT = """\
# My Sparks.
sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}   # both in the rack

services:
  # says what it hears
  echo:
    recipe: {image: 'keep/echo:1', port: 8000, probe: none}   # small
    on: s1     # the quiet one
  twice: {recipe: {image: 'keep/echo:1', port: 8001, probe: none}, on: [s1, s2]}
"""


def git(folder: Path, *argv: str) -> str:
    """Plain git, as a person uses it."""
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.org")
    done = subprocess.run(["git", *who, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@dataclass
class Room:
    """What a test holds in its hand."""

    stage: Stage
    http: httpx2.AsyncClient

    @property
    def file(self) -> Path:
        return self.stage.desired

    @property
    def folder(self) -> Path:
        return self.file.parent

    def text(self) -> str:
        return self.file.read_text()

    def commits(self) -> list[str]:
        """Subjects, the newest first."""
        return git(self.folder, "log", "--format=%s").splitlines()

    def committed(self) -> str:
        return git(self.folder, "show", "HEAD:desired.yaml")

    async def in_force(self) -> None:
        """Until the loop follows the files."""
        loop = self.stage.context.loop
        async with asyncio.timeout(10):
            while loop.plan().revision != loop.store.current.revision:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def room_in(
    folder: Path, text: str = TEXT, versioned: Versioned | None = None, **more: Any
) -> AsyncIterator[Room]:
    async with staged(folder, text, **more) as stage:
        stage.context.secrets = Secrets(folder.parent / "secrets")
        await stage.settled()
        async with (versioned or Versioned()).tended(stage.context, stage.context.loop.store):
            transport = httpx2.ASGITransport(app=build(stage.context, version="1"), raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as http:
                yield Room(stage, http)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    folder = tmp_path / "desired"
    folder.mkdir()
    async with room_in(folder) as made:
        yield made


@asynccontextmanager
async def _far(folder: Path) -> AsyncIterator[tuple[str, Path]]:
    async with room_in(folder) as made, serving(made.stage) as url:
        yield url, made.file


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The same behind a real port, in a thread of its own, for the command line: its address, and the file."""
    folder = tmp_path / "desired"
    folder.mkdir()
    with aside(_far(folder)) as made:
        yield made


Said = tuple[int, str, str]


@pytest.fixture
def cli(
    far: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Run the command line in this process: exit status, standard output, standard error."""
    monkeypatch.setenv("SPARKKEEP_SERVER", far[0])

    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
