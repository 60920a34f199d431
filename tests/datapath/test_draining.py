"""Models are replaced, moved and restarted under requests that take seconds, and those come to their end all the same."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from api.versioned import Versioned
from reconciler.practice import models
from reconciler.practice.http_server import Answer, Request
from reconciler.practice.model_answers import reply
from tests.bad_input.served import Fleet, served
from tests.datapath.asking import Apps, counted, judged

pytestmark = pytest.mark.timeout(300)  # seconds, on a machine that does other work too

WORDS: Final = 14
AGES: Final = 400  # words: for a minute
PACE: Final = 0.15  # seconds between two tokens: an answer of so many words takes about 3 s
KEEP = "engine: container, image: 'keep/chat:1', probe: {kind: chat, interval: 300ms, timeout: 5s}"
DESIRED = f"""\
sparks: {{spark-1: {{host: h}}, spark-2: {{host: h}}}}
settings: {{scanInterval: 2s}}
models:
  pair:   {{recipe: {{{KEEP}, port: 18211, memory: 1GiB, command: [--served-model-name, pair]}}, on: [spark-1, spark-2]}}
  single: {{recipe: {{{KEEP}, port: 18212, memory: 1GiB, command: [--served-model-name, single]}}, on: spark-1}}
"""
Change = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Its answers that are no streams take as long as the others."""
    monkeypatch.setattr(models, "TOKEN_SECONDS", PACE)
    monkeypatch.setattr(models.ModelServer, "_generate", slowly(models.ModelServer._generate))
    with served(tmp_path, DESIRED, versioned=Versioned()) as fleet:
        until_healthy(fleet, "pair", "single")
        yield fleet


def slowly(generate: Callable[..., Answer]) -> Callable[..., Answer]:
    def answer(server: Any, request: Request, *, chat: bool) -> Answer:
        whole = generate(server, request, chat=chat)
        body = whole.body
        words = request.json()["messages"][-1]["content"].split()
        if not isinstance(body, bytes) or len(words) < WORDS:
            return whole

        async def paced() -> Any:
            await asyncio.sleep(PACE * len(words))
            yield body

        whole.body = paced()
        return whole

    return answer


def until_healthy(fleet: Fleet, *names: str) -> None:
    end = time.monotonic() + 30
    while any(status(fleet)[name]["health"] != "Healthy" for name in names):
        assert time.monotonic() < end, status(fleet)
        time.sleep(0.1)


def status(fleet: Fleet) -> Any:
    return httpx2.get(f"{fleet.url}/api/status").json()["workloads"]


def events(fleet: Fleet, name: str) -> list[str]:
    found = httpx2.get(f"{fleet.url}/api/events", params={"since": 0, "workload": name}).json()
    return [each["reason"] for each in found["events"] for _ in range(each["count"])]


def practised(model: str, body: Mapping[str, Any]) -> str:
    return "".join(reply(model, dict(body), chat=True, now=0).tokens)


async def ask(
    http: httpx2.AsyncClient, model: str, number: int, *, stream: bool, words: int = WORDS
) -> tuple[str, str]:
    """The verdict on its answer, and who gave it."""
    text = " ".join(f"word-{number}-{n}" for n in range(words))
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        backend = answer.headers.get("sparkkeep-backend", "")
        try:
            said = (await answer.aread()).decode()
        except httpx2.RemoteProtocolError:
            return "cut", backend
    verdict, reason = judged(
        answer.status_code, answer.headers["content-type"], said, practised(model, body), stream=stream
    )
    return f"{verdict} {reason}".strip(), backend


async def changed_under(
    fleet: Fleet, change: Change, words: int = WORDS
) -> tuple[list[tuple[str, str]], tuple[str, str], float]:
    """Four answers that were under way during the change, one that was asked for after it, and how long that took."""
    async with httpx2.AsyncClient(base_url=fleet.url, timeout=60) as http:
        slow = [asyncio.create_task(ask(http, "single", n, stream=n % 2 == 0, words=words)) for n in range(4)]
        await asyncio.sleep(0.5)
        (await change(http)).raise_for_status()
        await asyncio.sleep(0.5)
        began = time.monotonic()
        after = await ask(http, "single", 9, stream=False, words=1)
        took = time.monotonic() - began
        return [await task for task in slow], after, took


