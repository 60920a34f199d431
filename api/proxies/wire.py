"""What all connections of the data path share: who routes, the open connections, the limits, and one clock.

The clock looks at each connection a few times a second, so that a request that passes in a millisecond starts and stops
no timer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from api.guard.addressed import Hosts
from api.guard.bearer import Token
from api.guard.origins import Origins
from api.guard.rules import Rules
from api.proxies.calls import Backend, Call, Field, Routing
from api.proxies.embeddings.job import Job
from api.proxies.gate import Gate, Place
from api.proxies.head import Head
from api.proxies.limits import Limits
from api.proxies.observer import Observer, Unseen
from api.proxies.pool import Pool
from api.proxies.translation import Translate

if TYPE_CHECKING:
    from api.proxies.exchange import Client, Exchange

log = logging.getLogger("sparkkeep.proxies")

TICK: Final = 0.1

Whole = tuple[int, list[Field], bytes]
"""An answer: status, fields, body."""


class Ticked(Protocol):
    """A connection of a client."""

    def tick(self, now: float) -> None:
        """So late it is."""

    def cut(self) -> None:
        """End it."""


class Local(Protocol):
    """Who answers what needs no backend: the list of models."""

    def answer(self, call: Call, body: bytes) -> Whole:
        """The answer. Raises Refused."""


class Keys(Protocol):
    """Who knows who asks."""

    def who(self, key: str, address: str) -> str:
        """The name of whoever shows this key, or none, from this address. Raises Refused."""


class Masks(Protocol):
    """Who answers requests whose words are masked."""

    def exchange(self, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> Exchange:
        """The life of this one."""


class Audio(Protocol):
    """Who answers requests with a sound."""

    def exchange(self, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> Exchange | None:
        """The life of this one; None: it is not one of them."""


Lacks = Callable[[Backend, str, int, bytes], bool]
"""Whether what came back for a call that was passed on (path, status, body) says that its server has no such page."""

Divide = Callable[[str, list[Field], bytes, Backend], Job | None]
"""How a call (path, fields, body) is asked in several; None: as it came."""


class Wire:
    """The data path of one server. Everything is optional but `routing`."""

    def __init__(
        self,
        routing: Routing,
        *,
        limits: Limits | None = None,
        observer: Observer | None = None,
        local: Local | None = None,
        keys: Keys | None = None,
        translate: Translate | None = None,
        lacks: Lacks | None = None,
        divide: Divide | None = None,
        audio: Audio | None = None,
        masks: Masks | None = None,
    ) -> None:
        self.routing = routing
        self.limits = limits or Limits()
        self.observer: Observer = observer or Unseen()
        self.local = local
        self.keys = keys
        self.translate = translate
        self.lacks = lacks
        self.divide = divide
        self.audio = audio
        self.masks = masks
        self.gate = Gate(Rules(hosts=Hosts()))
        self.draining = False
        self.fronts: set[Ticked] = set()
        self._pool: Pool | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._life = os.urandom(6).hex().encode()
        self._count = 0

    def guarded(self, *, hosts: Hosts, origins: Origins | None, token: Token | None) -> None:
        """By which rules requests come in."""
        self.gate = Gate(Rules(hosts=hosts, origins=origins, token=token))

    @property
    def pool(self) -> Pool:
        """The open connections to backends."""
        assert self._pool is not None  # noqa: S101  # there since the first client
        return self._pool

    def enter(self, front: Ticked, loop: asyncio.AbstractEventLoop) -> None:
        """A client's connection is ours."""
        if self._pool is None:
            self._loop, self._pool = loop, Pool(loop, self.limits)
        self.fronts.add(front)
        if self._ticking is None:
            self._ticking = loop.call_later(TICK, self._tick)

    def leave(self, front: Ticked) -> None:
        """It is no longer."""
        self.fronts.discard(front)

    def request_id(self) -> bytes:
        """A name for a request that came without one."""
        self._count += 1
        return b"%b-%x" % (self._life, self._count)

    def close(self) -> None:
        """Let go of everything."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        if self._pool is not None:
            self._pool.close()

    def _tick(self) -> None:
        self._ticking = None
        if self._loop is None or self._pool is None:
            return
        now = self._loop.time()
        for front in list(self.fronts):
            try:
                front.tick(now)
            except Exception:  # the others' clock goes on
                log.exception("a request of the data path failed")
                front.cut()
        self._pool.tick(now)
        if self.fronts or len(self._pool):
            self._ticking = self._loop.call_later(TICK, self._tick)
