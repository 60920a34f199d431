"""Putting our commits onto another history without touching the index or the working copy.

Each commit is merged, three ways, as objects: between what its parent had and what the new history has. So a conflict
leaves nothing half done: no file with marks in it, no rebase in the middle, only unreferenced objects. Authors, their
times and the messages stay; a commit whose change is there already is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from state.git import Git, GitFailed
from state.repository_commit import commit_tree

SHAPE: Final = "%P%x00%an%x00%ae%x00%ad%x00%B%x00"
UNKNOWN_OPTION: Final = 129


class Conflict(Exception):
    """This commit and the new history change the same lines of these files."""

    def __init__(self, commit: str, files: tuple[str, ...]) -> None:
        super().__init__(f"{commit} conflicts in {', '.join(files)}")
        self.commit = commit
        self.files = files


async def own_commits(git: Git, tip: str, *theirs: str) -> list[str]:
    """The commits of the branch that are in none of these histories, oldest first; a merge counts as one."""
    return (
        await git.text(
            "rev-list", "--reverse", "--topo-order", "--first-parent", tip, *(f"^{revision}" for revision in theirs)
        )
    ).split()


async def all_commits(git: Git, tip: str, *theirs: str) -> set[str]:
    """All commits in the past of the tip that are in none of these histories, which may be a `--glob`'s."""
    return set((await git.text("rev-list", tip, "--not", *theirs)).split())


async def replay(git: Git, commits: Sequence[str], onto: str) -> str:
    """The tip of the new history with these commits on top. Raises Conflict."""
    tip, tree = onto, await git.text("rev-parse", f"{onto}^{{tree}}")
    for commit, told in zip(commits, await _told(git, commits), strict=True):
        parents, name, email, date, message = told
        merged = await _merged(git, commit, parents.decode().split(), tree)
        if merged != tree:
            author = {
                "GIT_AUTHOR_NAME": name.decode("utf-8", "replace") or "unknown",
                "GIT_AUTHOR_EMAIL": email.decode("utf-8", "replace"),
                "GIT_AUTHOR_DATE": f"@{date.decode()}",
            }
            tip, tree = await commit_tree(git, merged, [tip], message, author), merged
    return tip


async def _told(git: Git, commits: Sequence[str]) -> list[list[bytes]]:
    """Parents, name, address, time and message of each."""
    if not commits:
        return []
    argv = ("log", "--no-walk=unsorted", "--stdin", "--date=raw", f"--format=tformat:{SHAPE}")
    out = (await git.run(*argv, stdin="".join(f"{commit}\n" for commit in commits).encode())).out
    fields = [field.removeprefix(b"\n") for field in out.split(b"\0")[:-1]]
    count = SHAPE.count("%x00")
    return [fields[start : start + count] for start in range(0, len(fields), count)]


async def _merged(git: Git, commit: str, parents: Sequence[str], tip_tree: str) -> str:
    """The tree of the new tip with what the commit changed from its first parent.

    `git merge-tree` looks for the base of two commits by itself, so it is given, for the new tip, a commit with the
    same tree that has the wanted base as its parent.
    """
    stand_in = await commit_tree(git, tip_tree, parents[:1], b"base\n")
    argv = ("merge-tree", "--write-tree", "--allow-unrelated-histories", "--name-only", "--no-messages", "-z")
    answer = await git.run(*argv, stand_in, commit, codes=(0, 1, UNKNOWN_OPTION))
    if answer.code == UNKNOWN_OPTION:
        raise GitFailed("this git is too old to bring two histories together; 2.38 or later is needed")
    tree, *files = answer.out.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")
    if answer.code:
        raise Conflict(commit, tuple(dict.fromkeys(files)))
    return tree
