"""Through us or directly: a backend sees the same request, and a client the same answer, byte for byte.

What differs is what has to: fields about one connection, what we say of ourselves, and the framing of bodies that we had to
read or that had none.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.guard.rules import HEADERS
from tests.aside import aside
from tests.unit.api.proxies.stage import CHAT, Answer, Client, FakeBackend, Path, Seen, path, until_gone

LONG = bool(os.environ.get("SPARKKEEP_LONG"))
ADDED = {*HEADERS, "vary", "x-request-id", "sparkkeep-backend", "sparkkeep-route", "sparkkeep-queued-ms"}
ADDED |= {"x-accel-buffering"}
HOPS = {"connection", "transfer-encoding", "trailer"}


@dataclass
class Plan:
    """What is sent, and what is answered."""

    method: str
    target: str
    fields: list[str]
    body: bytes
    chunks: list[int] | None
    answer: list[bytes]
    close: bool
    framed: bool
    cuts: list[int] = field(default_factory=list)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, left, at = [], list(sizes), 0
    while at < len(data):
        size = left.pop() if left else len(data)
        pieces.append(data[at : at + size])
        at += size
    return pieces


def chunked(data: bytes, sizes: list[int], extension: bytes, trailers: bytes) -> bytes:
    pieces = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in cut(data, sizes)]
    return b"".join(pieces) + b"0\r\n" + trailers + b"\r\n"


SIZES = st.lists(st.integers(1, 40), max_size=12)
TEXT = st.text(max_size=60) | st.just("ä𝄞" * 30)
FIELDS = st.lists(
    st.sampled_from(["X-A: 1", "X-A: 2", "x-b:  spaced \t", "X-Empty:", "Accept: a/b", "X-Ü: é"[:2] + "C: é"]),
    max_size=5,
)
EVENT = st.one_of(
    TEXT.map(lambda text: f"data: {json.dumps({'delta': text}, ensure_ascii=False)}\n\n"),
    st.sampled_from(
        [": ping\n\n", "event: a\r\ndata: b\r\n\r\n", 'data: {"error": {"message": "x"}}\n\n', "data: cut", "\n"]
    ),
)
BODIES = st.one_of(
    TEXT.map(lambda text: ("application/json", json.dumps({"text": text}, ensure_ascii=False).encode())),
    st.lists(EVENT, max_size=5).map(lambda events: ("text/event-stream", "".join(events).encode())),
    st.lists(TEXT, max_size=3).map(
        lambda lines: ("application/x-ndjson", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    ),
    st.binary(max_size=100).map(lambda data: ("application/octet-stream", data)),
)


@st.composite
def plans(draw) -> Plan:
    method = draw(st.sampled_from(["POST", "POST", "POST", "GET", "HEAD", "DELETE", "PUT"]))
    body = draw(TEXT).encode() if method in {"POST", "PUT"} else b""
    if draw(st.booleans()) and body:
        body = json.dumps({"messages": [body.decode()], "model": "served/m", "stream": draw(st.booleans())}).encode()
    kind, content = draw(BODIES)
    zipped = draw(st.booleans()) and draw(st.booleans())
    content = gzip.compress(content) if zipped else content
    status = draw(st.sampled_from([200, 200, 200, 201, 204, 304, 400, 404, 429, 500, 503, 599]))
    empty = method == "HEAD" or status in {204, 304}
    framing = draw(st.sampled_from(["length", "chunked", "closed"]))
    head = b"HTTP/1.1 %d%b\r\n" % (status, draw(st.sampled_from([b" OK", b" Any Reason", b" ", b""])))
    head += b"Content-Type: %b\r\n" % kind.encode() + (b"content-encoding: gzip\r\n" if zipped else b"")
    head += b"".join(line.encode("latin-1") + b"\r\n" for line in draw(FIELDS))
    if framing == "length":
        head += b"Content-Length: %d\r\n" % len(content)
    elif framing == "chunked":
        head += b"Transfer-Encoding: chunked\r\n"
        trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
        content = chunked(content, draw(SIZES), draw(st.sampled_from([b"", b";a=b"])), trailers)
    early = b"".join(draw(st.lists(st.just(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), max_size=2)))
    said = early + head + b"\r\n" + (b"" if empty else content)
    return Plan(
        method=method,
        target=draw(st.sampled_from([CHAT, f"{CHAT}?a=b&c", "/v1/files/a%2Fb", "/v1/x?%C3%A4"])),
        fields=draw(FIELDS),
        body=body,
        chunks=draw(st.none() | SIZES) if body else None,
        answer=cut(said, draw(SIZES)),
        close=draw(st.booleans()) or (framing == "closed" and not empty),
        framed=framing != "closed" or empty,
        cuts=draw(SIZES),
    )


class Pair:
    """One connection through us and one directly, both kept as long as they may be."""

    def __init__(self, through: Path, backend: FakeBackend, loop: asyncio.AbstractEventLoop) -> None:
        self.through = through
        self.backend = backend
        self.loop = loop
        self.plan: Plan
        self.kept: dict[bool, Client] = {}

    async def answers(self, _: Seen, __: object, writer: asyncio.StreamWriter) -> str | None:
        for piece in self.plan.answer:
            writer.write(piece)
            await asyncio.sleep(0)
        return "close" if self.plan.close else None

    async def ask(self, *, direct: bool) -> tuple[Seen, list[bytes], Answer]:
        plan, before = self.plan, len(self.backend.seen)
        client = self.kept.get(direct)
        if client is None:
            port = self.backend.port if direct else self.through.port
            client = self.kept[direct] = Client(*await asyncio.open_connection("127.0.0.1", port))
            self.through.clients.append(client)
        lines = [f"{plan.method} {plan.target} HTTP/1.1", "Host: 127.0.0.1", *plan.fields]
        body = plan.body
        if plan.chunks is not None:
            lines.append("Transfer-Encoding: chunked")
            body = chunked(body, plan.chunks, b"", b"")
        elif body:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        for piece in cut(data, plan.cuts):
            client.writer.write(piece)
            await asyncio.sleep(0)
        early = []
        head, answer = await client.head()
        while answer.status < 200:
            early.append(head)
            head, answer = await client.head()
        await self._body(client, answer)
        if (direct and plan.close) or answer.get("connection") == "close":
            del self.kept[direct]
            await client.close()
        assert len(self.backend.seen) == before + 1
        return self.backend.seen[-1], early, answer

    async def _body(self, client: Client, answer: Answer) -> None:
        if self.plan.method == "HEAD" or answer.status in {204, 304}:
            return
        if answer.get("transfer-encoding"):
            await client._chunks(answer)
        elif (length := answer.get("content-length")) is not None:
            answer.body = answer.raw = await client.reader.readexactly(int(length))
        else:
            answer.body = answer.raw = await client.reader.read()

    async def compare(self, plan: Plan) -> None:
        self.plan = plan
        async with asyncio.timeout(60):
            seen, early, answer = await self.ask(direct=True)
            seen_too, early_too, answer_too = await self.ask(direct=False)
        assert seen_too.line == seen.line
        assert seen_too.body == seen.body
        frame = {b"host", b"transfer-encoding", b"content-length", b"x-request-id"}
        assert [f for f in seen_too.fields if f[0] not in frame] == [f for f in seen.fields if f[0] not in frame]
        assert early_too == early
        assert answer_too.head.split(b"\r\n")[0] == answer.head.split(b"\r\n")[0]
        theirs = [f for f in answer.fields if f[0] not in HOPS]
        assert [f for f in answer_too.fields if f[0] not in HOPS | ADDED] == theirs
        assert answer_too.body == answer.body
        if plan.framed:
            assert answer_too.raw == answer.raw


@asynccontextmanager
async def _pair() -> AsyncIterator[Pair]:
    backend = FakeBackend("m", until_gone)
    async with path(backend) as through:
        pair = Pair(through, backend, asyncio.get_running_loop())
        backend.does = pair.answers
        yield pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with aside(_pair()) as made:
        yield made


@pytest.mark.timeout(3600 if LONG else 60)
@settings(max_examples=10_000 if LONG else 150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans())
def test_nobody_sees_that_we_are_there(pair: Pair, plan: Plan) -> None:
    asyncio.run_coroutine_threadsafe(pair.compare(plan), pair.loop).result(60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_large_bodies(pair: Pair, framing: str) -> None:
    size = (100 if LONG else 12) * 2**20
    data = (b'{"model": "served/m", "x": "' + os.urandom(2**16).hex().encode() * (size // 2**17))[: size - 2] + b'"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    if framing == "length":
        said = head + b"Content-Length: %d\r\n\r\n" % size + data
    else:
        said = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(data, [2**16] * (size // 2**16), b"", b"X: 1\r\n")
    plan = Plan("POST", CHAT, [], data, [2**20] * 200 if framing == "chunked" else None, [said], False, True)
    asyncio.run_coroutine_threadsafe(pair.compare(plan), pair.loop).result(600)
