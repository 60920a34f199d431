"""The survey of one Spark's disks, apart from the scan and less often: every ten minutes, and when somebody asks.

Or as often as the settings say.
It waits for nobody and nobody waits for it: a survey that fails, or a Spark that does not answer, leaves the last one
in force, with the reason beside it. `Surveyor.keep` stands for the whole life of a Spark; `look` asks for a survey
now, as after a download.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.disks.found import DiskSurvey
from reconciler.disks.read import read
from reconciler.disks.script import script
from reconciler.disks.where import places
from reconciler.due import Due
from reconciler.facts import ScanFailed
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.menu import Entry, Infer, menu
from reconciler.menu_recipes import Wanted
from state.recipes import Recipe

EVERY: Final = 600.0  # seconds
RETRY: Final = 60.0  # seconds after a failure
LIMIT: Final = 120.0  # seconds of one survey

log = logging.getLogger("sparkkeep.surveyor")


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one Spark's disks. `reason` and `message` say why the latest survey failed, if it did."""

    survey: DiskSurvey | None = None
    reason: str = ""
    message: str = ""
    failed_at: float | None = None  # Unix seconds


class Surveyor:
    """Surveys one Spark. `recipes` gives those whose mounts are looked into beside the usual places."""

    def __init__(
        self,
        name: str,
        *,
        recipes: Callable[[], Iterable[Recipe]] = tuple,
        every: Callable[[], float] = lambda: EVERY,
        retry: float = RETRY,
        now: Callable[[], float] = time.time,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` is called after each survey that succeeded."""
        self.name = name
        self.seen = Seen()
        self._told = told
        self._due = Due()
        self._recipes = recipes
        self._every = every
        self._retry = retry
        self._now = now
        self._looked = -math.inf  # by the running loop's clock

    async def run(self, host: Host) -> DiskSurvey:
        """One survey. Raises LinkDown or ScanFailed, and then `seen` keeps the last good one."""
        nonce = secrets.token_hex(16)
        where = places(self._recipes())
        try:
            outcome = await host.run(script(nonce, where), timeout=LIMIT)
            survey = await asyncio.to_thread(read, outcome.stdout, nonce, where, self._now())  # may be megabytes
        except LinkDown as down:
            self.seen = Seen(self.seen.survey, down.reason, down.message, self._now())
            raise
        except ScanFailed as failed:
            self.seen = Seen(self.seen.survey, failed.reason, str(failed), self._now())
            raise
        self.seen = Seen(survey)
        self._told()
        return survey

    def look(self) -> None:
        """Survey as soon as the one under way is over. Must be called from the loop that `keep` runs in."""
        self._due.now()

    def sooner(self) -> None:
        """The interval is another one: if it is shorter, it counts from the last survey on. Otherwise from the next."""
        self._due.after(max(0.0, self._looked + self._every() - asyncio.get_running_loop().time()))

    async def keep(self, host: Host, ready: Callable[[], Awaitable[object]] | None = None) -> None:
        """Survey again and again, each time after `ready` (there is a connection). Never ends.

        What goes wrong is told in `seen`.
        """
        self.look()
        while True:
            await self._due.wait()
            self._looked = asyncio.get_running_loop().time()
            if ready is not None:
                await ready()
            try:
                await self.run(host)
            except (LinkDown, ScanFailed) as error:
                log.info("%s: the disks were not surveyed: %s", self.name, error)
                self._due.after(self._retry)
            except Exception:  # the root of this task: a bug may cost one survey, not all that follow
                log.exception("%s: the survey of the disks failed", self.name)
                message = "the survey failed; see sparkkeep's log"
                self.seen = Seen(self.seen.survey, "InternalError", message, self._now())
                self._due.after(self._retry)
            self._due.after(self._every())


@dataclass(kw_only=True)
class Disks:
    """All Sparks' disks, with what is needed to make the menu of them. What `GET /api/models` answers from."""

    surveyors: Callable[[], Mapping[str, Surveyor]]
    wanted: Callable[[], Wanted]
    infer: Infer | None = None
    now: Callable[[], float] = field(default=time.time)

    def seen(self) -> Mapping[str, Seen]:
        """What is known of each Spark's disks."""
        return {name: surveyor.seen for name, surveyor in self.surveyors().items()}

    async def menu(self) -> tuple[Entry, ...]:
        """All entries. Made beside the event loop, since there may be thousands of files to go through."""
        surveys = {name: seen.survey for name, seen in self.seen().items()}
        return await asyncio.to_thread(menu, surveys, self.wanted(), infer=self.infer)

    def look(self, spark: str | None = None) -> tuple[str, ...]:
        """Ask for a survey of one Spark, or of all. Gives the names. Raises KeyError for an unknown one."""
        surveyors = self.surveyors()
        chosen = tuple(sorted(surveyors)) if spark is None else (spark,)
        for name in chosen:
            surveyors[name].look()
        return chosen
