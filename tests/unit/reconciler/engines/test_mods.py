"""Mods before the program, whatever the image begins with."""

from __future__ import annotations

import shlex

import pytest

from reconciler.engines import NotLaunchable, launch, scripts
from tests.unit.reconciler.engines.launched import ALONE, line, ranks, recipe

VLLM = "engine: vllm, model: o/n, image: 'vllm/vllm-openai:latest', mods: [fix-a, mods/fix-b]"
HASHES = {"fix-a": "aa11", "mods/fix-b": "bb22"}
FRONT = ("-c", scripts.MODS, "sparkkeep-mods", "/opt/sparkkeep/mods/0-fix-a", "/opt/sparkkeep/mods/1-fix-b", "--")
SERVE = ("vllm", "serve", "o/n", "--host", "0.0.0.0", "--port", "8000", "--served-model-name", "m")


def test_they_are_mounted_by_their_hash_and_run_before_the_program() -> None:
    made = launch(recipe(VLLM), ALONE, HASHES)
    assert made.spec.entrypoint == ("sh",)
    assert made.spec.command == (*FRONT, *SERVE)
    assert made.spec.mounts[-2:] == (
        ("$HOME/.sparkkeep/mods/aa11", "/opt/sparkkeep/mods/0-fix-a", True),
        ("$HOME/.sparkkeep/mods/bb22", "/opt/sparkkeep/mods/1-fix-b", True),
    )
    assert all("mods" not in folder for folder in made.folders)
    told = line(made)
    assert f"sh vllm/vllm-openai:latest -c {shlex.quote(scripts.MODS)} sparkkeep-mods /opt" in told
    assert tuple(shlex.split(told)[-len(SERVE) - len(FRONT) :]) == (*FRONT, *SERVE)


def test_a_mod_that_changes_is_another_container() -> None:
    before, after = (launch(recipe(VLLM), ALONE, {**HASHES, "fix-a": digest}).spec.digest() for digest in ("1", "2"))
    assert before != after


def test_the_script_of_nvidias_images_stays_before_them() -> None:
    made = launch(recipe(VLLM.replace("vllm/vllm-openai", "nvcr.io/nvidia/vllm")), ALONE, HASHES)
    assert made.spec.entrypoint is None
    assert made.spec.command == ("sh", *FRONT, *SERVE)


def test_an_entrypoint_of_the_recipe_comes_after_them() -> None:
    made = launch(recipe(f"{VLLM}, entrypoint: [/wrap]"), ALONE, HASHES)
    assert made.spec.entrypoint == ("sh",)
    assert made.spec.command == (*FRONT, "/wrap", *SERVE)
    plain = recipe("image: 'a/b:1', mods: [fix-a], entrypoint: [serve, -q], command: [x]")
    assert launch(plain, ALONE, HASHES).spec.command[-4:] == ("--", "serve", "-q", "x")


def test_they_run_on_every_rank_and_before_ray() -> None:
    for seat in ranks(2):
        spec = launch(recipe(f"{VLLM}, distributed: ray"), seat, HASHES).spec
        assert spec.command[: len(FRONT)] == FRONT
        assert spec.command[len(FRONT) : len(FRONT) + 2] == ("sh", "-c")


def test_a_mod_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotLaunchable, match=r"^mod mods/fix-b: it has not been read yet$"):
        launch(recipe(VLLM), ALONE, {"fix-a": "1"})
