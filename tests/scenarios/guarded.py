"""Limits on what one pass may destroy, and the verbs by which people steer it."""

from state.journal import Override
from tests.keeper import Keeper
from tests.scenarios.people import WEB
from tests.scenarios.play import (
    calm,
    declare,
    did,
    echo,
    eventually,
    known,
    nothing_done,
    passes,
    reason,
    scenario,
    settled,
    world,
)
from tests.scenarios.stage import Stage

# Guards


async def released(keeper: Keeper) -> None:
    """A person looks at what is withheld and agrees."""
    keeper.loop.approve(keeper.loop.plan().digest)


@scenario()
async def everything_is_undeclared(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "far": echo(two)})
    stage.clear()
    await declare(stage, keeper, {})
    await keeper.until(lambda: len(keeper.loop.plan().withheld) == 4)
    assert {held.reason for held in keeper.loop.plan().held} == {"EmptyDesired"}
    await passes(keeper)
    await nothing_done(stage)
    assert await world(stage) == before
    await released(keeper)
    await keeper.until(lambda: not keeper.loop.plan().withheld and keeper.quiet())
    assert await did(stage, one) == await did(stage, two) == ["stop", "rm"]


@scenario()
async def too_much_would_go(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    services = {f"w{n}": echo(one, 9000 + n) for n in range(3)} | {"far": echo(two)}
    guards = {"maxDestructive": 2}
    before = await settled(stage, keeper, services, guards=guards)
    stage.clear()
    left = {"far": echo(two), "new": echo(two, 9100)}
    await declare(stage, keeper, left, guards=guards)
    await keeper.until(lambda: keeper.settled("new"))  # what destroys nothing goes ahead
    await passes(keeper)
    assert {held.reason for held in keeper.loop.plan().held} == {"TooDestructive"}
    assert await did(stage, one) == []
    assert await did(stage, two) == ["run"]
    assert await stage.containers(one) == before[one]
    await released(keeper)
    await keeper.until(lambda: not keeper.loop.plan().withheld and keeper.quiet())
    assert sorted(await did(stage, one)) == ["rm"] * 3 + ["stop"] * 3
    assert await did(stage, two) == ["run"]


# Verbs


@scenario()
async def is_suspended_by_a_verb(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one)})
    stage.clear()
    keeper.loop.override(Override.SUSPEND, "web", on=True, by="test")
    await stage.docker(one, "kill", WEB)
    await passes(keeper)
    await nothing_done(stage)
    keeper.loop.override(Override.SUSPEND, "web", on=False, by="test")
    await calm(keeper)
    assert await did(stage, one) == ["start"]


@scenario()
async def is_restarted_by_a_verb(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo([one, two]), "other": echo(one, 9001)})
    stage.clear()
    keeper.loop.restart("web")

    async def both_anew() -> bool:
        now = await world(stage)
        return all(now[spark][WEB].started != before[spark][WEB].started for spark in stage.sparks)

    await eventually(both_anew, keeper)
    await calm(keeper)
    assert await did(stage, one) == await did(stage, two) == ["restart"]


@scenario()
async def is_restarted_by_a_verb_and_takes_its_time(stage: Stage, keeper: Keeper) -> None:
    """While it loads again it does not answer. That it answered before its restart must not make it a dead server,
    restarted again and again without ever becoming ready.
    """
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one, args=("--slow-start", "2"))}))[one][WEB]
    stage.clear()
    keeper.loop.restart("web")

    async def anew() -> bool:
        return (await stage.containers(one))[WEB].started != before.started

    await eventually(anew, keeper)
    await calm(keeper)
    assert await did(stage, one) == ["restart"]


@scenario()
async def a_spark_is_cordoned(stage: Stage, keeper: Keeper) -> None:
    """Nothing new starts there, what should run is kept running."""
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "far": echo(two)})
    keeper.loop.override(Override.CORDON, one, on=True, by="test")
    stage.clear()
    await declare(stage, keeper, {"web": echo(one, env={"A": "b"}), "new": echo(one, 9001), "far": echo(two)})
    await reason(keeper, "new", "Cordoned")
    await reason(keeper, "web", "Cordoned")
    await passes(keeper)
    await nothing_done(stage)
    assert await world(stage) == before
    keeper.loop.override(Override.CORDON, one, on=False, by="test")
    await calm(keeper)
    assert sorted(await did(stage, one)) == ["rm", "run", "run", "stop"]


@scenario()
async def a_cordoned_spark_is_still_kept(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one)})
    keeper.loop.override(Override.CORDON, one, on=True, by="test")
    stage.clear()
    await stage.docker(one, "kill", WEB)

    async def up_again() -> bool:
        return await did(stage, one) == ["start"]

    await eventually(up_again, keeper)


@scenario()
async def a_spark_is_drained(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "api": echo(one, 9001), "far": echo(two)})
    stage.clear()
    keeper.loop.override(Override.DRAIN, one, on=True, by="test")
    await keeper.until(keeper.quiet)
    await passes(keeper)
    assert set(await stage.containers(one)) == {"canary"}
    assert await did(stage, one) == ["stop", "rm"] * 2
    keeper.loop.override(Override.DRAIN, one, on=False, by="test")
    await calm(keeper)
    assert await did(stage, one) == ["stop", "rm"] * 2 + ["run", "run"]
    assert await stage.containers(two) == before[two]
    await known(keeper)
