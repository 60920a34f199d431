"""Where to look on a Spark: the usual places, and what the recipes mount."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.shell import Arg, home_path
from state.recipes import Mount, Recipe


class Layout(StrEnum):
    """How a place is laid out."""

    HUB = "hub"  # models--OWNER--NAME in it; whatever else is there is listed as no model
    FLAT = "flat"  # the same among other things, as where HF_HUB_CACHE is the mount itself
    NIM = "nim"  # the same, with names of NGC
    GGUF = "gguf"  # any folders with *.gguf in them


@dataclass(frozen=True, slots=True)
class Place:
    """One folder to look into. `path` is missing where the Spark's own $HF_HOME says it."""

    layout: Layout
    path: Arg | None = None


MOST: Final = 12  # places of each kind that recipes may add
HF_TARGETS: Final = ("/root/.cache/huggingface", "/cache/huggingface")
HF_VARIABLES: Final = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
NIM_TARGET: Final = "/opt/nim/.cache"
DEFAULT_CACHE: Final = "$HOME/.cache/huggingface"
DEFAULT_NIM: Final = "$HOME/.cache/nim"
DEFAULT_GGUF: Final = ("$HOME/models", "$HOME/.cache/llama.cpp")


def places(recipes: Iterable[Recipe] = ()) -> tuple[Place, ...]:
    """The usual places and those that these recipes (the declared ones, say) mount, each once."""
    mounts = [(recipe, mount) for recipe in recipes for mount in recipe.mounts if mount.source.startswith(("/", "$"))]
    caches = _some(mount.source for recipe, mount in mounts if _is_cache(recipe, mount))
    nims = _some(mount.source for _, mount in mounts if _is_nim(mount))
    ggufs = _some(m.source for r, m in mounts if r.engine == "llamacpp" and not _is_cache(r, m))
    return (
        Place(Layout.HUB),
        *(Place(Layout.HUB, home_path(path, after="/hub")) for path in (DEFAULT_CACHE, *caches)),
        *(Place(Layout.FLAT, home_path(path)) for path in (DEFAULT_CACHE, *caches)),
        *(
            Place(Layout.NIM, home_path(path, after=under))
            for path in dict.fromkeys((DEFAULT_NIM, *nims))
            for under in ("/ngc/hub", "/huggingface/hub")
        ),
        *(Place(Layout.GGUF, home_path(path)) for path in dict.fromkeys((*DEFAULT_GGUF, *ggufs))),
    )


def _some(paths: Iterable[str]) -> list[str]:
    found = sorted({path.rstrip("/") for path in paths} - {"", "$HOME", DEFAULT_CACHE})
    return found[:MOST]


def _is_cache(recipe: Recipe, mount: Mount) -> bool:
    targets = {*HF_TARGETS, *(value for name in HF_VARIABLES if isinstance(value := recipe.env.get(name), str))}
    targets |= {target.removesuffix("/hub") for target in targets}
    return mount.target.rstrip("/") in targets or mount.source.rstrip("/").endswith("/huggingface")


def _is_nim(mount: Mount) -> bool:
    return mount.target.rstrip("/") == NIM_TARGET or mount.source.rstrip("/").endswith("/.cache/nim")
