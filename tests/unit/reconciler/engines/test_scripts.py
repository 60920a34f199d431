"""The scripts that run inside containers, run by a real shell with a stand-in for Ray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler.engines import scripts

WORDS = ["printf", "[%s]", "a b", "", "$HOME", "`id`", "-x", "'\"\\", "ü\n"]
TOLD = "".join(f"[{word}]" for word in WORDS[2:])


def ran(
    argv: Sequence[str], *, cwd: Path, path: Path | None = None, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **(more or {})}
    if path is not None:
        env["PATH"] = f"{path}:{env['PATH']}"
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=False)


def mod(folder: Path, name: str, body: str, *, executable: bool = True) -> str:
    place = folder / name
    place.mkdir()
    (place / "run.sh").write_text(f"#!/bin/bash\n{body}\n")
    (place / "run.sh").chmod(0o755 if executable else 0o644)
    return str(place)


@pytest.mark.parametrize("shell", [name for name in ("dash", "bash") if shutil.which(name)])
def test_mods_run_in_order_in_their_own_folders_and_then_the_program(tmp_path: Path, shell: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    note = 'echo "$(basename "$PWD") $WORKSPACE_DIR" >> "$WORKSPACE_DIR/log"'
    first = mod(tmp_path, "first", note)
    second = mod(tmp_path, "second two", f"declare -a bashism; {note}", executable=False)
    argv = scripts.run(scripts.MODS, "mods", first, second, scripts.END, *WORDS)
    found = ran([shell, *argv[1:]], cwd=work)
    assert (found.returncode, found.stdout) == (0, TOLD)
    assert (work / "log").read_text() == f"first {work}\nsecond two {work}\n"
    assert found.stderr == f"sparkkeep-mods: {first}\nsparkkeep-mods: {second}\n"


def test_a_container_that_is_started_again_is_not_patched_again(tmp_path: Path) -> None:
    once = mod(tmp_path, "once", 'mkdir "$WORKSPACE_DIR/patched"')
    argv = scripts.run(scripts.MODS, "mods", once, scripts.END, *WORDS)
    first, again = ran(argv, cwd=tmp_path), ran(argv, cwd=tmp_path)
    assert (first.returncode, first.stdout) == (again.returncode, again.stdout) == (0, TOLD)
    assert again.stderr == f"sparkkeep-mods: {once} was run at an earlier start\n"


def test_a_mod_that_fails_ends_the_start_loudly(tmp_path: Path) -> None:
    bad, after = mod(tmp_path, "bad", "exit 7"), mod(tmp_path, "after", "touch ../after-ran")
    argv = scripts.run(scripts.MODS, "mods", bad, after, scripts.END, "touch", "started")
    found = ran(argv, cwd=tmp_path)
    assert found.returncode == 1
    assert found.stderr.endswith(f"{bad}/run.sh failed with status 7: nothing is started\n")
    assert not (tmp_path / "after-ran").exists()
    assert not (tmp_path / "started").exists()


def test_options_go_into_the_file_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    argv = scripts.run(scripts.OPTIONS, "options", "{a: '%s \\n'}", str(file), *WORDS)
    found = ran(argv, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (0, TOLD)
    assert file.read_text() == "{a: '%s \\n'}\n"


def test_without_its_options_nothing_starts(tmp_path: Path) -> None:
    argv = scripts.run(scripts.OPTIONS, "options", "{}", str(tmp_path / "no" / "o.yaml"), "touch", "started")
    assert ran(argv, cwd=tmp_path).returncode != 0
    assert not (tmp_path / "started").exists()


@pytest.fixture
def ray(tmp_path: Path) -> Path:
    """A folder with a program and a module named ray: the program notes its arguments, the module counts to `nodes`."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "ray").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> "$RAY_LOG"\nexit "${RAY_EXIT:-0}"\n')
    (place / "ray").chmod(0o755)
    (place / "python3").symlink_to(sys.executable)
    (place / "ray.py").write_text(
        "import os\ncalls = 0\ndef init(**_): pass\n"
        "def nodes():\n    global calls\n    calls += 1\n    here = min(calls, int(os.environ['RAY_NODES']))\n"
        "    return [{'Alive': True}] * here + [{'Alive': False}]\n"
    )
    return place


