"""The controller is killed, again and again, in the middle of its work; what it leaves is what an undisturbed one leaves."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.hosts.shell import wait_for
from tests.scenarios.play import CANARY, calm, check_canaries, declare, echo, put_canaries, quiet, text, watching, world
from tests.scenarios.play import Told as AsTold
from tests.scenarios.real import RealStage
from tests.scenarios.stage import verbs

KILLS = 100 if os.environ.get("SPARKKEEP_LONG") == "1" else 12
SERVE = [str(Path(sys.executable).parent / "sparkkeep"), "serve", "--host", "127.0.0.1", "--port", "0"]


@pytest.fixture
def stage(fleet: Fleet, hosts: list[Host], registry: Registry) -> Iterator[RealStage]:
    with RealStage(fleet, registry) as ready:
        yield ready


def variants(one: str, two: str) -> list[dict[str, Any]]:
    """Images, variables, policies, places and ports change between them; every step takes several commands."""
    return [
        {"web": echo(one), "api": echo(two, 9001), "db": echo([one, two], 9002)},
        {"web": echo(one, env={"A": "b"}), "api": echo(one, 9001), "db": echo([one, two], 9002, restart="always")},
        {"web": echo(two), "api": echo(two, 9001, image="keep/echo:2"), "db": echo(one, 9002, run="never")},
        {"web": echo(one, 9001), "api": echo(one, 9000), "new": echo(two, 9003, env={"T": "1"})},
    ]


class Served:
    """`sparkkeep serve` as a process of its own, over one data folder."""

    def __init__(self, stage: RealStage, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "desired.yaml"
        self._command = [*SERVE, "--desired", str(self.file), "--data", str(folder / "data")]
        self._log = folder / "log"
        known = {"SSH_KEY_PATH": str(stage.key), "SSH_KNOWN_HOSTS": str(stage.known_hosts)}
        self._env = {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", **known}
        self._process: subprocess.Popen[str] | None = None
        self._address = ""
        self.kills = 0

    def declare(self, content: str) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(content)
        fresh.replace(self.file)

    def start(self) -> None:
        """Returns as soon as it serves; its first look at the Sparks comes after that."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True, env=self._env
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://\S+:\d+", line):
                self._address = found[0]
                return
        raise AssertionError(f"it did not start: {self.log()}")

    def kill(self) -> None:
        """As the kernel does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self.kills += 1

    def end(self) -> None:
        """As a service manager does."""
        assert self._process is not None
        self._process.terminate()
        self._process.communicate(timeout=30)
        self._process = None

    def ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._address}{path}", timeout=10) as answer:  # noqa: S310  # its own address
            found: dict[str, Any] = json.load(answer)
            return found

    def well(self) -> bool:
        """Everything is as declared and serves, and nothing is left to do."""
        status = self.ask("/api/status")
        workloads = status["workloads"].values()
        return (
            not status["plan"]["steps"]
            and all(spark["reachable"] for spark in status["sparks"].values())
            and all(w["sync"] == "Synced" and w["health"] in {"Healthy", "Suspended"} for w in workloads)
        )

    def log(self) -> str:
        return self._log.read_text()


async def state(stage: RealStage) -> dict[str, dict[str, tuple[str, str, str, str]]]:
    """What an undisturbed run and a disturbed one must agree on, by Spark and name."""
    return {
        spark: {
            name: (seen.image, seen.labels.get("sparkkeep.spec-hash", ""), seen.state, seen.restart)
            for name, seen in containers.items()
            if name != CANARY
        }
        for spark, containers in (await world(stage)).items()
    }


async def counted(stage: RealStage) -> Counter[str]:
    """The commands of the whole fleet since `clear`, by verb."""
    found = Counter[str]()
    for spark in stage.sparks:
        found.update(verbs(await stage.commands(spark)))
    return found


async def undisturbed(
    stage: RealStage, folder: Path, order: list[dict[str, Any]]
) -> tuple[Counter[str], dict[str, dict[str, tuple[str, str, str, str]]]]:
    """Go through the variants, each to its end; what that took, and what it left."""
    stage.clear()
    async with watching(stage, folder) as keeper:
        for services in order:
            await declare(stage, keeper, services)
            await calm(keeper)
        return await counted(stage), await state(stage)


@pytest.mark.timeout(1800)
async def test_killed_again_and_again(stage: RealStage, fleet: Fleet, tmp_path: Path) -> None:
    number = int(os.environ.get("SPARKKEEP_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SPARKKEEP_SEED={number}")  # noqa: T201  # shown when it fails
    rng = random.Random(number)
    offered = variants(*stage.sparks)
    order = [rng.choice(offered)]
    while len(order) <= KILLS:
        order.append(rng.choice([services for services in offered if services is not order[-1]]))

    calm_counts, wanted = await undisturbed(stage, tmp_path / "undisturbed", order)
    await asyncio.to_thread(fleet.each, Host.reset)

    canaries = await put_canaries(stage)
    stage.clear()
    served = Served(stage, tmp_path / "killed")
    served.declare(text(stage, order[0]))
    up = False
    try:
        for services in order[:-1]:
            if up := up and rng.random() < 0.5:  # a change while it runs is noticed after half a second
                served.declare(text(stage, services))
                await asyncio.sleep(rng.uniform(0.5, 1.8))
            else:
                served.kill()
                served.declare(text(stage, services))
                await asyncio.to_thread(served.start)
                await asyncio.sleep(rng.uniform(0.1, 1.2))
            served.kill()
            if up := rng.random() < 0.5:
                await asyncio.to_thread(served.start)
        served.kill()
        served.declare(text(stage, order[-1]))
        await asyncio.to_thread(served.start)
        began = time.monotonic()
        await asyncio.to_thread(wait_for, served.well, "the end state", seconds=60, every=0.1)
        counts = await counted(stage)
        print(  # noqa: T201
            f"{served.kills} kills, well {time.monotonic() - began:.1f} s after the last; "
            f"{dict(counts)} instead of {dict(calm_counts)}"
        )
        assert served.kills >= KILLS
        assert await state(stage) == wanted
        labels = [
            seen.labels["sparkkeep.workload"] for found in (await world(stage)).values() for seen in found.values()
        ]
        assert len(labels) == sum(map(len, wanted.values())) + len(stage.sparks), "none is there under another name"
        assert not [
            event for event in served.ask("/api/events?since=0")["events"] if event["reason"] == "JournalReplaced"
        ]
        # A command whose answer was lost with its controller may be sent once more by the next one.
        for verb in ("run", "stop"):
            assert counts[verb] <= calm_counts[verb] + served.kills
        await check_canaries(stage, canaries, AsTold(name="kill", story=quiet))
        stage.clear()
        await asyncio.sleep(2)
        assert not await counted(stage)
    finally:
        served.kill()
    for host in fleet.hosts:
        host.clear_leases()
    async with watching(stage, tmp_path / "after", text(stage, order[-1])) as keeper:
        await quiet(stage, keeper)
