"""Working out what a change makes of each file's three versions: HEAD's, the index's and the working copy's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from state import repository_files as files
from state.git import Git, GitFailed
from state.repository_move import Change, Entry, Mover

MAX_TOLD: Final = 5  # files named in a sentence
SUBMODULE: Final = "160000"

Edit: TypeAlias = Callable[[bytes | None], bytes | None]


class DirtyFiles(GitFailed):
    """Files that would change were edited by hand, and that isn't committed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        named = told(paths)
        super().__init__(f"{named}: edited by hand and not committed; commit that, or undo it, first")


@dataclass(slots=True)
class Draft:
    """What the commit has other than HEAD, and what becomes of the index and the files."""

    entries: dict[str, Entry | None] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


class Drafter:
    """Looks at files and writes objects, which nothing refers to; changes nothing."""

    def __init__(self, git: Git, top: Path, mover: Mover) -> None:
        self._git = git
        self._top = top
        self._mover = mover

    async def entries(self, revision: str | None, *paths: str) -> dict[str, Entry]:
        """Files as a commit has them: those named, or, for a folder with a `/` behind it, all that are in it."""
        if revision is None:
            return {}
        named = [f":(literal){path}" for path in paths]
        out = (await self._git.run("ls-tree", "-z", "--full-tree", revision, "--", *named)).out
        found = {}
        for line in out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
            head, _, name = line.partition("\t")
            mode, kind, blob = head.split(" ")
            if kind == "blob":
                found[name] = Entry(mode, blob)
        return found

    async def edit(self, revision: str | None, edits: Mapping[str, Edit]) -> Draft:
        """Each edit made to each version of its file."""
        draft = Draft()
        entries = await self.entries(revision, *edits)
        staged = await self._mover.staged(list(edits))
        for path, edit in edits.items():
            await self._edit(draft, path, edit, entries.get(path), staged.get(path))
        return draft

    async def carry(self, old: str | None, new: str) -> list[Change]:
        """What brings index and files from one commit to another. Raises DirtyFiles if that would meet a hand edit."""
        differing = await self._differing(old, new)
        staged = await self._mover.staged(list(differing)) if differing else {}
        dirty = set(await status(self._git)) if differing else set()
        changes, by_hand = [], []
        for path, (was, entry) in differing.items():
            now = await asyncio.to_thread(files.read, self._top / path)
            after = await self._content(new, path, entry)
            arrived = now == after and staged.get(path) in (was, entry)
            if not arrived and (path in dirty or (was is None and now is not None)):
                by_hand.append(path)
            else:
                changes.append(
                    Change(
                        path=path,
                        staged=staged.get(path),
                        entry=entry,
                        before=await self._put(now),
                        after=await self._put(after),
                        mode=entry.mode if entry is not None else files.PLAIN,
                    )
                )
        if by_hand:
            raise DirtyFiles(by_hand)
        return changes

    async def _edit(self, draft: Draft, path: str, edit: Edit, entry: Entry | None, staged: Entry | None) -> None:
        """One file. Versions that are equal are edited once."""
        head, index = [await self._blob(version) for version in (entry, staged)]
        file = await asyncio.to_thread(files.read, self._top / path)
        made = {version: await asyncio.to_thread(edit, version) for version in {head, file}}
        mode = entry.mode if entry is not None else await asyncio.to_thread(files.mode_of, self._top / path)
        new = await self._entry(mode, made[head])
        if staged == entry:
            kept = new
        elif staged is None:  # a person wants it gone from git, by their next commit
            kept = None
        else:
            kept = await self._entry(
                staged.mode, made[index] if index in made else await asyncio.to_thread(edit, index)
            )
        if made[head] != head:
            draft.entries[path] = new
        elif staged == entry:
            kept = staged
        if made[file] != file or kept != staged:
            before, after = await self._put(file), await self._put(made[file])
            draft.changes.append(Change(path=path, staged=staged, entry=kept, before=before, after=after, mode=mode))

    async def _differing(self, old: str | None, new: str) -> dict[str, tuple[Entry | None, Entry | None]]:
        """The files in which two commits differ, with their entries in both."""
        start = old if old is not None else await self._git.text("hash-object", "-t", "tree", "--stdin")
        out = (await self._git.run("diff-tree", "-r", "-z", "--no-renames", "--raw", start, new)).out
        words = out.decode("utf-8", "surrogateescape").split("\0")[:-1]
        found = {}
        for head, path in zip(words[::2], words[1::2], strict=True):
            mode, new_mode, blob, new_blob, _ = head.removeprefix(":").split(" ")
            if SUBMODULE in (mode, new_mode):
                raise GitFailed(f"{path} is a submodule, which sparkkeep doesn't update; use git")
            found[path] = (_known(mode, blob), _known(new_mode, new_blob))
        return found

    async def _content(self, revision: str, path: str, entry: Entry | None) -> bytes | None:
        """What stands in the working copy for an entry: line ends and filters are the operator's to configure."""
        if entry is None or entry.mode == files.LINK:
            return await self._blob(entry)
        return (await self._git.run("cat-file", "--filters", f"{revision}:{path}")).out

    async def _blob(self, entry: Entry | None) -> bytes | None:
        return await self._git.blob(entry.blob) if entry is not None else None

    async def _put(self, data: bytes | None) -> str | None:
        return await self._git.put(data) if data is not None else None

    async def _entry(self, mode: str, data: bytes | None) -> Entry | None:
        return Entry(mode, await self._git.put(data)) if data is not None else None


async def status(git: Git, *argv: str) -> tuple[str, ...]:
    """The files that `git status` lists."""
    start = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")
    out = (await git.run(*start, *argv)).out
    return tuple(sorted(word[3:] for word in out.decode("utf-8", "surrogateescape").split("\0")[:-1]))


def told(paths: Sequence[str]) -> str:
    """Some of these names, for a sentence."""
    more = f" and {len(paths) - MAX_TOLD} more" if len(paths) > MAX_TOLD else ""
    return ", ".join(paths[:MAX_TOLD]) + more


def _known(mode: str, blob: str) -> Entry | None:
    return Entry(mode, blob) if mode.strip("0") else None
