"""The server is told to end while answers are under way."""

from __future__ import annotations

import asyncio

from api.proxies.limits import Limits
from tests.unit.api.proxies.stage import FakeBackend, Seen, path
from tests.unit.api.proxies.test_failing import STREAM, event, framed

SLOW = (event(n=1), event(n=2), b"data: [DONE]\n\n")


async def slowly(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    for each in SLOW:
        writer.write(framed(each))
        await asyncio.sleep(0.3)
    writer.write(b"0\r\n\r\n")


async def test_a_stream_comes_whole_and_whoever_asks_meanwhile_is_told_when_to_come_back() -> None:
    async with path(FakeBackend("a", slowly)) as p:
        streaming, kept = await p.connect(), await p.connect()
        kept.send("GET /v1/nothing HTTP/1.1")
        assert (await kept.answer()).status < 500
        streaming.post({"model": "m", "stream": True})
        await streaming.head()
        p.server.stop()
        while not p.wire.draining:
            await asyncio.sleep(0.005)
        kept.post({"model": "m"})
        answer = await kept.answer()
        assert (answer.status, answer.get("retry-after"), answer.get("connection")) == (503, "5", "close")
        assert b"Restarting" in answer.body
        assert await streaming.rest() == framed(*SLOW) + b"0\r\n\r\n"


async def test_what_takes_longer_than_it_may_is_told_and_ends() -> None:
    async with path(FakeBackend("a", slowly), limits=Limits(drain=0.1)) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True})
        await client.head()
        p.server.stop()
        said = await client.rest()
        assert b"Restarting" in said
        assert said.endswith(b"0\r\n\r\n")
