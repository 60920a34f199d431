"""The stream of events: taken up where it broke off, refused where that is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from state.journal import Event, Kind, Limits
from tests.unit.api.conftest import Stage, serving, staged


def say(stage: Stage, message: str, workload: str = "echo") -> None:
    stage.context.journal.record(Event(kind=Kind.WORKLOAD, name=workload, spark="s1", reason="Said", message=message))


@asynccontextmanager
async def stream(url: str, **headers: str) -> AsyncIterator[httpx2.Response]:
    async with (
        httpx2.AsyncClient(timeout=5) as client,
        client.stream("GET", url, headers={"accept": "text/event-stream", **headers}) as answer,
    ):
        yield answer


async def read(answer: httpx2.Response, count: int) -> list[tuple[int, Any]]:
    """So many events: id and data."""
    found: list[tuple[int, Any]] = []
    number = 0
    async with aclosing(answer.aiter_lines()) as lines:
        async for line in lines:
            if line.startswith("id:"):
                number = int(line[3:])
            elif line.startswith("data:"):
                found.append((number, json.loads(line[5:])))
                if len(found) == count:
                    break
    return found


async def test_a_stream_begins_now_and_goes_on(stage: Stage) -> None:
    async with serving(stage) as url, stream(f"{url}/api/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert "content-security-policy" in answer.headers
        asyncio.get_running_loop().call_later(0.1, say, stage, "hello")
        ((number, event),) = await read(answer, 1)
    assert event["message"] == "hello"
    assert number == event["seq"] == stage.context.journal.latest_seq


async def test_it_goes_on_after_the_last_event_id_without_a_gap(stage: Stage) -> None:
    for message in ("a", "b", "c"):
        say(stage, message)
    before = stage.context.journal.latest_seq
    async with serving(stage) as url:
        async with stream(f"{url}/api/events", **{"last-event-id": str(before - 2)}) as answer:
            say(stage, "d")
            found = await read(answer, 3)
        assert [event["message"] for _, event in found] == ["b", "c", "d"]
        async with stream(f"{url}/api/events?since=1", **{"last-event-id": str(found[-1][0])}) as answer:
            say(stage, "e")
            assert [event["message"] for _, event in await read(answer, 1)] == ["e"], "the header wins over `since`"


async def test_filters(stage: Stage, http: httpx2.AsyncClient) -> None:
    say(stage, "mine", "echo")
    say(stage, "not mine", "twice")
    found = (await http.get("/api/events?follow=false&workload=echo")).json()["events"]
    assert {event["object"]["name"] for event in found} == {"echo"}
    async with serving(stage) as url, stream(f"{url}/api/events?workload=echo") as answer:
        say(stage, "not mine either", "twice")
        say(stage, "mine again", "echo")
        assert [event["message"] for _, event in await read(answer, 1)] == ["mine again"]


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/api/events?since=0", "*/*", "application/json"),
        ("/api/events", "application/json", "application/json"),
        ("/api/events?follow=false", "text/event-stream", "application/json"),
    ],
)
async def test_a_list_where_one_is_asked_for(http: httpx2.AsyncClient, path: str, accept: str, kind: str) -> None:
    answer = await http.get(path, headers={"accept": accept})
    assert answer.headers["content-type"] == kind
    body = answer.json()
    assert set(body) == {"events", "oldestSeq", "latestSeq"}
    assert [event["seq"] for event in body["events"]] == sorted(event["seq"] for event in body["events"])


async def test_gone_is_gone(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=Limits(events=5)) as stage, serving(stage) as url:
        await stage.settled()
        for number in range(20):
            say(stage, "again", f"w{number}")
        await stage.context.journal.events()
        async with httpx2.AsyncClient() as client:
            for after in (1, stage.context.journal.latest_seq + 1):
                headers = {"accept": "text/event-stream", "last-event-id": str(after)}
                answer = await client.get(f"{url}/api/events", headers=headers)
                assert answer.status_code == 410
                assert answer.json()["reason"] == "EventsGone"
                assert answer.json()["latestSeq"] == stage.context.journal.latest_seq
            assert (await client.get(f"{url}/api/events?since=1")).status_code == 410
            assert (await client.get(f"{url}/api/events", headers={"last-event-id": "x"})).status_code == 422


async def test_silence_has_a_heartbeat(stage: Stage) -> None:
    async with serving(stage) as url, stream(f"{url}/api/events") as answer:
        lines = answer.aiter_lines()
        async with asyncio.timeout(3):
            while (await anext(lines)) != ": still here":
                pass
        await lines.aclose()


async def test_a_server_that_ends_ends_its_streams(stage: Stage) -> None:
    async with asyncio.timeout(5), httpx2.AsyncClient(timeout=5) as client:
        async with serving(stage) as url:
            request = client.build_request("GET", f"{url}/api/events", headers={"accept": "text/event-stream"})
            answer = await client.send(request, stream=True)
        await answer.aread()
        assert answer.is_closed
