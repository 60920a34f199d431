"""What every engine needs to be told, and what it may not be told twice.

The schema knows this much of an engine: its port, the fields that it can't do without, and the flags that sparkkeep
derives from other fields. How an engine is started is the business of `reconciler.engines`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

if TYPE_CHECKING:
    from state.recipes import Recipe

PORTS: Final[Mapping[str, int]] = {"vllm": 8000, "sglang": 30000, "trtllm": 8000, "llamacpp": 8080, "nim": 8000}
NEEDS_MODEL: Final = frozenset({"vllm", "sglang", "trtllm", "llamacpp"})
LAST_PORT: Final = 65535

_GROUP: Final = "comes from `across`"
DERIVED: Final[Mapping[str, Mapping[str, str]]] = {
    "vllm": {
        "model": "write `model:`",
        "revision": "write `revision:`",
        "distributed-executor-backend": "write `distributed:`",
        "nnodes": _GROUP,
        "node-rank": _GROUP,
        "master-addr": _GROUP,
        "master-port": _GROUP,
        "headless": _GROUP,
        "data-parallel-size-local": _GROUP,
        "data-parallel-start-rank": _GROUP,
        "data-parallel-address": _GROUP,
        "data-parallel-rpc-port": _GROUP,
    },
    "sglang": {
        "model": "write `model:`",
        "model-path": "write `model:`",
        "revision": "write `revision:`",
        "nnodes": _GROUP,
        "node-rank": _GROUP,
        "dist-init-addr": _GROUP,
        "nccl-init-addr": _GROUP,
    },
    "trtllm": {"model": "write `model:`", "revision": "write `revision:`"},
    "llamacpp": {"hf-repo": "write `model:` and `quant:`", "hf-file": "write `file:`", "hf": "write `model:`"},
    "nim": {
        "port": "write `port:`",
        "host": "it listens everywhere",
        "served-model-name": "write `env: {NIM_SERVED_MODEL_NAME: ...}`",
    },
}


def spelling(name: str) -> str:
    """A flag's name as all its spellings have in common: engines read `max_model_len` as `max-model-len`."""
    return name.replace("_", "-")


def active(flags: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The flags without those that are null or false, which stand for "leave it out"."""
    return {name: value for name, value in flags.items() if value is not None and value is not False}


def given(flags: Mapping[str, JsonValue], *names: str) -> JsonValue:
    """The value of a flag under any of its names (with `-`) and spellings; None if it is not given."""
    return next((value for name, value in active(flags).items() if spelling(name) in names), None)


def listening_port(recipe: Recipe) -> int | None:
    """The port that it listens on: the recipe's, else the one among the flags of an engine, else the engine's own."""
    if recipe.port is not None or recipe.engine == "container":
        return recipe.port
    return flagged_port(recipe) or PORTS[recipe.engine]


def flagged_port(recipe: Recipe) -> int | None:
    """The port among the flags, if it is one."""
    value = given(recipe.flags, "port")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LAST_PORT else None


def fault(recipe: Recipe) -> str | None:
    """The first thing that does not fit the recipe's engine, as `field: sentence`."""
    return next(_faults(recipe), None)


def _faults(recipe: Recipe) -> Iterator[str]:
    engine = recipe.engine
    yield from _build(recipe)
    yield from _fields_of_one_engine(recipe)
    if engine == "container":
        if recipe.mods and recipe.entrypoint is None:
            yield "mods: they run before the program, so `entrypoint` must say which program that is"
        return
    if engine in NEEDS_MODEL and recipe.model is None:
        yield f"model: engine {engine} needs the repository of the model, such as owner/name"
    if recipe.command:
        yield f"command: engine {engine} has its command made from model and flags; a command is for engine: container"
    if engine == "nim" and recipe.mods and recipe.entrypoint is None:
        yield "mods: they run before the program, so `entrypoint` must say which program that is"
    yield from _flags(recipe)


def _build(recipe: Recipe) -> Iterator[str]:
    if recipe.build is None:
        return
    if ":" in recipe.image.rpartition("/")[2] or "@" in recipe.image:
        yield "image: it is built here, and gets a tag that says what it is built from; leave tag and digest out"
    if recipe.image != recipe.image.lower():
        yield "image: it is built here, and Docker wants such names in small letters"
    if recipe.pull == "never":
        yield "pull: never: the image is built on the Spark, not fetched; leave it out"
    if "BASE" in recipe.build.args:
        yield "build: BASE among the args is what `base` says; say it there"


def _fields_of_one_engine(recipe: Recipe) -> Iterator[str]:
    engine = recipe.engine
    if recipe.distributed is not None and engine != "vllm":
        yield f"distributed: engine vllm alone has a choice; this is engine {engine}"
    for field in ("quant", "file"):
        if getattr(recipe, field) is not None and engine != "llamacpp":
            yield f"{field}: belongs to engine llamacpp; this is engine {engine}"
    if recipe.quant is not None and recipe.file is not None:
        yield "file: names one file of the repository, so `quant` has nothing left to choose"
    if recipe.revision is not None and engine in {"llamacpp", "nim"}:
        yield f"revision: engine {engine} can't be told one; leave it out"


def _flags(recipe: Recipe) -> Iterator[str]:
    engine, seen = recipe.engine, set[str]()
    for name in active(recipe.flags):
        common = spelling(name)
        if common in seen:
            yield f"flags: {common} is given twice, in two spellings"
        seen.add(common)
        if common in DERIVED[engine]:
            yield f"flags: {name} is set by sparkkeep; {DERIVED[engine][common]}"
    if given(recipe.flags, "port") is None:
        return
    flagged = flagged_port(recipe)
    if flagged is None:
        yield f"flags: port must be a number from 1 to {LAST_PORT}"
    elif recipe.port is not None and recipe.port != flagged:
        yield f"port: it is {recipe.port} here and {flagged} among the flags; say it once, here"
