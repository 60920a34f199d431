"""Which Spark has the weights of which workload, and of which commit, as far as the surveys of the disks tell.

Pure. A Spark that has the weights starts minutes earlier than one that must fetch them first: that decides between
Sparks on which a workload fits alike. And a recipe that names no commit means whatever each Spark's cache calls by
that name: the ranks of a group may then load different weights without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from reconciler.disks.found import DiskSurvey, Revision
from reconciler.model import Key
from state.load import Declaration
from state.recipes import Recipe

Surveys = Mapping[str, DiskSurvey | None]  # by Spark; None where there was none yet
USUAL: Final = "main"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def asked(recipe: Recipe) -> str:
    """The commit, branch or tag of the weights that the recipe means."""
    return recipe.revision or USUAL


def meant(recipe: Recipe) -> tuple[str, str]:
    """The repository and the commit, branch or tag of its weights; no repository for a recipe without weights."""
    return recipe.model or "", asked(recipe)


def holding(declarations: Iterable[Declaration], surveys: Surveys) -> dict[str, frozenset[str]]:
    """Workload -> the Sparks on which the weights that it names lie whole. Those without weights are left out."""
    return {
        declaration.name: frozenset(
            spark for spark, survey in surveys.items() if survey is not None and _whole(declaration.recipe, survey)
        )
        for declaration in declarations
        if declaration.recipe.model
    }


def commits(declarations: Iterable[Declaration], surveys: Surveys) -> dict[Key, str]:
    """(Workload, Spark) -> the commit that the Spark's cache has for a group whose recipe names none."""
    found: dict[Key, str] = {}
    for declaration in declarations:
        recipe, across = declaration.recipe, declaration.workload.across
        if across is None or recipe.model is None or _COMMIT.fullmatch(asked(recipe)):
            continue
        for spark in across:
            revision = _revision(recipe, survey) if (survey := surveys.get(spark)) is not None else None
            if revision is not None:
                found[declaration.name, spark] = revision.commit
    return found


def _whole(recipe: Recipe, survey: DiskSurvey) -> bool:
    """All of it, or for llama.cpp the one file that is asked for."""
    part = recipe.file or recipe.quant
    if part:
        wanted = part.casefold()
        return any(g.complete and g.repo == recipe.model and wanted in g.name.casefold() for g in survey.ggufs)
    revision = _revision(recipe, survey)
    return revision is not None and revision.complete is True


def _revision(recipe: Recipe, survey: DiskSurvey) -> Revision | None:
    name = asked(recipe)
    found = (r for model in survey.models if model.repo == recipe.model for r in model.revisions)
    return next((r for r in found if name == r.commit or name in r.refs), None)
