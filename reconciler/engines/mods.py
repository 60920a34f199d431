"""Mods: patches that run inside the container before the program, as Spark recipes bring them.

Each lies on the Spark in a folder named by the hash of its content and is mounted read-only, so that a mod which
changes is another mount, and with it another container.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from reconciler.engines import scripts
from reconciler.engines.start import NotLaunchable, Start
from reconciler.launch import mod_folder
from state.mods import ModRefused
from state.recipes import Mount, Recipe

INSIDE: Final = "/opt/sparkkeep/mods"


Digests = Mapping[str, str | ModRefused]


def with_mods(recipe: Recipe, start: Start, digests: Digests) -> tuple[Recipe, Start]:
    """The recipe with its mods mounted and the program behind them.

    `digests` has for each mod, by the name that recipes call it, the hash of its content, or why it can't be used.
    Raises NotLaunchable for one without a hash.
    """
    if not recipe.mods:
        return recipe, start
    mounts, targets = list(recipe.mounts), []
    for number, name in enumerate(recipe.mods):
        digest = digests.get(name)
        if not isinstance(digest, str):
            raise NotLaunchable(str(digest or f"mod {name}: it has not been read yet"))
        target = f"{INSIDE}/{number}-{name.rpartition('/')[2]}"
        source = mod_folder(digest)
        mounts.append(Mount.model_validate({"source": source, "target": target, "readOnly": True}))
        targets.append(target)
    argv = scripts.run(scripts.MODS, "mods", *targets, scripts.END, *start.argv)
    return recipe.model_copy(update={"mounts": mounts}), replace(start, argv=argv)
