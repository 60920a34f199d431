"""Any other program: what the recipe says and nothing else."""

from __future__ import annotations

from reconciler.engines import network
from reconciler.engines.defaults import NO_PROBE
from reconciler.engines.seat import Seat
from reconciler.engines.start import Start, flag_arguments
from state.recipes import Recipe


def launch(recipe: Recipe, seat: Seat) -> tuple[Recipe, Start]:
    """The recipe, and its words as they stand. Raises NotLaunchable."""
    network.refuse(recipe, seat, "what its ranks would have to be told is known for vllm and sglang")
    argv = (*(recipe.entrypoint or ()), *recipe.command, *flag_arguments(recipe.flags))
    filled = {"gpus": recipe.gpus or "none", "probe": recipe.probe or NO_PROBE}
    return recipe.model_copy(update=filled), Start(argv=argv, through=True)
