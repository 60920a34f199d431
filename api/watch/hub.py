"""One stream for everybody who watches: the status, what changes in it, and the journal's events.

The status is made once for all listeners, a moment after the journal was told something and once a second besides
(scans and probes ring no bell), and only while somebody listens. What differs from the one before becomes a JSON Patch
and the next version. Patches and events stand in one log, each with the very bytes that everybody is sent; a listener
is a place in that log (`api.watch.listener`), so one that is slow costs no memory.

Nothing but a clock makes `lease.expiresIn` another number each time, so that alone is no news. When there is some, it
goes along: each version is the whole status of one moment.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any, Final

from api.context import Context
from api.watch.log import Entry, Log, Mark, Point, frame
from api.watch.patches import diff
from api.watch.snapshot import snapshot
from state.journal import Recorded

Json = dict[str, Any]

LEAST: Final = 0.25  # seconds between two looks
TICK: Final = 1.0
BATCH: Final = 500

log = logging.getLogger("sparkkeep.api")


class Watch:
    """What everybody who watches one server shares."""

    def __init__(self, context: Context, *, kept: Log | None = None) -> None:
        self.context = context
        self.epoch = token_hex(8)
        self.log = kept or Log()
        self.news = asyncio.Event()  # set once, when there is some; then another one takes its place
        self.status: Json = {}  # of the newest version
        self._text: tuple[int, str] = (0, "")  # a version, and its status as it is sent
        self._turn = asyncio.Lock()
        self._listeners = 0
        self._keeping: asyncio.Task[None] | None = None

    def mark(self, point: Point) -> Mark:
        """What stands beside the data: where somebody is who has read up to there."""
        return Mark(self.epoch, point)

    def framed(self, recorded: Recorded, version: int) -> bytes:
        """An event of the journal, for somebody who has that version of the status."""
        mark = self.mark(Point(version, recorded.seq))
        return frame("event", mark, json.dumps(recorded.as_dict(), separators=(",", ":")))

    def whole(self, seq: int) -> bytes:
        """The newest status, for somebody who has the journal's events up to `seq`."""
        version = self.log.head.version
        if self._text[0] != version:
            self._text = version, json.dumps(self.status, separators=(",", ":"))
        return frame("status", self.mark(Point(version, seq)), self._text[1])

    @property
    def listeners(self) -> int:
        """How many watch now."""
        return self._listeners

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The log is carried on for as long as anybody is in here."""
        self._listeners += 1
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="watch")
        try:
            yield
        finally:
            self._listeners -= 1
            if not self._listeners and self._keeping is not None:
                self._keeping.cancel()
                self._keeping = None

    async def refresh(self) -> None:
        """Carry the log on to this moment, if nobody listened so far."""
        if self._keeping is None or not self.status:
            await self._renew()

    async def _keep(self) -> None:
        ending = asyncio.create_task(self.context.closing.wait(), name="watch ends")
        ending.add_done_callback(lambda _: self._wake())
        try:
            with self.context.journal.subscribe() as bell:
                while not ending.done():
                    try:
                        await self._renew()
                    except Exception:  # the root of this task
                        log.exception("what has changed could not be told to those who watch")
                    await asyncio.sleep(LEAST)
                    await bell.wait(TICK - LEAST)
        finally:
            ending.cancel()

    async def _renew(self) -> None:
        """The events since the last time, and what has changed in the status."""
        async with self._turn:
            before = self.log.end
            try:
                await self._take_events()
                self._take_status()
            finally:
                if self.log.end != before:
                    self._wake()

    async def _take_events(self) -> None:
        journal, (version, seq) = self.context.journal, self.log.head
        latest = journal.latest_seq
        many = latest - seq > self.log.room // 2  # nobody listened for long
        if not self.status or many or not journal.resumable(seq):
            self.log.restart(Point(version, latest))
            return
        while seq < latest:
            found = await journal.events(since_seq=seq, limit=BATCH)
            for recorded in found:
                seq = recorded.seq
                self.log.add(Entry(Point(version, seq), event=True, frame=self.framed(recorded, version)))
            if len(found) < BATCH:
                return

    def _take_status(self) -> None:
        """The status of this moment, if it is another one; the clock alone makes it none."""
        status, (version, seq) = snapshot(self.context), self.log.head
        if not self.status:
            self.log.restart(Point(1, seq))
        elif diff(_without_clocks(self.status), _without_clocks(status)):
            point = Point(version + 1, seq)
            patch = json.dumps(diff(self.status, status), separators=(",", ":"))
            self.log.add(Entry(point, event=False, frame=frame("patch", self.mark(point), patch)))
        else:
            return
        self.status = status

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def _without_clocks(status: Json) -> Json:
    """What is news when it changes."""
    sparks = {
        name: {**spark, "lease": {**spark["lease"], "expiresIn": None}} if spark["lease"] else spark
        for name, spark in status["sparks"].items()
    }
    return {**status, "sparks": sparks}
