"""Which files of a repository are the desired state, and how files of the working copy are read and replaced.

A file is replaced whole: the new bytes lie ready beside it before anything is decided, and the rename happens only if
the file still holds what it was seen to hold. Mode and owner stay; of a link, the file that it leads to is replaced.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from state.git import GitFailed
from state.sources import SUFFIXES

FRESH: Final = ".sparkkeep-new"
LINK: Final = "120000"
EXECUTABLE: Final = "100755"
PLAIN: Final = "100644"
SPECIAL: Final = "*?[\\"


@dataclass(frozen=True, slots=True)
class Scope:
    """The files of the desired state: one file, or the YAML files of one folder. Paths are those of the repository."""

    top: Path
    folder: str  # "" is the top itself
    file: str | None = None

    def holds(self, path: str) -> bool:
        """Whether the file of this path is part of the desired state."""
        if self.file is not None:
            return path == self.file
        pure = PurePosixPath(path)
        return str(pure.parent) == (self.folder or ".") and pure.suffix in SUFFIXES and not pure.name.startswith(".")

    @property
    def pathspecs(self) -> tuple[str, ...]:
        """How git is told of them, behind a `--`."""
        if self.file is not None:
            return (f":(literal){self.file}",)
        escaped = "".join(f"\\{char}" if char in SPECIAL else char for char in self.folder)
        start = f"{escaped}/" if escaped else ""
        return tuple(f":(glob){start}*{suffix}" for suffix in SUFFIXES)

    def locate(self, path: Path | str) -> str:
        """The path in the repository of a file that is to be written. Links are followed. Raises GitFailed."""
        given = self.top / self.folder / path
        real = given.resolve()
        if not real.is_relative_to(self.top):
            raise GitFailed(f"{given} leads to {real}, which is outside of the repository {self.top}")
        found = real.relative_to(self.top).as_posix()
        link = given.relative_to(self.top).as_posix() if given.is_relative_to(self.top) else found
        if not (self.holds(found) or self.holds(link)) or not found.isprintable():
            raise GitFailed(f"{given} is not a file of the desired state in {self.top / (self.file or self.folder)}")
        return found


def read(path: Path) -> bytes | None:
    """What the working copy has there: the bytes of a file, where a link leads to; None for nothing."""
    try:
        return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GitFailed(f"{path} can't be read: {error.strerror or error}") from None


def stage(path: Path, data: bytes, mode: str) -> None:
    """Lay the new content ready beside the file, safe on the disk. Raises OSError, and then nothing has happened."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _fresh(path)
    fresh.unlink(missing_ok=True)
    if mode == LINK:
        fresh.symlink_to(os.fsdecode(data))
        return
    before = path.stat() if path.is_file() else None
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if mode == EXECUTABLE else 0o666)
    with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor
        file.write(data)
        if before is not None:
            _liken(handle, before, mode)
        file.flush()
        os.fsync(handle)


def place(path: Path, expected: bytes | None, data: bytes | None) -> bool:
    """Put in place what was laid ready, or remove the file for None; False if it doesn't hold what was expected."""
    now = read(path)
    if now not in (expected, data):
        return False
    if data is not None:
        _fresh(path).replace(path)
        _settle(path.parent)
    elif now is not None:
        path.unlink()
        _settle(path.parent)
    return True


def discard(path: Path) -> None:
    """Take away what was laid ready and isn't needed."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        _fresh(path).unlink()


def mode_of(path: Path) -> str:
    """How git calls the kind of this file, or of one that isn't there yet."""
    if not os.path.lexists(path):
        return PLAIN
    found = path.lstat().st_mode
    return LINK if stat.S_ISLNK(found) else EXECUTABLE if found & stat.S_IXUSR else PLAIN


def prune(folder: Path, top: Path) -> None:
    """Remove folders that a removed file leaves empty."""
    with contextlib.suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _fresh(path: Path) -> Path:
    """In the same folder, so that it can take the file's place; hidden, and no YAML to whoever looks for that."""
    return path.with_name(f".{path.name}{FRESH}")


def _liken(handle: int, before: os.stat_result, mode: str) -> None:
    """Give the new file the owner and the permissions of the one whose place it takes."""
    bits = stat.S_IMODE(before.st_mode)
    bits = bits | (bits & 0o444) >> 2 if mode == EXECUTABLE else bits & ~0o111
    with contextlib.suppress(PermissionError):
        os.fchown(handle, before.st_uid, before.st_gid)
    os.fchmod(handle, bits)


def _settle(folder: Path) -> None:
    """The rename is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
