"""vLLM: `vllm serve MODEL --flags`, alone or as a rank of a group by vLLM's own means; by Ray in `vllm_ray`.

Its images begin in three ways: upstream's with `vllm serve`, NVIDIA's with a script that must stay, all others with
whatever their maker liked, which is cleared away.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from reconciler.engines import caches, network, vllm_ray
from reconciler.engines.defaults import model_server
from reconciler.engines.seat import Seat
from reconciler.engines.start import (
    NotLaunchable,
    Start,
    beneath,
    of_nvidia,
    parsed_arguments,
    program,
    repository,
    whole,
)
from state.engines import active, given, spelling
from state.recipes import Recipe

PROGRAM: Final = ("vllm", "serve")
CACHES: Final = (caches.HUGGING_FACE, caches.VLLM, caches.FLASHINFER, caches.TRITON)
AXES: Final = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The effective recipe and how it starts. Raises NotLaunchable."""
    by_ray = recipe.distributed == "ray" and seat.grouped
    flags = active(recipe.flags)
    derived: dict[str, JsonValue] = {
        "host": "0.0.0.0",  # noqa: S104  # inside the container; who may reach the Spark is its firewall's business
        "port": recipe.listening_port,
        "revision": recipe.revision,
    }
    env: dict[str, str] = {}
    if seat.grouped:
        network.check(recipe, seat)
        sizes = parallel(flags, seat.size)
        derived |= vllm_ray.flags(sizes) if by_ray else _native(sizes, seat)
        env = {"VLLM_HOST_IP": seat.address, **network.environment(seat)}
    named = {name: value for name, value in flags.items() if spelling(name) != "served-model-name"}
    named["served-model-name"] = served_names(flags, seat.workload)
    argv = (*program(recipe, PROGRAM), str(recipe.model), *parsed_arguments(beneath(derived, named)))
    if by_ray:
        env |= vllm_ray.environment(seat)
        argv = vllm_ray.script(recipe, seat, argv)
    head = seat.rank == 0
    full = model_server(recipe, seat, keep=CACHES, env=env, serves=head, listens=head)
    return full, Start(argv=argv, through=of_nvidia(recipe.image), built_in=PROGRAM if _upstream(recipe.image) else ())


def served_names(flags: Mapping[str, JsonValue], workload: str) -> JsonValue:
    """The names that apps may ask for: those of the flags, and always the workload's, which the proxy asks by."""
    value = given(flags, "served-model-name")
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if (value is not None and not names) or not all(isinstance(name, str) and name for name in names):
        raise NotLaunchable("flags: served-model-name must be a name or a list of names")
    return [*names, *([] if workload in names else [workload])]


def parallel(flags: Mapping[str, JsonValue], sparks: int) -> dict[str, int]:
    """How the model is divided over the Sparks, one GPU each: by tensors unless the flags say otherwise.

    Raises NotLaunchable if the flags' numbers do not come to the number of Sparks.
    """
    said = {axis: size for axis in AXES if (size := whole(flags, axis)) is not None}
    sizes = said or {"tensor-parallel-size": sparks}
    if (product := math.prod(sizes.values())) != sparks:
        sum_up = " x ".join(f"{axis} {sizes.get(axis, 1)}" for axis in AXES)
        raise NotLaunchable(f"flags: {sum_up} = {product}, but `across` names {sparks} Sparks with one GPU each")
    return sizes


def _native(sizes: Mapping[str, int], seat: Seat) -> dict[str, JsonValue]:
    """The flags of one rank without Ray. Data parallelism has its own: each rank holds the whole model."""
    headless: dict[str, JsonValue] = {"headless": True} if seat.rank else {}
    if (replicas := sizes.get("data-parallel-size", 1)) == 1:
        return {
            **sizes,
            "nnodes": seat.size,
            "node-rank": seat.rank,
            "master-addr": seat.head,
            "master-port": seat.master_port,
            **headless,
        }
    if replicas != seat.size:
        raise NotLaunchable(
            f"flags: data-parallel-size {replicas} together with another kind of parallelism over {seat.size} Sparks "
            "needs `distributed: ray`"
        )
    start: dict[str, JsonValue] = {"data-parallel-start-rank": seat.rank} if seat.rank else {}
    return {
        **sizes,
        "data-parallel-size-local": 1,
        "data-parallel-address": seat.head,
        "data-parallel-rpc-port": seat.master_port,
        **start,
        **headless,
    }


def _upstream(image: str) -> bool:
    """`vllm/vllm-openai` and its variants, from Docker's registry or a mirror of it."""
    return re.search(r"(^|/)vllm/vllm-openai[^/]*$", repository(image)) is not None
