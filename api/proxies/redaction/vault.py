"""The map: which placeholder stands for what, by conversation."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from api.proxies.redaction.placeholders import Conversation


class VaultRefused(Exception):
    """The map can't be opened: what to do about it is said."""


class Vault:
    """Conversations by name and owner. One process at a time; all methods belong to the event loop and never block it."""

    def __init__(self, ttl: float, now: Callable[[], float]) -> None:
        self._ttl = ttl
        self._now = now
        self._conversations: dict[tuple[str, str], Conversation] = {}

    @classmethod
    def open(
        cls, path: Path | None, key_file: Path | None = None, ttl: float = 86_400, *, now: Callable[[], float] = time.time
    ) -> Vault:
        """Before the loop runs. No path: memory only. No key file: the path's, with `.key`. Raises VaultRefused."""
        del path, key_file
        return cls(ttl, now)

    async def conversation(self, name: str, owner: str) -> Conversation:
        """The one of that name and owner, a new one if there is none; for as long as it is in use the same object."""
        return self._conversations.setdefault((owner, name), Conversation(name, owner))

    async def save(self, conversation: Conversation) -> None:
        """Keep what was issued since. To be awaited before a masked request leaves. Raises VaultRefused."""

    async def forget(self, name: str, owner: str | None = None) -> int:
        """Delete a conversation (without an owner: those of that name of all owners). How many there were."""
        gone = [key for key in self._conversations if key[1] == name and owner in (None, key[0])]
        for key in gone:
            del self._conversations[key]
        return len(gone)

    async def sweep(self, now: float) -> int:
        """Delete those that nobody used for longer than they are kept. How many."""
        del now
        return 0

    def close(self) -> None:
        """Finish what is under way and close the file."""