async def recreate(http: httpx2.AsyncClient) -> httpx2.Response:
    return await http.patch("/api/desired/models/single", json={"env": {"ROUND": "2"}})


async def move(http: httpx2.AsyncClient) -> httpx2.Response:
    return await http.patch("/api/desired/models/single", json={"on": "spark-2"})


async def restart(http: httpx2.AsyncClient) -> httpx2.Response:
    return await http.post("/api/workloads/single/restart")


@pytest.mark.parametrize(("change", "where"), [(recreate, "spark-1"), (move, "spark-2"), (restart, "spark-1")])
def test_what_is_under_way_comes_whole_and_what_comes_meanwhile_is_answered_by_the_new_one(
    fleet: Fleet, change: Change, where: str
) -> None:
    slow, after, _ = asyncio.run(changed_under(fleet, change))
    assert slow == [("right", "single@spark-1")] * 4
    assert after == ("right", f"single@{where}")
    assert "Draining" in events(fleet, "single")


def test_longer_than_it_may_it_is_not_waited_for_and_streams_are_told(fleet: Fleet) -> None:
    async def impatient(http: httpx2.AsyncClient) -> httpx2.Response:
        (await http.patch("/api/desired/settings", json={"proxy": {"drain": "500ms"}})).raise_for_status()
        return await recreate(http)

    slow, after, took = asyncio.run(changed_under(fleet, impatient, AGES))
    assert [verdict for verdict, _ in slow] == ["told BackendBroke", "cut"] * 2  # streams, and what has a length
    assert after == ("right", "single@spark-1")
    assert took < PACE * AGES


def test_a_change_that_is_taken_back_ends_the_wait_and_nothing_is_stopped(fleet: Fleet) -> None:
    async def story() -> None:
        async with httpx2.AsyncClient(base_url=fleet.url, timeout=60) as http:
            slow = asyncio.create_task(ask(http, "single", 1, stream=True, words=4 * WORDS))
            await asyncio.sleep(0.5)
            (await recreate(http)).raise_for_status()
            await asyncio.sleep(0.3)  # until it is seen
            waiting = asyncio.create_task(ask(http, "single", 2, stream=False, words=1))
            await asyncio.sleep(0.3)
            plan = (await http.post("/api/plan")).json()
            assert [step["verb"] for step in plan["steps"]] == ["stop", "remove", "create"]
            (held,) = plan["held"]
            assert held["message"].startswith("1 request is under way at single on spark-1: it is stopped when ")
            single = (await http.get("/api/status")).json()["workloads"]["single"]
            assert (single["sync"], single["health"]) == ("OutOfSync", "Healthy")
            assert not waiting.done()
            (await http.patch("/api/desired/models/single", json={"env": None})).raise_for_status()
            assert await waiting == ("right", "single@spark-1")
            assert not slow.done()
            assert (await slow)[0] == "right"

    asyncio.run(story())
    assert not {"Stopped", "Removed"} & set(events(fleet, "single"))


def test_while_replicas_are_replaced_one_by_one_no_request_is_refused_or_broken(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "TOKEN_SECONDS", 0.01)

    async def story() -> Apps:
        load = Apps(fleet.url, ("pair",), practised, random.Random(7))
        asking = asyncio.create_task(load.run(6))
        async with httpx2.AsyncClient(base_url=fleet.url, timeout=60) as http:
            for number in range(3):
                change = {"env": {"ROUND": str(number)}}
                (await http.patch("/api/desired/models/pair", json=change)).raise_for_status()
                await asyncio.sleep(0.3)  # until it is seen
                await synced(http, "pair")
            (await http.post("/api/workloads/pair/restart")).raise_for_status()
            await asyncio.sleep(4)
        load.resting.set()
        await asking
        return load

    load = asyncio.run(story())
    assert set(counted(load.asked)) == {"right"}, counted(load.asked)
    assert len(load.asked) >= 200
    assert max(each.ended - each.began for each in load.asked) < 2.0
    assert events(fleet, "pair").count("Stopped") == 6
    assert events(fleet, "pair").count("Restarted") == 2


async def synced(http: httpx2.AsyncClient, name: str) -> None:
    end = time.monotonic() + 30
    while True:
        found = (await http.get("/api/status")).json()["workloads"][name]
        if (found["sync"], found["health"]) == ("Synced", "Healthy"):
            return
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
