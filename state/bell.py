"""Waking those who follow something that changes.

A bell carries no news: who hears it looks for itself. Rings while one is busy melt into one, so a slow follower
costs nothing and misses nothing.
"""

from __future__ import annotations

import asyncio
from typing import Self


class Bell:
    """Something that changed; may be rung from any thread."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    def ring(self) -> None:
        """Wake everyone."""
        for follower in tuple(self._followers):
            follower.wake()

    def subscribe(self) -> Follower:
        """Hear every ring from now on. Called inside a running event loop."""
        return Follower(self)

    def join(self, follower: Follower) -> None:
        """Used by followers."""
        self._followers.add(follower)

    def leave(self, follower: Follower) -> None:
        """Used by followers."""
        self._followers.discard(follower)


class Follower:
    """One listener: `async for _ in follower` goes round once per ring. Close it (or use `with`) when done."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        bell.join(self)

    def wake(self) -> None:
        """The bell rang."""
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._rung.set()
        elif self._loop.is_closed():
            self.close()
        else:
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for a ring since the last wait; False when `timeout` seconds passed without one."""
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def close(self) -> None:
        """Hear nothing any more."""
        self._bell.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        await self.wait()
