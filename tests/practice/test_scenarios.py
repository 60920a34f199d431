"""Every scenario of the real hosts, on practice Sparks: what they do must be what real ones do."""

from pathlib import Path

import pytest

from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.practice.stage import PracticeStage
from tests.scenarios.play import Told, play
from tests.scenarios.scenarios import ALL


@pytest.mark.timeout(120)
@pytest.mark.parametrize("told", ALL.values(), ids=ALL)
async def test_on_practice_sparks(told: Told, tmp_path: Path) -> None:
    settings = Settings(pull_seconds=0.1, load_seconds=0.05)
    async with PracticeFleet(2, tmp_path / "practice", first_port=0, settings=settings) as fleet:
        await play(told, PracticeStage(fleet), tmp_path)


BY_CLI = ("creates", "a_container_is_killed", "docker_restarts", "a_secret_stays_secret", "its_image_is_fetched")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BY_CLI)
async def test_where_nothing_can_be_forwarded(name: str, tmp_path: Path) -> None:
    """Containers are read, and events heard, through the docker command."""
    settings = Settings(pull_seconds=0.1, load_seconds=0.05)
    practice = tmp_path / "practice"
    async with PracticeFleet(2, practice, first_port=0, settings=settings, forwarding=False) as fleet:
        await play(ALL[name], PracticeStage(fleet), tmp_path)
        assert all(spark.faults.counts["forwarding"] for spark in fleet.sparks.values())
