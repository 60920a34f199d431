"""Moving a repository from one commit to another: the branch, the index and the working copy, as one step.

Every change that sparkkeep makes, its own write, a rollback, what came from a remote, is one Move. It says for each
file what the index and the working copy hold now and what they shall hold, all of it objects in git already, so no
order of events can lose any of it. The steps, and what a crash (kill -9, a power cut) after each leaves behind:

0. Objects: nothing refers to them. As if nothing had been asked for.
1. The record, `.git/sparkkeep-move`: the branch has not moved, so whoever comes next drops the record.
2. The new content lies beside each file, under a hidden name: dropped with the record. A full disk or a folder that
   can't be written shows here, while the move can still be refused.
   Then a last look: what was saved, staged or committed since sends the caller back to the start.
3. The branch moves, if it is still where it was seen (compare and swap; `git update-ref`). This is the moment at which
   the move has happened. After a crash the branch has the commit, and index and files don't; the record says so, and
   whoever takes the lock next goes on with step 4. Each further step looks first and does nothing twice.
4. Files of the working copy that are still as they were seen are replaced. One that a person saved in between gets the
   change merged into it; where that conflicts it stays as the person saved it, and shows as dirty.
5. Entries of the index that are still as they were seen get their new content. Others are a person's doing and stay.
6. The record is removed.

Between the last look at a file and its rename lie some microseconds in which an editor's save would be lost to the
working copy; there is no rename that compares. Git's own hooks don't run, as none of this is `git commit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from state import repository_files as files
from state.git import Git, GitFailed

log = logging.getLogger(__name__)

RECORD: Final = "sparkkeep-move"
SCRATCH: Final = "sparkkeep-scratch-"
LOCK_TRIES: Final = 30
LOCK_PAUSE: Final = 0.1  # seconds; a person's `git add` holds the index this long at most
MAX_NAMED: Final = 200  # paths in one argv; for more, all are listed


class Moved(Exception):
    """The branch is not where it was seen: somebody committed meanwhile. Look again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a commit or the index has it."""

    mode: str
    blob: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one file. The working copy's bytes are named by the objects that hold the very same."""

    path: str
    staged: Entry | None  # the index's entry, as seen
    entry: Entry | None  # and as it shall be
    before: str | None  # the file, as seen
    after: str | None  # and as it shall be
    mode: str = files.PLAIN

    @property
    def touches(self) -> bool:
        """Whether the file itself changes, not only what git has of it."""
        modes = {entry.mode for entry in (self.staged, self.entry) if entry is not None}
        return self.before != self.after or len(modes) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From one commit of a branch to another, or, with both the same, a change of files alone."""

    ref: str
    old: str | None
    new: str | None
    changes: tuple[Change, ...]
    why: str

    def dumps(self) -> str:
        """For the record."""
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Move:
        """From the record."""
        raw = json.loads(text)
        changes = tuple(
            Change(**{**change, "staged": _entry(change["staged"]), "entry": _entry(change["entry"])})
            for change in raw.pop("changes")
        )
        return cls(**raw, changes=changes)


class Mover:
    """Carries moves out. The caller holds the repository's lock."""

    def __init__(self, git: Git, top: Path, git_dir: Path) -> None:
        self._git = git
        self._top = top
        self._git_dir = git_dir
        self._record = git_dir / RECORD

    async def make(self, move: Move) -> None:
        """Do it all. Raises Moved or GitFailed only where nothing has happened; cancelled, it ends what it began."""
        task = asyncio.create_task(self._make(move))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled() and (failed := task.exception()) is not None:
                log.warning("%s: %s", move.why, failed)
            raise

    async def recover(self) -> None:
        """Finish what a crash interrupted, if its commit stands; else clear it away."""
        await asyncio.to_thread(self._sweep)
        try:
            text = await asyncio.to_thread(self._record.read_text)
        except FileNotFoundError:
            return
        try:
            move = Move.loads(text)
        except (ValueError, TypeError, KeyError):
            log.warning("%s can't be understood and is ignored", self._record)
            self._record.unlink()
            return
        if await self._stands(move):
            log.warning("finishing a change of the desired state that was interrupted: %s", move.why)
            try:
                await self._stage(move)
                await self._finish(move, again=True)
            except OSError as error:
                raise _unwritable(error) from None
        else:
            await asyncio.to_thread(self._drop, move)

    async def staged(self, paths: list[str]) -> dict[str, Entry]:
        """The index's entries of these files. Raises GitFailed if one has a merge conflict."""
        found: dict[str, Entry] = {}
        named = paths if len(paths) <= MAX_NAMED else []
        out = (await self._git.run("ls-files", "-s", "-z", "--", *(f":(literal){path}" for path in named))).out
        for line in out.split(b"\0")[:-1]:
            head, _, name = line.decode("utf-8", "surrogateescape").partition("\t")
            mode, blob, stage = head.split(" ")
            if stage != "0" and name in paths:
                raise GitFailed(f"{name} has an unsettled merge conflict in git; settle it first")
            found[name] = Entry(mode, blob)
        return {path: entry for path, entry in found.items() if path in paths}

    async def _make(self, move: Move) -> None:
        try:
            await asyncio.to_thread(self._write_record, move.dumps())
            await self._stage(move)
            await self._check(move)
        except OSError as error:
            await asyncio.to_thread(self._drop, move)
            raise _unwritable(error) from None
        except (GitFailed, Moved):
            await asyncio.to_thread(self._drop, move)
            raise
        try:
            await self._swing(move)
        except (GitFailed, Moved):
            if not await self._stands(move):
                await asyncio.to_thread(self._drop, move)
                raise
        try:
            await self._finish(move)
        except (GitFailed, OSError) as error:
            log.warning("%s: committed, and still to be finished, since %s", move.why, error)

    async def _stage(self, move: Move) -> None:
        """Step 2."""
        for change in move.changes:
            data = await self._content(change.after)
            if data is not None and change.touches:
                await asyncio.to_thread(files.stage, self._top / change.path, data, change.mode)

    async def _check(self, move: Move) -> None:
        """The last look before the branch moves. Raises Moved."""
        staged = await self.staged([change.path for change in move.changes])
        for change in move.changes:
            now = await asyncio.to_thread(files.read, self._top / change.path)
            if now != await self._content(change.before) or staged.get(change.path) != change.staged:
                raise Moved

    async def _swing(self, move: Move) -> None:
        """Step 3."""
        if move.new == move.old or move.new is None:
            return
        argv = ("update-ref", "-m", f"sparkkeep: {move.why}", move.ref, move.new, move.old or "")
        try:
            await self._git.run(*argv)
        except GitFailed as error:
            if await self._git.resolve(move.ref) != move.old:
                raise Moved from None
            raise error from None

    async def _stands(self, move: Move) -> bool:
        """Whether the branch has the move's commit, and is the one that the working copy is of."""
        if move.new is None:
            return True
        head = await self._git.run("symbolic-ref", "--quiet", "HEAD", codes=(0, 1))
        tip = await self._git.resolve(move.ref)
        same = head.out.decode().strip() == move.ref and tip is not None
        return same and tip is not None and await self._git.is_ancestor(move.new, tip)

    async def _finish(self, move: Move, *, again: bool = False) -> None:
        """Steps 4 to 6."""
        for change in move.changes:
            if change.touches:
                await self._working_copy(change)
        await self._index(move, again=again)
        await asyncio.to_thread(self._drop, move)

    async def _index(self, move: Move, *, again: bool) -> None:
        """Step 5. The last look was a moment ago, unless there was a crash in between."""
        changes = [change for change in move.changes if change.entry != change.staged]
        if again and changes:
            now = await self.staged([change.path for change in changes])
            changes = [change for change in changes if now.get(change.path) == change.staged]
        lines = [entry_line(change.path, change.entry, change.staged) for change in changes]
        if lines:
            await self._patiently("update-index", "-z", "--index-info", stdin=b"".join(lines))

    async def _patiently(self, *argv: str, stdin: bytes) -> None:
        """A command that needs the index's lock, which a person's own git may hold for a moment."""
        for attempt in range(LOCK_TRIES):
            try:
                await self._git.run(*argv, stdin=stdin)
            except GitFailed as error:
                if "index.lock" not in error.said or attempt == LOCK_TRIES - 1:
                    raise
                await asyncio.sleep(LOCK_PAUSE)
            else:
                return

    async def _working_copy(self, change: Change) -> None:
        """Step 4, for one file."""
        path = self._top / change.path
        before, after = await self._content(change.before), await self._content(change.after)
        while not await asyncio.to_thread(files.place, path, before, after):
            now = await asyncio.to_thread(files.read, path)
            merged = await self._merged(before, now, after)
            if merged is None:
                log.warning("%s was saved meanwhile, on the same lines; it stays as it was saved", path)
                return
            before, after = now, merged
            await asyncio.to_thread(files.stage, path, merged, change.mode)
        if after is None:
            await asyncio.to_thread(files.prune, path.parent, self._top)

    async def _merged(self, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
        """Both changes in one text; None where there is no such text."""
        if base is None or ours is None or theirs is None:
            return None
        with tempfile.TemporaryDirectory(dir=self._git_dir, prefix=SCRATCH) as folder:
            names = [Path(folder) / name for name in ("ours", "base", "theirs")]
            for name, data in zip(names, (ours, base, theirs), strict=True):
                name.write_bytes(data)
            answer = await self._git.run("merge-file", "-p", *map(str, names), codes=range(256))
        return answer.out if answer.code == 0 else None

    async def _content(self, blob: str | None) -> bytes | None:
        return await self._git.blob(blob) if blob is not None else None

    def _sweep(self) -> None:
        """Remove what a crash left lying in `.git`."""
        for left in self._git_dir.glob(f"{SCRATCH}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()

    def _write_record(self, text: str) -> None:
        fresh = self._git_dir / f"{SCRATCH}record"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._record)

    def _drop(self, move: Move) -> None:
        """Step 6, or the way back from steps 1 and 2."""
        for change in move.changes:
            files.discard(self._top / change.path)
        self._record.unlink(missing_ok=True)


def entry_line(path: str, entry: Entry | None, before: Entry | None) -> bytes:
    """An entry of an index set, or, for None, removed; for `update-index -z --index-info`."""
    mode, blob = (entry.mode, entry.blob) if entry is not None else ("0", "0" * len(before.blob if before else ""))
    return f"{mode} {blob}\t{path}\0".encode("utf-8", "surrogateescape")


def _unwritable(error: OSError) -> GitFailed:
    return GitFailed(f"{error.filename} can't be written: {error.strerror or error}")


def _entry(raw: Any) -> Entry | None:
    return Entry(**raw) if raw is not None else None
