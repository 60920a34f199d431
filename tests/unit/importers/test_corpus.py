"""Recipe files of sparkrun's registry as they are, where they are at hand: nothing of them stands here.

What sparkrun itself would serve is compared by `tests.peers.sparkrun_argv`. Here the template is filled and split by
other means than the importer's (`str.replace` and the standard library's shlex), and must give the same flags.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.cli import main
from reconciler.importers.accounts import Fate
from reconciler.importers.sparkrun import read_recipe
from state.load import load_sources
from state.recipes import Recipe
from state.sources import Source
from tests.peers.sparkrun_argv import as_flags, corpus, differences, explained, ours

FILES = corpus()
pytestmark = pytest.mark.skipif(not FILES, reason="the recipe files are not on this machine")


def rendered(data: dict[str, Any]) -> list[str]:
    """The argv that the template gives, and nothing else."""
    text = data["command"]
    for key, value in {**data["defaults"], "model": data["model"]}.items():
        text = text.replace("{" + key + "}", str(value))
    return shlex.split(text.replace("\\\n", " "))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_argv_is_the_templates_flag_by_flag(path: Path) -> None:
    (imported,) = read_recipe(path.read_bytes(), path.name).imported
    Recipe.model_validate(imported.recipe)
    sides = [as_flags(argv) for argv in (ours(imported), rendered(yaml.safe_load(path.read_text())))]
    mine, other = (explained(imported, flags, program) for program, flags in sides)
    assert len(mine[1]) >= 7
    assert differences(mine, other) == []


def test_all_of_them_are_one_desired_state_that_loads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", "sparkrun", "--in-place", "--quiet", *map(str, FILES)])
    said = capsys.readouterr()
    assert ended.value.code == 0
    sparks = "sparks: {spark-1: {host: a}, spark-2: {host: b}, spark-3: {host: c}, spark-4: {host: d}}\n"
    loaded = load_sources([Source("d.yaml", (sparks + said.out).encode())])
    assert len(loaded.resolved) == len(FILES)
    assert all("not carried: build_args" in line or "has that name already" in line for line in said.err.splitlines())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_key_has_its_fate_and_nothing_else_is_lost(path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    outcome = read_recipe(path.read_bytes(), path.name)
    said = {note.key: note.fate for note in outcome.notes}
    for key, value in data.items():
        parts = [f"{key}.{part}" for part in value] if isinstance(value, dict) else [key]
        assert all(part in said for part in parts), parts
    assert [note.key for note in outcome.lost] == (["build_args"] if "build_args" in data else [])
    assert said["model"] is Fate.CARRIED
    made = outcome.imported[0].recipe
    assert (made["model"], made["image"]) == (data["model"], data["container"])
    assert made.get("env", {}) == {key: str(value) for key, value in data.get("env", {}).items()}
    assert [f"mods/{mod}" for mod in made.get("mods", [])] == data.get("mods", [])
    assert len(outcome.imported[0].workload.get("across", ["one"])) == data.get("min_nodes", 1)
    assert json.loads(json.dumps(made)) == made
