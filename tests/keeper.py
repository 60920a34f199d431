"""The whole controller in this process, as `sparkkeep serve` assembles it, for tests to drive."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.hostkeys import HostKeys
from reconciler.lease import Identity
from reconciler.loop import Loop
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from reconciler.status import Status
from state.desired import Spark
from state.journal import Journal
from state.secrets import SecretRefused
from state.store import DesiredStore


@dataclass
class Keeper:
    """A running loop with what belongs to it."""

    loop: Loop
    store: DesiredStore
    journal: Journal
    status: Status
    file: Path

    def workload(self, name: str) -> dict[str, Any]:
        return self.status.build()["workloads"].get(name, {"sync": "Absent", "health": "Absent", "message": ""})

    def spark(self, name: str) -> dict[str, Any]:
        return self.status.build()["sparks"][name]

    def declare(self, text: str) -> None:
        """Save the desired state as an editor does: a new file in place of the old one."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)

    async def until(self, true: Callable[[], Any], seconds: float = 30.0, why: str = "") -> None:
        """Wait for the world to be so; say what it was instead."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not true():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"not within {seconds} s {why}: {self.picture()}")
            await asyncio.sleep(0.02)

    def picture(self) -> str:
        built = self.status.build()
        lines = [f"{n}: {w['sync']} {w['health']} {w['message']}" for n, w in built["workloads"].items()]
        lines += [f"{n}: {s['reason']} {s['message']}" for n, s in built["sparks"].items()]
        return "\n  ".join(["", *lines])

    def settled(self, *names: str) -> bool:
        found = self.status.build()["workloads"]
        wanted = names or tuple(found)
        return all(n in found and found[n]["sync"] == "Synced" and found[n]["health"] == "Healthy" for n in wanted)

    def quiet(self) -> bool:
        """Every Spark has been looked at and nothing is left to do."""
        plan = self.loop.plan()
        return not plan.steps and all(
            not (w.sight.unknown or w.pulling or w.building) for w in self.loop.workers.values()
        )


@asynccontextmanager
async def keeping(
    folder: Path,
    text: str,
    *,
    key: Path,
    known_hosts: Path,
    secret: Callable[[str], str] | None = None,
    journal: Path | str = ":memory:",
    identity: Identity | None = None,
) -> AsyncIterator[Keeper]:
    """Serve `text` as the desired state. Without an `identity` it takes over from any other of that kind at once."""
    me = identity or Identity(holder="tests@keeper", life=secrets.token_hex(4))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "desired.yaml"
    if text:
        file.write_text(text)
    keys = HostKeys([known_hosts], own=folder / "known_hosts")

    def connect(name: str, spark: Spark) -> RemoteHost:
        link = Link(name, spark, keys, key_path=key, config=())
        return RemoteHost(link, spark.socket, store.current.loaded.desired.settings.owner)

    book = Journal(journal)
    store = DesiredStore(file, generations=book)
    try:
        async with (
            store,
            Loop(
                store,
                book,
                connect,
                secret=secret or _no_secret,
                rng=random.Random(1),
                mods=[folder / "mods"],
                contexts=[folder],
                identity=me,
            ) as loop,
        ):
            yield Keeper(loop=loop, store=store, journal=book, status=Status(loop), file=file)
    finally:
        book.close()


def _no_secret(name: str) -> str:
    raise SecretRefused(f"there is no secret {name}")
