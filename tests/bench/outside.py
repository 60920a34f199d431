"""A host's engine and containers as seen from outside: no SSH, so that watching costs the watched nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.hosts.host import Host

PATIENCE = 30.0
PIDS = Path("/sys/fs/cgroup/pids")


@dataclass(frozen=True)
class Event:
    """What happened to a container; `at` is Unix seconds by the engine's own stamp."""

    action: str
    name: str
    at: float


class Outside:
    """Follows one engine's events, and does to its containers what a fault or a careless hand would do."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._events: list[Event] = []
        self._news = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def of(cls, host: Host) -> AsyncIterator[Outside]:
        watching = cls(host)
        filters = quote(json.dumps({"type": ["container"]}))
        reader, writer = await watching._ask("GET", f"/events?filters={filters}")
        follower = asyncio.create_task(watching._follow(reader))
        try:
            yield watching
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
            writer.close()

    async def when(self, name: str, action: str, after: float) -> float:
        """The time of the next such event of the container."""

        def found() -> Event | None:
            return next((e for e in self._events if e.name == name and e.action == action and e.at > after), None)

        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(found)
        event = found()
        assert event is not None
        self._events = [e for e in self._events if e.at >= event.at]
        return event.at

    async def news(self) -> AsyncIterator[Event]:
        """Every event as it comes; for one that wants them all, and does not ask `when`."""
        seen = 0
        while True:
            async with self._news:
                while len(self._events) == seen:
                    await self._news.wait()
            for event in self._events[seen:]:
                seen += 1
                yield event

    async def inspect(self, name: str) -> dict[str, Any]:
        reader, writer = await self._ask("GET", f"/containers/{name}/json")
        body = await reader.read()
        writer.close()
        found: dict[str, Any] = json.loads(body)
        return found

    async def process_of(self, name: str) -> int:
        """The container's first process, as this machine numbers it."""
        found = await self.inspect(name)
        for procs in PIDS.glob(f"*/*/docker/{found['Id']}/cgroup.procs"):
            for pid in procs.read_text().split():
                spaces = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split("\n", 1)[0].split()
                if spaces[-1] == "1":
                    return int(pid)
        raise AssertionError(f"{name} has no process")

    async def kill(self, name: str) -> float:
        """Kill the container's process as the kernel would, behind the engine's back. Returns when."""
        pid = await self.process_of(name)
        at = time.time()
        os.kill(pid, signal.SIGKILL)
        return at

    async def remove(self, name: str) -> float:
        """What `docker rm -f` does. Returns when it was done."""
        reader, writer = await self._ask("DELETE", f"/containers/{name}?force=1")
        await reader.read()
        writer.close()
        return time.time()

    async def _ask(self, method: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A request in HTTP/1.0, whose answer is plain until the end. Returns once its head has come."""
        reader, writer = await asyncio.open_unix_connection(self._host.docker_socket, limit=2**20)
        writer.write(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.split()[1].startswith(b"2"), head
        return reader, writer

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            told = json.loads(line)
            name = told["Actor"]["Attributes"].get("name", "")
            async with self._news:
                self._events.append(Event(told["Action"], name, told["timeNano"] / 1e9))
                self._news.notify_all()
