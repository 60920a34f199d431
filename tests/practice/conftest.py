from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from reconciler.practice.fleet import PracticeFleet, PracticeSpark
from reconciler.practice.memory import MemoryConnection
from reconciler.practice.spark import Settings, Spark

QUICK = {"pull_seconds": 0.02, "load_seconds": 0.02}


@pytest.fixture
async def spark() -> AsyncIterator[Spark]:
    """One Spark without sockets, with an image."""
    made = Spark("spark-1", settings=Settings(serve=False, **QUICK))
    made.engine.images.add("img:1")
    yield made
    await made.close()


@pytest.fixture
async def link(spark: Spark) -> MemoryConnection:
    return await MemoryConnection.connect(spark)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[PracticeFleet]:
    """Two Sparks that listen."""
    settings = Settings(**QUICK)
    async with PracticeFleet(2, tmp_path, first_port=0, settings=settings, images=["img:1"]) as running:
        yield running


async def login(spark: PracticeSpark, fleet: PracticeFleet, **more: object) -> asyncssh.SSHClientConnection:
    options = {
        "known_hosts": str(fleet.known_hosts_path),
        "client_keys": [str(fleet.key_path)],
        "config": None,
        "agent_path": None,
        **more,
    }
    return await asyncssh.connect(spark.host, spark.port, username=spark.user, **options)


@pytest.fixture
async def ssh(fleet: PracticeFleet) -> AsyncIterator[asyncssh.SSHClientConnection]:
    connection = await login(fleet["spark-1"], fleet)
    yield connection
    connection.close()
    await connection.wait_closed()
