"""A translation in between: the backend is asked in its own words, the client is answered in its own."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.proxies.calls import Backend, Field, Refused
from api.proxies.dialects import translation
from api.proxies.limits import Limits
from tests.unit.api.proxies.stage import FakeBackend, Seen, path, says

MESSAGES = "/v1/messages"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Shouting:
    """Says everything louder: a stream at once, anything else when it is complete, and then with the length it has."""

    path = "/shout"

    def __init__(self, body: bytes) -> None:
        self.asked = json.loads(body)
        self.status = 200
        self.whole = b""

    def body(self) -> bytes:
        if self.asked.get("bad"):
            raise Refused(400, "Unsayable", "that can't be said there", field="bad")
        return json.dumps(self.asked).upper().encode()

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        kept = [(n, v) for n, v in fields if n.lower() not in {b"content-length", b"transfer-encoding"}]
        self.status = status
        return status, [*kept, (b"x-loud", b"yes")]

    def feed(self, data: bytes) -> bytes:
        if self.asked.get("stream"):
            return data.upper()
        self.whole += data
        return b""

    def end(self) -> bytes:
        if b"bad" in self.whole:
            self.status = 502
        return self.whole.upper() if not self.asked.get("stream") else b"END\n\n"

    def broken(self, reason: str, message: str) -> bytes:
        return f"BROKEN {reason}\n\n".encode()


def shouting(call_path: str, headers: list[Field], body: bytes, backend: Backend) -> Shouting:
    return Shouting(body)


async def test_a_stream_and_a_whole_answer() -> None:
    pieces = (STREAM, b"9\r\ndata: a\n\n\r\n", b"9\r\ndata: b", b"\n\n\r\n0\r\n\r\n")
    whole = says(b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 5\r\n\r\nhe", b"llo", gap=0.01)
    backend = FakeBackend("m", says(*pieces, gap=0.01))
    async with path(backend, translate=shouting) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True}, "Accept-Encoding: gzip", path=MESSAGES)
        answer = await client.answer()
        assert answer.body == b"DATA: A\n\nDATA: B\n\nEND\n\n"
        assert (answer.get("x-loud"), answer.get("content-length")) == ("yes", None)
        backend.does = whole
        client.post({"model": "m"}, path=MESSAGES)
        answer = await client.answer()
        assert (answer.body, answer.get("content-length"), answer.get("transfer-encoding")) == (b"HELLO", "5", None)
        client.send(f"POST {MESSAGES} HTTP/1.0", "Content-Length: 15", body=b'{"stream":true}')
        assert (await client.answer()).body == b"HELLOEND\n\n"
    assert backend.seen[0].line == b"POST /shout HTTP/1.1"
    assert backend.seen[0].body == b'{"MODEL": "M", "STREAM": TRUE}'
    assert not backend.seen[0].named(b"accept-encoding")


async def test_what_goes_wrong() -> None:
    backend = FakeBackend("m", says(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad"))
    async with path(backend, translate=shouting, limits=Limits(whole_body=100_000)) as p:
        client = await p.connect()
        client.post({"model": "m"}, path=MESSAGES)
        assert (await client.answer()).status == 502, "which it turned out to be at its end"
        client.post({"bad": True}, path=MESSAGES)
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (400, "Unsayable")
        backend.does = says(STREAM + b"9\r\ndata: a\n\n\r\n", b"9\r\nda", gap=0.02, close=True)
        client.post({"model": "m", "stream": True}, path=MESSAGES)
        assert (await client.answer()).body == b"DATA: A\n\nDABROKEN BackendBroke\n\n"
        client = await p.connect()
        client.post({"model": "m", "x": "y" * 500_000}, path=MESSAGES)
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (413, "BodyTooLarge")


async def test_a_bug_in_one_ends_one_request() -> None:
    def broken(call_path: str, headers: list[Field], body: bytes, backend: Backend) -> None:
        raise ZeroDivisionError

    backend = FakeBackend("m", says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    async with path(backend, translate=broken) as p:
        client = await p.connect()
        client.post({"model": "m"}, path=MESSAGES)
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (500, "InternalError")
        assert str(ZeroDivisionError) not in str(answer.json)
        await p.settled()
        client = await p.connect()
        client.post({"model": "m"})
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_real_one(stream: bool) -> None:
    async def does(seen: Seen, _: object, writer: asyncio.StreamWriter) -> None:
        assert seen.line == b"POST /v1/chat/completions HTTP/1.1"
        assert json.loads(seen.body)["model"] == "served/m"
        choice = {"index": 0, "finish_reason": "stop"}
        if stream:
            first = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hé"}}]}
            last = {"choices": [choice | {"delta": {}}]}
            said = b"".join(b"data: %b\n\n" % json.dumps(part).encode() for part in (first, last)) + b"data: [DONE]\n\n"
            writer.write(STREAM + b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said))
        else:
            said = json.dumps({"choices": [choice | {"message": {"role": "assistant", "content": "hé"}}]}).encode()
            kind = b"content-type: application/json\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (kind, len(said), said))

    async with path(FakeBackend("m", does), translate=translation) as p:
        client = await p.connect()
        asked = {"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "x"}]}
        client.post(asked, path=MESSAGES)
        answer = await client.answer()
        assert answer.status == 200
        if stream:
            assert b"message_stop" in answer.body
        else:
            assert answer.json["content"][0]["text"] == "hé"
