"""A client that goes takes its request with it: measured where the backend stands, in every state, streamed or not."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from tests.unit.api.proxies.stage import CHAT, FakeBackend, Path, path, says, until_gone

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'12\r\ndata: {"a": "b"}\n\n\r\n'
JUST = 0.1
"""Seconds within which a backend knows."""


async def then_nothing(*pieces: bytes):
    await asyncio.sleep(0)
    return says(*pieces)


def beginning(*pieces: bytes):
    async def does(seen, reader, writer):
        for piece in pieces:
            writer.write(piece)
        return await until_gone(seen, reader, writer)

    return does


async def gone(p: Path, backend: FakeBackend, since: float) -> None:
    await asyncio.wait_for(backend.gone.wait(), 5)
    assert backend.gone_at - since < JUST
    await p.settled()
    assert p.routing.told == [("m@s1", True)], "which is no fault of the backend's"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["closed", "reset", "half closed"])
@pytest.mark.parametrize(
    "begun",
    [
        (),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n",),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",),
        (STREAM,),
        (STREAM, EVENT),
        (STREAM, b": so far\n\n"),
    ],
    ids=["asked", "half a head", "a head", "half a body", "a stream's head", "streaming", "a bad stream"],
)
async def test_while_its_answer_comes(begun: tuple[bytes, ...], how: str, stream: bool) -> None:
    backend = FakeBackend("m", beginning(*begun))
    async with path(backend) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": stream})
        await asyncio.wait_for(backend.asked.wait(), 5)
        await asyncio.sleep(0.02)
        since = time.monotonic()
        if backend.gone.is_set():  # the bad stream: it was dropped for what it said
            await p.settled()
            return
        if how == "closed":
            client.writer.close()
        elif how == "reset":
            client.writer.transport.abort()
        else:
            client.writer.write_eof()
        await gone(p, backend, since)


@pytest.mark.parametrize("length", [100_000, 30_000_000])
async def test_while_its_body_comes(length: int) -> None:
    """A short one has not been sent anywhere; of a long one the backend has the beginning."""
    backend = FakeBackend("m", until_gone)
    async with path(backend) as p:
        client = await p.connect()
        body = b'{"model": "m", "x": "' + b"y" * (length - 23)
        client.send(f"POST {CHAT} HTTP/1.1", f"Content-Length: {length}", body=body[: length // 2])
        await client.writer.drain()
        await asyncio.sleep(0.2)
        client.writer.transport.abort()
        await p.settled()
        assert not p.routing.under_way
        if length > 20_000_000:
            await asyncio.wait_for(backend.gone.wait(), 5)


async def test_while_a_long_body_waits_for_a_backend_that_does_not_read() -> None:
    """Nothing is read from the client then, so that nothing says that it has gone but the kernel, when asked."""

    async def reads_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        connected.append(writer)

    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(reads_nothing, "127.0.0.1", 0)
    backend = FakeBackend("m", until_gone)
    async with path(backend) as p:
        backend.port = server.sockets[0].getsockname()[1]
        client = await p.connect()
        client.send(
            f"POST {CHAT} HTTP/1.1", "Content-Length: 300000000", body=b'{"model": "m", "x": "' + b"y" * 60_000_000
        )
        async with asyncio.timeout(5):
            while not p.routing.under_way or not any(front._paused for front in p.wire.fronts):
                await asyncio.sleep(0.01)
        since = time.monotonic()
        # Without this the end would stand behind all that was sent, and nobody could see it before that was read.
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await p.settled()
        assert time.monotonic() - since < 3 * JUST
        for writer in connected:
            writer.transport.abort()
        server.close()


async def test_while_it_waits() -> None:
    backend = FakeBackend("m", until_gone)
    async with path(backend) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post({"model": "m"})
        while not p.routing.holds:
            await asyncio.sleep(0.005)
        since = time.monotonic()
        client.writer.close()
        while not p.routing.holds[0].left:
            await asyncio.sleep(0.005)
        assert p.routing.holds[0].left_at - since < JUST
        p.routing.holds[0].decided.set_result(p.routing.decision(backend))
        await asyncio.sleep(0.02)
        assert not backend.connections


async def test_while_a_connection_is_opened() -> None:
    """To an address that does not answer: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            backend = FakeBackend("m", until_gone)
            async with path(backend) as p:
                backend.port = address[1]
                client = await p.connect()
                client.post({"model": "m"})
                while not p.routing.under_way:
                    await asyncio.sleep(0.005)
                client.writer.close()
                await p.settled()
                assert not p.wire.pool._opening or all(task.cancelling() for task in p.wire.pool._opening)
