"""Folders that are sent to Sparks as they are: read whole, bounded, and nothing but their own plain files.

What lies in one is code that a person chose to run, so nothing else may slip in: no link leads out of it, no name needs
quoting, and what can't be read stops everything.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = r"[A-Za-z0-9_.+@-][A-Za-z0-9_.+@ -]{0,199}"
MAX_DEPTH: Final = 16
DIGITS: Final = 32
OTHERS: Final = stat.S_IRGRP | stat.S_IROTH


class FolderRefused(Exception):
    """A folder that can't be used; the text names the folder and the file, and says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFile:
    """One file: its path inside the folder, with `/`, and its content. `secret`: nobody but its owner may read it."""

    path: str
    data: bytes
    executable: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may lie in a folder, what it is called in a refusal, and what of it is left out."""

    what: str
    files: int
    size: int  # bytes
    refused: type[FolderRefused]
    skips: Callable[[str, bool], bool] = lambda _path, _folder: False  # by its path; a folder with all that is in it


def content_digest(files: Iterable[FolderFile]) -> str:
    """32 hex digits: equal for equal paths, contents and executable bits."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{len(file.path)} {len(file.data)} {int(file.executable)}\n{file.path}\n".encode())
        digest.update(file.data)
    return digest.hexdigest()[:DIGITS]


def lies_in(place: Path, folder: Path) -> bool:
    """Whether it is a folder there and lies in `folder`, not only by name: no part of its path is a link."""
    try:
        return place.is_dir() and place.resolve() == folder.resolve() / place.relative_to(folder)
    except OSError:
        return False


def read_files(place: Path, bounds: Bounds) -> tuple[FolderFile, ...]:
    """The folder's files in the order of their paths. Raises what `bounds` refuses with."""
    return tuple(sorted(_files(place, bounds), key=lambda file: file.path))


def _files(place: Path, bounds: Bounds) -> Iterator[FolderFile]:
    total = 0
    for count, path in enumerate(_paths(place, place, bounds, MAX_DEPTH)):
        if count == bounds.files:
            raise bounds.refused(f"{bounds.what}: it has more than {bounds.files} files")
        file = _read(path, path.relative_to(place).as_posix(), bounds, bounds.size - total)
        total += len(file.data)
        yield file


def _paths(place: Path, folder: Path, bounds: Bounds, depth: int) -> Iterator[Path]:
    what = bounds.what
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise bounds.refused(f"{what}: {folder} can't be read: {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        inner = entry.is_dir(follow_symlinks=False)
        if bounds.skips(path.relative_to(place).as_posix(), inner):
            continue
        if not re.fullmatch(FILE_NAME, entry.name) or not entry.name.strip("."):
            raise bounds.refused(f"{what}: {entry.name!r} is no name for a file: letters, digits and ._+@- and spaces")
        if entry.is_symlink():
            raise bounds.refused(f"{what}: {entry.name} is a link; it must hold its files itself")
        if not inner:
            yield path
        elif depth == 0:
            raise bounds.refused(f"{what}: its folders are nested more than {MAX_DEPTH} deep")
        else:
            yield from _paths(place, path, bounds, depth - 1)


def _read(path: Path, inside: str, bounds: Bounds, limit: int) -> FolderFile:
    """At most one byte more than is allowed, of a plain file that did not become a link meanwhile."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            mode = os.fstat(number).st_mode
            if not stat.S_ISREG(mode):
                raise bounds.refused(f"{bounds.what}: {inside} is not a plain file")
            data = file.read(limit + 1)
    except OSError as error:
        raise bounds.refused(f"{bounds.what}: {inside} can't be read: {error.strerror}") from error
    if len(data) > limit:
        raise bounds.refused(f"{bounds.what}: it has more than {bounds.size // 2**20} MiB")
    return FolderFile(path=inside, data=data, executable=bool(mode & stat.S_IXUSR), secret=not mode & OTHERS)
