"""What a model engine brings without being written: the GPU, limits, shared memory, kept caches, a health page.

All of it lies under the recipe: what a recipe says wins. The outcome is again a recipe, so that a person can be shown
exactly what a few lines stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.engines import caches, network
from reconciler.engines.caches import Cache
from reconciler.engines.seat import Seat
from state.recipes import EnvEntry, Probe, Recipe

SHM: Final = 16 * 2**30
UNLIMITED: Final[Mapping[str, int]] = {"memlock": -1, "stack": 67_108_864}  # pinned memory for CUDA and RDMA
NO_PROBE: Final = Probe(kind="none")


def model_server(
    recipe: Recipe,
    seat: Seat,
    *,
    keep: Sequence[Cache],
    env: Mapping[str, EnvEntry] | None = None,
    shared_memory: bool = True,
    page: str = "/health",
    serves: bool = True,
    listens: bool = True,
) -> Recipe:
    """The recipe with what a server of models needs on this seat.

    `shared_memory`: its processes talk through it. `page` tells its health. A rank that answers no requests `serves`
    not, and has no probe; one that opens no port `listens` not. Raises NotLaunchable.
    """
    mounts, variables = caches.kept(recipe, keep)
    filled: dict[str, Any] = {
        "gpus": recipe.gpus or ("all" if seat.gpus else "none"),
        "mounts": mounts,
        "env": {**(env or {}), **variables},
        "devices": network.devices(recipe, seat),
        "port": recipe.listening_port if listens else None,
        "probe": probe(recipe, page) if serves else NO_PROBE,
    }
    if shared_memory:
        filled |= {
            "ipc": recipe.ipc or "host",
            "shm": SHM if recipe.shm is None else recipe.shm,
            "ulimits": {**UNLIMITED, **recipe.ulimits},
        }
    return recipe.model_copy(update=filled)


def probe(recipe: Recipe, page: str) -> Probe:
    """The recipe's probe, or a look at the engine's health page. Another kind's own path is no business of the page."""
    written = recipe.probe
    if written is None:
        return Probe(kind="http", path=page)
    if written.kind != "http" or "path" in written.model_fields_set:
        return written
    return written.model_copy(update={"path": page})
