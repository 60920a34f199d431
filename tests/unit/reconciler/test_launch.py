"""One exact command per option of a recipe."""

from __future__ import annotations

import pytest

from reconciler import launch
from reconciler.model import LaunchSpec
from reconciler.shell import join, split
from tests.unit.reconciler.builders import declare, only


def created(recipe: str) -> tuple[str, ...]:
    """The argv of a service with these recipe fields, without its labels."""
    target = declare(f"services:\n  echo: {{recipe: {{image: 'keep/echo:1', {recipe}}}, on: s1}}\n")
    argv = [str(arg) for arg in target.creations["s1", only(target).name].argv]
    while "--label" in argv:
        at = argv.index("--label")
        del argv[at : at + 2]
    return tuple(argv)


HEAD = (
    "docker",
    "run",
    "--detach",
    "--name",
    "sparkkeep-echo",
    "--restart",
    "no",
    "--pull",
    "never",
    "--stop-timeout",
    "30",
)
HOST = ("--network", "host")


@pytest.mark.parametrize(
    ("recipe", "tail"),
    [
        ("port: 80", (*HOST, "keep/echo:1")),
        ("command: [serve, --port, '80', '']", (*HOST, "keep/echo:1", "serve", "--port", "80", "")),
        ("entrypoint: []", (*HOST, "--entrypoint", "", "keep/echo:1")),
        ("entrypoint: [/bin/a, -x], command: [b]", (*HOST, "--entrypoint", "/bin/a", "keep/echo:1", "-x", "b")),
        ("env: {B: '1', A: two words}", (*HOST, "--env", "A=two words", "--env", "B=1", "keep/echo:1")),
        ("env: {N: 8}", (*HOST, "--env", "N=8", "keep/echo:1")),
        ("env: {T: {secret: hf}}", (*HOST, "--env-file", "$HOME/.sparkkeep/env/sparkkeep-echo", "keep/echo:1")),
        ("gpus: all", (*HOST, "--gpus", "all", "keep/echo:1")),
        ("shm: 2GiB", (*HOST, "--shm-size", "2147483648", "keep/echo:1")),
        ("ipc: host", (*HOST, "--ipc", "host", "keep/echo:1")),
        ("user: '1000:1000'", (*HOST, "--user", "1000:1000", "keep/echo:1")),
        ("user: app", (*HOST, "--user", "app", "keep/echo:1")),
        ("workdir: /srv", (*HOST, "--workdir", "/srv", "keep/echo:1")),
        ("ulimits: {memlock: -1, stack: 1}", (*HOST, "--ulimit", "memlock=-1", "--ulimit", "stack=1", "keep/echo:1")),
        ("devices: [/dev/infiniband]", (*HOST, "--device", "/dev/infiniband", "keep/echo:1")),
        ("capAdd: [IPC_LOCK]", (*HOST, "--cap-add", "IPC_LOCK", "keep/echo:1")),
        ("init: true", (*HOST, "--init", "keep/echo:1")),
        ("network: none", ("--network", "none", "keep/echo:1")),
        (
            "network: bridge, ports: [{host: 80, container: 8080}, {host: 53, container: 53, protocol: udp}]",
            ("--network", "bridge", "--publish", "80:8080/tcp", "--publish", "53:53/udp", "keep/echo:1"),
        ),
        (
            "mounts: [{source: $HOME/d, target: /d, readOnly: true}, {source: /a b, target: /b}, {source: vol, target: /v}]",
            (
                *HOST,
                *("--mount", "type=bind,source=$HOME/d,target=/d,readonly"),
                *("--mount", "type=bind,source=/a b,target=/b"),
                *("--mount", "type=volume,source=vol,target=/v"),
                "keep/echo:1",
            ),
        ),
        (
            "flags: {a: 1, b: true, c: false, d: null, e: [x, y], f: {k: v}, g: 0.5, h: text}",
            (
                *HOST,
                "keep/echo:1",
                *("--a", "1", "--b", "--e", "x", "y", "--f", '{"k":"v"}', "--g", "0.5", "--h", "text"),
            ),
        ),
    ],
)
def test_each_option_has_its_exact_command(recipe: str, tail: tuple[str, ...]) -> None:
    assert created(recipe) == HEAD + tail


def test_restart_and_stop_timeout_come_from_the_recipe() -> None:
    argv = created("restart: on-failure, stopTimeout: 90s")
    assert argv[5:11] == ("--restart", "on-failure", "--pull", "never", "--stop-timeout", "90")


def test_the_home_of_the_spark_is_expanded_there_and_nothing_else_is() -> None:
    target = declare(
        "services:\n  echo: {recipe: {image: 'keep/echo:1', command: ['$HOME'], mounts: [{source: $HOME/d, target: /d}]}, on: s1}\n"
    )
    line = join(target.creations["s1", "sparkkeep-echo"].argv)
    assert """type=bind,source="$HOME"/d,target=/d""" in line
    assert line.endswith("keep/echo:1 '$HOME'")
    assert split(line)[-1] == "$HOME"


def test_labels_hold_everything_that_is_needed_to_start_over() -> None:
    target = declare(
        "services:\n  echo: {recipe: {image: 'keep/echo:1', env: {T: {secret: hf}}, memory: 1GiB}, on: s1}\n"
    )
    found = launch.labels(only(target), owner="lab", revision="r9")
    assert found["sparkkeep.owner"] == "lab"
    assert found["sparkkeep.workload"] == "echo"
    assert found["sparkkeep.revision"] == "r9"
    assert found["sparkkeep.memory"] == str(2**30)
    assert found["sparkkeep.spec-hash"] == only(target).spec_hash
    assert found["sparkkeep.spec"] == '{"image":"keep/echo:1","secrets":[["T","hf"]]}'


def test_a_later_version_with_a_new_field_finds_no_drift() -> None:
    """The hash leaves out defaults; this one must never change for this spec."""
    assert LaunchSpec(image="keep/echo:1", port=80).digest() == "0119a0e53c3cc17b"


def test_the_order_of_env_is_no_change() -> None:
    one = declare("services:\n  echo: {recipe: {image: 'a:1', env: {A: x, B: y}}, on: s1}\n")
    two = declare("services:\n  echo: {recipe: {image: 'a:1', env: {B: y, A: x}}, on: s1}\n")
    assert only(one).spec_hash == only(two).spec_hash


def test_names_of_groups_can_not_collide_with_names_of_workloads() -> None:
    assert launch.container_name("a") == "sparkkeep-a"
    assert launch.container_name("a", 1) == "sparkkeep-a_1"


def test_stops_and_restarts_are_worded_so_that_every_docker_knows_them() -> None:
    """Symptom: Docker 28 calls `--time` deprecated, Docker 20 does not know `--timeout`."""
    assert launch.stop("3f2a", 30.0) == ("docker", "stop", "-t", "30", "3f2a")
    assert launch.restart("3f2a", 0.2) == ("docker", "restart", "-t", "1", "3f2a")
