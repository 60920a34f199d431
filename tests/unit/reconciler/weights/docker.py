"""A docker command that says what it is told: which containers run, and what they see."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.unit.reconciler.weights.spark import LocalSpark


def path_with_docker(folder: Path) -> str:
    """A PATH with the stand-in before everything else. It reads what `runs` wrote into the Spark's home."""
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = ps ] && exec cat "$HOME/ids"\nexec cat "$HOME/inspected"\n')
    docker.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def runs(spark: LocalSpark, *containers: dict[str, object]) -> None:
    (spark.home / "ids").write_text("".join(f"{at}\n" for at, _ in enumerate(containers)))
    (spark.home / "inspected").write_text(json.dumps(containers))


def container(name: str, source: str, *command: str, **env: str) -> dict[str, object]:
    config = {"Cmd": list(command), "Env": [f"{key}={value}" for key, value in env.items()], "Labels": {}}
    return {"Name": f"/{name}", "Config": config, "Mounts": [{"Type": "bind", "Source": source}]}
