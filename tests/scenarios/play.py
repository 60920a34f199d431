"""What every scenario is made of: declaring, waiting for the world, counting, and the laws that hold in all of them.

A scenario is `async def NAME(stage, keeper)`, marked with `@scenario()`. `play` runs it on a stage: it puts a
foreign container (the canary) on every Spark beforehand, and afterwards asks for quiet and for an unharmed canary.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from state.secrets import SecretRefused
from tests.keeper import Keeper, keeping
from tests.scenarios.stage import Command, Seen, Stage, verbs

Scenario = Callable[[Stage, Keeper], Awaitable[None]]
World = dict[str, dict[str, Seen]]

CANARY = "canary"
CANARY_PORT = 9999
PASSES = 5
SECRETS = {"token": "s3cr3t-$(id)-'\"`\\ value"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """A scenario, with what comparing and checking must allow for.

    `boots`: the canary is restarted by the machine. `loose`: why two stages may differ in their traces.
    """

    name: str
    story: Scenario
    boots: bool = False
    loose: str = ""


ALL: dict[str, Told] = {}


def scenario(*, boots: bool = False, loose: str = "") -> Callable[[Scenario], Scenario]:
    """Register a scenario under its function's name."""

    def add(story: Scenario) -> Scenario:
        name = story.__name__
        assert name not in ALL, f"{name} is told twice"
        ALL[name] = Told(name=name, story=story, boots=boots, loose=loose)
        return story

    return add


# Declaring


def echo(
    on: str | list[str], port: int = 9000, *, image: str = "keep/echo:1", args: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    """A small service that answers /health on `port`. `more` goes into its recipe; run, suspend, ... beside it."""
    beside = {key: more.pop(key) for key in ("run", "idle", "suspend", "priority") if key in more}
    recipe = {
        "image": image,
        "command": ["--port", str(port), *args],
        "port": port,
        "probe": {"kind": "http", "path": "/health", "interval": "300ms", "timeout": "2s", "failures": 2},
        "stopTimeout": "5s",
        **more,
    }
    return {"recipe": recipe, "on": on, **beside}


def text(stage: Stage, services: Mapping[str, Any], *, sparks: Mapping[str, Any] | None = None, **rest: Any) -> str:
    """A desired.yaml; JSON is YAML. `sparks` adds to what the stage says of each."""
    section = stage.desired()
    for name, more in (sparks or {}).items():
        section[name] |= more
    return json.dumps({"apiVersion": "sparkkeep/v1", "sparks": section, "services": dict(services), **rest}, indent=1)


async def declare(stage: Stage, keeper: Keeper, services: Mapping[str, Any], **rest: Any) -> None:
    """Save the desired state and wait until the loop knows it."""
    keeper.declare(text(stage, services, **rest))
    await keeper.store.reload()
    assert not keeper.store.problems, keeper.store.problems
    await known(keeper)


async def known(keeper: Keeper) -> None:
    """The loop has taken up what the store has in force."""
    await keeper.until(lambda: keeper.loop.target().revision == keeper.store.current.revision)


async def settled(stage: Stage, keeper: Keeper, services: Mapping[str, Any], **rest: Any) -> World:
    """Declare, and wait until everything is as declared and serves."""
    await declare(stage, keeper, services, **rest)
    await calm(keeper)
    return await world(stage)


async def calm(keeper: Keeper, seconds: float = 30.0) -> None:
    """Everything is as declared, serves where it should, and nothing is left to do."""

    def well() -> bool:
        found = keeper.status.build()["workloads"].values()
        return keeper.quiet() and all(w["sync"] == "Synced" and w["health"] in {"Healthy", "Suspended"} for w in found)

    await keeper.until(well, seconds)


# Looking


async def world(stage: Stage) -> World:
    """Every container of every Spark."""
    return {spark: await stage.containers(spark) for spark in stage.sparks}


async def eventually(what: Callable[[], Awaitable[Any]], keeper: Keeper, seconds: float = 30.0) -> None:
    """Wait until `what` comes true of the world."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await what():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {seconds} s: {keeper.picture()}")
        await asyncio.sleep(0.05)


async def reason(keeper: Keeper, workload: str, wanted: str, seconds: float = 30.0) -> None:
    """Wait until the workload's Synced condition gives this reason."""

    def said() -> bool:
        return any(c["reason"] == wanted for c in keeper.workload(workload).get("conditions", ()))

    await keeper.until(said, seconds, f"{workload}: {wanted}")


async def passes(keeper: Keeper, count: int = PASSES) -> None:
    """Make every Spark that answers be looked at `count` more times."""
    for _ in range(count):
        before = {name: worker.passes for name, worker in keeper.loop.workers.items() if not worker.sight.unknown}
        keeper.loop.wake_all()
        await keeper.until(lambda seen=before: all(keeper.loop.workers[n].passes > p for n, p in seen.items()))


async def noticed(keeper: Keeper) -> None:
    """What was done by hand has been seen: a look has ended that began after it."""
    await passes(keeper, 2)


async def did(stage: Stage, spark: str) -> list[str]:
    """The verbs of the docker commands there since `clear`."""
    return verbs(await stage.commands(spark))


async def nothing_done(stage: Stage) -> None:
    """No Spark has seen a command since `clear`."""
    found = {spark: await stage.commands(spark) for spark in stage.sparks}
    assert not any(found.values()), found


async def quiet(stage: Stage, keeper: Keeper, count: int = PASSES) -> None:
    """The law at the end of every story: looking again, however often, does nothing."""
    await calm(keeper)
    stage.clear()
    before = await world(stage)
    await passes(keeper, count)
    await nothing_done(stage)
    assert await world(stage) == before


# Playing


async def put_canaries(stage: Stage) -> World:
    """A container of somebody else on every Spark, with a name and labels that look a little like ours."""
    for spark in stage.sparks:
        await stage.docker(
            spark, "run", "-d", "--name", CANARY, "--network", "host", "--restart", "always",
            "--label", "sparkkeep.owner=somebody-else", "--label", "sparkkeep.workload=web",
            "keep/echo:1", "--port", str(CANARY_PORT),
        )  # fmt: skip
    return await world(stage)


async def check_canaries(stage: Stage, before: World, told: Told) -> None:
    """They are the same containers, and nobody restarted them."""
    after = await world(stage)
    for spark in stage.sparks:
        was, now = before[spark][CANARY], after[spark][CANARY]
        assert (now.id, now.running) == (was.id, True)
        if not told.boots:
            assert now.started == was.started
        about = [command for command in await stage.trace(spark) if f"<{CANARY}>" in command or CANARY in command]
        assert not about


def secret(name: str) -> str:
    """What the folder of secrets says."""
    if name not in SECRETS:
        raise SecretRefused(f"there is no secret {name}")
    return SECRETS[name]


def watching(stage: Stage, folder: Path, desired: str = "") -> AbstractAsyncContextManager[Keeper]:
    """A controller over the stage's Sparks, with an empty journal."""
    return keeping(folder, desired or text(stage, {}), key=stage.key, known_hosts=stage.known_hosts, secret=secret)


async def play(told: Told, stage: Stage, folder: Path) -> dict[str, list[Command]]:
    """Run one scenario and the laws that hold in all; the commands it took, by Spark."""
    canaries = await put_canaries(stage)
    async with watching(stage, folder) as keeper:
        await calm(keeper)
        await told.story(stage, keeper)
        await quiet(stage, keeper)
        await check_canaries(stage, canaries, told)
    return {spark: await stage.trace(spark) for spark in stage.sparks}
