"""What `stat` says of one file."""

from __future__ import annotations

from typing import Final, NamedTuple

KIND: Final = 0xF000
REGULAR: Final = 0x8000
FOLDER: Final = 0x4000


class Stat(NamedTuple):
    """What `stat` said of a file. `inode` is device:number, `changed` in Unix seconds."""

    mode: int
    size: int
    changed: float
    inode: str

    @property
    def regular(self) -> bool:
        """It is a file."""
        return self.mode & KIND == REGULAR

    @property
    def folder(self) -> bool:
        """It is a folder."""
        return self.mode & KIND == FOLDER
