"""The data path holds requests to the same rules as the API does, and no request hides in another on either."""

from __future__ import annotations

import pytest

from api.guard.bearer import Token
from tests.unit.api.proxies.stage import CHAT, OK, FakeBackend, path, says

FRIEND = "http://chat.lan:3000"
WORD = "k33p-" + "0123456789abcdef" * 2
ASKED = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-a")
HIDDEN = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("where", [CHAT, "/api/chat", "/v1/messages"])
async def test_browsers(where: str) -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend, origins=(FRIEND,)) as p:
        for origin, status in ((FRIEND, 200), ("http://evil.example", 403), ("null", 403)):
            client = await p.connect()
            client.post({"model": "m"}, f"Origin: {origin}", "Sec-Fetch-Site: cross-site", path=where)
            answer = await client.answer()
            assert answer.status == status
            assert answer.get("access-control-allow-origin") == (FRIEND if status == 200 else None)
            assert "origin" in (answer.get("vary") or "")
            assert answer.get("content-security-policy")
        client.send(f"OPTIONS {where} HTTP/1.1", f"Origin: {FRIEND}", *ASKED)
        client = await p.connect()
        client.send(f"OPTIONS {where} HTTP/1.1", f"Origin: {FRIEND}", *ASKED)
        answer = await client.answer()
        assert (answer.status, answer.get("access-control-allow-origin")) == (204, FRIEND)
        assert answer.get("access-control-allow-headers") == "authorization, x-a"
        client.post({"model": "m"}, "Sec-Fetch-Site: cross-site", path=where)
        assert (await client.answer()).status == 403
        assert len(backend.seen) == 1
        assert not backend.seen[0].named(b"origin")


async def test_names_and_addresses() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        for _ in range(2):  # what is known good does not make the rest so
            client = await p.connect()
            client.post({"model": "m"})
            assert (await client.answer()).status == 200
            client.send(f"POST {CHAT} HTTP/1.1", "Content-Length: 2", host="evil.example", body=b"{}")
            answer = await client.answer()
            assert (answer.status, answer.json["error"]["code"]) == (421, "HostNotAllowed")
        client = await p.connect()
        client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        assert (await client.answer()).status == 421
        assert len(backend.seen) == 2


@pytest.mark.parametrize(
    "target", ["/v1/../api/echo", "/v1//x", "/v1/%2e%2e/x", "/v1/a%00", "/v1/\\x", "/v1/" + "a" * 9000]
)
async def test_paths(target: str) -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        for _ in range(2):
            client = await p.connect()
            client.send(f"GET {target} HTTP/1.1")
            answer = await client.answer()
            assert answer.status in {400, 414}
            assert answer.get("connection") == "close"
        assert not backend.seen


async def test_a_token() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend, token=Token(WORD)) as p:
        good = f"Authorization: Bearer {WORD}"
        for fields, status in (
            ((good,), 200),
            ((), 401),
            (("Authorization: Bearer wrong",), 401),
            ((good, good), 401),
            (("Authorization: Bearer wrong", good), 401),
            ((f"Authorization: Basic {WORD}",), 401),
            ((good,), 200),
        ):
            client = await p.connect()
            client.post({"model": "m"}, *fields)
            answer = await client.answer()
            assert answer.status == status, fields
            assert (answer.get("www-authenticate") is not None) == (status == 401)
        assert len(backend.seen) == 2
        assert not backend.seen[0].named(b"authorization")


async def test_measure() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        for fields, status in (
            (("Content-Length: 1000000000",), 413),
            (tuple(f"X-{number}: x" for number in range(101)), 431),
            (("X: " + "x" * 35_000,), 431),
        ):
            client = await p.connect()
            client.send(f"POST {CHAT} HTTP/1.1", *fields)
            assert (await client.answer()).status == status
        for where in (CHAT, "/api/echo"):
            client = await p.connect()
            client.writer.write(f"POST {where} HTTP/1.1\r\nX: {'x' * 200_000}".encode())
            assert (await client.answer()).status == 431
        assert not backend.seen


@pytest.mark.parametrize("where", [CHAT, "/api/echo"])
@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ((b"Content-Length: 0", b"Content-Length: 100"), b""),
        ((b"Content-Length: 6", b"Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 6"), b"0\r\n\r\n"),
        ((b"Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), b"0\r\n\r\n"),
        ((b"Transfer-Encoding:\n chunked",), b"0\r\n\r\n"),
        ((b"X: a\nTransfer-Encoding: chunked",), b"0\r\n\r\n"),
        ((b"X: a\rContent-Length: 5",), b""),
        ((b"Content-Length: 0\n",), b""),
    ],
)
async def test_no_request_hides_in_another(where: str, fields: tuple[bytes, ...], body: bytes) -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        client = await p.connect()
        head = (b"POST %b HTTP/1.1" % where.encode(), b"Host: 127.0.0.1", b"Content-Type: application/json", *fields)
        client.writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body + HIDDEN)
        said = await client.rest()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1
        assert b"content-security-policy" in said
        assert not backend.seen


@pytest.mark.parametrize(
    "body",
    [
        *(b"2\n{}\n0\n\n", b"2\r\n{}0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n", b"2 \r\n{}\r\n0\r\n\r\n"),
        *(b"\r\n2\r\n{}\r\n0\r\n\r\n", b"1\r\n{}\r\n0\r\n\r\n", b"2;\n\r\n{}\r\n0\r\n\r\n"),
    ],
)
async def test_chunks_that_are_none(body: bytes) -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend) as p:
        client = await p.connect()
        client.send(f"POST {CHAT} HTTP/1.1", "Transfer-Encoding: chunked", body=body + HIDDEN)
        said = await client.rest()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1
        assert not backend.seen
