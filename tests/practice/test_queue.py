"""The whole of it, served: apps ask over HTTP for three on-demand models on one practice Spark that holds two."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.bad_input.served import Fleet, served

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other work too

NAMES = ("ada", "bob", "cleo")
MODEL = (
    "{recipe: {image: 'keep/echo:1', command: [serve, --port, '%d'], port: %d, memory: 50GiB, probe: chat},"
    " on: spark-1, run: on-demand}"
)
DESIRED = (
    "sparks: {spark-1: {host: 127.0.0.1}}\nsettings: {queue: {patience: 1, shortestStay: 1s}}\nmodels:\n"
    + "".join(f"  {name}: {MODEL % (9000 + n, 9000 + n)}\n" for n, name in enumerate(NAMES))
)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with served(tmp_path, DESIRED, sparks=1) as running:
        running.settle()
        yield running


def asked(name: str, *, stream: bool = False) -> dict[str, Any]:
    return {"model": name, "stream": stream, "messages": [{"role": "user", "content": f"Hello {name}"}]}


async def created(http: httpx2.AsyncClient) -> Counter[str]:
    found = (await http.get("/api/events", params={"since": 0, "limit": 1000})).json()["events"]
    return Counter(event["object"]["name"] for event in found if event["reason"] == "Created")


def running(fleet: Fleet) -> set[str]:
    containers = fleet.room.fleet["spark-1"].engine.containers.values()
    return {c.spec.labels["sparkkeep.workload"] for c in containers if "sparkkeep.workload" in c.spec.labels}


async def test_everybody_is_answered_with_one_start_for_all_who_wait(fleet: Fleet) -> None:
    async with httpx2.AsyncClient(base_url=fleet.url, trust_env=False, timeout=40) as http:
        answers = await asyncio.gather(
            *(http.post("/v1/chat/completions", json=asked(name)) for name in NAMES for _ in range(3))
        )
        starts = await created(http)
    for number, answer in enumerate(answers):
        assert answer.status_code == 200, answer.text
        assert answer.headers["sparkkeep-backend"] == f"{NAMES[number // 3]}@spark-1"
        assert int(answer.headers["sparkkeep-queued-ms"]) > 0
    assert starts == dict.fromkeys(NAMES, 1)
    assert len(running(fleet)) == 2


async def test_the_start_is_abandoned_when_the_last_client_has_gone(fleet: Fleet) -> None:
    fleet.call(lambda: _slow(fleet, "sparkkeep-ada"))
    async with httpx2.AsyncClient(base_url=fleet.url, trust_env=False, timeout=40) as http:
        tasks = [asyncio.create_task(http.post("/v1/chat/completions", json=asked("ada"))) for _ in range(2)]
        while "ada" not in running(fleet):
            await asyncio.sleep(0.05)
        waiting = (await http.get("/api/requests")).json()
        assert [queue["waiting"] for queue in waiting["queues"]] == [2]
        assert [row["waiting"]["position"] for row in waiting["inFlight"]] == [1, 2]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        end = time.monotonic() + 20
        while running(fleet):
            assert time.monotonic() < end, "its container still runs"
            await asyncio.sleep(0.05)
        assert (await http.get("/api/requests")).json()["queues"] == []


async def _slow(fleet: Fleet, name: str) -> None:
    fleet.room.fleet["spark-1"].faults.loading(name)
