"""Three chat models that start when they are asked for, on one practice Spark that can hold two, over real SSH."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.demand import State
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.keeper import Keeper, keeping

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other work too

QUIET = frozenset({"FoldersMade", "ImageAsked", "PageCacheDropped"})
NAMES = ("a", "b", "c")
QUICK = Settings(pull_seconds=0.02, load_seconds=0.05)


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[tuple[Keeper, PracticeFleet]]:
    async with PracticeFleet(1, tmp_path / "fleet", first_port=0, settings=QUICK, images=["img:1"]) as fleet:
        models = {
            name: {
                "recipe": {
                    "image": "img:1",
                    "command": ["--port", str(port), "--served-model-name", name],
                    "port": port,
                    "memory": "50GiB",
                    "probe": {"kind": "chat", "interval": "300ms"},
                },
                "on": "spark-1",
                "run": "on-demand",
                "idle": "3s",
            }
            for port, name in enumerate(NAMES, 8000)
        }
        document = {"apiVersion": "sparkkeep/v1", "sparks": fleet.desired_sparks(), "models": models}
        text = json.dumps({**document, "settings": {"scanInterval": "30s"}})
        files = {"key": fleet.key_path, "known_hosts": fleet.known_hosts_path}
        async with keeping(tmp_path / "desired", text, **files) as keeping_it:
            yield keeping_it, fleet


async def test_who_is_asked_for_runs_the_unused_makes_way_and_idle_ends_all(
    keeper: tuple[Keeper, PracticeFleet],
) -> None:
    kept, fleet = keeper
    demand, spark = kept.loop.demand, fleet["spark-1"]

    def running() -> set[str]:
        found = spark.engine.containers.values()
        return {c.spec.labels["sparkkeep.workload"] for c in found if c.state == "running"}

    async def begin(name: str) -> None:
        demand.ask(name)
        await kept.until(lambda: kept.loop.outlook(name).state is State.READY, why=f"for {name}")
        demand.begin(name)
        demand.withdraw(name)

    await kept.until(lambda: not kept.loop.workers["spark-1"].sight.unknown)
    assert running() == set()
    await begin("a")
    await begin("b")
    assert running() == {"a", "b"}
    demand.ask("c")
    await kept.until(lambda: kept.loop.outlook("c").state is State.BLOCKED)
    assert kept.loop.outlook("c").blockers == ("a",)
    assert running() == {"a", "b"}
    demand.yields("a", True)
    demand.end("a")
    await begin("c")
    assert running() == {"b", "c"}
    assert kept.workload("a")["message"] == "a starts when it is asked for"
    demand.end("b")
    demand.end("c")
    await kept.until(lambda: not spark.engine.containers)
    told = [each.event.reason for each in await kept.journal.events(workload="a")]
    assert [reason for reason in told if reason not in QUIET] == ["Asked", "Created", "Evicted", "Removed"]
    causes = {each.event.reason: each.event.message for each in await kept.journal.events(workload="b")}
    assert causes["Unused"].startswith("unused for ")
    assert causes["Unused"].endswith(" s (idle: 3s)")
