"""The dashboard's files, held ready: read once, compressed once, named by what they hold.

`index.html` is asked for anew each time and names everything else under `/ui/VERSION/`, where VERSION is made from all
the files together: a browser keeps what lies there for good, and one that was open while sparkkeep was updated gets the
files that there are now.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent / "static"
INDEX: Final = "index.html"
PLACE: Final = b"/ui/VERSION/"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FRESH: Final = "no-cache"
FOR_GOOD: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file, as it is and compressed."""

    media_type: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, path: Path, data: bytes) -> File:
        """With the media type that its name says."""
        return cls(media_type=TYPES[path.suffix], plain=data, packed=gzip.compress(data, mtime=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The dashboard as it is served."""

    version: str
    index: File
    files: Mapping[str, File]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> Page:
        """The files of the folder. Raises KeyError for one of a kind that no browser is sent."""
        found = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        whole = hashlib.sha256()
        for path, data in found.items():
            whole.update(f"{path.relative_to(folder)} {len(data)}\n".encode() + data)
        version = whole.hexdigest()[:12]
        index = found.pop(folder / INDEX).replace(PLACE, f"/ui/{version}/".encode())
        files = {path.relative_to(folder).as_posix(): File.of(path, data) for path, data in found.items()}
        return cls(version=version, index=File.of(folder / INDEX, index), files=files)
