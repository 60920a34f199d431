"""The desired state under git, as one server keeps it: the desk for changes, and what follows the repository.

Without git on the machine, or with a repository that can't be used, the loop keeps the files as ever; then changes by
the API are refused, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from api.context import Context
from api.folder import Unusable
from state.desk import Desk
from state.follow import Checkout, Follow
from state.git import GitFailed
from state.remote import Remote
from state.repository import Repository
from state.store import DesiredStore

log = logging.getLogger("sparkkeep.api")

EVERY: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioned:
    """What was asked for. `remote` is a name that the repository knows; it is synced each so many seconds (`every`)."""

    remote: str | None = None
    branch: str | None = None
    every: float = EVERY

    @asynccontextmanager
    async def tended(self, context: Context, store: DesiredStore) -> AsyncIterator[None]:
        """Puts desk and follower into the context, and follows the repository. Raises Unusable for a bad remote."""
        try:
            repository = await Repository.open(store.path)
        except GitFailed as failed:
            if self.remote is not None:
                raise Unusable(str(failed)) from failed
            log.warning("the desired state has no history: %s", failed)
            context.no_desk = str(failed)
            yield
            return
        context.desk = Desk(store=store, repository=repository, recipes=context.recipes, complete=context.complete)
        context.follow = Follow(repository, store, remote=await self._remote(repository), every=self.every)
        following = asyncio.create_task(context.follow.run(), name="desired-repository")
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _remote(self, repository: Repository) -> Remote | None:
        if self.remote is None:
            return None
        try:
            return await Remote.open(repository, name=self.remote, branch=self.branch)
        except GitFailed as failed:
            raise Unusable(str(failed)) from failed


def checkout_json(seen: Checkout) -> dict[str, Any]:
    """How the files stand to git, as the API shows it."""
    remote = seen.remote
    return {
        "revision": seen.revision,
        "branch": seen.branch,
        "dirty": list(seen.dirty),
        "problem": seen.problem,
        "remote": None
        if remote is None
        else {
            "good": remote.good,
            "reason": remote.reason,
            "message": remote.message,
            "upstream": remote.upstream,
            "files": list(remote.files),
            "since": remote.since,
        },
    }
