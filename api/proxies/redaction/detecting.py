"""The detector that the settings describe: another one as soon as they do, and no text looked through twice.

Apps send a conversation again with each thing that is said in it. What was found in a text is remembered, without the
text: by a digest under a key that nobody has outside of this process, and as positions.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from api.proxies.redaction.finds import Detector, DetectorDown, Find
from state.redaction import Detection

REMEMBERED: Final = 50_000
"""Texts."""


class Pool(Detector, Protocol):
    """What looks for it somewhere else, and is to be ended."""

    async def close(self) -> None:
        """End it."""


class Detecting:
    """`make` makes one. Raises ValueError or ImportError, with what is wrong with the settings."""

    def __init__(self, settings: Callable[[], Detection], make: Callable[[Detection], Pool]) -> None:
        self._settings = settings
        self._make = make
        self._made_of: Detection | None = None
        self._pool: Pool | None = None
        self._known: OrderedDict[bytes, list[Find]] = OrderedDict()
        self._key = os.urandom(32)
        self._closing: set[asyncio.Task[None]] = set()

    async def find(self, texts: Sequence[str]) -> list[list[Find]]:
        """For each text its finds. Raises DetectorBusy, DetectorDown."""
        pool = self._in_force()
        digests = [self._digest(text) for text in texts]
        found: dict[bytes, list[Find]] = {}
        wanted: dict[bytes, str] = {}
        for digest, text in zip(digests, texts, strict=True):
            if (known := self._known.get(digest)) is None:
                wanted[digest] = text
            else:
                self._known.move_to_end(digest)
                found[digest] = known
        if wanted:
            fresh = dict(zip(wanted, await pool.find(list(wanted.values())), strict=True))
            found |= fresh
            if pool is self._pool:
                self._remember(fresh)
        return [found[digest] for digest in digests]

    def _in_force(self) -> Pool:
        settings = self._settings()
        if self._pool is None or settings != self._made_of:
            try:
                made = self._make(settings)
            except (ImportError, ValueError) as error:
                raise DetectorDown(f"settings.redaction.detection: {error}") from None
            old, self._pool, self._made_of = self._pool, made, settings
            self._known.clear()
            if old is not None:
                closing = asyncio.get_running_loop().create_task(old.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return self._pool

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def _remember(self, found: dict[bytes, list[Find]]) -> None:
        self._known |= found
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """End it."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()
        await asyncio.gather(*self._closing)
