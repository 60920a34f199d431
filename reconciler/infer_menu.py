"""A recipe to start from for what the survey of a disk found: the bridge from a revision to `reconciler.infer`.

Pure. The survey reads the small JSON files whole and picks a few facts out of large ones; here they become the
files that the inference looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.disks.found import DiskSurvey, Revision
from reconciler.holdings import meant
from reconciler.infer import Inferred, infer_recipe
from reconciler.memory.estimate import SPARK
from reconciler.memory.files import ModelFiles
from state.recipes import Recipe


def model_files(repository: str, revision: Revision) -> ModelFiles:
    """What the survey knows of a revision, as the estimate and the inference take it."""
    configs, hints = revision.configs, revision.hints
    tokenizer: dict[str, Any] = dict(configs.get("tokenizer_config.json", {}))
    if hints.get("has_chat_template"):
        tokenizer.setdefault("chat_template", True)
    if "model_max_length" in hints:
        tokenizer.setdefault("model_max_length", hints["model_max_length"])
    index: Mapping[str, Any] = configs.get("model.safetensors.index.json", {})
    if not index and "total_size" in hints:
        index = {"metadata": {"total_size": hints["total_size"]}}
    return ModelFiles(
        repository=repository,
        config=configs.get("config.json", {}),
        generation=configs.get("generation_config.json", {}),
        tokenizer=tokenizer,
        quantization=configs.get("hf_quant_config.json") or configs.get("quantize_config.json", {}),
        index=index,
        sizes={file.name: file.size for file in revision.files},
    )


def known_files(recipes: Iterable[Recipe], surveys: Iterable[DiskSurvey]) -> dict[tuple[str, str], ModelFiles]:
    """The files of the weights that these recipes mean (`holdings.meant`), as far as some Spark has them whole."""
    found: dict[tuple[str, str], ModelFiles] = {}
    seen = tuple(surveys)
    for recipe in recipes:
        repository, name = meant(recipe)
        whole = [r for survey in seen for m in survey.models if m.repo == repository for r in m.revisions if r.complete]
        revision = next((r for r in whole if name == r.commit or name in r.refs), None)
        if revision is None and recipe.revision is None:  # nobody knows what it will load: any of them is a fair guess
            revision = next(iter(whole), None)
        if revision is not None:
            found[repository, name] = model_files(repository, revision)
    return found


def infer_revision(repository: str, revision: Revision, *, total: int = SPARK) -> Inferred:
    """The recipe for a revision on a disk, pinned to its commit. `total`: memory of the Spark, in bytes."""
    found = infer_recipe(model_files(repository, revision), total=total)
    if not revision.commit or found.recipe.get("engine") != "vllm":
        return found
    return Inferred(
        recipe={**found.recipe, "revision": revision.commit},
        reasons=(*found.reasons, f"revision {revision.commit[:12]}: the one that lies on the disk"),
        questions=tuple(text for text in found.questions if not text.startswith("Which commit")),
        known=found.known,
        group=found.group,
        estimate=found.estimate,
    )


def infer_for_menu(repository: str, revision: Revision) -> Mapping[str, Any] | None:
    """What the menu shows; None where no valid recipe comes of it."""
    recipe = infer_revision(repository, revision).recipe
    return recipe if "model" in recipe and "image" in recipe else None
