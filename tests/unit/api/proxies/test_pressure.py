"""Whoever reads slowly makes the other side wait, and nothing piles up in between."""

from __future__ import annotations

import asyncio
import os

import pytest

from api.proxies.limits import Limits
from tests.unit.api.proxies.stage import CHAT, OK, FakeBackend, Path, path

MIB = 2**20
SIZE = 400 if os.environ.get("SPARKKEEP_LONG") else 60
"""Of a body, in MiB."""
PIECE = b"y" * MIB
MOST = 16 * MIB
"""Bytes between two ends of which neither moves: the kernel's buffers of two connections, and what we keep."""


def buffered(p: Path) -> int:
    links = sum(link.transport.get_write_buffer_size() for link in p.wire.pool._links if link.transport is not None)
    return links + sum(front._transport.get_write_buffer_size() + len(front._held) for front in p.wire.fronts)


async def stalled(written) -> int:
    """Until it is written no further."""
    before, calm = -1, 0
    async with asyncio.timeout(20):
        while calm < 10:
            calm = calm + 1 if written() == before else 0
            before = written()
            await asyncio.sleep(0.02)
    return before


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_client_that_reads_slowly(chunked: bool) -> None:
    wrote = 0

    async def does(_, __, writer):
        nonlocal wrote
        frame = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (SIZE * MIB)
        writer.write(b"HTTP/1.1 200 OK\r\n" + frame + b"\r\n\r\n")
        for _ in range(SIZE):
            writer.write(b"%x\r\n%b\r\n" % (MIB, PIECE) if chunked else PIECE)
            await writer.drain()
            wrote += MIB
        writer.write(b"0\r\n\r\n" if chunked else b"")

    async with path(FakeBackend("m", does)) as p:
        client = await p.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.post({"model": "m"})
        assert await stalled(lambda: wrote) < MOST
        assert buffered(p) < 2 * MIB
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.answer()
        assert len(answer.body) == SIZE * MIB


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_backend_that_reads_slowly(chunked: bool) -> None:
    """Of a body longer than is kept."""
    go, wrote, size = asyncio.Event(), 0, 0

    async def takes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal size
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        while not ended(size) and (data := await reader.read(MIB)):
            size += data.count(b"y")
        writer.write(OK)
        await writer.drain()
        writer.close()

    def ended(size: int) -> bool:
        return size >= SIZE * MIB

    server = await asyncio.start_server(takes, "127.0.0.1", 0)
    backend = FakeBackend("m", takes)  # type: ignore[arg-type]  # stands in for the server's address
    async with path(backend) as p:
        backend.port = server.sockets[0].getsockname()[1]
        client = await p.connect()
        first = b'{"model":"m","x":"'
        frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE * MIB + len(first) + 2}"
        client.send(f"POST {CHAT} HTTP/1.1", frame)

        async def send() -> None:
            nonlocal wrote
            for piece in (first, *[PIECE] * SIZE, b'"}'):
                client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                await client.writer.drain()
                wrote += len(piece)
            client.writer.write(b"0\r\n\r\n" if chunked else b"")

        sending = asyncio.create_task(send())
        assert await stalled(lambda: wrote) < 8 * MIB + MOST
        assert buffered(p) < 11 * MIB
        go.set()
        await sending
        assert (await client.answer()).status == 200
        assert size == SIZE * MIB
    server.close()


async def test_a_client_that_reads_nothing_at_all() -> None:
    """Its backend is let go, and it is not to blame."""

    async def does(_, __, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        while True:
            writer.write(PIECE)
            await writer.drain()

    async with path(FakeBackend("m", does), limits=Limits(idle=0.3)) as p:
        client = await p.connect()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.post({"model": "m"})
        await p.routing.backends[0].asked.wait()
        await p.settled()
        assert p.routing.told == [("m@s1", True)]
        client.writer.transport.abort()


async def test_a_client_that_sends_far_ahead() -> None:
    done = asyncio.Event()

    async def does(_, __, writer):
        await done.wait()
        writer.write(OK)

    async with path(FakeBackend("m", does)) as p:
        client = await p.connect()
        for _ in range(20_000):
            client.post({"model": "m", "x": "y" * 400})
        await asyncio.sleep(0.2)
        assert buffered(p) < MIB
        done.set()
        for _ in range(50):
            assert (await client.answer()).status == 200
        client.writer.transport.abort()
