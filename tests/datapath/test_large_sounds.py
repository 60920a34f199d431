"""A sound of 500 MB goes to two servers at once, and takes hardly any memory on its way."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.unit.api.proxies.audio.sound import BOUNDARY, TRANSCRIPTIONS, TURNS, VERBOSE, json_reply
from tests.unit.api.proxies.stage import Client

MIB = 2**20
PIECE = bytes(range(256)) * 4096
SOUND = 500_000_000
MOST = 64 * MIB


class Sink:
    """A server that keeps nothing of what it gets but its length and a sum."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.got: list[int] = []
        self.sums: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            found = re.search(rb"(?i)content-length: (\d+)", head)
            assert found
            left, size, check, before = int(found[1]), 0, 0, b""
            while left:
                data = await reader.read(min(left, 2**18))
                left -= len(data)
                if not size:  # up to the sound
                    before += data
                    at = before.find(b"audio/wav\r\n\r\n")
                    if at < 0:
                        continue
                    data = before[at + 13 :]
                size += len(data)
                check = zlib.crc32(data, check)
            self.got.append(size)
            self.sums.append(check)
            writer.write(self.answer)
        writer.close()


@asynccontextmanager
async def listening(sink: Sink) -> AsyncIterator[int]:
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@asynccontextmanager
async def hearing(folder: Path, *ports: int) -> AsyncIterator[tuple[int, int]]:
    """Its port and its process."""
    argv = ["-m", "tests.datapath.hearing", str(folder), *map(str, ports)]
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline()), process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()


def memory(process: int, field: str) -> int:
    """`VmRSS`: now; `VmHWM`: at most so far."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) * 1024


async def sent(port: int, size: int) -> int:
    """The status of the answer to a sound of so many bytes."""
    before = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="response_format"\r\n\r\ndiarized_json\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="diarizer"\r\n\r\ndia\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    ).encode()
    behind = f"\r\n--{BOUNDARY}--\r\n".encode()
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    client.send(f"POST {TRANSCRIPTIONS} HTTP/1.1", kind, f"Content-Length: {len(before) + size + len(behind)}")
    client.writer.write(before)
    left = size
    while left:
        client.writer.write(PIECE[: min(left, len(PIECE))])
        left -= min(left, len(PIECE))
        await client.writer.drain()
    client.writer.write(behind)
    async with asyncio.timeout(600):
        status = (await client.answer()).status
    await client.close()
    return status


@pytest.mark.timeout(900)
async def test_it_takes_no_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = SOUND if os.environ.get("SPARKKEEP_LONG") else SOUND // 4
    stt, dia = Sink(json_reply(VERBOSE)), Sink(json_reply(TURNS))
    async with listening(stt) as one, listening(dia) as two, hearing(tmp_path, one, two) as (port, process):
        assert await sent(port, 2 * MIB) == 200
        before = memory(process, "VmRSS")
        assert await sent(port, size) == 200
        grew = memory(process, "VmHWM") - before
        told = f"{size / 1e6:.0f} MB sent on to two servers: {grew / MIB:.1f} MiB more of memory at most"
        _told(capsys)(told)
        assert list(tmp_path.iterdir()) == []
    behind = f"\r\n--{BOUNDARY}--\r\n".encode()
    whole, rest = divmod(size, len(PIECE))
    check = 0
    for piece in (*[PIECE] * whole, PIECE[:rest], behind):
        check = zlib.crc32(piece, check)
    assert (stt.got[-1], stt.sums[-1]) == (dia.got[-1], dia.sums[-1]) == (size + len(behind), check)
    assert grew < MOST


def _told(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}\n")

    return say
