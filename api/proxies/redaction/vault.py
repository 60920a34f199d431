"""The map: which placeholder stands for what, by conversation.

A conversation that is in use is one object, whoever asks for it; the file follows it. The file's work is done by a
thread of its own, one thing after the other, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from api.proxies.redaction.map_file import MapFile
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.sealing import VaultRefused

__all__ = ["DAY", "Vault", "VaultRefused"]

DAY: Final = 86_400.0
MOST: Final = 10_000
"""Conversations in memory, where there is no file: the one that was not used for longest goes first."""

T = TypeVar("T")
Key = tuple[str, str]


class Vault:
    """Conversations by owner and name. All methods belong to the event loop."""

    def __init__(self, file: MapFile | None, thread: ThreadPoolExecutor, ttl: float, now: Callable[[], float]) -> None:
        self._file = file
        self._thread = thread
        self._ttl = ttl
        self._now = now
        self._turn = asyncio.Lock()  # one thing after the other, as in the thread
        self._live: WeakValueDictionary[Key, Conversation] = WeakValueDictionary()
        self._kept: dict[Key, Conversation] = {}  # without a file; what was used last stands last

    @classmethod
    def open(
        cls,
        path: Path | None,
        key_file: Path | None = None,
        ttl: float = DAY,
        *,
        now: Callable[[], float] = time.time,
    ) -> Vault:
        """Before the loop runs. No path: memory only. No key file: the path's, with `.key`. Raises VaultRefused."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redaction-map")
        if path is None:
            return cls(None, thread, ttl, now)
        try:
            file = thread.submit(MapFile, path, key_file or path.with_name(f"{path.name}.key")).result()
        except BaseException:
            thread.shutdown()
            raise
        return cls(file, thread, ttl, now)

    async def conversation(self, name: str, owner: str) -> Conversation:
        """The one of that name and owner, a new one if there is none; for as long as it is in use the same object.

        Its time begins anew. Raises VaultRefused.
        """
        key = (owner, name)
        async with self._turn:
            found = self._live.get(key)
            if found is None or found.used + self._ttl < self._now():
                found = await self._loaded(key)
            found.used = self._now()
            self._live[key] = found
            if self._file is None:
                self._keep(key, found)
            return found

    async def save(self, conversation: Conversation) -> None:
        """Keep what was issued since. To be awaited before a masked request leaves. Raises VaultRefused."""
        async with self._turn:
            conversation.used = self._now()
            if self._file is None or conversation.forgotten:
                return
            first, entries = conversation.saved, conversation.since(conversation.saved)
            if not entries and not first:
                return
            owner, name = conversation.owner, conversation.name
            await self._run(self._file.save, owner, name, entries, first, conversation.used)
            conversation.saved = first + len(entries)

    async def forget(self, name: str, owner: str | None = None) -> int:
        """Delete a conversation; without an owner, those of that name of all owners. How many there were.

        An answer that is under way is still restored, and nothing of it is kept. Raises VaultRefused.
        """
        async with self._turn:
            gone = self._let_go(lambda found: found.name == name and owner in {None, found.owner})
            return len(gone) if self._file is None else await self._run(self._file.forget, name, owner)

    async def sweep(self, now: float) -> int:
        """Delete those that nobody used for longer than they are kept. How many. Raises VaultRefused."""
        async with self._turn:
            gone = self._let_go(lambda found: found.used + self._ttl < now)
            return len(gone) if self._file is None else await self._run(self._file.sweep, now - self._ttl)

    def close(self) -> None:
        """Finish what is under way and close the file."""
        if self._file is not None:
            self._thread.submit(self._file.close).result()
        self._thread.shutdown()

    async def _loaded(self, key: Key) -> Conversation:
        owner, name = key
        found = Conversation(name, owner)
        if self._file is not None:
            for entry in await self._run(self._file.load, owner, name, self._now(), self._ttl):
                found.recall(entry)
            found.saved = found.mark()
        return found

    def _keep(self, key: Key, found: Conversation) -> None:
        self._kept.pop(key, None)
        self._kept[key] = found
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def _let_go(self, which: Callable[[Conversation], bool]) -> list[Key]:
        """Out of memory, and never saved again."""
        gone = [key for key, found in list(self._live.items()) if which(found)]
        for key in gone:
            self._live.pop(key).forgotten = True
            self._kept.pop(key, None)
        return gone

    async def _run(self, what: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what, *given)
