"""A container's life, in virtual time: restart policies, stops, memory, reboots."""

import asyncio

from reconciler.practice.containers import Policy, Spec
from reconciler.practice.errors import DaemonError
from reconciler.practice.machine import GIB
from reconciler.practice.spark import Spark
from tests.practice.virtual import virtually

NO = Policy()


async def run(spark: Spark, name: str, *command: str, policy: Policy = NO, **more: object) -> None:
    spec = Spec(image="img:1", name=name, command=list(command), policy=policy, network="host", **more)
    await spark.engine.start(spark.engine.create(spec).id)


def now() -> float:
    return asyncio.get_running_loop().time()


def actions(spark: Spark, name: str) -> list[str]:
    return [event.action for event in spark.engine.events.past(0) if event.attributes["name"] == name]


def test_always_restarts_with_growing_pauses() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "sh", "-c", "exit 3", policy=Policy("always"))
        container = spark.engine.find("one")
        await asyncio.sleep(0.05)
        assert (container.state, container.exit_code, container.restarts) == ("restarting", 3, 1)
        await asyncio.sleep(0.1 + 0.2 + 0.4)
        assert container.restarts == 4
        await asyncio.sleep(300)
        assert container.restart_delay == 60
        assert container.restarts == 14

    virtually(story)


def test_a_good_run_makes_the_next_pause_short_again() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "--exit-after", "1", policy=Policy("on-failure"))
        spark.engine.find("one").spec.command[:] = ["--exit-after", "11", "--exit-code", "2"]
        await run(spark, "two", "--exit-after", "11", "--exit-code", "2", policy=Policy("on-failure"))
        container = spark.engine.find("two")
        await asyncio.sleep(60)
        assert container.restarts == 5
        assert container.restart_delay == 0.1
        one = spark.engine.find("one")
        assert (one.state, one.exit_code, one.restarts) == ("exited", 0, 0), "0 is no failure"

    virtually(story)


def test_on_failure_gives_up() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "sh", "-c", "exit 3", policy=Policy("on-failure", 2))
        await asyncio.sleep(10)
        container = spark.engine.find("one")
        assert (container.state, container.exit_code, container.restarts) == ("exited", 3, 2)
        assert actions(spark, "one") == ["create", *["start", "die"] * 3]

    virtually(story)


def test_a_stop_by_hand_ends_restarting() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "sh", "-c", "exit 3", policy=Policy("always"))
        await asyncio.sleep(5)
        await spark.engine.stop("one")
        await asyncio.sleep(100)
        assert spark.engine.find("one").state == "exited"
        await run(spark, "two", policy=Policy("always"))
        await spark.engine.kill("two")
        await asyncio.sleep(100)
        assert spark.engine.find("two").state == "exited"
        assert actions(spark, "two") == ["create", "start", "kill", "die"]

    virtually(story)


def test_a_death_that_is_nobodys_will_is_followed_by_a_restart() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", policy=Policy("unless-stopped"))
        await spark.faults.kill("one")
        container = spark.engine.find("one")
        assert (container.state, container.exit_code) == ("restarting", 137)
        await asyncio.sleep(1)
        assert (container.state, container.restarts) == ("running", 1)
        await spark.faults.oom("one")
        assert container.oom_killed
        assert actions(spark, "one")[-2:] == ["oom", "die"]

    virtually(story)


def test_stop_waits_and_then_kills() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "--ignore-term", stop_timeout=7)
        before = now()
        await spark.engine.stop("one")
        assert now() - before == 7
        assert spark.engine.find("one").exit_code == 137
        spark.faults.slow_stop(5)
        await run(spark, "two")
        before = now()
        await spark.engine.stop("two", 10)
        assert now() - before == 5
        assert spark.engine.find("two").exit_code == 0
        assert actions(spark, "one") == ["create", "start", "kill", "kill", "die", "stop"]
        assert actions(spark, "two") == ["create", "start", "kill", "die", "stop"]

    spark = virtually(story)
    assert spark.faults.counts["slow_stop"] == 1


def test_a_stop_during_the_load_is_heard() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "--slow-start", "60", "--port", "8000")
        await asyncio.sleep(1)
        before = now()
        await spark.engine.stop("one")
        assert now() - before < 1
        assert 8000 not in spark.machine.listeners

    virtually(story)


def test_memory_comes_back_late() -> None:
    async def story(spark: Spark) -> None:
        free = spark.machine.memory_available
        await run(spark, "one", labels={"sparkkeep.memory": str(92 * GIB)})
        await asyncio.sleep(5)
        assert free - spark.machine.memory_available == 92 * GIB
        spark.faults.memory_slow_release(20)
        await spark.engine.stop("one")
        assert free - spark.machine.memory_available == 92 * GIB
        await asyncio.sleep(19)
        assert free - spark.machine.memory_available == 92 * GIB
        await asyncio.sleep(2)
        assert spark.machine.memory_available == free

    virtually(story)


def test_what_does_not_fit_is_killed_and_counted() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", env=[f"PRACTICE_MEMORY={100 * GIB}"])
        await asyncio.sleep(1)
        await run(spark, "two", env=[f"PRACTICE_MEMORY={100 * GIB}"])
        await asyncio.sleep(1)
        two = spark.engine.find("two")
        assert (two.state, two.exit_code, two.oom_killed) == ("exited", 137, True)
        assert spark.machine.overcommits == 1

    virtually(story)


def test_a_reboot() -> None:
    async def story(spark: Spark) -> None:
        boot_id = spark.machine.boot_id
        for policy in ("no", "always", "unless-stopped", "on-failure"):
            await run(spark, policy, policy=Policy(policy))
            await run(spark, f"stopped-{policy}", policy=Policy(policy))
            await spark.engine.stop(f"stopped-{policy}")
        await spark.faults.reboot(30)
        assert spark.machine.boot_id != boot_id
        up = {container.name for container in spark.engine.running()}
        assert up == {"always", "unless-stopped", "on-failure", "stopped-always"}
        assert spark.engine.find("no").exit_code == 255
        assert spark.engine.find("stopped-no").exit_code == 0

    virtually(story)


def test_the_same_run_gives_the_same_ids_and_times() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one", "sh", "-c", "exit 1", policy=Policy("always"))
        await asyncio.sleep(20)

    first, second = virtually(story), virtually(story)
    assert [event.json() for event in first.engine.events.past(0)] == [
        event.json() for event in second.engine.events.past(0)
    ]
    assert first.machine.boot_id == second.machine.boot_id


def test_names_and_ids() -> None:
    async def story(spark: Spark) -> None:
        await run(spark, "one")
        container = spark.engine.find("one")
        assert spark.engine.find(container.id[:8]) is container
        assert spark.engine.find("/one") is container
        spark.engine.rename("one", "two")
        try:
            spark.engine.find("one")
        except DaemonError as error:
            assert str(error) == "No such container: one"
        else:
            raise AssertionError

    virtually(story)
