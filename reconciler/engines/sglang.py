"""SGLang: `python3 -m sglang.launch_server --model-path MODEL --flags`, alone or as a rank of a group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from reconciler.engines import caches, network
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
from state.engines import active, given
from state.recipes import Recipe

PROGRAM: Final = ("python3", "-m", "sglang.launch_server")
CACHES: Final = (caches.HUGGING_FACE, caches.FLASHINFER, caches.TRITON)
TENSOR: Final = ("tp-size", "tp", "tensor-parallel-size")
PIPELINE: Final = ("pp-size", "pp", "pipeline-parallel-size")
DATA: Final = ("dp-size", "dp", "data-parallel-size")


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The effective recipe and how it starts. Raises NotLaunchable."""
    flags = active(recipe.flags)
    derived: dict[str, JsonValue] = {
        "model-path": recipe.model,
        "host": "0.0.0.0",  # noqa: S104  # inside the container; who may reach the Spark is its firewall's business
        "port": recipe.listening_port,
        "revision": recipe.revision,
        "served-model-name": seat.workload,
    }
    env: dict[str, str] = {}
    if seat.grouped:
        network.check(recipe, seat)
        derived |= _group(flags, seat)
        # Without it a rank gives the others the address of whatever interface comes first, and they wait for ever.
        env = {"SGLANG_HOST_IP": seat.address, **network.environment(seat)}
    argv = (*program(recipe, PROGRAM), *parsed_arguments(beneath(derived, flags)))
    # Ranks above 0 answer /health on the same port, whatever the state of the model: no reason to ask them.
    full = model_server(recipe, seat, keep=CACHES, env=env, serves=seat.rank == 0)
    wrapped = of_nvidia(recipe.image) or repository(recipe.image).endswith("lmsysorg/sglang")
    return full, Start(argv=argv, through=wrapped)


def _group(flags: Mapping[str, JsonValue], seat: Seat) -> dict[str, JsonValue]:
    """The flags of one rank: divided by tensors unless the flags say otherwise."""
    tensor, pipeline, data = (whole(flags, *names) for names in (TENSOR, PIPELINE, DATA))
    within = given(flags, "enable-dp-attention") is True  # then the replicas share the ranks of `tp`
    said = [size for size in (tensor, pipeline, None if within else data) if size is not None]
    if said and (product := math.prod(said)) != seat.size:
        sum_up = f"tp {tensor or 1} x pp {pipeline or 1}" + ("" if within else f" x dp {data or 1}")
        raise NotLaunchable(f"flags: {sum_up} = {product}, but `across` names {seat.size} Sparks with one GPU each")
    divided: dict[str, JsonValue] = {} if said else {"tp-size": seat.size}
    return {
        **divided,
        "dist-init-addr": network.place(seat.head, seat.master_port),
        "nnodes": seat.size,
        "node-rank": seat.rank,
    }
