"""One who watches, over a plain socket: reads the stream, folds it, and can drop and come back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from api.watch.patches import apply


class Refused(Exception):
    """Another answer than a stream."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = json.loads(body)


_connected: list[asyncio.StreamWriter] = []


@dataclass
class Watcher:
    """What it knows is `status` and `events`; `kinds` is what came, in order. `id` is where it is."""

    url: str
    query: str = ""
    id: str = ""
    status: Any = None
    events: list[Any] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)  # epoch.version -> the status as folded
    keeps: bool = False  # `versions`
    took: int = 0  # bytes
    connects: int = 0
    _buffer: bytes = b""

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.events]

    async def connect(self, *, receive: int | None = None) -> None:
        """Raises Refused. `receive` is the size of the socket's buffer."""
        where = urlsplit(self.url)
        assert where.hostname
        limit = 2**16 if receive is None else receive
        self._reader, self._writer = await asyncio.open_connection(where.hostname, where.port, limit=limit)
        _connected.append(self._writer)
        seen = f"last-event-id: {self.id}\r\n" if self.id else ""
        head = f"GET /api/watch{self.query} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n{seen}\r\n"
        self._writer.write(head.encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        self._buffer = b""
        if not answer.startswith("http/1.1 200"):
            length = int(answer.partition("content-length:")[2].split()[0])
            body = await self._reader.readexactly(length)
            self.drop()
            raise Refused(int(answer.split()[1]), body)
        assert "text/event-stream" in answer
        self.connects += 1

    def drop(self) -> None:
        """Be gone without a word."""
        self._writer.transport.abort()

    async def read(self) -> bool:
        """Take in what came; False at the end of the stream."""
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.took += size
        *frames, self._buffer = (self._buffer + data).split(b"\n\n")
        for text in frames:
            self._take(text.decode())
        return size > 0

    def _take(self, text: str) -> None:
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        if "data" not in fields:
            assert fields == {"retry": "2000"}
            return
        kind, data = fields["event"], json.loads(fields["data"])
        self.kinds.append(kind)
        self.id = fields["id"]
        if kind == "status":
            self.status = data
        elif kind == "patch":
            assert data, "nothing is sent where nothing differs"
            self.status = apply(self.status, data)
        elif kind == "event":
            assert not self.events or data["seq"] > self.seqs[-1], "an event came twice, or too late"
            self.events.append(data)
        elif kind == "reset":
            self.resets.append(data["latestSeq"])
        else:
            assert (kind, data) == ("bookmark", {})
        if self.keeps:
            self.versions[self.id.rpartition(".")[0]] = self.status

    async def until(self, done: Any, seconds: float = 10) -> None:
        """Read until that holds."""
        async with asyncio.timeout(seconds):
            while not done():
                assert await self.read(), "the stream ended"


async def all_gone() -> None:
    """Whoever is still there leaves: a socket of a test that failed would be found, as a warning, in a later one."""
    while _connected:
        _connected.pop().transport.abort()
    await asyncio.sleep(0)


def where(mark: str) -> tuple[int, int]:
    """Version and seq of an id."""
    _, version, seq = mark.split(".")
    return int(version), int(seq)
