"""The fetches of weights under way: one at a time on each Spark, the rest in line, and how the last ones ended.

What can be helped by trying again is tried again, after growing pauses, from the byte where it stopped; what needs a
person (a licence, room on the disk) ends at once with the reason. A fetch lives in this process only: after a restart
nothing is under way, and asking again goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from reconciler.explain import Explanation
from reconciler.hosts import Host
from reconciler.weights.cache import Want
from reconciler.weights.fetch import Fetched
from reconciler.weights.peer import Peer
from reconciler.weights.progress import Progress
from reconciler.weights.repo_files import Listing

KEPT: Final = 50  # fetches that have ended
PAUSES: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0)  # seconds before trying again
TRIES: Final = 6  # attempts in a row without a byte
FOR_PEOPLE: Final = frozenset({"DiskFull", "Unwritable"})  # may pass, but not by waiting

log = logging.getLogger("sparkkeep.weights")


class State(StrEnum):
    """Where a fetch stands."""

    QUEUED = "queued"  # another one is under way on that Spark
    FETCHING = "fetching"
    WAITING = "waiting"  # before another attempt; `why` says what was wrong with the last
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})


class Bring(Protocol):
    """What makes a revision whole: `reconciler.weights.fetch.fetch`, or what stands in for it in practice."""

    def __call__(
        self,
        host: Host,
        want: Want,
        *,
        token: str,
        peers: Sequence[Peer],
        known: Listing | None,
        progress: Callable[[Progress], None],
    ) -> Awaitable[Fetched]:
        """Raises nothing but bugs; `Fetched.why` tells."""


class Fleet(Protocol):
    """What the fetches need of whoever keeps the Sparks."""

    def host(self, spark: str) -> Host:
        """A Spark. Raises KeyError if it is not declared."""

    def token(self) -> str:
        """The value of the secret `hf`, or nothing."""

    def peers(self, spark: str, want: Want) -> Sequence[Peer]:
        """Other Sparks that seem to have it."""

    def began(self, fetching: Fetching) -> int:
        """A fetch begins to change a Spark. Gives a number for `ended`."""

    def ended(self, number: int, fetching: Fetching) -> None:
        """It has ended."""


@dataclass(slots=True, eq=False)
class Fetching:
    """One fetch. Times are Unix seconds; `next_at` is when a waiting one is tried again."""

    id: int
    spark: str
    want: Want
    asked_at: float
    by: str = ""
    workload: str = ""  # that it was begun for, by the loop
    state: State = State.QUEUED
    started_at: float | None = None
    ended_at: float | None = None
    next_at: float | None = None
    progress: Progress | None = None
    why: Explanation | None = None
    outcome: Fetched | None = None
    attempts: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        """It has ended, in one way or another."""
        return self.state in ENDED


class Fetches:
    """All fetches of this process. Everything here is called from one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        bring: Bring,
        *,
        now: Callable[[], float] = time.time,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._fleet = fleet
        self._bring = bring
        self._now = now
        self._pauses = pauses
        self._numbers = itertools.count(1)
        self._open: dict[int, Fetching] = {}
        self._past: deque[Fetching] = deque(maxlen=KEPT)
        self._turns: dict[str, asyncio.Lock] = {}
        self._gates: dict[str, asyncio.Lock] = {}

    def all(self) -> tuple[Fetching, ...]:
        """Those that ended, oldest first, then those under way and in line."""
        return (*self._past, *self._open.values())

    def under_way(self, spark: str) -> tuple[Fetching, ...]:
        """Those of one Spark that have not ended."""
        return tuple(each for each in self._open.values() if each.spark == spark)

    def start(self, spark: str, want: Want, *, by: str = "", workload: str = "") -> Fetching:
        """Begin, or get in line; the same again is the same fetch. Raises KeyError for an unknown Spark.

        `workload`: the loop asks for it, to launch that. One that a person asks for too is that person's from then on.
        """
        self._fleet.host(spark)
        for each in self.under_way(spark):
            if each.want == want:
                if each.workload and not workload:
                    each.by, each.workload = by, ""
                return each
        made = Fetching(next(self._numbers), spark, want, self._now(), by, workload)
        self._open[made.id] = made
        made.task = asyncio.create_task(self._run(made), name=f"{spark} fetch {want.repository}")
        return made

    async def cancel(self, number: int) -> Fetching:
        """End one; what came stays on the disk. One that has ended stays as it is. Raises KeyError."""
        found = next((each for each in self.all() if each.id == number), None)
        if found is None:
            raise KeyError(number)
        await self._end(found)
        return found

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(self._end(each) for each in tuple(self._open.values())))

    async def _end(self, fetching: Fetching) -> None:
        task = fetching.task
        if task is None or fetching.over:
            return
        task.cancel()
        await asyncio.wait({task})
        if not fetching.over:  # it had not even begun
            fetching.state = State.CANCELLED
            self._put_away(fetching)

    @asynccontextmanager
    async def none_begins(self, spark: str) -> AsyncIterator[None]:
        """While this lasts no fetch begins on the Spark; those under way go on, and `under_way` has them."""
        async with self._gate(spark):
            yield

    def _gate(self, spark: str) -> asyncio.Lock:
        return self._gates.setdefault(spark, asyncio.Lock())

    async def _run(self, fetching: Fetching) -> None:
        number: int | None = None
        try:
            async with self._turns.setdefault(fetching.spark, asyncio.Lock()):
                async with self._gate(fetching.spark):
                    fetching.state, fetching.started_at = State.FETCHING, self._now()
                number = self._fleet.began(fetching)
                fetching.outcome = await self._try(fetching)
                fetching.why = fetching.outcome.why
            fetching.state = State.DONE if fetching.why is None else State.FAILED
        except asyncio.CancelledError:
            fetching.state = State.CANCELLED
        except Exception:  # the root of this task
            log.exception("%s: fetching %s failed", fetching.spark, fetching.want.repository)
            why = Explanation("InternalError", "sparkkeep failed while it fetched this; see its log", terminal=True)
            fetching.state, fetching.why, fetching.outcome = State.FAILED, why, Fetched(why)
        finally:
            self._put_away(fetching)
            if number is not None:
                self._fleet.ended(number, fetching)

    def _put_away(self, fetching: Fetching) -> None:
        fetching.ended_at, fetching.next_at = self._now(), None
        self._past.append(self._open.pop(fetching.id))

    async def _try(self, fetching: Fetching) -> Fetched:
        """Attempts until one succeeds, or trying again makes no sense."""
        listing: Listing | None = None
        idle = 0
        while True:
            fetching.attempts += 1
            fetched = await self._attempt(fetching, listing)
            listing = fetched.listing or listing
            why = fetched.why
            idle = 0 if fetched.came else idle + 1
            if why is None or why.terminal or why.reason in FOR_PEOPLE or idle >= TRIES:
                return fetched
            pause = max(self._pauses[min(idle, len(self._pauses) - 1)], fetched.retry_after)
            fetching.state, fetching.why, fetching.next_at = State.WAITING, why, self._now() + pause
            await asyncio.sleep(pause)
            fetching.state, fetching.next_at = State.FETCHING, None

    async def _attempt(self, fetching: Fetching, listing: Listing | None) -> Fetched:
        def told(progress: Progress) -> None:
            fetching.progress, fetching.why = progress, None

        spark, want = fetching.spark, fetching.want
        try:
            host = self._fleet.host(spark)
        except KeyError:
            return Fetched(Explanation("NoSuchSpark", f"{spark} is no longer declared", terminal=True))
        peers = self._fleet.peers(spark, want)
        return await self._bring(host, want, token=self._fleet.token(), peers=peers, known=listing, progress=told)
