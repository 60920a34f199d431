"""What is declared changes, and the Sparks follow with exactly the commands that it takes."""

from pathlib import Path
from typing import Any

from tests.keeper import Keeper
from tests.scenarios.play import calm, declare, did, echo, nothing_done, passes, scenario, settled, watching, world
from tests.scenarios.stage import Stage

RECREATED = ["stop", "rm", "run"]


@scenario()
async def creates(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    seen = await settled(stage, keeper, {"web": echo(one), "api": echo(two, 9001, env={"COLOUR": "it's a b"})})
    assert seen[one]["sparkkeep-web"].running
    assert seen[one]["sparkkeep-web"].labels["sparkkeep.owner"] == "sparkkeep"
    assert await did(stage, one) == await did(stage, two) == ["run"]
    assert '"COLOUR": "it\'s a b"' in await stage.fetch(two, 9001, "/env")


@scenario()
async def creates_a_replica_on_each(stage: Stage, keeper: Keeper) -> None:
    await settled(stage, keeper, {"web": echo(list(stage.sparks))})
    for spark in stage.sparks:
        assert await did(stage, spark) == ["run"]


async def drifts(stage: Stage, keeper: Keeper, new: dict[str, object]) -> None:
    """The new declaration costs exactly one recreation, and nobody else notices."""
    one, two = stage.sparks
    others = {"other": echo(one, 9100), "far": echo(two, 9100)}
    before = await settled(stage, keeper, {"web": echo(one), **others})
    stage.clear()
    after = await settled(stage, keeper, {"web": new, **others})
    assert await did(stage, one) == RECREATED
    assert await did(stage, two) == []
    assert before[one]["sparkkeep-web"].id != after[one]["sparkkeep-web"].id
    assert before[one]["sparkkeep-other"] == after[one]["sparkkeep-other"]
    assert before[two] == after[two]


@scenario()
async def changes_the_image(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await drifts(stage, keeper, echo(one, image="keep/echo:2"))
    assert '"KEEP_VERSION": "2"' in await stage.fetch(one, 9000, "/env")


@scenario()
async def changes_the_environment(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await drifts(stage, keeper, echo(one, env={"COLOUR": "blue"}))
    assert '"COLOUR": "blue"' in await stage.fetch(one, 9000, "/env")


@scenario()
async def changes_a_flag(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await drifts(stage, keeper, echo(one, flags={"max-model-len": 65536, "fast": True}))
    assert (await stage.fetch(one, 9000, "/args")).endswith('"--fast", "--max-model-len", "65536"]\n')


@scenario()
async def changes_a_mount(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await drifts(stage, keeper, echo(one, mounts=[{"source": "/tmp", "target": "/data", "readOnly": True}]))
    assert "/data" in await stage.docker(one, "inspect", "sparkkeep-web")


@scenario()
async def comments_and_order_change_nothing(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "api": echo(two, 9001)})
    stage.clear()
    services = {"api": echo(two, 9001, restart="no"), "web": echo(one, env={})}
    assert await settled(stage, keeper, services) == before
    await nothing_done(stage)


@scenario()
async def changes_the_restart_policy_in_place(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    before = await settled(stage, keeper, {"web": echo(one)})
    stage.clear()
    after = await settled(stage, keeper, {"web": echo(one, restart="unless-stopped")})
    assert await stage.commands(one) == [("docker", "update", "--restart", "unless-stopped", "<sparkkeep-web>")]
    was, now = before[one]["sparkkeep-web"], after[one]["sparkkeep-web"]
    assert (now.id, now.started, now.restart) == (was.id, was.started, "unless-stopped")


@scenario()
async def stops(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)})
    stage.clear()
    seen = await settled(stage, keeper, {"web": echo(one, run="never"), "other": echo(one, 9001)})
    assert await did(stage, one) == ["stop", "rm"]
    assert "sparkkeep-web" not in seen[one]
    assert keeper.workload("web")["health"] == "Suspended"


@scenario()
async def goes_with_its_declaration(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)})
    stage.clear()
    seen = await settled(stage, keeper, {"other": echo(one, 9001)})
    assert await did(stage, one) == ["stop", "rm"]
    assert "sparkkeep-web" not in seen[one]


@scenario()
async def is_renamed(stage: Stage, keeper: Keeper) -> None:
    """The old one goes first, since it holds the port."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one)})
    stage.clear()
    seen = await settled(stage, keeper, {"site": echo(one)})
    assert await did(stage, one) == RECREATED
    assert {"sparkkeep-site", "canary"} == set(seen[one])


@scenario()
async def moves(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {"web": echo(one)})
    stage.clear()
    await settled(stage, keeper, {"web": echo(two)})
    assert await did(stage, two) == ["run"]
    assert await did(stage, one) == ["stop", "rm"]


@scenario()
async def two_swap_their_sparks(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {"web": echo(one), "api": echo(two)})
    stage.clear()
    seen = await settled(stage, keeper, {"web": echo(two), "api": echo(one)})
    assert await did(stage, one) == await did(stage, two) == RECREATED
    assert seen[one]["sparkkeep-api"].running
    assert seen[two]["sparkkeep-web"].running


@scenario()
async def two_swap_their_ports(stage: Stage, keeper: Keeper) -> None:
    """Neither may be started before the other has let go of its port."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one, 9000), "api": echo(one, 9001)})
    stage.clear()
    await settled(stage, keeper, {"web": echo(one, 9001), "api": echo(one, 9000)})
    assert sorted(await did(stage, one)) == sorted(RECREATED * 2)
    assert '"9001"' in await stage.fetch(one, 9001, "/args")


@scenario()
async def folders_of_mounts_are_made(stage: Stage, keeper: Keeper) -> None:
    """Only where that was asked for; Docker would make them too, but as root and without a word."""
    one = stage.sparks[0]
    mount = {"source": "$HOME/made/for web", "target": "/data", "create": True}
    await settled(stage, keeper, {"web": echo(one, mounts=[mount])})
    assert await stage.has_folder(one, "$HOME/made/for web")
    assert await did(stage, one) == ["run"]


def modded(on: str, *mods: str, **more: Any) -> dict[str, Any]:
    """An engine's recipe with mods; what runs is the small server of the test images, which ignores vLLM's flags."""
    recipe = echo(on, engine="vllm", model="tiny/llama", gpus="none", memory="16MiB", mods=list(mods), **more)["recipe"]
    return {"recipe": {**recipe, "entrypoint": ["/bin/keep-server"], "command": []}, "on": on}


def write_mod(folder: Path, word: str) -> None:
    """A mod that says a word; it brings more than one script can carry, and names that a shell could trip over."""
    (folder / "in here").mkdir(parents=True, exist_ok=True)
    (folder / "run.sh").write_text(f"#!/bin/sh\ncat 'in here/-n it.txt'\necho mod says {word}\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "in here" / "-n it.txt").write_text("so be it\n")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 5000)
    (folder / "empty").touch()


@scenario()
async def its_mod_is_delivered_and_run(stage: Stage, keeper: Keeper) -> None:
    """A mod lies on the Spark by its content: once, and another content is another container."""
    one, two = stage.sparks
    folder = keeper.file.parent / "mods" / "greet"
    write_mod(folder, "hello")
    await settled(stage, keeper, {}, models={"chat": modded(one, "mods/greet")})
    assert await did(stage, one) == ["run"]
    assert await did(stage, two) == []
    log = await stage.docker(one, "logs", "sparkkeep-chat")
    first = keeper.loop.knowledge.mods.digests["mods/greet"]
    assert await stage.files(one, f"$HOME/.sparkkeep/mods/{first}") == ["empty", "in here", "large.bin", "run.sh"]
    if stage.runs_programs:
        assert "so be it\nmod says hello\n" in log
    stage.clear()
    write_mod(folder, "good day")
    await keeper.loop.read_folders()
    await calm(keeper)
    assert await did(stage, one) == RECREATED
    second = keeper.loop.knowledge.mods.digests["mods/greet"]
    assert first != second
    assert {first, second} <= set(await stage.files(one, "$HOME/.sparkkeep/mods"))
    stage.clear()
    (folder / "run.sh").unlink()
    await keeper.loop.read_folders()
    await passes(keeper)
    await nothing_done(stage)
    assert "mod mods/greet: it has no run.sh" in keeper.workload("chat")["message"]
    write_mod(folder, "good day")
    await keeper.loop.read_folders()


@scenario()
async def a_fresh_controller_changes_nothing(stage: Stage, keeper: Keeper) -> None:
    """Everything it must know lies on the containers: an empty journal costs nothing."""
    one, two = stage.sparks
    services = {
        "web": echo(one, env={"TOKEN": {"secret": "token"}, "A": "b"}, restart="unless-stopped"),
        "api": echo([one, two], 9001, flags={"x": {"deep": [1, "é"]}}),
        "off": echo(two, 9002, run="never"),
    }
    before = await settled(stage, keeper, services)
    stage.clear()
    async with watching(stage, keeper.file.parent / "second", keeper.file.read_text()) as second:
        await calm(second)
        await passes(second)
    await nothing_done(stage)
    assert await world(stage) == before


@scenario(loose="how many of the ten are acted on depends on the machine's speed")
async def changes_faster_than_it_can_follow(stage: Stage, keeper: Keeper) -> None:
    """Ten changes in a row; what counts is the last."""
    one = stage.sparks[0]
    for number in range(10):
        await declare(stage, keeper, {"web": echo(one, env={"NUMBER": str(number)})})
    await calm(keeper)
    assert '"NUMBER": "9"' in await stage.fetch(one, 9000, "/env")
    done = await did(stage, one)
    assert done.count("run") <= 10
    assert done.count("rm") == done.count("run") - 1
