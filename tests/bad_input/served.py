"""All of `sparkkeep serve --practice`, in a thread of this process: practice Sparks, loop and API on loopback."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from api.app import build
from api.assemble import Parts, running
from api.folder import DataFolder
from api.guard.addressed import Hosts
from api.guard.bearer import Token
from api.practice import Workshop, no_download, workshop
from api.serve import Server, configured
from api.versioned import Versioned
from tests.aside import aside

_Value = TypeVar("_Value")


class Complaints(logging.Handler):
    """What was logged as an error: what no answer shows, such as a stream that broke or a task that died."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


class Fleet:
    """What a test holds in its hand. `call` runs in the thread of the server, in `loop`."""

    def __init__(self, parts: Parts, room: Workshop, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.parts = parts
        self.room = room
        self.url = url
        self.complaints = Complaints()
        self.loop = loop
        self._keys = {name: spark.host_key for name, spark in room.fleet.sparks.items()}

    def call(self, work: Callable[[], Awaitable[_Value]], seconds: float = 30) -> _Value:
        async def run() -> _Value:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(seconds)

    def idle(self) -> bool:
        """Nothing is left to do and nothing under way."""
        loop = self.parts.context.loop
        return all(w.passes for w in loop.workers.values()) and not loop.plan().steps

    def mend(self) -> None:
        """Take all faults back; every Spark is on, answers, and shows its first key."""

        async def heal() -> None:
            for spark in self.room.fleet.sparks.values():
                spark.faults.clear()
                spark.host_key = self._keys[spark.name]
                if spark.faults.counts["power_off"] > spark.faults.counts["boot"]:
                    await spark.faults.boot()

        self.call(heal)

    def settle(self, seconds: float = 30) -> None:
        async def idle() -> bool:
            return self.idle()

        end = time.monotonic() + seconds
        while not self.call(idle):
            assert time.monotonic() < end, "the fleet does not come to rest"
            time.sleep(0.05)


@asynccontextmanager
async def _fleet(
    folder: Path, template: Path, sparks: int, versioned: Versioned | None, token: Token | None
) -> AsyncIterator[Fleet]:
    with DataFolder(folder / "data") as data:
        async with (
            workshop(sparks, data, template, first_port=0) as room,
            running(room.desired, data, {}, reach=room.reach, bring=no_download, versioned=versioned) as parts,
        ):
            parts.context.practice = room
            parts.context.heartbeat = 0.1  # so that streams are soon seen to be quiet
            app = build(parts.context, version="1", token=token)
            assert parts.context.wire is not None
            parts.context.wire.guarded(hosts=Hosts(), origins=None, token=token)
            config = configured(app, parts.context.wire)
            config.port = 0
            server = Server(config)
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            yield Fleet(parts, room, url, asyncio.get_running_loop())
            parts.context.closing.set()
            server.stop()
            await task
            parts.context.wire.close()


@contextmanager
def served(
    folder: Path, text: str, *, sparks: int = 2, versioned: Versioned | None = None, token: Token | None = None
) -> Iterator[Fleet]:
    """Until the end of the block. Its desired state is `folder/data/desired.yaml`; under git where it is `versioned`."""
    template = folder / "template.yaml"
    template.write_text(text)
    with aside(_fleet(folder, template, sparks, versioned, token)) as fleet:
        logging.getLogger().addHandler(fleet.complaints)
        try:
            yield fleet
        finally:
            logging.getLogger().removeHandler(fleet.complaints)
