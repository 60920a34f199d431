"""TensorRT-LLM: `trtllm-serve MODEL --flags`.

Its further options come from a YAML file only. A recipe writes them as a map, `flags: {extra_llm_api_options: {...}}`;
a constant script puts them into a file inside the container, where the server finds them.
"""

from __future__ import annotations

import math
from typing import Final

import yaml
from pydantic import JsonValue

from reconciler.engines import caches, network, scripts
from reconciler.engines.defaults import model_server
from reconciler.engines.seat import Seat
from reconciler.engines.start import Start, beneath, of_nvidia, parsed_arguments, program
from state.engines import active, spelling
from state.recipes import Recipe

PROGRAM: Final = ("trtllm-serve",)
CACHES: Final = (caches.HUGGING_FACE, caches.FLASHINFER, caches.TRITON)
OPTIONS: Final = ("extra-llm-api-options", "config")
FILE: Final = "/tmp/sparkkeep-options.yaml"  # noqa: S108  # inside the container, which holds nobody else


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The effective recipe and how it starts. Raises NotLaunchable."""
    network.refuse(recipe, seat, "over several it is started by MPI, from the head into the others")
    flags = active(recipe.flags)
    derived: dict[str, JsonValue] = {
        "host": "0.0.0.0",  # noqa: S104  # inside the container; who may reach the Spark is its firewall's business
        "port": recipe.listening_port,
        "revision": recipe.revision,
    }
    options = next((n for n, v in flags.items() if spelling(n) in OPTIONS and isinstance(v, dict)), None)
    written = "" if options is None else _yaml(flags[options])
    if options is not None:
        flags[options] = FILE
    arguments = parsed_arguments(beneath(derived, flags), repeat=True)
    argv = (*program(recipe, PROGRAM), str(recipe.model), *arguments)
    if options is not None:
        argv = scripts.run(scripts.OPTIONS, "options", written, FILE, *argv)
    return model_server(recipe, seat, keep=CACHES), Start(argv=argv, through=of_nvidia(recipe.image))


def _yaml(options: JsonValue) -> str:
    """Not JSON: a reader of YAML 1.1 takes 1e-05, as JSON writes it, for text."""
    return yaml.safe_dump(options, default_flow_style=True, allow_unicode=True, width=math.inf).rstrip("\n")
