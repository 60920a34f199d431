"""Contexts: folders with a Dockerfile that images are built from, on the Spark that needs them.

One lies beside the desired state or ships with sparkkeep (`spark_embed`), and is named by the hash of its content. A
file that nobody but its owner may read is taken for a secret, and such a folder is not sent: what is built from it, and
the Spark's cache of builds, would keep it for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from state import dockerignore
from state.folders import Bounds, FolderFile, FolderRefused, content_digest, lies_in, read_files

DOCKERFILE: Final = "Dockerfile"
MAX_FILES: Final = 500
MAX_BYTES: Final = 8 * 2**20
IGNORE_BYTES: Final = 2**16
SHIPPED: Final = frozenset({"spark_embed"})  # beside the package, in a checkout and where it is installed
HERE: Final = Path(__file__).resolve().parent.parent


class ContextRefused(FolderRefused):
    """A context that can't be used; the text names the folder and the file, and says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A context as it was read, without what its .dockerignore leaves out; files in the order of their paths."""

    name: str
    files: tuple[FolderFile, ...]
    digest: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(file.data) for file in self.files)


def read_contexts(places: Sequence[Path], names: Iterable[str]) -> tuple[dict[str, Context], dict[str, ContextRefused]]:
    """The contexts of these names that can be used, and what is wrong with the others."""
    found: dict[str, Context] = {}
    refused: dict[str, ContextRefused] = {}
    for name in sorted(set(names)):
        try:
            found[name] = read_context(places, name)
        except ContextRefused as error:
            refused[name] = error
        except OSError as error:
            refused[name] = ContextRefused(f"build context {name}: it can't be read: {error.strerror}")
    return found, refused


def read_context(places: Sequence[Path], name: str) -> Context:
    """The context of this name, in the first of the places that has it. Raises ContextRefused."""
    what = f"build context {name}"
    every = (*places, *((HERE,) if name in SHIPPED else ()))
    place = next((folder / name for folder in every if lies_in(folder / name, folder)), None)
    if place is None:
        where = " or ".join(map(str, places)) or "any place that is looked in"
        raise ContextRefused(f"{what}: there is no such folder in {where}")
    try:
        skips = dockerignore.skips(_ignored(place))
    except ValueError as error:
        raise ContextRefused(f"{what}: {dockerignore.NAME}: {error}") from error
    bounds = Bounds(what=what, files=MAX_FILES, size=MAX_BYTES, refused=ContextRefused, skips=skips)
    files = read_files(place, bounds)
    if not any(file.path == DOCKERFILE for file in files):
        raise ContextRefused(f"{what}: it has no {DOCKERFILE}")
    if private := next((file.path for file in files if file.secret), None):
        advice = f"leave it out with {dockerignore.NAME}, or let others read it"
        raise ContextRefused(f"{what}: only its owner may read {private}, so it is taken for a secret; {advice}")
    return Context(name=name, files=files, digest=content_digest(files))


def _ignored(place: Path) -> str:
    """The text of its .dockerignore. Raises ValueError, OSError."""
    path = place / dockerignore.NAME
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as file:
        data = file.read(IGNORE_BYTES + 1)
    if len(data) > IGNORE_BYTES:
        raise ValueError(f"it has more than {IGNORE_BYTES // 1024} KiB")
    return data.decode()
