"""What goes wrong by itself: servers that die, loop or fall silent, machines and engines that restart."""

from reconciler.scan import unix_time
from tests.keeper import Keeper
from tests.scenarios.people import WEB, restarted
from tests.scenarios.play import calm, declare, did, echo, eventually, nothing_done, passes, reason, scenario, settled
from tests.scenarios.stage import Stage


@scenario(boots=True)
async def the_machine_reboots(stage: Stage, keeper: Keeper) -> None:
    """What ran runs again, started once; a boot is nobody's failure."""
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "api": echo(one, 9001), "far": echo(two)})
    stage.clear()
    await stage.reboot(one)
    for name in (WEB, "sparkkeep-api"):
        after = await restarted(stage, keeper, one, before[one][name])
        assert after.id == before[one][name].id
    assert await did(stage, one) == ["start", "start"]
    assert await did(stage, two) == []
    assert not failures(keeper)


@scenario(boots=True, loose="whether a look falls into the moments in which Docker goes down is chance")
async def docker_restarts(stage: Stage, keeper: Keeper) -> None:
    """A start that Docker was too far gone to take is no failure of the workload (it waited ten seconds more for
    that), nor is it repeated without a pause.
    """
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "far": echo(two)})
    stage.clear()
    await stage.restart_daemon(one)
    after = await restarted(stage, keeper, one, before[one][WEB])
    assert after.id == before[one][WEB].id
    starts = await did(stage, one)
    assert set(starts) == {"start"}
    assert len(starts) <= 4, "one when Docker is back; before, at most one a second and one for each container's end"
    assert await did(stage, two) == []
    assert failures(keeper) in ({}, {"web": 1})


@scenario(
    boots=True, loose="Docker takes a moment until it has restarted everything; a start within it changes nothing"
)
async def docker_restarts_what_it_keeps_itself(stage: Stage, keeper: Keeper) -> None:
    """With a restart policy of Docker's own, there is nothing to do; a second start does no harm."""
    one = stage.sparks[0]
    before = await settled(stage, keeper, {"web": echo(one, restart="always")})
    stage.clear()
    await stage.restart_daemon(one)
    after = await restarted(stage, keeper, one, before[one][WEB])
    assert after.id == before[one][WEB].id
    assert set(await did(stage, one)) <= {"start"}


def failures(keeper: Keeper) -> dict[str, int]:
    """How often each workload has failed, as far as the loop remembers."""
    return {workload: failure.count for (workload, _), failure in keeper.loop.world().failures.items()}


@scenario()
async def it_exits_at_once_again_and_again(stage: Stage, keeper: Keeper) -> None:
    """The first retry comes at once, the next after ten seconds, however often it is looked at."""
    one = stage.sparks[0]
    await settled(stage, keeper, {"other": echo(one, 9001)})
    stage.clear()
    crashing = echo(one, args=("--exit-after", "0.05", "--exit-code", "3"))
    await declare(stage, keeper, {"web": crashing, "other": echo(one, 9001)})

    async def failed(times: int) -> float:
        """When it was last started, once it has failed that often; looking all the while."""
        while (count := failures(keeper).get("web", 0)) != times:
            assert count < times
            await passes(keeper, 1)
        return unix_time((await stage.containers(one))[WEB].started)

    second = await failed(2)
    await reason(keeper, "web", "ContainerExited")
    assert keeper.workload("web")["health"] == "Degraded"
    assert await failed(3) - second >= 8.5
    assert await did(stage, one) == ["run", "start", "start"]
    await settled(stage, keeper, {"web": echo(one), "other": echo(one, 9001)})
    assert await did(stage, one) == ["run", "start", "start", "rm", "run"], "a new declaration does not wait"


@scenario(loose="how often it falls silent again before it is declared anew depends on the machine's speed")
async def its_server_dies_in_a_living_container(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    silent = echo(one, args=("--unhealthy-after", "2"))
    before = (await settled(stage, keeper, {"web": silent}))[one][WEB]
    stage.clear()

    async def started_anew() -> bool:
        return (await stage.containers(one))[WEB].started != before.started

    await eventually(started_anew, keeper)
    assert (await stage.containers(one))[WEB].id == before.id
    assert set(await did(stage, one)) == {"restart"}
    assert len(await did(stage, one)) <= 2, "the second may follow at once, the third waits"
    await settled(stage, keeper, {"web": echo(one)})


@scenario()
async def it_starts_slowly(stage: Stage, keeper: Keeper) -> None:
    """Progressing until it answers; nobody loses patience with it."""
    one = stage.sparks[0]
    await declare(stage, keeper, {"web": echo(one, args=("--slow-start", "1.5"))})
    await keeper.until(lambda: keeper.workload("web")["health"] == "Progressing")
    await passes(keeper)
    await calm(keeper)
    assert await did(stage, one) == ["run"]


@scenario()
async def it_does_not_obey_a_stop(stage: Stage, keeper: Keeper) -> None:
    one = stage.sparks[0]
    await settled(stage, keeper, {"web": echo(one, args=("--ignore-term",), stopTimeout="1s")})
    stage.clear()
    await settled(stage, keeper, {"web": echo(one, stopTimeout="1s")})
    assert (await stage.commands(one))[0] == ("docker", "stop", "-t", "1", f"<{WEB}>")
    assert await did(stage, one) == ["stop", "rm", "run"]


@scenario(loose="how many scans fall into the cut differs")
async def the_wire_is_cut_and_heals(stage: Stage, keeper: Keeper) -> None:
    """Unknown meanwhile, and untouched; on its return nothing is done."""
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "far": echo(two)})
    stage.clear()
    await stage.cut(one)
    await keeper.until(lambda: not keeper.spark(one)["reachable"], 20)
    assert keeper.workload("web")["health"] == "Unknown"
    await passes(keeper)
    await stage.heal(one)
    await calm(keeper, 45)
    await nothing_done(stage)
    assert {spark: await stage.containers(spark) for spark in stage.sparks} == before


@scenario(boots=True)
async def the_host_key_changes(stage: Stage, keeper: Keeper) -> None:
    """Nothing is said to a machine that may not be ours."""
    one, two = stage.sparks
    before = await settled(stage, keeper, {"web": echo(one), "far": echo(two)})
    stage.clear()
    await stage.new_host_key(one)
    await keeper.until(lambda: keeper.spark(one)["reason"] == "HostKeyChanged", 30)
    await passes(keeper)
    await nothing_done(stage)
    await stage.old_host_key(one)
    after = await restarted(stage, keeper, one, before[one][WEB])
    assert after.id == before[one][WEB].id
    assert await did(stage, one) == ["start"]
