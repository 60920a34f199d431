"""Fixtures: two real hosts with a real vLLM and a tiny model, once a run; and a sparkkeep over them for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hosts.fleet import Fleet, missing
from tests.hosts.host import Host
from tests.hosts.images import archive
from tests.real import stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All here is slow and shares one fleet."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.hosts)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(2400))
            item.add_marker(pytest.mark.xdist_group("real"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if not stage.PYTHON:
        pytest.skip("SPARKKEEP_VLLM names no Python with vLLM")
    reason = missing()
    if reason and os.environ.get("SPARKKEEP_REQUIRE_HOSTS") == "1":
        pytest.fail(f"SPARKKEEP_REQUIRE_HOSTS=1, but {reason}")
    if reason:
        pytest.skip(reason)
    base, cache = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("model")
    folders = stage.interpreter()
    stage.make_model(cache)
    (base / "vllm.tar").write_bytes(archive([stage.image(folders)]))
    with Fleet.up(2, base, name="real", network="10.88", shared=folders) as running:
        running.each(lambda host: host.load_archive(base / "vllm.tar"))
        running.each(lambda host: stage.give_model(host, cache))
        yield running


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line past pytest's capturing: what takes minutes says how far it is."""

    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")
            sys.stdout.flush()

    return say


@pytest_asyncio.fixture
async def room(fleet: Fleet, tmp_path: Path, told: Callable[[str], None]) -> AsyncIterator[stage.Room]:
    fleet.each(Host.reset)
    async with stage.kept(fleet, tmp_path, told) as ready:
        yield ready
    fleet.each(Host.reset)
