"""Recipes from a few words, and the argv that they lead to."""

from __future__ import annotations

import shlex

import yaml

from reconciler.engines import Fabric, Launch, Seat, effective, launch, seats, solo
from reconciler.launch import create
from reconciler.model import Instance
from reconciler.shell import Argv, join
from state.recipes import Recipe

ALONE = solo("m")
FABRIC = {
    "a": Fabric(address="10.0.0.1", interface="enp1s0f0np0", rdma=("rocep1s0f0", "roceP2p1s0f0"), gid_index=3),
    "b": Fabric(address="10.0.0.2", interface="enp1s0f1np1", rdma=("rocep1s0f1",), gid_index=5),
    "c": Fabric(address="10.0.0.3", interface="enp1s0f0np0"),
    "d": Fabric(address="10.0.0.4"),
}
CACHES = (
    *("--mount", "type=bind,source=$HOME/.cache/huggingface,target=/root/.cache/huggingface"),
    *("--mount", "type=bind,source=$HOME/.cache/vllm,target=/root/.cache/vllm"),
    *("--mount", "type=bind,source=$HOME/.cache/flashinfer,target=/root/.cache/flashinfer"),
    *("--mount", "type=bind,source=$HOME/.triton/cache,target=/root/.triton/cache"),
)


def recipe(text: str) -> Recipe:
    """A recipe from the inside of a YAML flow map."""
    return Recipe.model_validate(yaml.safe_load(f"{{{text}}}"))


def ranks(count: int, *, workload: str = "m", listening: int = 8000) -> list[Seat]:
    return seats(workload, ["a", "b", "c", "d"][:count], FABRIC, grouped=True, listening=listening)


def line(made: Launch, seat: Seat = ALONE, *, restart: str = "no") -> str:
    """The command line that creates it, without the labels."""
    name = f"sparkkeep-{seat.workload}" + (f"_{seat.rank}" if seat.grouped else "")
    instance = Instance(
        workload=seat.workload, kind="model", spark="a", name=name, spec=made.spec, spec_hash="h", restart=restart
    )
    return join(_bare(create(instance, owner="o", revision="r")))


def _bare(argv: Argv) -> Argv:
    words = list(argv)
    while "--label" in words:
        at = words.index("--label")
        del words[at : at + 2]
    return tuple(words)


def argv(text: str, seat: Seat = ALONE, **mods: str) -> list[str]:
    """Everything after `docker run`, as the container's engine gets it."""
    return shlex.split(line(launch(recipe(text), seat, mods), seat))[2:]


def words(text: str, seat: Seat = ALONE, **mods: str) -> list[str]:
    """From the entrypoint on: what decides which program runs."""
    made = launch(recipe(text), seat, mods).spec
    entry = [] if made.entrypoint is None else ["--entrypoint", " ".join(made.entrypoint), "|"]
    return [*entry, *made.command]


def env(text: str, seat: Seat = ALONE) -> dict[str, str]:
    return dict(launch(recipe(text), seat).spec.env)


def shown(text: str, seat: Seat = ALONE) -> Recipe:
    return effective(recipe(text), seat)
