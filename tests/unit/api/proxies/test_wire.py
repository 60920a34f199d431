"""Requests pass as if there were nothing in between."""

from __future__ import annotations

import asyncio
import json

from tests.unit.api.proxies.stage import CHAT, OK, FakeBackend, Seen, path, says

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_request_passes_with_the_name_the_backend_knows() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        client = await p.connect()
        client.post(b'{ "messages": [{"model": "x"}],\n "model" : "m" , "\\u00e9": "\xc3\xa9"}', "X-Own: 1", "X-Own: 2")
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.get("sparkkeep-backend") == "m@s1"
        assert answer.get("sparkkeep-route") == "the first of them"
        assert answer.get("sparkkeep-queued-ms") == "0"
        assert answer.get("x-request-id")
        assert answer.get("x-content-type-options") == "nosniff"
    [seen] = backend.seen
    assert seen.line == b"POST /v1/chat/completions HTTP/1.1"
    assert seen.body == b'{ "messages": [{"model": "x"}],\n "model" : "served/m" , "\\u00e9": "\xc3\xa9"}'
    assert seen.named(b"x-own") == [b"1", b"2"]
    assert seen.named(b"host") == [f"127.0.0.1:{backend.port}".encode()]
    assert p.routing.told == [("m@s1", True)]


async def test_what_is_between_client_and_us_stays_there() -> None:
    backend = FakeBackend(
        "m",
        says(
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nX-Kept:  a b \r\n"
            b"Access-Control-Allow-Origin: *\r\nX-Frame-Options: SAMEORIGIN\r\nX-Request-Id: its\r\n"
            b"Content-Length: 0\r\n\r\n"
        ),
    )
    async with path(backend) as p:
        client = await p.connect()
        client.post(
            {"model": "m"},
            *("Authorization: Bearer secret", "Cookie: a=b", "X-Api-Key: k", "TE: trailers", "X-Once: 1"),
            *("Connection: keep-alive, X-Once", "Proxy-Authorization: x", "X-Request-Id: mine", "Accept: a/b"),
        )
        answer = await client.answer()
    [seen] = backend.seen
    assert {name for name, _ in seen.fields} == {
        *(b"host", b"content-type", b"content-length", b"x-request-id", b"accept")
    }
    assert seen.named(b"x-request-id") == [b"mine"]
    names = [name for name, _ in answer.fields]
    assert not {"connection", "keep-alive", "x-hop", "access-control-allow-origin"} & {*names}
    assert b"X-Kept:  a b \r\n" in answer.head
    assert [value for name, value in answer.fields if name == "x-frame-options"] == ["SAMEORIGIN"]
    assert answer.get("x-request-id") == "mine"


async def test_a_connection_is_kept_on_both_sides() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        client = await p.connect()
        for _ in range(5):
            client.post({"model": "m"})
            assert (await client.answer()).body == b"{}"
        assert backend.connections == 1


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async def number(seen: Seen, _: object, writer: asyncio.StreamWriter) -> None:
        said = json.loads(seen.body)["n"]
        await asyncio.sleep(0.02 / (said + 1))
        body = b"%d" % said
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with path(FakeBackend("m", number)) as p:
        client = await p.connect()
        for n in range(12):
            client.post({"model": "m", "n": n})
            if n % 3 == 0:
                client.send("GET /api/echo HTTP/1.1")
        for n in range(12):
            assert (await client.answer()).body == b"%d" % n
            if n % 3 == 0:
                assert (await client.answer()).json == {"length": 0}


async def test_the_api_answers_on_the_same_connection_and_gives_it_back() -> None:
    async with path(FakeBackend("m", says(OK))) as p:
        client = await p.connect()
        for _ in range(3):
            client.send("POST /api/echo HTTP/1.1", "Content-Type: application/json", "Content-Length: 3", body=b"123")
            assert (await client.answer()).json == {"length": 3}
            client.post({"model": "m"})
            assert (await client.answer()).body == b"{}"
            client.send("GET /nothing HTTP/1.1")
            assert (await client.answer()).status == 404


async def test_a_body_that_comes_after_its_answer_is_no_request() -> None:
    hidden = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        client = await p.connect()
        length = 70000 + len(hidden)
        client.send("POST /api/early HTTP/1.1", "Content-Type: application/json", f"Content-Length: {length}")
        assert (await client.answer()).json == {"early": True}
        client.writer.write(b"x" * 70000)
        await asyncio.sleep(0.02)
        client.writer.write(hidden)
        client.post({"model": "m"})
        assert (await client.answer()).body == b"{}"
        assert len(backend.seen) == 1


async def test_chunks_pass_as_they_are() -> None:
    raw = b'1e;x=y\r\ndata: {"choices": [{"a": 1}]}\n\r\n1\r\n\n\r\n0\r\nX-Trailer: 1\r\n\r\n'
    async with path(FakeBackend("m", says(CHUNKED + raw[:7], raw[7:20], raw[20:41], raw[41:], gap=0.01))) as p:
        client = await p.connect()
        for _ in range(2):
            client.post({"model": "m", "stream": True})
            assert (await client.answer()).raw == raw
        assert p.routing.backends[0].connections == 1


async def test_a_query_a_head_and_an_empty_answer_pass() -> None:
    async def does(seen: Seen, _: object, writer: asyncio.StreamWriter) -> None:
        if seen.line.startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n")

    backend = FakeBackend("m", does)
    async with path(backend) as p:
        client = await p.connect()
        client.send("HEAD /v1/files/a%2Fb?x=1&y HTTP/1.1")
        assert (await client.answer("HEAD")).get("content-length") == "1000"
        client.send("DELETE /v1/files/a HTTP/1.1")
        assert (await client.answer()).status == 204
    assert backend.seen[0].line == b"HEAD /v1/files/a%2Fb?x=1&y HTTP/1.1"


async def test_a_body_without_length_ends_with_the_connection() -> None:
    close = says(b"HTTP/1.1 200 OK\r\n\r\nall", b" of it", gap=0.01, close=True)
    async with path(FakeBackend("m", close)) as p:
        client = await p.connect()
        for _ in range(2):
            client.post({"model": "m"})
            assert (await client.answer()).body == b"all of it"


async def test_an_old_client_gets_what_it_can_read() -> None:
    async with path(FakeBackend("m", says(CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"))) as p:
        client = await p.connect()
        client.send(f"POST {CHAT} HTTP/1.0", "Content-Length: 2", body=b"{}")
        answer = await client.answer()
        assert (answer.body, answer.get("connection")) == (b"abcdef", "close")


async def test_heads_of_the_100s() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    async with path(FakeBackend("m", says(b"HTTP/1.1 100 Continue\r\n\r\n" + early + OK))) as p:
        client = await p.connect()
        client.send(f"POST {CHAT} HTTP/1.1", "Content-Length: 2", "Expect: 100-continue")
        assert (await client.head())[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.writer.write(b"{}")
        assert (await client.head())[0] == early
        assert (await client.answer()).status == 200


async def test_refusals_speak_the_dialect_of_whoever_asked() -> None:
    async with path() as p:
        client = await p.connect()
        client.post({"model": "unknown"})
        assert (await client.answer()).json["error"]["code"] == "NoSuchModel"
        client.post({"model": "unknown"}, path="/v1/messages")
        assert (await client.answer()).json["type"] == "error"
        client.post({"model": "unknown"}, path="/api/chat")
        assert "no model is named" in (await client.answer()).json["error"]
        client.post({"model": "m"})
        answer = await client.answer()
        assert (answer.status, answer.get("retry-after"), answer.get("connection")) == (503, "3", None)