def ray_env(tmp_path: Path, ray: Path, nodes: int, **more: str) -> dict[str, str]:
    config = str(tmp_path / "config")
    env = {"RAY_LOG": str(tmp_path / "log"), "RAY_NODES": str(nodes), "VLLM_CONFIG_ROOT": config}
    return {**env, "PYTHONPATH": str(ray), **more}


def test_rays_head_starts_waits_for_all_and_serves(tmp_path: Path, ray: Path) -> None:
    argv = scripts.run(scripts.RAY_HEAD, "ray-head", '["NCCL_IB_HCA"]', "2", "20", "29501", "10.0.0.1", *WORDS)
    found = ran(argv, cwd=tmp_path, path=ray, more=ray_env(tmp_path, ray, 2))
    assert (found.returncode, found.stdout) == (0, TOLD), found.stderr
    assert (tmp_path / "log").read_text() == (
        "start --head --port 29501 --node-ip-address 10.0.0.1 --object-store-memory 1073741824 --num-cpus 2 "
        "--include-dashboard=false --disable-usage-stats\n"
    )
    assert (tmp_path / "config" / "ray_non_carry_over_env_vars.json").read_text() == '["NCCL_IB_HCA"]\n'


def test_rays_head_gives_up_when_not_all_come(tmp_path: Path, ray: Path) -> None:
    argv = scripts.run(scripts.RAY_HEAD, "ray-head", "[]", "3", "0.1", "29501", "10.0.0.1", "touch", "started")
    found = ran(argv, cwd=tmp_path, path=ray, more=ray_env(tmp_path, ray, 1))
    assert found.returncode == 1
    assert found.stderr == "sparkkeep-ray: 1 of 3 Sparks have joined after 0.1 s: giving up\n"
    assert not (tmp_path / "started").exists()


def test_rays_head_does_not_serve_without_ray(tmp_path: Path, ray: Path) -> None:
    argv = scripts.run(scripts.RAY_HEAD, "ray-head", "[]", "2", "20", "29501", "10.0.0.1", "touch", "started")
    found = ran(argv, cwd=tmp_path, path=ray, more=ray_env(tmp_path, ray, 2, RAY_EXIT="3"))
    assert found.returncode == 1
    assert not (tmp_path / "started").exists()


def test_rays_worker_waits_for_its_head_and_joins(tmp_path: Path, ray: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        argv = scripts.run(scripts.RAY_WORKER, "ray-worker", "20", "127.0.0.1", port, f"127.0.0.1:{port}", "10.0.0.2")
        found = ran(argv, cwd=tmp_path, path=ray, more=ray_env(tmp_path, ray, 2, RAY_EXIT="5"))
    assert found.returncode == 5, found.stderr
    assert (tmp_path / "log").read_text() == (
        f"start --block --address 127.0.0.1:{port} --node-ip-address 10.0.0.2 --object-store-memory 1073741824 "
        "--num-cpus 2 --disable-usage-stats\n"
    )


def test_rays_worker_gives_up_on_a_head_that_never_comes(tmp_path: Path, ray: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        argv = scripts.run(scripts.RAY_WORKER, "ray-worker", "0.1", "127.0.0.1", port, f"127.0.0.1:{port}", "10.0.0.2")
        found = ran(argv, cwd=tmp_path, path=ray, more=ray_env(tmp_path, ray, 2))
    assert found.returncode == 1
    assert found.stderr.startswith(f"sparkkeep-ray: no head at 127.0.0.1:{port} after 0.1 s: ")
    assert not (tmp_path / "log").exists()
