"""What the environment says: of Sparks, under the names that the first system gave them, and of settings.

The environment is the base, read once. As soon as a desired state names Sparks of its own, those of the environment
are no longer looked at. A setting of the environment holds where the desired state does not have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from state.settings_base import Base
from state.sources import Source
from state.yaml_read import read_tree
from state.yaml_tree import as_map

SPARK: Final = re.compile(r"SPARK([1-9][0-9]{0,2})_HOST")


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
    """Adds the Sparks of the environment to a desired state that names none, and puts its settings under the rest.

    Raises state.problems.Invalid for variables that are not fit for their settings.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._sparks = sparks_of(environ)
        self.base = Base.of(environ)

    def __call__(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """The sources, and perhaps one or two more."""
        if self.base.source is not None:
            sources = (*sources, self.base.source)
        if self._sparks is None or any(_names_sparks(source) for source in sources):
            return sources
        return (*sources, self._sparks)


def _names_sparks(source: Source) -> bool:
    tree, _ = read_tree(source.data, source.name)
    sections = as_map(tree) if tree is not None else {}
    return "sparks" in sections and bool(as_map(sections["sparks"]))
