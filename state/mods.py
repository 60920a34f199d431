"""Mods: folders of patches that run inside a container before the server starts.

They lie in the operator's mods folder on this machine, each with a `run.sh`, as Spark recipes bring them. A mod is
named by the hash of its content, so that a change of any file is a change of what is declared. A mod is code that a
person chose to run: this module makes sure that it is exactly the folder's own plain files, and not too many.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUN: Final = "run.sh"
FILE_NAME: Final = r"[A-Za-z0-9_.+@-][A-Za-z0-9_.+@ -]{0,199}"
MAX_FILES: Final = 500
MAX_BYTES: Final = 16 * 2**20
MAX_DEPTH: Final = 16


class ModRefused(Exception):
    """A mod that can't be used; the text names the mod and the file, and says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModFile:
    """One file: its path inside the mod, with `/`, and its content."""

    path: str
    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mod:
    """A mod as it was read, its files in the order of their paths."""

    name: str
    files: tuple[ModFile, ...]

    @property
    def digest(self) -> str:
        """32 hex digits: equal for equal paths, contents and executable bits."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{len(file.path)} {len(file.data)} {int(file.executable)}\n{file.path}\n".encode())
            digest.update(file.data)
        return digest.hexdigest()[:32]


def read_mods(folder: Path, names: Iterable[str]) -> tuple[dict[str, Mod], dict[str, ModRefused]]:
    """The mods of these names (as recipes write them) that can be used, and what is wrong with the others."""
    found: dict[str, Mod] = {}
    refused: dict[str, ModRefused] = {}
    for name in sorted(set(names)):
        try:
            found[name] = read_mod(folder, name)
        except ModRefused as error:
            refused[name] = error
        except OSError as error:
            refused[name] = ModRefused(f"mod {name}: it can't be read: {error.strerror}")
    return found, refused


def read_mod(folder: Path, name: str) -> Mod:
    """The mod of this name. `mods/fix` is also found as `fix`: other tools' recipes name the folder too.

    Raises ModRefused.
    """
    if ".." in name.split("/") or name.startswith("/"):
        raise ModRefused(f"mod {name}: its name must be a path inside the mods folder")
    places = [folder / name, folder / name.removeprefix("mods/")]
    place = next((each for each in places if _is_folder(each, folder)), None)
    if place is None:
        raise ModRefused(f"mod {name}: there is no such folder in {folder}")
    files = tuple(sorted(_files(name, place), key=lambda file: file.path))
    if not any(file.path == RUN for file in files):
        raise ModRefused(f"mod {name}: it has no {RUN}")
    return Mod(name=name, files=files)


def _is_folder(place: Path, folder: Path) -> bool:
    """Whether it is there and lies in the mods folder, not only by name: no part of its path is a link."""
    try:
        return place.is_dir() and place.resolve() == folder.resolve() / place.relative_to(folder)
    except OSError:
        return False


def _files(name: str, place: Path) -> Iterator[ModFile]:
    total = 0
    for count, path in enumerate(_paths(name, place, MAX_DEPTH)):
        inside = path.relative_to(place).as_posix()
        if count == MAX_FILES:
            raise ModRefused(f"mod {name}: it has more than {MAX_FILES} files")
        data, executable = _read(name, path, inside, MAX_BYTES - total)
        total += len(data)
        yield ModFile(path=inside, data=data, executable=executable)


def _paths(name: str, folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ModRefused(f"mod {name}: {folder} can't be read: {error.strerror}") from error
    for entry in entries:
        if not re.fullmatch(FILE_NAME, entry.name) or not entry.name.strip("."):
            raise ModRefused(f"mod {name}: {entry.name!r} is no name for a file: letters, digits and ._+@- and spaces")
        if entry.is_symlink():
            raise ModRefused(f"mod {name}: {entry.name} is a link; a mod must hold its files itself")
        if entry.is_dir(follow_symlinks=False):
            if depth == 0:
                raise ModRefused(f"mod {name}: its folders are nested more than {MAX_DEPTH} deep")
            yield from _paths(name, Path(entry.path), depth - 1)
        else:
            yield Path(entry.path)


def _read(name: str, path: Path, inside: str, limit: int) -> tuple[bytes, bool]:
    """At most one byte more than is allowed, of a plain file that did not become a link meanwhile."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(number, "rb") as file:
            mode = os.fstat(number).st_mode
            if not stat.S_ISREG(mode):
                raise ModRefused(f"mod {name}: {inside} is not a plain file")
            data = file.read(limit + 1)
    except OSError as error:
        raise ModRefused(f"mod {name}: {inside} can't be read: {error.strerror}") from error
    if len(data) > limit:
        raise ModRefused(f"mod {name}: it has more than {MAX_BYTES // 2**20} MiB")
    return data, bool(mode & stat.S_IXUSR)
