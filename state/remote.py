"""Keeping the repository and a branch of a remote at one state: fetch, bring together, push.

Who comes second rebases: our commits that the remote doesn't have are put on top of what it has
(`state.repository_replay`), and only then do the branch, the index and the files move, as one step. A conflict, or a
hand edit in a file that would change, leaves everything as it was, and the outcome says what a person can do.

A remote whose history was rewritten is followed. `refs/sparkkeep/seen/REMOTE/BRANCH` is the last tip of the remote that
our branch held: what was in it came from there, so what the remote dropped isn't pushed back to it. The branch as it
was before stays under `refs/sparkkeep/kept/`, so nothing is lost either. Nothing is ever pushed by force.

The network is talked to without the repository's lock: a slow remote doesn't hold up a write.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from state.conditions import Condition
from state.git import REMOTE_LIMIT, GitFailed, masked, named
from state.repository import Busy, Head, Repository
from state.repository_draft import DirtyFiles, told
from state.repository_move import Move, Moved
from state.repository_replay import Conflict, all_commits, own_commits, replay

log = logging.getLogger(__name__)

Reason = Literal[
    "InSync",  # nothing to do
    "FastForwarded",  # took over what the remote has
    "Rebased",  # the same, with commits of ours on top
    "Pushed",  # the remote took commits of ours
    "Conflict",
    "DirtyBehind",
    "Busy",
    "RemoteDown",
    "PushRefused",
    "PushRaced",
    "BranchGone",
    "Failed",
]
KEPT: Final = "refs/sparkkeep/kept/"
GOOD: Final = ("InSync", "FastForwarded", "Rebased", "Pushed")
TRIES: Final = 6
PAUSE: Final = 0.1  # seconds before the second try; jittered, and longer before each further one
REMOTE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
URL: Final = re.compile(r"(https?|ssh|git|file)://[!-~]+|[A-Za-z0-9._-]+@[A-Za-z0-9._-]+:[!-~]+|/[ -~]+")
RACED: Final = ("fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a sync ended. `moved` says that files have changed, so that it is worth reading them again."""

    reason: Reason
    message: str
    revision: str | None = None  # our branch now
    upstream: str | None = None  # the remote's, as last fetched
    files: tuple[str, ...] = ()  # those in the way
    moved: bool = False
    since: float | None = None  # when the remote went away

    @property
    def good(self) -> bool:
        """Whether here and there hold the same now."""
        return self.reason in GOOD

    def condition(self) -> Condition:
        """For the status."""
        return Condition(
            type="RemoteSynced", status="True" if self.good else "False", reason=self.reason, message=self.message
        )


