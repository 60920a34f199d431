"""The folder of the desired state as a git repository: every accepted write is a commit, hand edits stay a person's.

A write is an edit, from a file's old bytes to its new ones. It is made to the version of HEAD, which gives the commit,
and to the working copy, which gives the file; where a person has staged yet another version, to that one as well, so
that their next `git commit` doesn't take the write back. Where nothing is dirty the three are the same. Thus a hand
edit is never committed by anyone but its author, and never overwritten.

How the branch, the index and the files change together, and what a crash leaves, is told in `state.repository_move`.
Nothing is changed while a person is in the middle of a merge or a rebase, or has no branch checked out. Everything
that changes something is serialised by a lock in this process and by one on `.git/sparkkeep.lock` between processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias

from state.git import Git, GitFailed
from state.repository_commit import Actor, Commit, author_of, commit_of, commit_tree, commits, message_of, tree_with
from state.repository_draft import Drafter, Edit, status
from state.repository_files import Scope
from state.repository_lock import alone
from state.repository_make import find_or_make
from state.repository_move import Change, Entry, Move, Moved, Mover
from state.sources import Source

TRIES: Final = 20  # writes begun anew since a person saved or committed meanwhile
LOCK: Final = "sparkkeep.lock"
MAX_DIFF: Final = 256 << 10
MAX_HISTORY: Final = 1000
MIDDLE: Final = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}

Drafted: TypeAlias = tuple[Commit | None, list[Change]]  # the commit, and what becomes of the files


class Busy(GitFailed):
    """A person is in the middle of something with this repository; nothing is changed until they are done."""


@dataclass(frozen=True, slots=True)
class Head:
    """The branch that is checked out and its newest commit; None in a repository that has none yet."""

    ref: str
    revision: str | None

    @property
    def branch(self) -> str:
        """As people call it."""
        return self.ref.removeprefix("refs/heads/")


class Repository:
    """One desired state under git. `open` finds or makes it."""

    def __init__(self, git: Git, scope: Scope, git_dir: Path, *, now: Callable[[], float] = time.time) -> None:
        self.git = git
        self.scope = scope
        self.git_dir = git_dir
        self.mover = Mover(git, scope.top, git_dir)
        self.drafter = Drafter(git, scope.top, self.mover)
        self._now = now
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path | str, *, now: Callable[[], float] = time.time) -> Self:
        """The repository that this file or folder lies in; a new one, in the folder, if it lies in none.

        Raises GitMissing where there is no git, GitFailed where the repository can't be used. What a crash
        interrupted is finished or cleared away.
        """
        git, scope = await find_or_make(Path(path))
        git_dir = await git.text("rev-parse", "--absolute-git-dir")
        repository = cls(git, scope, Path(git_dir), now=now)
        async with repository.locked():
            return repository

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None, None]:
        """Nobody else of sparkkeep changes this repository meanwhile, and nothing is left half done before."""
        async with self._lock, alone(self.git_dir / LOCK):
            self.git.forget()
            await self.mover.recover()
            yield

    async def head(self) -> Head:
        """Where the working copy stands. Raises Busy where no branch is checked out."""
        answer = await self.git.run("rev-parse", "HEAD", "--symbolic-full-name", "HEAD", codes=(0, 128))
        if answer.code:  # a branch without commits
            return Head(await self.git.text("symbolic-ref", "HEAD"), None)
        revision, ref = answer.out.decode("utf-8", "surrogateescape").split()
        if ref == "HEAD":
            raise Busy(
                f"no branch is checked out in {self.scope.top}; `git switch` to one, then changes are taken again"
            )
        return Head(ref, revision)

    async def dirty(self) -> tuple[str, ...]:
        """The files of the desired state that differ from HEAD: edited, staged, new or removed by hand."""
        found = await status(self.git, "--ignored=matching", "--", *self.scope.pathspecs)
        return tuple(path for path in found if self.scope.holds(path))

    async def write(
        self, changes: Mapping[Path | str, Edit], *, message: str, actor: Actor, reason: str = ""
    ) -> Commit | None:
        """Make these edits and commit them, and only them. None if HEAD already says so; the files do then, too.

        An edit is called several times and must give equal bytes for equal bytes; None stands for no file. What it
        raises is raised, and then nothing has happened. Raises Busy or GitFailed.
        """
        edits = {self.scope.locate(path): edit for path, edit in changes.items()}
        text = message_of(message, reason, actor)
        async with self.locked():
            return await self._persist(lambda head: self._edited(head, edits, text, actor), text)

    async def rollback(self, revision: str, *, actor: Actor, reason: str = "") -> Commit | None:
        """A new commit, in which the desired state is again that of the revision; None if it is already.

        Refused, with GitFailed, while a file that would change differs from HEAD.
        """
        wanted = await self.git.meant(revision)
        subject = (await commits(self.git, "--no-walk", wanted))[0].subject
        text = message_of(f"Roll back to {wanted[:10]}: {subject}", reason, actor)
        async with self.locked():
            return await self._persist(lambda head: self._rolled_back(head, wanted, text, actor), text)

    async def history(self, limit: int = 50, before: str | None = None) -> list[Commit]:
        """The commits that changed the desired state, newest first; with `before`, those that this one builds on."""
        start = f"{await self.git.meant(before)}^@" if before is not None else (await self.head()).revision
        if start is None:
            return []
        count = max(1, min(limit, MAX_HISTORY))
        return await commits(self.git, f"--max-count={count}", start, "--", *self.scope.pathspecs)

    async def diff(self, revision: str, to: str | None = None) -> str:
        """What has changed in the desired state since that revision: until another, or until the files as they are."""
        ends = [await self.git.meant(end) for end in (revision, to) if end is not None]
        argv = ("diff", "--no-ext-diff", "--no-textconv", "--no-renames", *ends, "--", *self.scope.pathspecs)
        answer = await self.git.run(*argv, most=MAX_DIFF, cut=True)
        text = answer.out.decode("utf-8", "replace")
        if answer.cut:
            text = f"{text[: text.rfind(chr(10)) + 1]}... there is more; {MAX_DIFF >> 10} KiB are shown\n"
        return text

    async def show(self, revision: str, path: Path | str) -> bytes:
        """A file of the desired state as it was. Raises GitFailed if it wasn't there."""
        name = self.scope.locate(path)
        (found,) = await self.git.blobs([f"{await self.git.meant(revision)}:{name}"])
        if found is None:
            raise GitFailed(f"{name} does not exist in {revision}")
        return found

    async def sources(self, revision: str) -> tuple[Source, ...]:
        """The whole desired state as it was, for `state.load` to judge."""
        found = await self._files(await self.git.meant(revision))
        names = sorted(found)
        contents = await self.git.blobs([found[name].blob for name in names])
        return tuple(Source(name, data) for name, data in zip(names, contents, strict=True) if data is not None)

    async def settled(self) -> Head:
        """Where HEAD is, if now is a time to change anything. Raises Busy."""
        for name, what in MIDDLE.items():
            if (self.git_dir / name).exists():
                told = f"finish it, or give it up with `git {what} --abort`"
                raise Busy(f"a {what} is under way in {self.scope.top}; {told}, then changes are taken again")
        return await self.head()

    async def _persist(self, draft: Callable[[Head], Awaitable[Drafted]], text: bytes) -> Commit | None:
        """Carry out what is drafted for HEAD, anew each time somebody was quicker."""
        why = text.decode().partition("\n")[0]
        for _ in range(TRIES):
            head = await self.settled()
            made, changes = await draft(head)
            if made is None and not changes:
                return None
            new = made.revision if made is not None else head.revision
            try:
                await self.mover.make(Move(ref=head.ref, old=head.revision, new=new, changes=tuple(changes), why=why))
            except Moved:
                continue
            return made
        raise GitFailed(f"the files in {self.scope.top} keep changing; nothing was written, try again")

    async def _edited(self, head: Head, edits: Mapping[str, Edit], text: bytes, actor: Actor) -> Drafted:
        draft = await self.drafter.edit(head.revision, edits)
        return await self._commit(head, draft.entries, text, actor), draft.changes

    async def _rolled_back(self, head: Head, wanted: str, text: bytes, actor: Actor) -> Drafted:
        now, then = await self._files(head.revision), await self._files(wanted)
        differing = {path: then.get(path) for path in now | then if now.get(path) != then.get(path)}
        new = await self._commit(head, differing, text, actor)
        return new, await self.drafter.carry(head.revision, new.revision) if new is not None else []

    async def _commit(
        self, head: Head, entries: Mapping[str, Entry | None], text: bytes, actor: Actor
    ) -> Commit | None:
        """A commit on HEAD in which these files are so; none if there are none."""
        if not entries:
            return None
        tree = await tree_with(self.git, self.git_dir, head.revision, entries)
        parents = [head.revision] if head.revision is not None else []
        now = int(self._now())
        revision = await commit_tree(self.git, tree, parents, text, author_of(actor, now))
        return commit_of(revision, now, str(actor), text.decode(), tuple(sorted(entries)))

    async def _files(self, revision: str | None) -> dict[str, Entry]:
        """The desired state's files in a commit."""
        where = self.scope.file or (f"{self.scope.folder}/" if self.scope.folder else "")
        found = await self.drafter.entries(revision, *([where] if where else []))
        return {path: entry for path, entry in found.items() if self.scope.holds(path)}
