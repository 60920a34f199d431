"""llama.cpp: `llama-server --hf-repo MODEL:QUANT --flags`, or `--model FILE` where the flags name a file."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from reconciler.engines import caches, network
from reconciler.engines.defaults import model_server
from reconciler.engines.seat import Seat
from reconciler.engines.start import Start, beneath, program, repeated_arguments, repository
from state.engines import active, given
from state.recipes import Recipe

PROGRAM: Final = "llama-server"
IN_UPSTREAM: Final = "/app/llama-server"  # not on the PATH there
CACHES: Final = (caches.HUGGING_FACE, caches.LLAMA)


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The effective recipe and how it starts. Raises NotLaunchable."""
    network.refuse(recipe, seat, "several would need a server of tensors on each of the others")
    flags = active(recipe.flags)
    derived: dict[str, JsonValue] = {
        "alias": seat.workload,
        "host": "0.0.0.0",  # noqa: S104  # inside the container; who may reach the Spark is its firewall's business
        "port": recipe.listening_port,
    }
    if given(flags, "model") is None:
        derived["hf-repo"] = f"{recipe.model}:{recipe.quant}" if recipe.quant else recipe.model
        derived["hf-file"] = recipe.file
    upstream = repository(recipe.image).endswith("ggml-org/llama.cpp")
    words = program(recipe, (IN_UPSTREAM if upstream else PROGRAM,))
    argv = (*words, *repeated_arguments(beneath(derived, flags)))
    return model_server(recipe, seat, keep=CACHES, shared_memory=False), Start(argv=argv)
