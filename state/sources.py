"""The files that the desired state and the recipes are read from.

Reading is apart from understanding: a `Source` is the bytes of one file under the name that problems will show,
so the same checks serve a file, a folder, a git commit, a body sent to the API, and what the journal remembers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from state.problems import Invalid, Problem
from state.yaml_read import MAX_BYTES

SUFFIXES: Final = (".yaml", ".yml")
MAX_FILES: Final = 1000
MAX_TOTAL: Final = 4 * MAX_BYTES


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read. What is only `base` lies under the others: what they say counts."""

    name: str
    data: bytes
    base: bool = False


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A file of recipes. Later ones lie over earlier ones; one that is not `required` may be absent."""

    path: Path
    required: bool = True


@dataclass(frozen=True, slots=True)
class Good:
    """A desired state that was in force: what it was read from, its revision, and its files."""

    origin: str
    revision: str
    desired: tuple[Source, ...]
    recipes: tuple[Source, ...]


def recipe_files(environ: Mapping[str, str]) -> tuple[RecipeFile, ...]:
    """The recipes that ship with sparkkeep (or MODELS_YAML in their place), then the operator's own over them."""
    own = environ.get("MODELS_YAML")
    here = Path(__file__).resolve().parent
    shipped = [RecipeFile(Path(own))] if own else [RecipeFile(p, required=False) for p in _shipped(here)]
    over = (environ.get(name) for name in ("MODELS_OVERRIDES", "SERVICES_OVERRIDES"))
    return (*shipped, *(RecipeFile(Path(path), required=False) for path in over if path))


def _shipped(package: Path) -> list[Path]:
    """models.yaml stands at the root of the repository, or beside or inside the installed package."""
    found = [folder / "models.yaml" for folder in (package.parent, package) if (folder / "models.yaml").is_file()]
    return found[:1]


def read_desired(paths: Path | str | Sequence[Path | str]) -> tuple[Source, ...]:
    """The files of the desired state. A folder stands for its YAML files, in the order of their names."""
    given = [paths] if isinstance(paths, (str, Path)) else paths
    sources: list[Source] = []
    for path in map(Path, given):
        sources += _folder(path) if path.is_dir() else [_file(path)]
    if (size := sum(len(source.data) for source in sources)) > MAX_TOTAL:
        raise Invalid([Problem(str(path), 0, 0, "", f"holds {size} bytes; {MAX_TOTAL} are allowed") for path in given])
    return tuple(sources)


def read_recipes(files: Iterable[RecipeFile | Path]) -> tuple[Source, ...]:
    """The files of recipes that exist. Raises Invalid if a required one does not."""
    wanted = (file if isinstance(file, RecipeFile) else RecipeFile(file) for file in files)
    return tuple(_file(file.path) for file in wanted if file.required or file.path.exists())


def blank(sources: Sequence[Source]) -> bool:
    """Whether they hold nothing but white space, comments and document marks, as a file cut to nothing does."""
    lines = (line.strip() for source in sources for line in source.data.splitlines())
    return all(not line or line.startswith((b"#", b"---")) for line in lines)


def fingerprint(*groups: Sequence[Source]) -> str:
    """Equal for equal names and bytes."""
    digest = hashlib.sha256()
    for group in groups:
        for source in group:
            digest.update(f"{len(source.name)} {len(source.data)}\n{source.name}\n".encode("utf-8", "surrogateescape"))
            digest.update(source.data)
        digest.update(b"--\n")
    return digest.hexdigest()


def _folder(folder: Path) -> list[Source]:
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name[0] != ".")
    except OSError as error:
        raise Invalid([_unreadable(folder, error)]) from None
    if not names:
        message = "holds no .yaml file; to want nothing, leave one that is empty"
        raise Invalid([Problem(str(folder), 0, 0, "", message)])
    if len(names) > MAX_FILES:
        message = f"holds {len(names)} YAML files; at most {MAX_FILES} are read"
        raise Invalid([Problem(str(folder), 0, 0, "", message)])
    return [_file(path) for path in names]


def _file(path: Path) -> Source:
    """At most one byte more than a document may have, so that a huge file is refused without being read."""
    try:
        if not path.is_file() and path.exists():
            raise Invalid([Problem(str(path), 0, 0, "", "is not a file")])
        with path.open("rb") as file:
            return Source(str(path), file.read(MAX_BYTES + 1))
    except OSError as error:
        raise Invalid([_unreadable(path, error)]) from None


def _unreadable(path: Path, error: OSError) -> Problem:
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
    return Problem(str(path), 0, 0, "", f"can't be read: {reason}")
