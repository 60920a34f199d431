"""NVIDIA NIM: the image is the model. What it is told, it is told by its environment.

Flags go to `nim-serve`, which NIM for LLMs knows from version 2 on; earlier ones take none.
"""

from __future__ import annotations

from typing import Final

from reconciler.engines import caches, network
from reconciler.engines.defaults import SHM, model_server
from reconciler.engines.seat import Seat
from reconciler.engines.start import Start, parsed_arguments
from state.engines import active
from state.recipes import EnvEntry, Recipe, SecretRef

KEY: Final = SecretRef(secret="ngc")  # noqa: S106  # the secret's name
READY: Final = "/v1/health/ready"


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The effective recipe and how it starts. Raises NotLaunchable."""
    network.refuse(recipe, seat, "a NIM for several has its own way of finding the others")
    port = str(recipe.listening_port)
    env: dict[str, EnvEntry] = {
        "NGC_API_KEY": KEY,
        "NIM_SERVED_MODEL_NAME": seat.workload,
        "NIM_SERVER_PORT": port,  # for language models
        "NIM_HTTP_API_PORT": port,  # for speech, embeddings and rerankers
    }
    arguments = tuple(parsed_arguments(active(recipe.flags)))
    argv = (*(recipe.entrypoint or ()), *(("nim-serve", *arguments) if arguments else ()))
    full = model_server(recipe, seat, keep=caches.NIM, env=env, shared_memory=False, page=READY)
    shm = SHM if recipe.shm is None else recipe.shm
    return full.model_copy(update={"shm": shm}), Start(argv=argv, through=True, page=READY)
