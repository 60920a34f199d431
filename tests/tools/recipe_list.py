"""The list of shipped recipes in docs/RECIPES.md, made from models.yaml.

python -m tests.tools.recipe_list      writes it anew
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from state.load import load_text
from state.recipes import Recipe

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "RECIPES.md"
BEGIN: Final = "<!-- the list below is written by `python -m tests.tools.recipe_list` -->"
END: Final = "<!-- end of the list -->"

# What stands between a vllm recipe and vLLM 0.32's own parser; tests/models sees that this is all.
ITS_IMAGE: Final = {"gpt-oss-120b": "`mxfp4-backend` and `mxfp4-layers` are its image's own flags"}


def recipes() -> dict[str, Recipe]:
    """The recipes of models.yaml, by name and in its order."""
    return dict(load_text("sparks: {}\n", "none", [ROOT / "models.yaml"]).recipes)


def sparks(recipe: Recipe) -> int:
    """On how many Sparks it runs as it stands."""
    size = recipe.flags.get("tensor-parallel-size", recipe.flags.get("tp-size", 1))
    return size if isinstance(size, int) else 1


def outcome(name: str, recipe: Recipe) -> str:
    """What vLLM 0.32's parser says of its flags."""
    if recipe.engine != "vllm":
        return ""
    if name in ITS_IMAGE:
        return ITS_IMAGE[name]
    return "taken; its mod brings the chat template" if "chat-template" in recipe.flags else "taken"


def row(name: str, recipe: Recipe) -> str:
    """One line of the list."""
    what = recipe.model or f"image {recipe.image}"
    memory = f"{(recipe.memory or 0) / 2**30:.0f} GiB" + (" each" if sparks(recipe) > 1 else "")
    probe = recipe.probe.kind if recipe.probe else "none"
    cells = (f"`{name}`", recipe.engine, what, str(sparks(recipe)), memory, probe, outcome(name, recipe))
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """The whole list, with its head."""
    head = "| recipe | engine | serves | Sparks | memory | probe | vLLM 0.32's parser |\n|---|---|---|---|---|---|---|"
    return "\n".join((head, *(row(name, recipe) for name, recipe in recipes().items())))


def page(text: str) -> str:
    """The page with the list in its place."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
