"""Which weights must lie in the cache that sparkkeep fetches into before a recipe is launched. Pure.

Only where it is sure that the engine reads them from there: the cache is mounted where the engine looks, no flag and no
variable sends it elsewhere, and the recipe itself names the repository. Whatever is less sure is left to the engine.
"""

from __future__ import annotations

import re
from typing import Final

from reconciler.menu_recipes import subject
from reconciler.model import LaunchSpec
from reconciler.weights.cache import DEFAULT_CACHE, Want, folder_of
from reconciler.weights.repo_files import ListingRefused
from state.engines import given
from state.recipes import Recipe

HOME: Final = DEFAULT_CACHE.removesuffix("/hub")
HUBS: Final = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")  # name the folder that HF_HOME has as `hub`
ELSEWHERE: Final = ("HF_ENDPOINT", "LLAMA_CACHE", "TRANSFORMERS_CACHE")  # another hub, another cache
READ_FROM: Final = (  # flags that say what is read, or from where
    *("download-dir", "revision", "model", "model-path", "m"),
    *("hf-repo", "hf", "hfr", "hf-file", "hff", "model-url", "mu"),
)
PART: Final = re.compile(r"-\d{5}(?=-of-\d{5}\.gguf$)")


def wanted(recipe: Recipe, spec: LaunchSpec) -> Want | None:
    """What `spec`, made of `recipe`, reads from the cache on its Spark; None if that is nothing, or not sure."""
    what = subject(recipe)
    if what is None or what.kind == "nim" or recipe.model is None or not _mounted(spec):
        return None
    if any(given(recipe.flags, flag) is not None for flag in READ_FROM):
        return None
    try:
        folder_of(recipe.model)
    except ListingRefused:
        return None
    revision = recipe.revision or "main"
    if what.kind == "gguf" and recipe.file is not None:
        return Want(recipe.model, revision, files=(PART.sub("-?????", recipe.file),))
    return Want(recipe.model, revision, quant=(recipe.quant or "") if what.kind == "gguf" else "")


def _mounted(spec: LaunchSpec) -> bool:
    """Whether the hub's cache of the Spark is the one that programs inside find."""
    env = {**dict(spec.env), **dict(spec.secrets)}
    if any(name in env for name in ELSEWHERE):
        return False
    target = next((there for source, there, _ in spec.mounts if source.rstrip("/") == HOME), None)
    if target is None:
        target = next((there for source, there, _ in spec.mounts if source.rstrip("/") == DEFAULT_CACHE), None)
        hub = target
    else:
        hub = f"{target.rstrip('/')}/hub"
    if hub is None:
        return False
    named = next((env[name] for name in HUBS if name in env), None)
    if named is None and "HF_HOME" in env:
        named = f"{env['HF_HOME'].rstrip('/')}/hub"
    return hub.endswith("/.cache/huggingface/hub") if named is None else named.rstrip("/") == hub.rstrip("/")
