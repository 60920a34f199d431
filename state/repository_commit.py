"""Commits: how sparkkeep makes one without touching the index or the working copy, and how one is told to people.

The author is who asked for the change, the committer is sparkkeep, and the message is one line of what, a paragraph of
why, and a trailer that names the actor for programs.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from state.git import Git
from state.repository_move import SCRATCH, Entry, entry_line

MAX_SUBJECT: Final = 200
MAX_REASON: Final = 4000
MAX_NAME: Final = 100
TRAILER: Final = "Sparkkeep-Actor"
FIELDS: Final = ("%H", "%at", "%an", "%B")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
UNNAMEABLE: Final = re.compile(r"[<>]|^[\s.,:;\"'\\]+|[\s.,:;\"'\\]+$")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, and by what way: `Actor("alice", "dashboard")`."""

    name: str = ""
    via: str = "api"

    def __str__(self) -> str:
        name = UNNAMEABLE.sub("", CONTROL.sub(" ", self.name))[:MAX_NAME].strip()
        return f"{name} ({self._word})" if name else self._word

    @property
    def email(self) -> str:
        """Not an address anyone has; git wants one."""
        return f"{self._word}@sparkkeep"

    @property
    def _word(self) -> str:
        return re.sub(r"[^a-z0-9-]+", "-", self.via.lower())[:MAX_NAME].strip("-") or "sparkkeep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of the desired state's history. `files` are paths in the repository."""

    revision: str
    time: int  # Unix seconds
    author: str
    subject: str
    reason: str
    files: tuple[str, ...] = ()


def message_of(subject: str, reason: str, actor: Actor) -> bytes:
    """What stands in the commit. Control characters are left out, and much too long a text is cut."""
    lines = [CONTROL.sub(" ", line).rstrip() for line in reason.splitlines()]
    parts = [
        CONTROL.sub(" ", subject).strip()[:MAX_SUBJECT] or "Change the desired state",
        "\n".join(lines).strip()[:MAX_REASON],
        f"{TRAILER}: {actor}",
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def author_of(actor: Actor, now: int) -> dict[str, str]:
    """The environment that names the author and the time."""
    when = {"GIT_AUTHOR_DATE": f"@{now} +0000", "GIT_COMMITTER_DATE": f"@{now} +0000"}
    return {"GIT_AUTHOR_NAME": str(actor), "GIT_AUTHOR_EMAIL": actor.email, **when}


async def tree_with(git: Git, git_dir: Path, base: str | None, entries: Mapping[str, Entry | None]) -> str:
    """A tree like that of `base` but for these files. Built in an index of its own."""
    changed = {path: entry for path, entry in entries.items() if entry is not None or base is not None}
    lines = b"".join(entry_line(path, entry, Entry("0", base or "")) for path, entry in changed.items())
    with tempfile.TemporaryDirectory(dir=git_dir, prefix=SCRATCH) as folder:
        env = {"GIT_INDEX_FILE": os.path.join(folder, "index")}  # noqa: PTH118  # a string is wanted
        await git.run("read-tree", base or "--empty", env=env)
        await git.run("update-index", "-z", "--add", "--index-info", stdin=lines, env=env)
        return await git.text("write-tree", env=env)


async def commit_tree(
    git: Git, tree: str, parents: Sequence[str], message: bytes, author: Mapping[str, str] | None = None
) -> str:
    """A commit that nothing refers to yet."""
    argv = [part for parent in parents for part in ("-p", parent)]
    env = author if author is not None else {"GIT_AUTHOR_NAME": "sparkkeep", "GIT_AUTHOR_EMAIL": "git@sparkkeep"}
    return await git.text("commit-tree", tree, *argv, "-F", "-", stdin=message, env=env)


async def commits(git: Git, *argv: str) -> list[Commit]:
    """What `git log` finds with these arguments."""
    shape = "%x00".join((*FIELDS, ""))
    out = (await git.run("log", f"--format=tformat:{shape}", *argv)).out.decode("utf-8", "replace")
    fields = out.split("\0")[:-1]
    found = [fields[start : start + len(FIELDS)] for start in range(0, len(fields), len(FIELDS))]
    revisions = [commit[0].strip() for commit in found]
    files = await _files(git, revisions)
    return [
        commit_of(revision, int(commit[1]), commit[2], commit[3], files.get(revision, ()))
        for revision, commit in zip(revisions, found, strict=True)
    ]


async def _files(git: Git, revisions: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The paths that each commit changed, a merge against its first parent."""
    argv = ("diff-tree", "--stdin", "--root", "-r", "-z", "--name-only", "--no-renames", "--diff-merges=first-parent")
    out = (await git.run(*argv, stdin="".join(f"{name}\n" for name in revisions).encode())).out
    wanted = set(revisions)
    found: dict[str, tuple[str, ...]] = {}
    last = ""
    for word in out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        if word in wanted:
            last = word
            found[last] = ()
        else:
            found[last] = (*found[last], word)
    return found


def commit_of(revision: str, time: int, author: str, message: str, files: tuple[str, ...]) -> Commit:
    """A commit, as its message and the rest tell it."""
    subject, _, body = message.strip().partition("\n")
    reason, _, trailers = body.strip().rpartition("\n\n")
    if not trailers.startswith(f"{TRAILER}: "):
        reason = body
    return Commit(revision=revision, time=time, author=author, subject=subject, reason=reason.strip(), files=files)
