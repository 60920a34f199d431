"""The open connections to backends: the one used last is used next, so that those not needed grow old and end."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from api.proxies.limits import Limits
from api.proxies.upstream import Link
from api.turns import of_the_crowd

Address = tuple[str, int, ssl.SSLContext | None]
"""Host, port, and how a certificate is looked at, if one has to be shown there."""


class Pool:
    """Of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._loop = loop
        self._limits = limits
        self._idle: dict[Address, deque[Link]] = {}
        self._links: set[Link] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._links)

    def take(self, address: Address) -> Link | None:
        """One that is open, if there is one."""
        links = self._idle.get(address)
        while links:
            link = links.pop()
            if link.transport is not None and not link.transport.is_closing():
                return link
        return None

    def give(self, link: Link) -> None:
        """It can be used again."""
        links = self._idle.get(link.address)
        if links is None:
            links = self._idle[link.address] = deque()
        if len(links) >= self._limits.idle_links:
            link.drop()
            return
        link.idle_until = 0.0
        links.append(link)

    def gone(self, link: Link) -> None:
        """It has ended."""
        self._links.discard(link)

    def open(self, address: Address, then: Callable[[Link | OSError], None]) -> Callable[[], object]:
        """Open one more, `then` say so; what is returned gives it up."""

        async def connect() -> None:
            host, port, tls = address
            try:
                transport, link = await self._loop.create_connection(lambda: Link(self, address), host, port, ssl=tls)
                of_the_crowd(transport, self._loop)
            except OSError as error:
                then(error)
                return
            self._links.add(link)
            then(link)

        task = self._loop.create_task(connect())
        self._opening.add(task)
        task.add_done_callback(self._opened)
        return task.cancel

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context: dict[str, Any] = {"message": "a connection was opened and could not be used", "exception": error}
            self._loop.call_exception_handler(context)

    def tick(self, now: float) -> None:
        """End those that nobody has used for long."""
        for address, links in list(self._idle.items()):
            for link in links:
                link.idle_until = link.idle_until or now + self._limits.kept_alive
            while links and links[0].idle_until <= now:
                links.popleft().drop()
            if not links:
                del self._idle[address]

    def close(self) -> None:
        """End them all."""
        for task in list(self._opening):
            task.cancel()
        for link in list(self._links):
            link.drop()
        self._idle.clear()
