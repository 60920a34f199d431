"""Asking with the Spark's own curl, through a real shell: sound goes in and comes out, and every failure has words."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reconciler import probe
from reconciler.canaries.sounds import known, tone
from reconciler.hosts import Answer
from reconciler.linkdown import ForwardingRefused, OutputTooLong
from reconciler.model import ProbeSpec
from reconciler.remote import RemoteHost
from reconciler.sessions import Outcome
from reconciler.shell import guarded, piped

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


class Shell:
    """A link that forwards nothing and runs scripts here."""

    too_long = False

    async def open_tcp(self, port: int) -> Any:
        raise ForwardingRefused(f"no forwarding to {port}")

    async def run(self, script: str, *, timeout: float) -> Outcome:
        if self.too_long:
            raise OutputTooLong("OutputTooLong", "more than 8 MiB")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("sh", stdin=pipe, stdout=pipe, stderr=pipe)
        async with asyncio.timeout(timeout):
            out, error = await process.communicate(guarded(script).encode())
        return Outcome(process.returncode, out.decode(), error.decode())


class Server:
    """Answers every request with `answer`, byte for byte, and keeps what it was sent."""

    answer = b""
    stays = False
    port = 0

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        self.heard.append(head + await reader.readexactly(length))
        writer.write(self.answer)
        await writer.drain()
        if self.stays:
            await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


@pytest.fixture
def link() -> Shell:
    return Shell()


@pytest.fixture
def host(link: Shell) -> RemoteHost:
    return RemoteHost(link, "/var/run/docker.sock", "sparkkeep")  # type: ignore[arg-type]  # only what asking needs


def spec(server: Server, kind: str, **more: Any) -> ProbeSpec:
    return probe.canary(ProbeSpec(kind=kind, port=server.port, model='it\'s "tiny"', **more))


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_sound_goes_out_whole_and_a_chunked_answer_comes_back(host: RemoteHost, server: Server) -> None:
    server.answer = CHUNKED + b'5\r\n{"tex\r\nc\r\nt": "1 2 3"}\r\n0\r\n\r\n'
    answer = await host.ask(spec(server, "transcription"))
    where = f"POST /v1/audio/transcriptions on port {server.port}"
    assert answer == Answer(ready=True, message=f"{where} gives a transcript")
    assert known() in server.heard[0]
    assert server.heard[0].startswith(b"POST /v1/audio/transcriptions HTTP/1.1\r\n")
    assert b'name="model"\r\n\r\nit\'s "tiny"\r\n' in server.heard[0]
    assert b"Expect:" not in server.heard[0]


async def test_sound_comes_back_whole(host: RemoteHost, server: Server) -> None:
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 32044\r\n\r\n" + tone()
    assert (await host.ask(spec(server, "speech"))).message.endswith("gives audio")
    sent = json.loads(server.heard[0].partition(b"\r\n\r\n")[2])
    assert sent == {"model": 'it\'s "tiny"', "input": "ping", "voice": "alloy", "response_format": "wav"}


async def test_a_page_is_asked_for_without_a_body(host: RemoteHost, server: Server) -> None:
    server.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    asked = probe.health(ProbeSpec(kind="chat", port=server.port))
    assert await host.ask(asked) == Answer(ready=True, message=f"GET /health on port {server.port} answers 204")
    assert (
        server.heard[0]
        == (
            f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUser-Agent: sparkkeep-probe\r\nAccept: */*\r\n"
            "Connection: close\r\n\r\n"
        ).encode()
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "curl: (1) Received HTTP/0.9 when not allowed"),
        (b"", "curl: (52) Empty reply from server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf", "curl: (18) "),
    ],
)
async def test_what_is_no_answer_is_told_in_curls_words(
    host: RemoteHost, server: Server, answer: bytes, said: str
) -> None:
    server.answer = answer
    got = await host.ask(spec(server, "chat"))
    assert (got.ready, got.busy) == (False, False)
    assert got.message.startswith(f"POST /v1/chat/completions on port {server.port}: {said}")


async def test_silence_is_silence_by_curl_too(host: RemoteHost, server: Server) -> None:
    server.stays = True
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf"
    asked = spec(server, "chat", canary_timeout=0.3)
    assert await host.ask(asked) == probe.silence(asked)


async def test_a_closed_port_and_an_endless_answer(host: RemoteHost, link: Shell, server: Server) -> None:
    closed = await host.ask(ProbeSpec(kind="http", port=1))
    assert closed.message.startswith("GET /health on port 1: curl: (7) ")
    link.too_long = True
    assert await host.ask(spec(server, "chat")) == Answer(
        ready=False, message=f"POST /v1/chat/completions on port {server.port}: its answer has no end"
    )


async def test_any_bytes_pass_through_a_shell_both_ways(link: Shell) -> None:
    data = bytes(range(256)) * 1000
    outcome = await link.run(piped(("cat",), data), timeout=10)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert base64.b64decode(outcome.stdout) == data
    assert piped(("cat", "a b"), b"") == "cat 'a b' | base64"
