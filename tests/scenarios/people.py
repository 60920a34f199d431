"""People and programs do things by hand on the Sparks; what is ours is put right, what is not ours is left alone."""

from tests.keeper import Keeper
from tests.scenarios.play import (
    SECRETS,
    calm,
    declare,
    did,
    echo,
    eventually,
    nothing_done,
    noticed,
    passes,
    reason,
    scenario,
    settled,
    text,
    watching,
    world,
)
from tests.scenarios.stage import Seen, Stage

WEB = "sparkkeep-web"


async def restarted(stage: Stage, keeper: Keeper, spark: str, before: Seen) -> Seen:
    """Wait until this container runs again (or another of its name), and all is well."""

    async def again() -> bool:
        found = (await stage.containers(spark)).get(before.name)
        return found is not None and found.running and found.started != before.started

    await eventually(again, keeper)
    await calm(keeper)
    return (await stage.containers(spark))[before.name]


@scenario()
async def a_container_is_killed(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)}))[one][WEB]
    stage.clear()
    await stage.docker(one, "kill", WEB)
    after = await restarted(stage, keeper, one, before)
    assert after.id == before.id
    assert await stage.commands(one) == [("docker", "start", f"<{WEB}>")]


@scenario()
async def a_container_is_stopped(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one)}))[one][WEB]
    stage.clear()
    await stage.docker(one, "stop", WEB)
    after = await restarted(stage, keeper, one, before)
    assert after.id == before.id
    assert await did(stage, one) == ["start"]


@scenario()
async def a_container_is_removed(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one)}))[one][WEB]
    stage.clear()
    await stage.docker(one, "rm", "--force", WEB)
    after = await restarted(stage, keeper, one, before)
    assert after.id != before.id
    assert await did(stage, one) == ["run"]


@scenario()
async def a_container_is_paused(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one)}))[one][WEB]
    stage.clear()
    await stage.docker(one, "pause", WEB)

    async def goes_on() -> bool:
        return (await stage.containers(one))[WEB] == before and await did(stage, one) == ["unpause"]

    await eventually(goes_on, keeper)


@scenario()
async def a_paused_container_changes(stage: Stage, keeper: Keeper) -> None:
    """Suspended meanwhile, so that it is still paused when its declaration has changed."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one)})
    await declare(stage, keeper, {"web": echo(one, suspend=True)})
    await stage.docker(one, "pause", WEB)
    stage.clear()
    await settled(stage, keeper, {"web": echo(one, env={"A": "b"})})
    assert await did(stage, one) == ["unpause", "stop", "rm", "run"]


@scenario()
async def a_container_is_renamed(stage: Stage, keeper: Keeper) -> None:
    """It still carries our label, under a name that nothing of ours has: it goes, and a right one comes."""
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one)}))[one][WEB]
    stage.clear()
    await stage.docker(one, "rename", WEB, "mine")
    after = await restarted(stage, keeper, one, before)
    assert after.id != before.id
    assert await did(stage, one) == ["stop", "rm", "run"]
    assert "mine" not in await stage.containers(one)


@scenario()
async def its_name_is_taken(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await stage.docker(one, "run", "-d", "--name", WEB, "--network", "host", "keep/echo:2", "--port", "9100")
    foreign = (await stage.containers(one))[WEB]
    await noticed(keeper)
    await declare(stage, keeper, {"web": echo(one)})
    await reason(keeper, "web", "NameTaken")
    await passes(keeper)
    await nothing_done(stage)
    assert (await stage.containers(one))[WEB] == foreign
    await stage.docker(one, "rm", "--force", WEB)
    await calm(keeper)
    assert (await stage.containers(one))[WEB].image == "keep/echo:1"
    assert await did(stage, one) == ["run"]


@scenario()
async def its_port_is_taken_by_a_process(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await stage.listen(one, 9000)
    await noticed(keeper)
    await declare(stage, keeper, {"web": echo(one), "other": echo(one, 9001)})
    await reason(keeper, "web", "PortTaken")
    await keeper.until(lambda: keeper.settled("other"))
    await passes(keeper)
    assert WEB not in await stage.containers(one)
    assert await did(stage, one) == ["run"]
    await stage.unlisten(one, 9000)
    await calm(keeper)
    assert await did(stage, one) == ["run", "run"]


@scenario()
async def its_port_is_taken_while_it_runs_elsewhere(stage: Stage, keeper: Keeper) -> None:
    """A change of port onto one that is taken: the old container keeps running."""
    one = stage.sparks[0]
    before = (await settled(stage, keeper, {"web": echo(one)}))[one]
    await stage.listen(one, 9001)
    await noticed(keeper)
    stage.clear()
    await declare(stage, keeper, {"web": echo(one, 9001)})
    await reason(keeper, "web", "PortTaken")
    await passes(keeper)
    await nothing_done(stage)
    assert (await stage.containers(one)) == before
    await stage.unlisten(one, 9001)
    await calm(keeper)
    assert await did(stage, one) == ["stop", "rm", "run"]


@scenario()
async def two_keepers_share_a_spark(stage: Stage, keeper: Keeper) -> None:
    """Each minds its own containers; a name that the other has is taken."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one), "mine": echo(one, 9001)})
    theirs = text(stage, {"web": echo(one, 9002), "theirs": echo(one, 9003)}, settings={"owner": "other-keeper"})
    stage.clear()
    async with watching(stage, keeper.file.parent / "other", theirs) as other:
        await reason(other, "web", "NameTaken")
        await other.until(lambda: other.settled("theirs"))
        for both in (keeper, other):
            await passes(both)
        assert await did(stage, one) == ["run"]
        labels = {name: seen.labels["sparkkeep.owner"] for name, seen in (await stage.containers(one)).items()}
        assert labels == {
            "canary": "somebody-else",
            WEB: "sparkkeep",
            "sparkkeep-mine": "sparkkeep",
            "sparkkeep-theirs": "other-keeper",
        }
        await settled(stage, keeper, {"mine": echo(one, 9001)})
        await calm(other)
        assert (await stage.containers(one))[WEB].labels["sparkkeep.owner"] == "other-keeper"


