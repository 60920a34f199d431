"""What the image is made of: all that it needs is sent, and the base image's torch is never replaced."""

from __future__ import annotations

import subprocess
from pathlib import Path

from reconciler.built import archive, built
from reconciler.model import Built
from reconciler.practice.memory import MemoryConnection
from reconciler.practice.spark import Settings, Spark
from reconciler.shell import fed
from state.contexts import read_context
from tests.tools.recipe_list import recipes

HERE = Path(__file__).parents[3] / "spark_embed"
TORCH = "2.9.0a0+50eac811a6.nv25.09 13.0 50eac81 /usr/local/lib/python3.12/dist-packages/torch/__init__.py"
PLAIN = "2.13.0+cpu None cafe /usr/lib/python3/torch/__init__.py"

# It stands for the image's python: torch says what a file says, and pip changes it if it is told to.
PYTHON = """#!/bin/sh
case "$1" in
-c) cat torch ;;
-m) echo "$PIP_CONSTRAINT" > constraints; cat ${PIP_CONSTRAINT##* } > pinned; shift; echo "$@" > asked
    if [ -e changes ]; then cp changes torch; fi ;;
esac
"""


def installed(folder: Path, torch: str, *, changes: str = "", **told: str) -> subprocess.CompletedProcess[str]:
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    (folder / "torch").write_text(f"{torch}\n")
    if changes:
        (folder / "changes").write_text(f"{changes}\n")
    environ = {"PATH": f"{folder}:/usr/bin:/bin", **told}
    script = str(HERE / "install.sh")
    return subprocess.run(
        ["sh", script], check=False, cwd=folder, capture_output=True, text=True, env=environ, timeout=30
    )


def test_torch_is_pinned_beside_the_constraints_of_the_image(tmp_path: Path) -> None:
    done = installed(tmp_path, TORCH, PIP_CONSTRAINT="/etc/pip/constraint.txt")
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / "constraints").read_text().split()
    assert (first, Path(second).name) == ("/etc/pip/constraint.txt", "torch.txt")
    assert (tmp_path / "pinned").read_text() == "torch==2.9.0a0+50eac811a6.nv25.09\n"
    assert f"--requirement {HERE}/requirements.txt" in (tmp_path / "asked").read_text()
    assert f"torch is as it was: {TORCH}" in done.stdout
    assert not Path(second).exists(), "nothing of it is left behind"


def test_without_constraints_of_the_image_there_is_ours(tmp_path: Path) -> None:
    assert installed(tmp_path, TORCH).returncode == 0
    assert len((tmp_path / "constraints").read_text().split()) == 1


def test_a_torch_that_was_changed_fails_the_build(tmp_path: Path) -> None:
    """Symptom elsewhere: a torch from PyPI without the GPU's kernels, and an image that is only slow."""
    done = installed(tmp_path, TORCH, changes=PLAIN, PIP_CONSTRAINT="/etc/pip/constraint.txt")
    assert done.returncode == 1
    assert done.stderr == f"spark_embed: torch was changed: it was {TORCH}, and is {PLAIN}\n"


def test_a_torch_without_a_gpu_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    done = installed(tmp_path, PLAIN)
    assert (done.returncode, (tmp_path / "asked").exists()) == (1, False)
    assert "the base image's torch knows no GPU" in done.stderr
    assert installed(tmp_path, PLAIN, ALLOW_CPU="1").returncode == 0


def test_all_that_the_program_needs_is_sent_and_nothing_else() -> None:
    sent = {file.path for file in read_context([], "spark_embed").files}
    modules = {path.name for path in HERE.glob("*.py")}
    assert sent == modules | {"Dockerfile", "install.sh", "requirements.txt"}
    assert {"__init__.py", "__main__.py", "app.py", "batching.py", "lane.py", "models.py"} <= modules
    assert not any(
        "sparkkeep." in text or "import reconciler" in text for text in (p.read_text() for p in HERE.glob("*.py"))
    )


async def test_a_practice_spark_builds_the_recipe_that_ships() -> None:
    recipe, context = recipes()["spark-embed"], read_context([], "spark_embed")
    found = built(recipe, {"spark_embed": context})
    assert isinstance(found, Built)
    assert found.args == (("BASE", recipe.build.base if recipe.build else ""),)
    spark = Spark("spark-1", settings=Settings(pull_seconds=0.0))
    argv = ("docker", "build", "--label", f"sparkkeep.build={found.tag}", "--tag", f"{recipe.image}:{found.tag}")
    script = fed((*argv, "--build-arg", f"BASE={found.base}", "-"), archive(context))
    done = await MemoryConnection(spark).run("sh", script)
    assert done.status == 0, done.stderr
    assert "Step 1/9 : ARG BASE=nvcr.io/nvidia/pytorch" in done.stdout
    listed = await MemoryConnection(spark).run("docker images --format '{{.Repository}}:{{.Tag}}'")
    assert set(listed.stdout.split()) == {f"{recipe.image}:{found.tag}", found.base}
