"""Finding the repository that the desired state lies in, or making one.

A new repository is made aside and put in place by one rename, with its first commit in it, so a crash leaves either
none or a whole one. Of what else lies in the folder (keys, a journal) nothing is ever added: `.git/info/exclude` hides
it, and the operator's own files stay without a `.gitignore` that nobody asked for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from state.git import Git, GitFailed
from state.repository_commit import commit_tree
from state.repository_files import Scope
from state.repository_lock import alone
from state.sources import SUFFIXES

BRANCH: Final = "main"
ASIDE: Final = ".sparkkeep-git-"
FIRST: Final = b"""Begin the history of the desired state

sparkkeep made this repository. The files were here before it, as they stand in this commit.
"""


async def find_or_make(path: Path) -> tuple[Git, Scope]:
    """The repository for a file or a folder. Raises GitMissing or GitFailed."""
    real, single = await asyncio.to_thread(_look, path)
    folder = real.parent if single else real
    git = Git(folder)
    top = await _top(git, real)
    if top is None:
        async with alone(folder):
            _sweep(folder)
            top = await _top(git, real) or await _make(folder, real.name if single else None)
    inside = folder.relative_to(top).as_posix()
    file = real.relative_to(top).as_posix() if single else None
    return Git(top), Scope(top, "" if inside == "." else inside, file)


def _look(path: Path) -> tuple[Path, bool]:
    """Where it really is, and whether it is a single file. The folder is made if need be."""
    real = path.resolve()
    single = real.is_file() or (not real.exists() and real.suffix in SUFFIXES)
    folder = real.parent if single else real
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GitFailed(f"{folder} can't be made: {error.strerror or error}") from None
    return real, single


def _sweep(folder: Path) -> None:
    """Remove what a sparkkeep left behind that crashed while it made a repository."""
    for left in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(left, ignore_errors=True)


async def _top(git: Git, path: Path) -> Path | None:
    """The working copy that the path belongs to. One that ignores it doesn't count."""
    answer = await git.run("rev-parse", "--show-toplevel", codes=(0, 128))
    if answer.code:
        if "not a git repository" in answer.said:
            return None
        raise GitFailed(f"the repository of {path} can't be used: {answer.said.strip().splitlines()[0]}")
    top = Path(os.fsdecode(answer.out.removesuffix(b"\n")))
    if path != top and (await git.run("check-ignore", "--quiet", "--", str(path), codes=(0, 1))).code == 0:
        return None
    return top


async def _make(folder: Path, only: str | None) -> Path:
    """A repository in this folder, with the files of the desired state that are there as its first commit."""
    aside = Path(tempfile.mkdtemp(dir=folder, prefix=ASIDE))
    try:
        await Git(aside).run("init", "--quiet", f"--initial-branch={BRANCH}", "--template=", ".")
        git_dir = aside / ".git"
        await asyncio.to_thread(_exclude, git_dir, only)
        git = Git(folder, options=(f"--git-dir={git_dir}", f"--work-tree={folder}"))
        scope = Scope(folder, "", only)
        names = [name for name in sorted(await asyncio.to_thread(os.listdir, folder)) if scope.holds(name)]
        if names:
            await git.run("add", "--force", "--", *(f":(literal){name}" for name in names))
            commit = await commit_tree(git, await git.text("write-tree"), (), FIRST)
            await git.run("update-ref", "-m", "sparkkeep: begin", f"refs/heads/{BRANCH}", commit, "")
        git_dir.rename(folder / ".git")
    except OSError as error:
        raise GitFailed(f"{folder} can't be made a git repository: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _exclude(git_dir: Path, only: str | None) -> None:
    """Whatever else lies in the folder isn't offered by `git add .` and not shown by `git status`."""
    wanted = (
        [f"!/{_escaped(only)}"]
        if only is not None
        else [*(f"!/*{suffix}" for suffix in SUFFIXES), "/.*", "!/.gitignore"]
    )
    info = git_dir / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text("\n".join(["# by sparkkeep: only the desired state", "/*", *wanted, ""]))


def _escaped(name: str) -> str:
    return "".join(f"\\{char}" if char in "\\*?[ !#" else char for char in name)
