"""Mods: folders of patches that run inside a container before the server starts.

They lie in the operator's mods folder on this machine, each with a `run.sh`, as Spark recipes bring them. A mod is
named by the hash of its content, so that a change of any file is a change of what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from state.folders import Bounds, FolderFile, FolderRefused, content_digest, lies_in, read_files

RUN: Final = "run.sh"
MAX_FILES: Final = 500
MAX_BYTES: Final = 16 * 2**20

ModFile = FolderFile


class ModRefused(FolderRefused):
    """A mod that can't be used; the text names the mod and the file, and says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mod:
    """A mod as it was read, its files in the order of their paths."""

    name: str
    files: tuple[ModFile, ...]

    @property
    def digest(self) -> str:
        """32 hex digits: equal for equal paths, contents and executable bits."""
        return content_digest(self.files)


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
    place = next((each for each in places if lies_in(each, folder)), None)
    if place is None:
        raise ModRefused(f"mod {name}: there is no such folder in {folder}")
    files = read_files(place, Bounds(what=f"mod {name}", files=MAX_FILES, size=MAX_BYTES, refused=ModRefused))
    if not any(file.path == RUN for file in files):
        raise ModRefused(f"mod {name}: it has no {RUN}")
    return Mod(name=name, files=files)
