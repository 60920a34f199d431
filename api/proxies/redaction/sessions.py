"""Conversations by the name that their app gives them, each used by one request at a time while it is changed.

A request whose conversation has no name is a conversation of its own. It tells all that was said before, so what is
masked gets the same placeholders each time; and nobody else's answer can hold one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from api.proxies.calls import Refused
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.vault import Vault, VaultRefused


class Sessions:
    """Of one server. `vault`: where they are kept; None: nowhere, so that none has a name."""

    def __init__(self, vault: Vault | None, why: str = "this server keeps none") -> None:
        """`why`: there is no vault."""
        self._vault = vault
        self._why = why
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def using(self, owner: str, name: str) -> AsyncIterator[Conversation]:
        """One of somebody's, alone while it is changed, and then kept; without a name, a new one. Raises Refused."""
        if not name:
            yield Conversation()
            return
        vault = self._kept()
        lock = self._locks.setdefault((owner, name), asyncio.Lock())
        async with lock:
            try:
                conversation = await vault.conversation(name, owner)
                yield conversation
                await vault.save(conversation)
            except VaultRefused as refused:
                raise Refused(503, "MapRefused", f"what is masked can't be kept: {refused}", retry_after=5) from None

    async def known(self, owner: str, name: str) -> Conversation:
        """To put something right. Raises Refused."""
        try:
            return await self._kept().conversation(name, owner)
        except VaultRefused as refused:
            raise Refused(503, "MapRefused", f"what was masked can't be read: {refused}", retry_after=5) from None

    async def forget(self, owner: str, name: str) -> int:
        """Delete one; how many there were. Raises Refused."""
        try:
            return await self._kept().forget(name, owner)
        except VaultRefused as refused:
            raise Refused(503, "MapRefused", f"what was masked can't be deleted: {refused}", retry_after=5) from None

    def _kept(self) -> Vault:
        if self._vault is None:
            message = f"a request whose session has a name can't be answered: {self._why}"
            raise Refused(503, "NoSessions", message)
        return self._vault
