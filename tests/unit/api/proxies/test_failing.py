"""What becomes of a request whose backend fails: another is asked once, before anything was said; after that, never."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.proxies.limits import Limits
from tests.unit.api.proxies.stage import OK, FakeBackend, Path, path, says, until_gone

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(*contents: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(content), content) for content in contents)


def event(**said: object) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


GOOD = STREAM + framed(event(n=1), event(n=2), b"data: [DONE]\n\n") + b"0\r\n\r\n"
FAILURES = {
    "closes": says(b"", close=True),
    "half a head": says(b"HTTP/1.1 200 OK\r\ncont", close=True),
    "no HTTP": says(b"SSH-2.0-OpenSSH\r\n\r\n", close=True),
    "two lengths": says(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
    "503": says(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad"),
    "500 without end": says(b"HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbad\r\n"),
    "an error event": says(STREAM + framed(event(error={"message": "no memory"}))),
    "an error event in pieces": says(STREAM + framed(b"dat", b'a: {"err'), framed(b'or": 1}\n\n'), gap=0.02),
    "an event named error": says(STREAM + framed(b"event: error\ndata: {}\n\n")),
    "an error behind a comment": says(STREAM + framed(b": ping\n\n", event(error="x"))),
    "a stream that closes": says(STREAM, close=True),
    "a line with an error": says(
        b'HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: 14\r\n\r\n{"error": "x"}'
    ),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_another_is_asked_and_nobody_sees(failure) -> None:
    first, second = FakeBackend("a", failure), FakeBackend("b", says(GOOD))
    async with path(first, second) as p:
        client = await p.connect()
        body = b'{"model": "m", "stream": true}'
        for _ in range(2):
            client.post(body)
            answer = await client.answer()
            assert (answer.status, answer.get("sparkkeep-backend")) == (200, "b@s1")
            assert answer.raw == GOOD.partition(b"\r\n\r\n")[2]
        assert [seen.body for seen in second.seen] == [b'{"model": "served/b", "stream": true}'] * 2


async def test_a_backend_that_is_not_there() -> None:
    first, second = FakeBackend("a", says(OK)), FakeBackend("b", says(OK))
    async with path(first, second) as p:
        first.port = 1
        client = await p.connect()
        client.post({"model": "m"})
        assert (await client.answer()).get("sparkkeep-backend") == "b@s1"
        assert p.routing.told == [("a@s1", False), ("b@s1", True)]


async def test_if_nobody_else_can_the_first_ones_own_words_pass() -> None:
    async with path(FakeBackend("a", FAILURES["503"])) as p:
        client = await p.connect()
        client.post({"model": "m"})
        answer = await client.answer()
        assert (answer.status, answer.body) == (503, b"bad")
    async with path(FakeBackend("a", FAILURES["an error event"])) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        assert b"no memory" in await client.reader.readuntil(b"}}")


@pytest.mark.parametrize("name", ["closes", "half a head", "no HTTP", "two lengths", "a stream that closes"])
async def test_if_nobody_can_that_is_said(name: str) -> None:
    async with path(FakeBackend("a", FAILURES[name]), FakeBackend("b", FAILURES[name])) as p:
        client = await p.connect()
        client.post({"model": "m"})
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (502, "BackendFailed")
        assert "b@s1" in answer.json["error"]["message"]
        assert [key for key, _ in p.routing.told] == ["a@s1", "b@s1"], "once, not more"
        client.send("GET /api/echo HTTP/1.1")
        assert (await client.answer()).status == 200


async def test_a_kept_connection_that_has_ended_is_no_failure() -> None:
    """A server may close one at any time; the request that meets that is asked again of the same."""

    async def once(seen, _, writer):
        writer.write(OK)
        if backend.connections == 1 and len(backend.seen) == 1:
            return None
        return "close" if backend.connections == 1 else None

    async def does(seen, reader, writer):
        if backend.connections == 1 and len(backend.seen) == 2:
            return "close"
        return await once(seen, reader, writer)

    backend = FakeBackend("a", does)
    async with path(backend) as p:
        client = await p.connect()
        for _ in range(3):
            client.post({"model": "m"})
            assert (await client.answer()).status == 200
        assert backend.connections == 2
        assert {answered for _, answered in p.routing.told} == {True}


def cut(begun: bytes) -> tuple[bytes, bytes]:
    """Behind the first event, which so has gone to the client when the rest comes."""
    at = begun.find(b"\n\n\r\n") + 4
    return (begun[:at], begun[at:]) if at > 4 else (begun, b"")


BROKEN = {
    "between events": (STREAM + framed(event(n=1)), True),
    "in an event": (STREAM + framed(event(n=1), b'data: {"n": '), True),
    "in a chunk": (STREAM + framed(event(n=1)) + b"30\r\ndata: {", True),
    "behind a size": (STREAM + framed(event(n=1)) + b"30\r\n", True),
    "in a size": (STREAM + framed(event(n=1)) + b"3", True),
    "with a bad size": (STREAM + framed(event(n=1)) + b"zz\r\n", True),
    "in JSON": (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{", False),
    "in chunked JSON": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed(b'{"a":'), False),
}


@pytest.mark.parametrize(("begun", "is_stream"), BROKEN.values(), ids=BROKEN)
async def test_what_breaks_later_is_never_taken_for_complete(begun: bytes, is_stream: bool) -> None:
    second = FakeBackend("b", says(GOOD))
    async with path(FakeBackend("a", says(*cut(begun), gap=0.02, close=True)), second) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        if is_stream:
            answer = await client.answer()
            events = [json.loads(said[6:]) for said in answer.body.decode().split("\n\n") if said.strip()]
            assert events[0] == {"n": 1}
            assert len(events) == 2
            assert events[-1]["error"]["code"] == "BackendBroke"
            assert "a@s1" in events[-1]["error"]["message"]
        else:
            with pytest.raises(asyncio.IncompleteReadError):
                await client.answer()
        assert not second.seen
        await p.settled()
        assert p.routing.told == [("a@s1", False)]


async def slow(p: Path, **fields: object) -> tuple[int, str]:
    client = await p.connect()
    client.post({"model": "m", **fields})
    answer = await client.answer()
    return answer.status, answer.json["error"]["code"]


async def test_stages_that_take_too_long() -> None:
    async with path(FakeBackend("a", until_gone), limits=Limits(first_byte=0.15)) as p:
        assert await slow(p) == (504, "BackendTimeout")
    async with path(FakeBackend("a", says(STREAM)), limits=Limits(first_byte=0.15)) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        assert b"BackendTimeout" in (await client.answer()).body
    async with path(FakeBackend("a", says(STREAM + framed(event(n=1)))), limits=Limits(idle=0.15)) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        assert b"BackendTimeout" in (await client.answer()).body
    async with path(FakeBackend("a", says(OK)), limits=Limits(body=0.15)) as p:
        client = await p.connect()
        client.send("POST /v1/chat/completions HTTP/1.1", "Content-Length: 100", body=b"{")
        answer = await client.answer()
        assert (answer.status, answer.get("connection")) == (408, "close")
    async with path(limits=Limits(head=0.15, keep_alive=0.3)) as p:
        client, idle = await p.connect(), await p.connect()
        client.writer.write(b"POST /v1/chat")
        assert await client.rest() == b""
        assert await idle.rest() == b""
