"""One model over two Sparks: it starts, breaks and ends as a whole."""

from collections.abc import Collection
from typing import Any, Protocol

from tests.keeper import Keeper
from tests.scenarios.play import (
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
)
from tests.scenarios.stage import Seen, Stage


class HasSparks(Protocol):
    """A stage, or a simulated fleet."""

    sparks: Collection[str]


HEAD, WORKER = "sparkkeep-big_0", "sparkkeep-big_1"
REPLACED = ["rm", "run"]


def big(stage: HasSparks, port: int = 9200, **more: Any) -> dict[str, Any]:
    """A model over all Sparks. What runs is the small server of the test images, which ignores vLLM's flags."""
    recipe = {
        "engine": "vllm",
        "model": "tiny/llama",
        "image": "keep/echo:1",
        "entrypoint": ["/bin/keep-server"],
        "gpus": "none",
        "memory": "16MiB",
        "port": port,
        "probe": {"kind": "http", "path": "/health", "interval": "300ms", "timeout": "2s", "failures": 2},
        "stopTimeout": "5s",
        **more,
    }
    return {"models": {"big": {"recipe": recipe, "across": list(stage.sparks)}}}


async def ranks(stage: Stage) -> tuple[Seen, Seen]:
    """Head and worker as they are now."""
    one, two = stage.sparks
    return (await stage.containers(one))[HEAD], (await stage.containers(two))[WORKER]


async def replaced(stage: Stage, keeper: Keeper, before: tuple[Seen, Seen]) -> tuple[Seen, Seen]:
    """Wait until every rank is another container, and all is well."""

    async def others() -> bool:
        one, two = stage.sparks
        head, worker = (await stage.containers(one)).get(HEAD), (await stage.containers(two)).get(WORKER)
        return bool(head and worker and head.running and worker.running) and {before[0].id, before[1].id}.isdisjoint(
            {head.id, worker.id} if head and worker else set()
        )

    await eventually(others, keeper)
    await calm(keeper)
    return await ranks(stage)


@scenario()
async def a_group_starts_its_worker_first(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {}, **big(stage))
    head, worker = await ranks(stage)
    assert worker.started < head.started
    assert await did(stage, one) == await did(stage, two) == ["run"]
    assert "--headless" in worker.command
    assert "--headless" not in head.command
    assert [c[c.index("--node-rank") + 1] for c in (head.command, worker.command)] == ["0", "1"]


@scenario()
async def a_groups_mod_is_delivered_to_every_rank(stage: Stage, keeper: Keeper) -> None:
    folder = keeper.file.parent / "mods" / "greet"
    folder.mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\necho mod says hello\n")
    (folder / "run.sh").chmod(0o755)
    await settled(stage, keeper, {}, **big(stage, mods=["greet"]))
    for spark in stage.sparks:
        assert await did(stage, spark) == ["run"]
        assert keeper.loop.knowledge.mods.digests["greet"] in await stage.files(spark, "$HOME/.sparkkeep/mods")


@scenario()
async def a_worker_is_killed_and_the_group_is_replaced(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {"other": echo(one, 9001)}, **big(stage))
    before = await ranks(stage)
    other = (await stage.containers(one))["sparkkeep-other"]
    stage.clear()
    await stage.docker(two, "kill", WORKER)
    head, worker = await replaced(stage, keeper, before)
    assert worker.started < head.started
    assert await did(stage, one) == ["stop", *REPLACED]
    assert await did(stage, two) == REPLACED
    assert (await stage.containers(one))["sparkkeep-other"] == other


@scenario()
async def a_head_is_removed_by_hand(stage: Stage, keeper: Keeper) -> None:
    """Its workers run on and look like workers that wait for their first head; they met one, so they go too."""
    one, two = stage.sparks
    await settled(stage, keeper, {}, **big(stage))
    before = await ranks(stage)
    stage.clear()
    await stage.docker(one, "rm", "--force", HEAD)
    await replaced(stage, keeper, before)
    assert await did(stage, one) == ["run"]
    assert await did(stage, two) == ["stop", *REPLACED]


@scenario(boots=True)
async def a_spark_of_the_group_reboots(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {}, **big(stage))
    before = await ranks(stage)
    stage.clear()
    await stage.reboot(two)
    await replaced(stage, keeper, before)
    assert await did(stage, one) == ["stop", *REPLACED]
    assert await did(stage, two) == REPLACED


@scenario()
async def a_spark_of_the_group_is_cut_off(stage: Stage, keeper: Keeper) -> None:
    """Nothing is known of its rank, so nothing is done about the other."""
    one, two = stage.sparks
    await settled(stage, keeper, {}, **big(stage))
    before = await ranks(stage)
    stage.clear()
    await stage.cut(two)
    await keeper.until(lambda: bool(keeper.loop.workers[two].sight.unknown))
    await passes(keeper)
    await stage.heal(two)
    await calm(keeper)
    await nothing_done(stage)
    assert await ranks(stage) == before
    assert await did(stage, one) == []


@scenario()
async def a_group_changes_its_flags(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {}, **big(stage))
    stage.clear()
    await settled(stage, keeper, {}, **big(stage, flags={"max-model-len": 4096}))
    assert await did(stage, one) == await did(stage, two) == ["stop", *REPLACED]
    assert "4096" in (await ranks(stage))[1].command


@scenario()
async def one_rank_has_no_room(stage: Stage, keeper: Keeper) -> None:
    """A port that is taken on the head's Spark starts nothing on the other either."""
    one, two = stage.sparks
    await stage.listen(one, 9200)
    await noticed(keeper)
    await declare(stage, keeper, {}, **big(stage))
    await reason(keeper, "big", "PortTaken")
    await passes(keeper)
    assert await did(stage, one) == await did(stage, two) == []
    await stage.unlisten(one, 9200)
    await calm(keeper)
    assert await did(stage, one) == await did(stage, two) == ["run"]


@scenario()
async def a_group_is_removed_from_the_file(stage: Stage, keeper: Keeper) -> None:
    one, two = stage.sparks
    await settled(stage, keeper, {"other": echo(one, 9001)}, **big(stage))
    stage.clear()
    await settled(stage, keeper, {"other": echo(one, 9001)})
    assert await did(stage, one) == await did(stage, two) == ["stop", "rm"]


@scenario(loose="how often it fails again before it is declared anew depends on the machine's speed")
async def a_rank_says_why_it_ended(stage: Stage, keeper: Keeper) -> None:
    """Its container goes with the whole group, and its log with it: what it said is read before."""
    await declare(stage, keeper, {}, **big(stage, flags={"fail-bind-exit": True}))
    await reason(keeper, "big", "PortTaken", 60.0)
    await settled(stage, keeper, {}, **big(stage))
