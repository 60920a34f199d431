"""Every scenario on real hosts: OpenSSH, Docker, packets that get lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.scenarios.play import Told, play
from tests.scenarios.real import RealStage
from tests.scenarios.scenarios import ALL


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


@pytest.mark.timeout(180)
@pytest.mark.parametrize("told", ALL.values(), ids=ALL)
async def test_on_real_hosts(told: Told, stage: RealStage, tmp_path: Path) -> None:
    await play(told, stage, tmp_path)
