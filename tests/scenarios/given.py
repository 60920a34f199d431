"""What has to be given first: images that must be fetched, and a file that says what is wanted."""

import asyncio

from tests.keeper import Keeper
from tests.scenarios.people import WEB
from tests.scenarios.play import (
    SECRETS,
    calm,
    declare,
    did,
    echo,
    eventually,
    nothing_done,
    passes,
    reason,
    scenario,
    settled,
    text,
    world,
)
from tests.scenarios.stage import Stage

# Images


async def forget(stage: Stage, spark: str, image: str) -> str:
    """The registry's name for an image, which this Spark does not have."""
    reference = f"{stage.registry}/{image}"
    for line in (await stage.docker(spark, "images", "--format", "{{.Repository}}:{{.Tag}}")).splitlines():
        if line == reference:
            await stage.docker(spark, "rmi", reference)
    return reference


@scenario()
async def its_image_is_fetched(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    image = await forget(stage, one, "keep/echo:2")
    seen = await settled(stage, keeper, {"web": echo(one, image=image)})
    assert await did(stage, one) == ["pull", "run"]
    assert seen[one][WEB].image == image


@scenario()
async def its_image_does_not_exist(stage: Stage, keeper: Keeper) -> None:
    """Asked for once; then only another declaration helps."""
    one = stage.sparks[0]
    missing = f"{stage.registry}/keep/none:1"
    await declare(stage, keeper, {"web": echo(one, image=missing), "other": echo(one, 9001)})
    await reason(keeper, "web", "ImageNotFound")
    await keeper.until(lambda: keeper.settled("other"))
    await passes(keeper, 10)
    assert sorted(await did(stage, one)) == ["pull", "run"]
    assert any(c["type"] == "Stalled" and c["status"] == "True" for c in keeper.workload("web")["conditions"])
    await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)})
    assert sorted(await did(stage, one)) == ["pull", "run", "run"]


@scenario()
async def the_old_runs_on_while_the_new_image_comes(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    image = await forget(stage, one, "keep/echo:2")
    before = (await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)}))[one]
    stage.clear()
    await stage.hold_registry()
    await declare(stage, keeper, {"web": echo(one, image=image), "other": echo(one, 9001)})
    await reason(keeper, "web", "Pulling")
    await passes(keeper)
    assert (await stage.containers(one))[WEB] == before[WEB]
    assert await stage.fetch(one, 9000, "/health") == "ok"
    await stage.docker(one, "kill", "sparkkeep-other")  # repairs don't wait for a pull

    async def repaired() -> bool:
        return (await stage.containers(one))["sparkkeep-other"].running

    await eventually(repaired, keeper)
    assert await did(stage, one) == ["pull", "start"]
    await stage.release_registry()
    await calm(keeper)
    assert await did(stage, one) == ["pull", "start", "stop", "rm", "run"]


@scenario()
async def its_registry_wants_a_login(stage: Stage, keeper: Keeper) -> None:
    """Logged in for the fetch only: nothing of it is left on the Spark. Without such a secret nobody logs in."""
    one, two = stage.sparks
    image = await forget(stage, one, "keep/echo:2")
    await forget(stage, two, "keep/echo:2")
    login = {"user": "$oauthtoken", "secret": "token"}
    await settled(stage, keeper, {"web": echo(one, image=image)}, settings={"registries": {stage.registry: login}})
    assert await did(stage, one) == ["login", "pull", "run"]
    assert not [name for name in await stage.files(one, "/dev/shm") if name.startswith("sparkkeep-")]
    assert SECRETS["token"] not in str(await stage.trace(one))
    login = {"user": "$oauthtoken", "secret": "nobodys"}
    services = {"web": echo(one, image=image), "api": echo(two, image=image)}
    await settled(stage, keeper, services, settings={"registries": {stage.registry: login}})
    assert await did(stage, two) == ["pull", "run"]


@scenario()
async def fetching_is_forbidden(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    image = await forget(stage, one, "keep/echo:2")
    await declare(stage, keeper, {"web": echo(one, image=image, pull="never")})
    await reason(keeper, "web", "ImageMissing")
    await passes(keeper)
    await nothing_done(stage)
    await stage.docker(one, "pull", image)
    await calm(keeper, 45)
    assert await did(stage, one) == ["run"]


# The file


async def stays(stage: Stage, keeper: Keeper, content: str) -> None:
    """What now lies in the file does not come into force, and is reported."""
    revision, problems = keeper.store.current.revision, keeper.store.problems
    keeper.declare(content)
    await keeper.until(lambda: keeper.store.problems != problems, why="the file is refused")
    assert keeper.store.problems
    await passes(keeper)
    assert keeper.store.current.revision == revision
    await nothing_done(stage)


@scenario()
async def the_file_is_nonsense(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    services = {"web": echo(one), "other": echo(one, 9001)}
    before = await settled(stage, keeper, services)
    stage.clear()
    whole = text(stage, services)
    await stays(stage, keeper, whole.replace('"services"', '"servcies"'))
    await stays(stage, keeper, whole.replace(one, "no-such-spark", 1))
    await stays(stage, keeper, whole[: len(whole) // 2])
    keeper.file.unlink()
    await passes(keeper)
    await nothing_done(stage)
    assert await settled(stage, keeper, services) == before


@scenario()
async def the_file_is_empty(stage: Stage, keeper: Keeper) -> None:
    """Not a byte in it: that is never a decision, so what was in force stays."""
    one = stage.sparks[0]
    services = {"web": echo(one), "other": echo(one, 9001)}
    before = await settled(stage, keeper, services)
    stage.clear()
    await stays(stage, keeper, "")
    assert await settled(stage, keeper, services) == before
    await nothing_done(stage)


@scenario()
async def the_file_is_seen_half_written(stage: Stage, keeper: Keeper) -> None:
    """Cut between two services the half is valid by itself: it must not count while somebody is writing."""
    one = stage.sparks[0]
    lines = ["apiVersion: sparkkeep/v1", f"sparks: {text(stage, {}).split('sparks')[1].split('services')[0]}"]
    lines[1] = "sparks: " + text(stage, {}).split('"sparks": ')[1].split(',\n "services"')[0].replace("\n", " ")
    lines += ["services:", *(f"  w{n}: {{recipe: {{image: 'keep/echo:1'}}, on: {one}, run: always}}" for n in range(3))]
    recipes = [f"{{image: 'keep/echo:1', command: ['--port', '{9000 + n}'], port: {9000 + n}}}" for n in range(3)]
    lines[3:] = [f"  w{n}: {{on: {one}, recipe: {recipe}}}" for n, recipe in enumerate(recipes)]
    whole = "\n".join(lines) + "\n"
    keeper.declare(whole)
    await keeper.until(lambda: keeper.settled("w0", "w1", "w2"))
    await calm(keeper)
    before = await world(stage)
    stage.clear()
    for end in (whole.rindex("  w1"), whole.rindex("  w2"), len(whole) // 2, len(whole) - 3):
        keeper.file.write_text(whole[:end])
        await asyncio.sleep(0.1)
        keeper.file.write_text(whole)
        await asyncio.sleep(0.7)
        await passes(keeper, 1)
    await nothing_done(stage)
    assert await world(stage) == before
