"""What sparkrun would serve, flag by flag, beside what we would: `python -m tests.peers.sparkrun_argv [RECIPE...]`.

sparkrun (0.4.2; Python 3.12 or newer, so it has an environment of its own) is asked with `run --dry-run --offline`.
SPARKRUN names the program, else PATH does; without it there is nothing to compare with, and that is said. Recipes:
those named, or every file of the corpus. Exit status 1 if an argv differs in more than `docs/IMPORT.md` explains.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.engines import ENGINES, solo
from reconciler.engines.seat import Fabric, seats
from reconciler.importers.accounts import Imported
from reconciler.importers.sparkrun import read_recipe
from state.problems import Invalid
from state.recipes import Recipe

CORPUS = Path(__file__).resolve().parents[3] / "shared/data/sparkrun_recipes"  # beside the project, where there is one
HEAD = "10.77.0.11"
Flags = dict[str, Any]

LONG = {
    "-tp": "tensor-parallel-size",
    "-pp": "pipeline-parallel-size",
    "-dp": "data-parallel-size",
    "--tp": "tp-size",
}
OF_THE_GROUP = {"nnodes", "node-rank", "master-addr", "master-port", "headless", "dist-init-addr"}
ANYWAY = {"tensor-parallel-size": 1, "pipeline-parallel-size": 1, "data-parallel-size": 1, "tp-size": 1, "pp-size": 1}


def program() -> str | None:
    """sparkrun, if there is one."""
    return os.environ.get("SPARKRUN") or shutil.which("sparkrun")


def corpus() -> list[Path]:
    """The recipes to compare by default."""
    return sorted(CORPUS.glob("*.yaml"))


def theirs(sparkrun: str, recipe: Path, sparks: int) -> list[str]:
    """The argv of the serve command that sparkrun prints."""
    hosts = ",".join(f"10.77.0.{11 + number}" for number in range(sparks))
    arguments = [sparkrun, "run", str(recipe), "--hosts", hosts, "--dry-run", "--no-auto-detect", "--offline"]
    with tempfile.TemporaryDirectory() as folder:
        git = Path(folder) / "git"  # else it waits for registries that are not wanted
        git.write_text("#!/bin/sh\nexit 1\n")
        git.chmod(0o755)
        own = {name: f"{folder}/{name}" for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        env = {**os.environ, "HOME": folder, "PATH": f"{folder}:{os.environ['PATH']}", "NO_COLOR": "1", **own}
        done = subprocess.run(
            arguments, check=True, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=120
        )
    lines = done.stdout.split("Serve command:\n", 1)[1].split("\n\n", 1)[0]
    return shlex.split(lines.replace("\\\n", " "), comments=True)


def ours(imported: Imported) -> list[str]:
    """The argv of the head's server, without mods, which run before it."""
    recipe = Recipe.model_validate({key: value for key, value in imported.recipe.items() if key != "mods"})
    across = imported.workload.get("across")
    if across is None:
        seat = solo(imported.name)
    else:
        fabric = {spark: Fabric(address=f"10.0.0.{n}", interface="enp1s0f0np0") for n, spark in enumerate(across, 1)}
        seat = seats(imported.name, across, fabric, grouped=True, listening=recipe.listening_port)[0]
    argv = list(ENGINES[recipe.engine](recipe, seat)[1].argv)
    wrapped = "sparkkeep-ray-head" in argv  # the script that starts Ray before it
    return argv[argv.index("vllm") :] if wrapped else argv


def as_flags(argv: Sequence[str]) -> tuple[str, Flags]:
    """The program with its model, and the flags: by long names, JSON read, numbers as numbers."""
    words = list(argv)
    first = next((n for n, word in enumerate(words) if word.startswith("--") or word in LONG), len(words))
    head, flags, name = words[:first], Flags(), ""
    for word in words[first:]:
        if word in LONG or (word.startswith("--") and len(word) > 2):
            name, equals, value = LONG.get(word, word.removeprefix("--")).partition("=")
            flags[name] = [_value(value)] if equals else []
        else:
            flags[name].append(_value(word))
    model = flags.pop("model-path", [])
    return " ".join([*head, *map(str, model)]), flags


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def explained(imported: Imported, flags: Flags, program_: str) -> tuple[str, Flags]:
    """Without what `docs/IMPORT.md` explains: each side adds some by itself."""
    grouped = "across" in imported.workload
    kept = {name: value for name, value in flags.items() if name not in OF_THE_GROUP}
    kept.pop("served-model-name", None)
    if kept.get("host") == ["0.0.0.0"]:
        del kept["host"]
    for name, size in ANYWAY.items():
        if not grouped or name in {"pipeline-parallel-size", "pp-size"}:
            kept = {key: value for key, value in kept.items() if key != name or value != [size]}
    return program_.replace("python3 -m sglang.launch_server", "sglang serve"), kept


def differences(mine: tuple[str, Flags], other: tuple[str, Flags]) -> list[str]:
    """Flag by flag: what only one side has, or has differently."""
    found = [] if mine[0] == other[0] else [f"program: {mine[0]} here, {other[0]} there"]
    for name in sorted(mine[1].keys() | other[1].keys()):
        here, there = mine[1].get(name, "nothing"), other[1].get(name, "nothing")
        if here != there:
            found.append(f"--{name}: {here} here, {there} there")
    return found


def served_names(argv: Sequence[str]) -> list[Any]:
    """What an argv lets apps ask for."""
    names: Iterable[Any] = as_flags(argv)[1].get("served-model-name", [])
    return list(names)


def compared(sparkrun: str, path: Path) -> tuple[list[str], Mapping[str, Any]]:
    """The differences of one recipe, and how many flags each side has."""
    (imported,) = read_recipe(path.read_bytes(), path.name).imported
    mine = ours(imported)
    other = theirs(sparkrun, path, len(imported.workload.get("across", ["one"])))
    sides = [explained(imported, as_flags(argv)[1], as_flags(argv)[0]) for argv in (mine, other)]
    found = differences(sides[0], sides[1])
    known = [*imported.workload.get("aliases", []), *served_names(mine)]
    found += [f"served name {name} is lost" for name in served_names(other) if name not in known]
    return found, {"here": len(as_flags(mine)[1]), "there": len(as_flags(other)[1]), "compared": len(sides[0][1])}


def tell(line: str) -> None:
    """One line of the outcome, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Compare and tell. 0: equal as explained."""
    sparkrun = program()
    paths = [Path(argument) for argument in arguments] or corpus()
    if sparkrun is None or not paths:
        tell("nothing compared: " + ("no recipes" if sparkrun else "no sparkrun (SPARKRUN=/path/to/sparkrun)"))
        return 0
    different = 0
    for path in paths:
        try:
            found, counts = compared(sparkrun, path)
        except Invalid as invalid:
            found, counts = [f"not imported: {problem}" for problem in invalid.problems], {}
        different += bool(found)
        tell(f"{path.name}: {'different' if found else 'equal'} {counts}")
        for line in found:
            tell(f"  {line}")
    tell(f"{len(paths)} recipes, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