@scenario()
async def suspended_is_left_alone(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one)})
    stage.clear()
    await declare(stage, keeper, {"web": echo(one, suspend=True, env={"A": "b"})})
    await stage.docker(one, "kill", WEB)
    await passes(keeper)
    await nothing_done(stage)
    assert keeper.workload("web")["health"] == "Suspended"
    await settled(stage, keeper, {"web": echo(one, env={"A": "b"})})
    assert await did(stage, one) == ["rm", "run"]


@scenario()
async def a_secret_stays_secret(stage: Stage, keeper: Keeper) -> None:
    """It reaches the program, and stands neither in a command, nor in a label, nor in the journal."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one, env={"TOKEN": {"secret": "token"}, "PLAIN": "p"})})
    value = SECRETS["token"]
    inside = await stage.fetch(one, 9000, "/env")
    assert value.replace("\\", "\\\\").replace('"', '\\"') in inside
    container = (await stage.containers(one))[WEB]
    kept = [container.labels, container.command, await stage.trace(one)]
    kept += [await keeper.journal.actions(), await keeper.journal.events(), keeper.status.build()]
    assert value not in repr(kept)
    assert "s3cr3t" not in repr(kept)
    assert not [name for name in await leftovers(stage, one) if name.startswith("sparkkeep-")]


async def leftovers(stage: Stage, spark: str) -> list[str]:
    """What lies in the folder of env files."""
    if not await stage.has_folder(spark, "$HOME/.sparkkeep/env"):
        return []
    return await stage.files(spark, "$HOME/.sparkkeep/env")


@scenario()
async def a_secret_is_missing(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await declare(stage, keeper, {"web": echo(one, env={"TOKEN": {"secret": "nobody-knows"}}), "api": echo(one, 9001)})
    await keeper.until(lambda: "nobody-knows" in keeper.workload("web")["message"], why="says which secret")
    await keeper.until(lambda: keeper.settled("api"))
    assert WEB not in (await world(stage))[one]
    await settled(stage, keeper, {"web": echo(one, env={"TOKEN": {"secret": "token"}}), "api": echo(one, 9001)})
    assert await did(stage, one) == ["run", "run"]
