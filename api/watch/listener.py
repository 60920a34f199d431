"""One who watches: where in the log they are, and what they are owed.

Who comes anew gets the whole status and then what changes. Who comes back with the mark of what they saw last gets what
came after it. If that is no longer in the log, they get the whole status again, and from the journal the events that
they have not seen; `reset` says that some of these are forgotten. The same happens to somebody who reads so slowly that
the log has moved on without them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Self

from api.watch.hub import BATCH, Watch
from api.watch.log import Mark, Point, frame

RETRY: Final = b"retry: 2000\n\n"  # milliseconds after which a browser comes back
NOWHERE: Final = -1


@dataclass(slots=True, kw_only=True)
class Listener:
    """`seq`: of the last event that they have, though `number` (of the next entry of the log) may lie further on."""

    watch: Watch
    events: bool
    number: int
    seq: int

    @classmethod
    def anew(cls, watch: Watch, *, events: bool, seq: int | None = None) -> Self:
        """Begins with the whole status; with `seq` the journal's events after that follow."""
        return cls(watch=watch, events=events, number=NOWHERE, seq=watch.log.head.seq if seq is None else seq)

    @classmethod
    def resumed(cls, watch: Watch, mark: Mark, *, events: bool) -> Self | None:
        """Goes on after a mark; None if that can't be had without a gap."""
        if mark.epoch != watch.epoch:
            return None
        number = watch.log.after(mark.point)
        if number is not None:
            return cls(watch=watch, events=events, number=number, seq=mark.point.seq)
        number = watch.log.after_version(mark.point.version)
        if number is None:
            return None
        seq = watch.log.point(number).seq
        if events and not (mark.point.seq <= seq and watch.context.journal.resumable(mark.point.seq)):
            return None
        return cls(watch=watch, events=events, number=number, seq=mark.point.seq if events else seq)

    async def frames(self) -> AsyncIterator[bytes]:
        """All that they get, until the server closes."""
        context, clock = self.watch.context, asyncio.get_running_loop().time
        with self.watch.listening():
            yield RETRY
            told = clock()
            while not context.closing.is_set():
                news = self.watch.news
                data = await self._next()
                if not data:
                    try:
                        async with asyncio.timeout_at(told + context.heartbeat):
                            await news.wait()
                    except TimeoutError:
                        data = self._bookmark()
                if data:
                    yield data
                    told = clock()

    async def _next(self) -> bytes:
        """The next of what they are owed; nothing, if there is nothing new."""
        log = self.watch.log
        if self.number < log.first:
            return self._begin()
        if self.events and self.seq < log.point(self.number).seq:
            return await self._from_journal(log.point(self.number)) or await self._next()
        data, self.number = log.read(self.number, events=self.events)
        self.seq = log.point(self.number).seq
        return data

    def _begin(self) -> bytes:
        """The whole status; what they have of the journal stays their place in it, if it is one."""
        head, whole = self.watch.log.head, self.watch.whole(self.seq)
        self.number = self.watch.log.end
        if self.events and not self.watch.context.journal.resumable(self.seq):
            return whole + self._reset(head)
        self.seq = min(self.seq, head.seq)
        return whole

    def _reset(self, place: Point) -> bytes:
        self.seq = place.seq
        return frame("reset", self.watch.mark(place), json.dumps({"latestSeq": place.seq}))

    async def _from_journal(self, until: Point) -> bytes:
        """Events that are owed from before their place in the log."""
        journal, (version, seq) = self.watch.context.journal, until
        if not journal.resumable(self.seq):
            return self._reset(until)
        found = [r for r in await journal.events(since_seq=self.seq, limit=BATCH) if r.seq <= seq]
        self.seq = found[-1].seq if len(found) == BATCH else seq
        return b"".join(self.watch.framed(recorded, version) for recorded in found)

    def _bookmark(self) -> bytes:
        log = self.watch.log
        if self.number < log.first:  # the log has moved on this very moment: what comes next says where they are
            return b""
        return frame("bookmark", self.watch.mark(log.point(self.number)), "{}")
