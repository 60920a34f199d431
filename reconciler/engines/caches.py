"""Folders of the Spark that a model engine keeps over restarts: weights, and kernels that were compiled once.

Without them every start would fetch 60 GB again or compile for minutes. They are mounted where the image looks for
them, which is below /root, and below /cache for a container that runs as somebody else. What a recipe says about one
of them (its variable, a mount of its own) wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reconciler.engines.start import NotLaunchable
from state.recipes import EnvEntry, Mount, Recipe, SecretRef

ROOT: Final = frozenset({None, "root", "0", "0:0"})
MOUNTABLE: Final = r"/[A-Za-z0-9._/@+ -]*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder of the Spark and its place inside: the value of `variable`, with `below` under it."""

    source: str
    root: str  # the variable's value for root
    other: str  # and for everybody else
    variable: str | None  # None: the place can't be moved
    below: str = ""
    told: bool = False  # the variable is set even where its value is the usual one

    def target(self, base: str) -> str:
        """Where it is mounted if the variable has this value."""
        return f"{base}/{self.below}" if self.below else base


HUGGING_FACE: Final = Cache(
    source="$HOME/.cache/huggingface",
    root="/root/.cache/huggingface",
    other="/cache/huggingface",
    variable="HF_HOME",
    told=True,
)
VLLM: Final = Cache(
    source="$HOME/.cache/vllm", root="/root/.cache/vllm", other="/cache/vllm", variable="VLLM_CACHE_ROOT"
)
FLASHINFER: Final = Cache(
    source="$HOME/.cache/flashinfer",
    root="/root",
    other="/cache",
    variable="FLASHINFER_WORKSPACE_BASE",
    below=".cache/flashinfer",
)
TRITON: Final = Cache(
    source="$HOME/.triton/cache", root="/root/.triton/cache", other="/cache/triton", variable="TRITON_CACHE_DIR"
)
LLAMA: Final = Cache(source="$HOME/.cache/llama.cpp", root="/root/.cache/llama.cpp", other="", variable=None)
NIM: Final = (
    Cache(source="$HOME/.cache/nim", root="/opt/nim/.cache", other="/opt/nim/.cache", variable="NIM_CACHE_PATH"),
    Cache(
        source="$HOME/.local/share/nim/workspace",
        root="/opt/nim/workspace",
        other="/opt/nim/workspace",
        variable=None,
    ),
)


def kept(recipe: Recipe, caches: Sequence[Cache]) -> tuple[list[Mount], dict[str, EnvEntry]]:
    """The recipe's mounts and variables with these caches added. Raises NotLaunchable."""
    mounts, env = list(recipe.mounts), dict(recipe.env)
    for cache in caches:
        base = cache.root if recipe.user in ROOT else cache.other
        if not base or (cache.variable and isinstance(env.get(cache.variable), SecretRef)):
            continue
        own = next((mount.target for mount in recipe.mounts if mount.source == cache.source), None)
        if cache.variable and cache.variable in env:
            base = str(env[cache.variable])
        elif cache.variable and own is not None and not cache.below:
            env[cache.variable] = base = own
        elif cache.variable and (cache.told or base != cache.root):
            env[cache.variable] = base
        target = cache.target(base.rstrip("/"))
        if own is None and not any(_covers(mount.target, target) for mount in recipe.mounts):
            mounts.append(_mount(cache, target))
    return mounts, env


def _covers(above: str, target: str) -> bool:
    return target == above.rstrip("/") or target.startswith(f"{above.rstrip('/')}/")


@lru_cache(maxsize=256)
def _mount(cache: Cache, target: str) -> Mount:
    if not re.fullmatch(MOUNTABLE, target) or ".." in target.split("/"):
        message = f"env: {cache.variable} is not a path at which {cache.source} can be mounted"
        raise NotLaunchable(f"{message}; give it an absolute path, or mount something there yourself")
    return Mount.model_validate({"source": cache.source, "target": target, "create": True})
