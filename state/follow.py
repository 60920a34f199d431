"""Follows the repository of the desired state: what differs from its newest commit, and what a remote has.

Looking at the files with git costs some processes, so it happens when the desired state changes, when somebody asks
for it, and now and then; `seen` is what was found last. A remote is asked on an interval, after each write and whenever
a webhook calls; while it is away, less and less often. What a sync brings comes into force like any edit of the files:
if it is not valid, what was in force stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from state.git import GitFailed
from state.remote import Outcome, Remote
from state.repository import Repository
from state.store import DesiredStore

log = logging.getLogger(__name__)

LOOK: Final = 60.0  # seconds between two looks where nothing calls for one
SLOWEST: Final = 600.0  # seconds between two tries to reach a remote that is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """How the files stand to git. `dirty` are the desired state's files that differ from the newest commit."""

    revision: str | None = None
    branch: str = ""
    dirty: tuple[str, ...] = ()
    problem: str = ""  # why git could not be asked
    remote: Outcome | None = None


class Follow:
    """Run it beside the store. `poke` has it look, and sync, at once."""

    def __init__(
        self,
        repository: Repository,
        store: DesiredStore,
        *,
        remote: Remote | None = None,
        every: float = 60.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.seen = Checkout()
        self.remote = remote
        self._repository = repository
        self._store = store
        self._every = every
        self._clock = clock
        self._poked = asyncio.Event()
        self._pause = every

    def poke(self) -> None:
        """Something has changed here or there."""
        self._poked.set()

    async def look(self) -> Checkout:
        """See how the files stand now."""
        try:
            head, dirty = await self._repository.head(), await self._repository.dirty()
            self.seen = Checkout(
                revision=head.revision, branch=head.branch, dirty=dirty, remote=self.seen.remote, problem=""
            )
        except GitFailed as failed:
            self.seen = Checkout(remote=self.seen.remote, problem=str(failed))
        return self.seen

    async def sync(self) -> Outcome | None:
        """Bring here and the remote together; None where there is none."""
        if self.remote is None:
            return None
        outcome = await self.remote.sync()
        before = self.seen.remote
        if before is None or (before.reason, before.message) != (outcome.reason, outcome.message):
            log.log(logging.INFO if outcome.good else logging.WARNING, "the remote: %s", outcome.message)
        self._pause = self._every if outcome.reason != "RemoteDown" else min(self._pause * 2, SLOWEST)
        if outcome.moved:
            await self._store.reload()
        self.seen = replace(self.seen, remote=outcome)
        return outcome

    async def run(self) -> None:
        """Until cancelled."""
        now = self._clock or asyncio.get_running_loop().time
        due = now()
        listening = asyncio.create_task(self._listen(), name="desired-bell")
        try:
            while True:
                poked = self._poked.is_set()
                self._poked.clear()
                if self.remote is not None and (poked or now() >= due):
                    await self.sync()
                    due = now() + self._pause
                await self.look()
                pause = LOOK if self.remote is None else min(LOOK, max(0.0, due - now()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._poked.wait()
        finally:
            listening.cancel()

    async def _listen(self) -> None:
        """Another revision in force is worth a look, and the remote wants to know."""
        with self._store.subscribe() as bell:
            async for _ in bell:
                self.poke()
