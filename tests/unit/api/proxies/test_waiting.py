"""Requests that wait: streams are kept alive, the rest hears nothing, and either gets what it waited for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from api.proxies.calls import Refused
from api.proxies.limits import Limits
from tests.unit.api.proxies.stage import OK, FakeBackend, Path, path, says

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
EVENTS = b'data: {"n": 1}\n\ndata: [DONE]\n\n'
SOON = Limits(grace=0.05, beat=0.1)
WAITING = b": waiting position 1, about 30 s\n\n"


async def held(p: Path) -> Any:
    async with asyncio.timeout(5):
        while not p.routing.holds:
            await asyncio.sleep(0.005)
    return p.routing.holds[-1]


@pytest.mark.parametrize(
    "answer",
    [
        STREAM + b"transfer-encoding: chunked\r\n\r\n1e\r\n" + EVENTS + b"\r\n0\r\n\r\n",
        STREAM + b"content-length: 30\r\n\r\n" + EVENTS,
    ],
    ids=["chunked", "with a length"],
)
async def test_a_stream_is_kept_alive_and_then_flows(answer: bytes) -> None:
    backend = FakeBackend("m", says(answer))
    async with path(backend, limits=SOON) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        hold = await held(p)
        _, head = await client.head()
        assert (head.status, head.get("content-type")) == (200, "text/event-stream; charset=utf-8")
        for _ in range(2):
            assert await client.reader.readuntil(b"\r\n") == b"%x\r\n" % len(WAITING)
            assert await client.reader.readexactly(len(WAITING) + 2) == WAITING + b"\r\n"
        hold.decided.set_result(p.routing.decision(backend))
        await client._chunks(head)
        assert head.body.replace(WAITING, b"") == EVENTS
        p.routing.holding = False
        client.post({"model": "m", "stream": True})
        assert (await client.answer()).body == EVENTS, "on the same connection"


async def test_what_is_no_stream_hears_nothing_until_it_is_answered() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend, limits=SOON) as p:
        p.routing.holding = True
        for body, where in (({"model": "m"}, "/v1/chat/completions"), ({"model": "m", "stream": True}, "/api/chat")):
            client = await p.connect()
            client.post(body, path=where)
            hold = await held(p)
            await asyncio.sleep(0.25)
            hold.decided.set_result(p.routing.decision(backend))
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, b"{}")
            assert 200 <= int(answer.get("sparkkeep-queued-ms") or 0) < 5000
            p.routing.holds.clear()


async def test_a_wait_that_is_refused() -> None:
    async with path(limits=SOON) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post({"model": "m"})
        (await held(p)).decided.set_exception(Refused(503, "StartFailed", "no memory", retry_after=30))
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"], answer.get("retry-after")) == (503, "StartFailed", "30")
        p.routing.holds.clear()
        client.post({"model": "m", "stream": True})
        hold = await held(p)
        _, head = await client.head()
        hold.decided.set_exception(Refused(503, "StartFailed", "no memory"))
        await client._chunks(head)
        assert json.loads(head.body.split(b"data: ")[-1])["error"]["code"] == "StartFailed"
        p.routing.holds.clear()
        client.post({"model": "m"})
        (await held(p)).decided.cancel()
        assert (await client.answer()).status == 503


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b'HTTP/1.1 400 Bad Request\r\ncontent-length: 29\r\n\r\n{"error":{"message":"no, no"}}', "no, no"),
        (b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwords\r\n0\r\n\r\n", "words"),
        (b"", "did not answer"),
    ],
)
async def test_a_stream_that_was_begun_for_an_answer_that_is_none(answer: bytes, said: str) -> None:
    backend = FakeBackend("m", says(answer.replace(b"29", b"30"), close=not answer))
    async with path(backend, limits=SOON) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        hold = await held(p)
        _, head = await client.head()
        hold.decided.set_result(p.routing.decision(backend))
        await client._chunks(head)
        assert said in json.loads(head.body.split(b"data: ")[-1])["error"]["message"]


async def test_a_backend_that_fails_after_a_wait_is_replaced_too() -> None:
    first = FakeBackend("a", says(b"", close=True))
    second = FakeBackend("b", says(STREAM + b"transfer-encoding: chunked\r\n\r\n1e\r\n" + EVENTS + b"\r\n0\r\n\r\n"))
    async with path(first, second, limits=SOON) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        hold = await held(p)
        _, head = await client.head()
        hold.decided.set_result(p.routing.decision(first))
        await client._chunks(head)
        assert head.body.endswith(EVENTS)


@pytest.mark.parametrize("failing", [False, True])
async def test_a_head_does_not_wait_long_for_its_first_event(failing: bool) -> None:
    """An engine sends the one at once, and the other when it has read the prompt; until then it can be replaced."""
    head = STREAM + b"transfer-encoding: chunked\r\n\r\n"
    rest = b"1e\r\n" + EVENTS + b"\r\n0\r\n\r\n"
    go = asyncio.Event()

    async def does(_: object, __: object, writer: asyncio.StreamWriter) -> str | None:
        writer.write(head)
        await go.wait()
        if failing:
            return "close"
        writer.write(rest)
        return None

    async with path(FakeBackend("a", does), FakeBackend("b", says(head + rest)), limits=SOON) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        _, answer = await client.head()
        assert answer.get("sparkkeep-backend") == "a@s1"
        go.set()
        await client._chunks(answer)
        assert answer.raw == rest
        await p.settled()
        assert [key for key, _ in p.routing.told] == (["a@s1", "b@s1"] if failing else ["a@s1"])


async def test_the_end_of_the_server() -> None:
    """What waits is told at once that it may ask again; what flows may flow on for a while, and then is told too."""
    begun = STREAM + b'transfer-encoding: chunked\r\n\r\n10\r\ndata: {"n": 1}\n\n\r\n'
    async with path(FakeBackend("m", says(begun)), limits=Limits(drain=0.2)) as p:
        flowing, waiting, idle = await p.connect(), await p.connect(), await p.connect()
        flowing.post({"model": "m", "stream": True})
        await flowing.head()
        p.routing.holding = True
        waiting.post({"model": "m"})
        await held(p)
        p.server.stop()
        assert await idle.rest() == b""
        answer = await waiting.answer()
        assert (answer.status, answer.json["error"]["code"], answer.get("retry-after")) == (503, "Restarting", "5")
        rest = await flowing.rest()
        assert b'"code":"Restarting"' in rest
        assert rest.endswith(b"\r\n0\r\n\r\n")


async def test_a_first_event_that_never_comes_is_no_reason_to_wait_for_ever() -> None:
    """Its head has gone to the client meanwhile, so the error comes as an event."""
    begun = says(STREAM + b"transfer-encoding: chunked\r\n\r\n")
    async with path(FakeBackend("m", begun), limits=replace(SOON, first_byte=0.4)) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        _, answer = await client.head()
        await client._chunks(answer)
        assert answer.status == 200
        assert b'"code":"BackendTimeout"' in answer.body
        await p.settled()
