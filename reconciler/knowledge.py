"""What the loop learns beside the desired state: from scans, surveys of disks, images, and folders of this machine.

None of it is truth that must be kept: after a restart it is learnt again. `Loop` asks what changed, and plans anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.building import Folders
from reconciler.delivery import Mods
from reconciler.disks.found import DiskSurvey
from reconciler.engines import Fabric
from reconciler.fabric import fabrics
from reconciler.holdings import commits, holding
from reconciler.infer_menu import known_files
from reconciler.memory.files import ModelFiles
from reconciler.model import Key, Sight
from reconciler.preflight.ask import Answers
from reconciler.target import Known
from state.declaration import Declaration
from state.desired import Spark
from state.recipes import Recipe


class Knowledge:
    """The latest of everything. `places` are the folders in which mods may lie, `contexts` those of build contexts."""

    def __init__(self, places: Sequence[Path] = (), contexts: Sequence[Path] = ()) -> None:
        self.mods = Mods(places)
        self.contexts = Folders(contexts)
        self.answers = Answers()
        self.fabric: dict[str, Fabric] = {}
        self.files: dict[tuple[str, str], ModelFiles] = {}  # of the weights of recipes that state no memory
        self.holding: dict[str, frozenset[str]] = {}  # workload -> the Sparks that have its weights
        self.commits: dict[Key, str] = {}  # of a workload's weights on a Spark

    def known(self, peaks: Mapping[Key, tuple[str, int]]) -> Known:
        """What a target is built from. `peaks` is what earlier starts took, as the journal has it."""
        return Known(
            fabric=self.fabric, mods=self.mods.digests, contexts=self.contexts.found, files=self.files, peaks=peaks
        )

    async def read(self, recipes: Iterable[Recipe]) -> bool:
        """Read the folders that these recipes name again: whether anything in them changed."""
        given = list(recipes)
        mods = await self.mods.read(mod_names(given))
        return await self.contexts.read(context_names(given)) or mods

    def seen(self, sparks: Mapping[str, Spark], sights: Mapping[str, Sight]) -> bool:
        """The Sparks were looked at: whether their networks, memory or GPUs are known otherwise now."""
        before, self.fabric = self.fabric, fabrics(sparks, sights)
        return before != self.fabric

    def surveyed(self, declarations: Iterable[Declaration], surveys: Mapping[str, DiskSurvey | None]) -> bool:
        """Disks were looked through, or something else is declared: whether anything follows from that."""
        declared = list(declarations)
        unstated = [d.recipe for d in declared if d.recipe.model and d.recipe.memory is None]
        found = [survey for _, survey in sorted(surveys.items()) if survey is not None]
        before = self.files, self.holding, self.commits
        self.files = known_files(unstated, found)
        self.holding, self.commits = holding(declared, surveys), commits(declared, surveys)
        return before != (self.files, self.holding, self.commits)


def mod_names(recipes: Iterable[Recipe]) -> set[str]:
    """The mods that these recipes name."""
    return {name for recipe in recipes for name in recipe.mods}


def context_names(recipes: Iterable[Recipe]) -> set[str]:
    """The build contexts that these recipes name."""
    return {recipe.build.context for recipe in recipes if recipe.build is not None}


def network(sight: Sight) -> tuple[object, ...]:
    """What of a Spark decides how it meets others, and what its containers get."""
    facts = sight.scan.facts if sight.scan is not None else None
    return () if facts is None else (facts.interfaces, facts.rdma, facts.gpu, facts.memory_total)
