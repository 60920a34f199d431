"""Plain git, as a person runs it, in a world of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ENVIRON = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "core.fsync",
    "GIT_CONFIG_VALUE_0": "none",
    "GIT_CONFIG_KEY_1": "maintenance.auto",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_CONFIG_KEY_2": "receive.autogc",
    "GIT_CONFIG_VALUE_2": "false",
}
PERSON = {
    "GIT_AUTHOR_NAME": "person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
}


def git(folder: Path, *argv: str, code: int | None = 0) -> str:
    """What git prints; `code` None takes any exit status."""
    environ = {**os.environ, **ENVIRON, **PERSON, "LC_ALL": "C"}
    ran = subprocess.run(["git", *argv], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert code is None or ran.returncode == code, f"git {argv}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def commit_all(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return head(folder)


def head(folder: Path) -> str:
    return git(folder, "rev-parse", "HEAD").strip()


def bare(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "--template=")
    return folder


def clone(remote: Path, folder: Path) -> Path:
    git(remote.parent, "clone", "--quiet", "--template=", str(remote), str(folder))
    return folder


def template(folder: Path, files: dict[str, bytes], clones: tuple[str, ...]) -> Path:
    """A remote that holds these files and clones of it, which find it wherever the whole is copied to."""
    remote = bare(folder / "remote.git")
    begin = clone(remote, folder / clones[0])
    for name, data in files.items():
        (begin / name).write_bytes(data)
    commit_all(begin, "begin")
    git(begin, "push", "--quiet", "origin", "HEAD:main")
    for name in clones[1:]:
        clone(remote, folder / name)
    for name in clones:
        git(folder / name, "remote", "set-url", "origin", "../remote.git")
    return folder


def sound(folder: Path) -> None:
    """No damage, and not in the middle of anything."""
    git(folder, "fsck", "--strict", "--connectivity-only", "--no-dangling")
    git_dir = folder / ".git"
    for name in ("MERGE_HEAD", "rebase-merge", "rebase-apply", "index.lock", "sparkkeep-move"):
        assert not (git_dir / name).exists(), name
    assert not list(folder.glob(".*.sparkkeep-new")), "nothing is left behind"
    assert not list(git_dir.glob("sparkkeep-*")), "nothing is left behind in .git"
