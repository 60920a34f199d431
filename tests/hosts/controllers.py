"""A whole sparkkeep over a fleet: in this process behind its API, or as the commands that people type."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.app import build
from api.assemble import running
from api.folder import DataFolder
from api.reach import Reach
from reconciler.dial import Timing
from reconciler.ssh import Link
from reconciler.weights.download import Pace
from reconciler.weights.fetch import fetch
from state.desired import Spark
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.unit.reconciler.weights.hub import REPO
from tests.unit.reconciler.weights.stage import MIB

MARGIN = MIB
SPARKKEEP = str(Path(sys.executable).parent / "sparkkeep")


class Controller:
    """A whole sparkkeep in this process, asked through its API."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def begin(self, spark: str, repository: str = REPO, **more: object) -> int:
        answer = await self.http.post(f"/api/weights/{spark}/fetch", json={"repository": repository, **more})
        assert answer.status_code == 202, answer.text
        return int(answer.json()["id"])

    async def when(self, number: int, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The fetch as soon as this is true of it."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(60):
                while not true(found := await self.get(f"/api/weights/fetches/{number}")):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"a minute later it is {found}")
        return found

    async def over(self, number: int) -> dict[str, Any]:
        return await self.when(number, lambda found: found["endedAt"] is not None)

    async def fetched(self, spark: str, repository: str = REPO, **more: object) -> dict[str, Any]:
        found = await self.over(await self.begin(spark, repository, **more))
        assert (found["state"], found["reason"]) == ("done", ""), found
        return found

    async def complete(self, spark: str, repository: str = REPO, *, since: float = 0.0) -> bool:
        """Whether sparkkeep's own survey, one since that Unix second, calls a revision of it whole."""
        async with asyncio.timeout(30):
            while ((seen := (await self.get("/api/weights"))["sparks"][spark])["surveyedAt"] or 0.0) <= since:
                await asyncio.sleep(0.02)
        mine = [each for each in seen["repositories"] if each["repository"] == repository]
        return any(revision["complete"] for each in mine for revision in each["revisions"])

    async def surveyed(self, spark: str, repository: str = REPO) -> None:
        """Wait until other Sparks may know that it can be had there."""
        async with asyncio.timeout(30):
            while not await self.complete(spark, repository):
                await asyncio.sleep(0.02)


def desired(hosts: Sequence[Host], **rest: object) -> str:
    sparks = {host.name: {"host": host.address, "user": "root", "reserve": 0} for host in hosts}
    return json.dumps({"apiVersion": "sparkkeep/v1", "sparks": sparks, **rest})


def reached(fleet: Fleet, folder: Path) -> dict[str, str]:
    """The environment of a controller that reaches the fleet."""
    return {"SSH_KEY_PATH": str(fleet.key), "SSH_KNOWN_HOSTS": str(fleet.known_hosts), "SSH_DIR": str(folder)}


class Attentive(Reach):
    """Notices a Spark that says nothing after two seconds; others give it twelve."""

    def link(self, name: str, spark: Spark) -> Link:
        return Link(name, spark, self.hostkeys, key_path=self.key, config=(), timing=Timing(keepalive=0.5))


@asynccontextmanager
async def controller(
    fleet: Fleet, folder: Path, reach: type[Reach] = Reach, **rest: object
) -> AsyncIterator[Controller]:
    """Unlike other people's in nothing but its pace and its margin."""
    bring = partial(fetch, margin=MARGIN, pace=Pace(tick=0.1, pause=0.1))
    file = folder / "desired.yaml"
    file.write_text(desired(fleet.hosts, **rest))
    with DataFolder(folder / "data") as data:
        environ = reached(fleet, folder)
        way = reach.of(environ, data.known_hosts)
        async with running(file, data, environ, reach=way, bring=bring) as parts:
            transport = httpx2.ASGITransport(app=build(parts.context, version="1"))
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as client:
                yield Controller(client)


@dataclass
class Served:
    """`sparkkeep serve` as a process of its own, and the other commands beside it."""

    address: str
    process: "subprocess.Popen[bytes]"
    environ: dict[str, str]

    def say(self, *words: str, text: str = "") -> tuple[int, str]:
        """Run a command with `text` on its standard input: its status, and all that it printed, on one line."""
        done = subprocess.run(
            [SPARKKEEP, *words],
            input=text,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, " ".join(done.stdout.split())

    def kill(self) -> None:
        """As the kernel does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def served(fleet: Fleet, folder: Path) -> Iterator[Served]:
    """It serves, with everything as it is for people. Kept for a further one: what lies in `folder`."""
    file = folder / "desired.yaml"
    file.write_text(desired(fleet.hosts))
    own = {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", "SPARKKEEP_DATA": str(folder / "data")}
    environ = own | reached(fleet, folder)
    command = [SPARKKEEP, "serve", "--host", "127.0.0.1", "--port", "0", "--desired", str(file)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environ)
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if b"http://" in line), b"")
        address = re.search(rb"http://[0-9.]+:[0-9]+", line)
        assert address is not None, (folder / "log").read_text()
        yield Served(address[0].decode(), process, environ | {"SPARKKEEP_SERVER": address[0].decode()})
    finally:
        process.terminate()
        process.communicate(timeout=30)
