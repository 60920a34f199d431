"""GGUF files: which of them are parts of one model, and which are not there yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from reconciler.disks.found import GgufFile
from reconciler.disks.stat import Stat

PARTED: Final = re.compile(r"(?P<stem>.+)-(?P<at>\d{5})-of-(?P<of>\d{5})\.gguf", re.DOTALL | re.ASCII)
UNFINISHED: Final = (".gguf.part", ".gguf.downloadInProgress", ".gguf.incomplete", ".gguf.aria2")


class Found(NamedTuple):
    """One file as it lies there. `certain` is false where its surroundings could not be read."""

    path: str
    name: str
    stat: Stat
    repo: str | None = None
    commit: str | None = None
    certain: bool = True

    @property
    def inode(self) -> str:
        """The file itself, whatever leads to it."""
        return self.stat.inode


def grouped(files: Iterable[Found]) -> tuple[GgufFile, ...]:
    """One value for each model: parts are put together, and what is still being fetched is not complete."""
    groups: dict[tuple[str, str, int], list[Found]] = {}
    single: list[GgufFile] = []
    for file in {file.inode: file for file in files}.values():  # revisions share their files
        match = PARTED.fullmatch(file.name)
        if match is not None and 0 < int(match["at"]) <= int(match["of"]):
            groups.setdefault((file.path[: -len(file.name)], match["stem"], int(match["of"])), []).append(file)
        else:
            single.append(_single(file))
    parted = [_together(of, sorted(files)) for (_, _, of), files in groups.items()]
    return tuple(sorted((*single, *parted), key=lambda gguf: gguf.path))


def _single(file: Found) -> GgufFile:
    whole = file.name.endswith(".gguf")
    return GgufFile(
        path=file.path,
        name=file.name if whole else file.name[: file.name.rindex(".gguf") + len(".gguf")],
        size=file.stat.size,
        present=int(whole),
        complete=whole,
        repo=file.repo,
        commit=file.commit,
        changed_at=None if whole else file.stat.changed,
    )


def _together(of: int, files: list[Found]) -> GgufFile:
    first = files[0]
    whole = len(files) == of
    return GgufFile(
        path=first.path,
        name=first.name,
        size=sum(file.stat.size for file in files),
        parts=of,
        present=len(files),
        complete=whole or (False if first.certain else None),
        repo=first.repo,
        commit=first.commit,
    )
