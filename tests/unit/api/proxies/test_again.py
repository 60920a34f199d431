"""A request that is asked again: of the same server in a dialect that it speaks, or of whoever is there after a gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from functools import partial

from api.proxies.calls import Call, Decision, Hold
from api.proxies.dialects import Learned, translation
from tests.unit.api.proxies.stage import FakeBackend, FakeHold, Path, Static, path, says

NO_PAGE = b'HTTP/1.1 404 Not Found\r\ncontent-length: 22\r\n\r\n{"detail":"Not Found"}'
NO_MODEL = b'HTTP/1.1 404 Not Found\r\ncontent-length: 52\r\n\r\n{"error":{"message":"The model `x` does not exist"}}'
SAID = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip
ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def chat() -> bytes:
    body = json.dumps(SAID).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def old(seen, reader, writer):  # a server that has no page for Anthropic's messages
    does = says(chat() if seen.line.split()[1] == b"/v1/chat/completions" else NO_PAGE)
    return await does(seen, reader, writer)


def taught() -> dict:
    learned = Learned()
    return {"translate": partial(translation, spoken=learned), "lacks": learned.lacks}


async def test_a_page_that_a_server_turns_out_to_lack_is_translated_from_then_on() -> None:
    backend = FakeBackend("a", old, engine="vllm")
    async with path(backend, **taught()) as p:
        client = await p.connect()
        for _ in range(2):
            client.post(ASKED, path="/v1/messages")
            answer = await client.answer()
            assert (answer.status, answer.json["content"]) == (200, [{"type": "text", "text": "hello"}])
        assert [seen.line.split()[1] for seen in backend.seen] == [b"/v1/messages", *[b"/v1/chat/completions"] * 2]
        assert p.routing.told == [("a@s1", True)] * 3


async def test_a_model_that_a_server_does_not_know_is_another_thing() -> None:
    backend = FakeBackend("a", says(NO_MODEL), engine="vllm")
    async with path(backend, **taught()) as p:
        client = await p.connect()
        client.post(ASKED, path="/v1/messages")
        answer = await client.answer()
        assert (answer.status, answer.body) == (404, NO_MODEL.partition(b"\r\n\r\n")[2])
        assert len(backend.seen) == 1


class Gap(Static):
    """Whoever can't be sent to another waits."""

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision | Hold:
        if not without:
            return super().choose(call)
        assert self.told[-1] == (next(iter(without)), False), "who chooses knows already"
        self.holds.append(FakeHold())
        return self.holds[-1]


def gap(p: Path) -> Gap:
    p.wire.routing = p.routing = found = Gap(*p.routing.backends)
    return found


async def test_where_the_only_one_refuses_a_connection_the_request_waits_and_goes_on() -> None:
    backend = FakeBackend("a", says(chat()))
    async with path(backend) as p:
        routing, port = gap(p), backend.port
        backend.port = 1
        client = await p.connect()
        client.post({"model": "m"})
        async with asyncio.timeout(5):
            while not routing.holds:
                await asyncio.sleep(0.01)
        backend.port = port
        routing.holds[0].decided.set_result(routing.decision(backend))
        answer = await client.answer()
        assert (answer.status, answer.json) == (200, SAID)


async def test_it_waits_once_and_whoever_leaves_meanwhile_is_gone() -> None:
    backend = FakeBackend("a", says(chat()))
    async with path(backend) as p:
        routing = gap(p)
        backend.port = 1
        client = await p.connect()
        client.post({"model": "m"})
        async with asyncio.timeout(5):
            while not routing.holds:
                await asyncio.sleep(0.01)
        routing.holds[0].decided.set_result(routing.decision(backend))
        assert (await client.answer()).status == 502
        client.post({"model": "m"})
        async with asyncio.timeout(5):
            while len(routing.holds) < 2:
                await asyncio.sleep(0.01)
            await client.close()
            while not routing.holds[1].left:
                await asyncio.sleep(0.01)
