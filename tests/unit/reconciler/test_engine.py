"""The Engine's client against a stand-in Engine on a real socket, behind real OpenSSH."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from reconciler import engine as module
from reconciler.engine import Engine, EngineDown, EngineError, docker_host
from reconciler.linkdown import ConnectionBroken, ForwardingRefused, LinkDown, PortClosed
from reconciler.ssh import Link
from tests.unit.reconciler.test_ssh import SSHD, Sshd, link_to, serving

pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")

Answer = tuple[int, Any]


class StandIn:
    """Answers GET requests on a Unix socket as dockerd does: keep-alive, JSON, chunked events."""

    def __init__(self, path: Path, answer: Callable[[str], Answer]) -> None:
        self.path, self.answer = path, answer
        self.asked: list[str] = []
        self.streams = 0
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.path.unlink(missing_ok=True)
        self.hang_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.streams += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1].decode()
                self.asked.append(path)
                if path.startswith("/events"):
                    await self._events(writer)
                    return
                status, body = self.answer(path)
                if status == 0:  # never answers
                    continue
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                )
                writer.write(data)

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (event := await self.events.get()) is not None:
            data = json.dumps(event).encode() + b"\n"
            for part in (data[:2], data[2:]):  # a chunk is not a line
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")
        writer.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with serving(tmp_path / "sshd") as running:
        yield running


@asynccontextmanager
async def standing_in(
    server: Sshd, folder: Path, answer: Callable[[str], Answer] = lambda path: (200, {"path": path}), **more: Any
) -> AsyncIterator[tuple[StandIn, Engine, Link]]:
    async with StandIn(folder / "docker.sock", answer) as stand_in, link_to(server) as link:
        engine = Engine(link, str(stand_in.path), **more)
        try:
            yield stand_in, engine, link
        finally:
            await engine.close()


async def test_requests_share_one_stream(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _):
        answers = await asyncio.gather(*(engine.get(f"/{n}") for n in range(10)))
        assert answers == [{"path": f"/{n}"} for n in range(10)]
        assert stand_in.streams == 1


async def test_a_long_answer_comes_whole(server: Sshd, tmp_path: Path) -> None:
    body = [{"Id": "x" * 1000}] * 5000
    async with standing_in(server, tmp_path, lambda _: (200, body)) as (_, engine, _):
        assert await engine.get("/long") == body


async def test_a_stream_that_was_closed_is_opened_again(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _):
        await engine.get("/one")
        stand_in.hang_up()
        assert await engine.get("/two") == {"path": "/two"}
        stand_in.hang_up()
        await asyncio.sleep(0.1)
        assert await engine.get("/three") == {"path": "/three"}
        assert stand_in.streams == 3


async def test_an_error_is_read_and_the_stream_kept(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path, lambda _: (404, {"message": "No such container: x"})) as (
        stand_in,
        engine,
        _,
    ):
        for _ in range(2):
            with pytest.raises(EngineError, match="No such container: x") as caught:
                await engine.get("/containers/x/json")
            assert caught.value.status == 404
        assert stand_in.streams == 1


async def test_an_engine_that_restarts_is_found_again(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _):
        await engine.get("/one")
        await stand_in.__aexit__()
        with pytest.raises(PortClosed):
            await engine.get("/down")
        await stand_in.__aenter__()
        assert await engine.get("/up") == {"path": "/up"}


async def test_an_engine_that_hangs_is_down(server: Sshd, tmp_path: Path) -> None:
    answers = [(0, None), (200, {"ok": True})]
    async with standing_in(server, tmp_path, lambda _: answers.pop(0), timeout=0.5) as (stand_in, engine, _):
        began = time.monotonic()
        with pytest.raises(EngineDown, match=r"within 0\.5 s"):
            await engine.get("/hangs")
        assert time.monotonic() - began < 2
        assert await engine.get("/again") == {"ok": True}
        assert stand_in.streams == 2


@pytest.mark.parametrize("body", [b"not json", b"{"])
async def test_an_answer_that_is_not_json(server: Sshd, tmp_path: Path, body: bytes) -> None:
    async with standing_in(server, tmp_path, lambda _: (200, body)) as (_, engine, _):
        with pytest.raises(EngineDown):
            await engine.get("/x")


async def test_a_socket_that_is_not_an_engines(server: Sshd, tmp_path: Path) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        writer.close()

    other = await asyncio.start_unix_server(talk, tmp_path / "other.sock")
    async with link_to(server) as link:
        engine = Engine(link, str(tmp_path / "other.sock"))
        with pytest.raises(EngineDown):
            await engine.get("/x")
    other.close()


async def test_an_answer_has_a_limit(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY", 1000)
    async with standing_in(server, tmp_path, lambda _: (200, "x" * 2000)) as (_, engine, _):
        with pytest.raises(EngineDown, match="longer than"):
            await engine.get("/x")


async def test_a_link_that_breaks_is_the_links_fault(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path, lambda _: (0, None)) as (_, engine, _):
        task = asyncio.create_task(engine.get("/x"))
        await asyncio.sleep(0.5)
        server.stop()
        with pytest.raises(LinkDown):
            await task


async def test_forwarding_that_is_refused_is_remembered_until_the_next_connection(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd") as server:
        async with standing_in(server, tmp_path) as (_, engine, link):
            assert not engine.by_cli
            await link.connect()
            engine.use_cli()
            assert engine.by_cli
            server.stop()
            server.start()
            while link.connected:
                await asyncio.sleep(0.01)
            await link.connect()
            assert not engine.by_cli


async def test_a_server_that_forbids_forwarding(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd", "DisableForwarding yes") as server:
        async with standing_in(server, tmp_path) as (_, engine, _):
            with pytest.raises((ForwardingRefused, PortClosed)):
                await engine.get("/x")


async def test_a_socket_in_the_home_folder(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, _, link):
        engine = Engine(link, f"$HOME/../{stand_in.path.name}")
        assert await engine.get("/home") == {"path": "/home"}
        await engine.close()


# Events


async def test_events_come_as_they_happen(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _):
        async with aclosing(engine.events(1700000000.25)) as events:
            for number in range(3):
                await stand_in.events.put({"Action": "start", "n": number})
                assert (await anext(events))["n"] == number
            assert await engine.get("/meanwhile") == {"path": "/meanwhile"}
            await stand_in.events.put(None)
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        assert (
            stand_in.asked[0] == "/events?filters=%7B%22type%22%3A+%5B%22container%22%5D%7D&since=1700000000.250000000"
        )
        assert stand_in.streams == 2


async def test_an_event_stream_that_is_cut_off(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _), aclosing(engine.events()) as events:
        await stand_in.events.put({"Action": "start"})
        await anext(events)
        stand_in.hang_up()
        with pytest.raises(EngineDown):
            await anext(events)


async def test_an_event_stream_on_a_link_that_breaks(server: Sshd, tmp_path: Path) -> None:
    async with standing_in(server, tmp_path) as (stand_in, engine, _), aclosing(engine.events()) as events:
        await stand_in.events.put({"Action": "start"})
        await anext(events)
        server.stop()
        with pytest.raises(ConnectionBroken):
            await anext(events)


# The docker command


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/var/run/docker.sock", ""),
        ("/run/docker.sock", ""),
        ("/run/user/1000/docker.sock", "DOCKER_HOST=unix:///run/user/1000/docker.sock; export DOCKER_HOST\n"),
        ("$HOME/.docker/run/docker.sock", 'DOCKER_HOST=unix://"$HOME"/.docker/run/docker.sock; export DOCKER_HOST\n'),
        ("/a b/docker.sock", "DOCKER_HOST='unix:///a b/docker.sock'; export DOCKER_HOST\n"),
    ],
)
def test_the_docker_command_is_pointed_at_the_same_socket(path: str, line: str) -> None:
    assert docker_host(path) == line
