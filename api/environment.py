"""What the environment says: the Sparks, keys and files of the first system, under the names it gave them.

The environment is the base. As soon as a desired state names Sparks of its own, those of the environment are no
longer looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.hostkeys import HostKeys
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from state.desired import Spark
from state.sources import RecipeFile, Source
from state.store import DesiredStore, Files, Generations
from state.yaml_read import read_tree
from state.yaml_tree import as_map

SPARK: Final = re.compile(r"SPARK([1-9][0-9]{0,2})_HOST")
KEY_FILES: Final = ("id_ed25519", "id_ecdsa", "id_rsa")


def sparks_of(environ: Mapping[str, str]) -> Source | None:
    """`SPARK1_HOST` and `SPARK1_USER` (and so on) as the `sparks:` of a desired state; None where there are none."""
    numbers = sorted(int(m[1]) for name, value in environ.items() if value and (m := SPARK.fullmatch(name)))
    if not numbers:
        return None
    lines = ["sparks:"]
    for number in numbers:
        entry = {"host": environ[f"SPARK{number}_HOST"]}
        if user := environ.get(f"SPARK{number}_USER"):
            entry["user"] = user
        lines.append(f"  spark-{number}: {json.dumps(entry)}")
    return Source("the environment (SPARK1_HOST, ...)", "\n".join(lines).encode("utf-8", "surrogateescape"))


def without_sparks(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, if it named no Spark."""
    return {name: value for name, value in environ.items() if not SPARK.fullmatch(name)}


class Completion:
    """Adds the Sparks of the environment to a desired state that names none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._sparks = sparks_of(environ)

    def __call__(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources, and perhaps one more."""
        if self._sparks is None or any(_names_sparks(source) for source in sources):
            return sources
        return (*sources, self._sparks)


def _names_sparks(source: Source) -> bool:
    tree, _ = read_tree(source.data, source.name)
    return tree is not None and bool(as_map(as_map(tree)["sparks"]) if "sparks" in as_map(tree) else None)


class Store(DesiredStore):
    """The desired state of a file or folder, completed by the environment."""

    def __init__(
        self,
        path: Path,
        *,
        generations: Generations,
        recipes: Sequence[RecipeFile | Path],
        complete: Completion,
    ) -> None:
        super().__init__(path, generations=generations, recipes=recipes)
        self._complete = complete

    async def _read(self) -> Files:
        desired, recipes = await super()._read()
        return self._complete(desired), recipes


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How Sparks are reached: with which key, which ssh configuration, and which host keys believed."""

    hostkeys: HostKeys
    key: Path | None = None
    config: tuple[Path, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], own: Path) -> Reach:
        """As SSH_DIR, SSH_KEY_PATH and SSH_KNOWN_HOSTS say, or as plain `ssh` would. `own` is what trust writes to."""
        folder = Path(environ.get("SSH_DIR") or "~/.ssh").expanduser()
        known = Path(environ.get("SSH_KNOWN_HOSTS") or folder / "known_hosts").expanduser()
        named = environ.get("SSH_KEY_PATH")
        return cls(
            hostkeys=HostKeys([known], own=own),
            key=Path(named).expanduser() if named else _key_in(folder) if environ.get("SSH_DIR") else None,
            config=(folder / "config",),
        )

    def link(self, name: str, spark: Spark) -> Link:
        """A connection to a Spark, not opened yet."""
        return Link(name, spark, self.hostkeys, key_path=self.key, config=self.config)

    def host(self, name: str, spark: Spark, owner: str) -> RemoteHost:
        """A Spark behind the loop's seam."""
        return RemoteHost(self.link(name, spark), spark.socket, owner)


def _key_in(folder: Path) -> Path | None:
    return next((folder / name for name in KEY_FILES if (folder / name).is_file()), None)
