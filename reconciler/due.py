"""When a Spark is to be looked at next.

One `Due` per Spark stands for the work queue of other controllers: asking twice is asking once, asking while
the Spark is being worked on means once more afterwards, and an earlier time wins over a later one. Since
each Spark has its own worker, a slow one can't hold up the rest.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

QUIET: Final = 1.0  # seconds without a look after which an event is acted on at once
DEBOUNCE: Final = 0.05  # seconds that a burst of events is gathered for otherwise


class Due:
    """The next look at one key, in seconds of the running loop's clock."""

    def __init__(self) -> None:
        self._at = math.inf
        self._changed = asyncio.Event()
        self._last = -math.inf

    def after(self, delay: float) -> None:
        """Look within `delay` seconds; a look already due earlier stays."""
        at = asyncio.get_running_loop().time() + delay
        if at < self._at:
            self._at = at
            self._changed.set()

    def now(self) -> None:
        """Look as soon as the work in hand is done."""
        self.after(0.0)

    def hint(self) -> None:
        """An event says that something changed: at once if it was quiet, else gathered with those that follow."""
        quiet = asyncio.get_running_loop().time() - self._last > QUIET
        self.after(0.0 if quiet else DEBOUNCE)

    async def wait(self) -> None:
        """Return when a look is due. What is asked for from then on counts towards the next look."""
        loop = asyncio.get_running_loop()
        while (left := self._at - loop.time()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(None if math.isinf(left) else left):
                    await self._changed.wait()
            except TimeoutError:
                continue
        self._at = math.inf
        self._last = loop.time()