class Remote:
    """One branch of one remote, and the repository that follows it."""

    def __init__(self, repository: Repository, name: str, branch: str, *, now: Callable[[], float] = time.time) -> None:
        self.name = name
        self.branch = branch
        self._repository = repository
        self._git = repository.git
        self._now = now
        self._down_since: float | None = None
        self._lock = asyncio.Lock()
        self._tracking = f"refs/remotes/{name}/{branch}"
        self._seen = f"refs/sparkkeep/seen/{name}/{branch}"

    @classmethod
    async def open(
        cls,
        repository: Repository,
        *,
        name: str = "origin",
        url: str | None = None,
        branch: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """The remote of that name. With a `url` it is added if there is none. Raises GitFailed."""
        if not REMOTE.fullmatch(name):
            raise GitFailed(f"{name[:80]!r} can't name a remote; letters, digits, `.`, `_` and `-` are allowed")
        branch = named(branch) if branch is not None else (await repository.head()).branch
        answer = await repository.git.run("remote", "get-url", name, codes=(0, 2))
        known = answer.out.decode("utf-8", "replace").strip() if answer.code == 0 else None
        if known is None and url is None:
            raise GitFailed(f"{repository.scope.top} has no remote {name}; add one with `git remote add {name} URL`")
        if url is not None and known is None:
            await repository.git.run("remote", "add", "--", name, checked_url(url))
        elif url is not None and known != url:
            raise GitFailed(
                f"the remote {name} is {masked(known or '')} in git and {masked(url)} here;"
                f" if the latter is meant: `git remote set-url {name} URL`"
            )
        return cls(repository, name, branch, now=now)

    async def sync(self) -> Outcome:
        """Fetch, bring together, push. Never raises for what the remote or a person did; the outcome says it."""
        async with self._lock:
            try:
                return await self._sync()
            except GitFailed as failed:
                return Outcome(reason="Failed", message=str(failed))

    async def _sync(self) -> Outcome:
        last = Outcome(reason="InSync", message="")
        moved = False
        for attempt in range(TRIES):
            await asyncio.sleep(PAUSE * attempt * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            before = (await self._git.refs(self._tracking)).get(self._tracking)
            try:
                there = await self._fetch()
            except GitFailed as failed:
                return replace(self._down(failed), moved=moved)
            self._down_since = None
            last = await self._bring_together(before, there=there)
            moved = moved or last.moved
            last = replace(last, moved=moved)
            if not last.good or last.revision in (None, last.upstream):
                return last
            refused = await self._push(last.revision or "")
            if refused is None:
                told = f"{self._place} has what is here" if last.reason == "InSync" else last.message
                reason: Reason = "Pushed" if last.reason == "InSync" else last.reason
                return replace(last, reason=reason, message=told, upstream=last.revision)
            if refused.reason != "PushRaced":
                return replace(refused, revision=last.revision, upstream=last.upstream, moved=moved)
        return replace(last, reason="PushRaced", message=f"{self._place} changed at each of {TRIES} tries to push")

    @property
    def _place(self) -> str:
        return f"{self.name}/{self.branch}"

    async def _fetch(self) -> bool:
        """Learn the remote's tip; False if it has no such branch."""
        refspec = f"+refs/heads/{self.branch}:{self._tracking}"
        argv = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        try:
            await self._git.run(*argv, "--end-of-options", self.name, refspec, limit=REMOTE_LIMIT)
        except GitFailed as failed:
            if "couldn't find remote ref" in failed.said:
                return False
            raise
        return True

    def _down(self, failed: GitFailed) -> Outcome:
        if self._down_since is None:
            self._down_since = self._now()
        since = datetime.fromtimestamp(self._down_since, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        message = f"{self.name} can't be reached since {since}; changes are kept here until it can: {failed}"
        return Outcome(reason="RemoteDown", message=message, since=self._down_since)

    async def _bring_together(self, before: str | None, *, there: bool) -> Outcome:
        """Our branch onto the remote's, whose tip was `before` until now, and which may not be `there`."""
        async with self._repository.locked():
            for _ in range(TRIES):
                try:
                    head = await self._repository.settled()
                    return await self._onto(head, before, there=there)
                except Moved:
                    continue
                except Busy as busy:
                    return Outcome(reason="Busy", message=str(busy), upstream=before)
        return Outcome(reason="Busy", message=f"files in {self._repository.scope.top} keep changing; later again")

    async def _onto(self, head: Head, before: str | None, *, there: bool) -> Outcome:
        refs = await self._git.refs(self._tracking, self._seen)
        tip, seen = refs.get(self._tracking) if there else None, refs.get(self._seen)
        here = Outcome(reason="InSync", message="", revision=head.revision, upstream=tip)
        if head.branch != self.branch:
            told = f"{head.branch} is checked out, and {self._place} is followed; `git switch {self.branch}`"
            return replace(here, reason="Busy", message=told)
        if tip is None:
            return self._without_branch(here, known=(seen or before) is not None)
        try:
            target = await self._target(head.revision, tip, before, seen)
        except Conflict as conflict:
            return await self._conflict(here, conflict, seen)
        if target != head.revision:
            here = await self._move(here, head, target)
        if here.good and seen != tip:
            await self._git.run("update-ref", self._seen, tip)
        return replace(here, message=here.message or f"{self._place} and this repository are the same")

    def _without_branch(self, here: Outcome, *, known: bool) -> Outcome:
        """The remote has no such branch: it is new, or somebody deleted it."""
        if not known:
            return replace(here, message=f"{self._place} does not exist yet")
        told = f"{self._place} was deleted on the remote; to make it anew: `git push {self.name} {self.branch}`"
        return replace(here, reason="BranchGone", message=told)

    async def _target(self, ours: str | None, tip: str, before: str | None, seen: str | None) -> str:
        """Where our branch should be. Raises Conflict."""
        if ours is None or ours == tip or await self._git.is_ancestor(ours, tip):
            return tip
        theirs = [revision for revision in (tip, before, seen) if revision is not None]
        every = await all_commits(self._git, ours, tip)
        if every == await all_commits(self._git, ours, *theirs) and await self._git.is_ancestor(tip, ours):
            return ours
        own = await own_commits(self._git, ours, *theirs)
        await self._keep(ours, every - set(own))
        return await replay(self._git, own, tip)

    async def _keep(self, ours: str, lost: set[str]) -> None:
        """A name for the branch as it is, if it has commits that the new one won't have."""
        if not lost & await all_commits(self._git, ours, f"--glob={KEPT}*"):
            return
        name = f"{KEPT}{datetime.fromtimestamp(self._now(), UTC):%Y%m%dT%H%M%SZ}-{ours[:10]}"
        log.warning("the history of %s was rewritten; %s as it was is kept as %s", self._place, self.branch, name)
        await self._git.run("update-ref", name, ours)

    async def _move(self, here: Outcome, head: Head, target: str) -> Outcome:
        """Branch, index and files to the target, if no hand edit is in the way."""
        tip = here.upstream or target
        try:
            changes = await self._repository.drafter.carry(head.revision, target)
        except DirtyFiles as dirty:
            told = (
                f"{self._place} has changes to files that were edited here; {dirty}. Until then nothing is taken over"
            )
            return replace(here, reason="DirtyBehind", message=told, files=dirty.paths)
        why = f"take over {self._place}"
        await self._repository.mover.make(
            Move(ref=head.ref, old=head.revision, new=target, changes=tuple(changes), why=why)
        )
        reason: Reason = "FastForwarded" if target == tip else "Rebased"
        told = f"took over {tip[:10]} from {self._place}"
        if head.revision is not None and not await self._git.is_ancestor(head.revision, target):
            told += await self._told_kept(head.revision)
        return replace(here, reason=reason, message=told, revision=target, moved=bool(changes))

    async def _told_kept(self, ours: str) -> str:
        """Where commits are that the new branch doesn't have, behind a sentence."""
        argv = ("for-each-ref", "--format=%(refname)", "--sort=-refname", "--count=1", f"--points-at={ours}", KEPT)
        name = await self._git.text(*argv)
        return f", whose history was rewritten; this branch as it was is kept as {name}" if name else ""

    async def _conflict(self, here: Outcome, conflict: Conflict, seen: str | None) -> Outcome:
        top, tip = self._repository.scope.top, (here.upstream or "")[:10]
        rewritten = seen is not None and not await self._git.is_ancestor(seen, here.upstream or "")
        onto = f"--onto {self._place} {(seen or '')[:10]}" if rewritten else self._place
        message = (
            f"{told(conflict.files)}: commit {conflict.commit[:10]} here and {tip} at {self._place} change"
            " the same lines. Both are kept, the files stay as they are, and nothing is pushed until a person settles"
            f" it: in {top} run `git rebase {onto}`, mend the files, `git add` them, `git rebase --continue`"
        )
        return replace(here, reason="Conflict", message=message, files=conflict.files)

    async def _push(self, revision: str) -> Outcome | None:
        """None if the remote took it."""
        refspec = f"{revision}:refs/heads/{self.branch}"
        argv = ("push", "--porcelain", "--end-of-options", self.name, refspec)
        try:
            answer = await self._git.run(*argv, limit=REMOTE_LIMIT, codes=(0, 1))
        except GitFailed as failed:
            return self._down(failed)
        if answer.code == 0:
            await self._git.run("update-ref", self._seen, revision)
            return None
        lines = answer.out.decode("utf-8", "replace").splitlines()
        told = "; ".join(masked(line.split("\t")[-1]) for line in lines if line.startswith("!\t"))
        if any(word in told for word in RACED):
            return Outcome(reason="PushRaced", message=told)
        if not told:
            return self._down(GitFailed(f"git push failed: {answer.said.strip()[:300]}"))
        return Outcome(reason="PushRefused", message=f"{self._place} takes no commits from here: {told}")


def checked_url(url: str) -> str:
    """A URL that may be written into git's configuration. Raises GitFailed."""
    if not URL.fullmatch(url):
        raise GitFailed(
            f"{masked(url)[:200]!r} is no URL of a git repository; https://, ssh://, user@host:path or /path"
        )
    parts = urlsplit(url)
    if parts.password or (parts.scheme.startswith("http") and parts.username):
        raise GitFailed(
            "a URL with a user or password in it would lie in plain text in .git/config; leave them out,"
            " and let a credential helper of git (`git config credential.helper`) know them"
        )
    return url
