"""Everything that can go wrong, each by name: `ALL[name](sim, rng)` does it, and undoes after a while what ends."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.sim import Sim
from tests.simulation.wire import Fate, fine

Fault = Callable[[Sim, random.Random], Coroutine[Any, Any, None]]
ALL: dict[str, Fault] = {}

LARGE = 10 * 2**30  # bytes
IMAGES = ("keep/echo:1", "keep/echo:2")


def fault(do: Fault) -> Fault:
    """Register one under its function's name."""
    ALL[do.__name__] = do
    return do


def spark_of(sim: Sim, rng: random.Random) -> str:
    return rng.choice(sorted(sim.sparks))


def later(sim: Sim, spark: str, seconds: float, undo: Callable[[], Any]) -> None:
    """Undo it then."""

    async def wait() -> None:
        await asyncio.sleep(seconds)
        undone = undo()
        if undone is not None and asyncio.iscoroutine(undone):
            await undone

    sim.wires[spark].spawn(wait())


def a_while(rng: random.Random) -> float:
    return rng.choice((0.2, 2.0, 15.0, 60.0)) * rng.uniform(0.5, 1.5)


# The controller


@fault
async def crash_now(sim: Sim, rng: random.Random) -> None:
    if sim.controller is not None:
        sim.controller.crash()


@fault
async def crash_soon(sim: Sim, rng: random.Random) -> None:
    if sim.controller is not None:
        sim.controller.life.fatal = sim.controller.life.steps + rng.randrange(1, 200)


@fault
async def journal_lost(sim: Sim, rng: random.Random) -> None:
    """Its file is gone when it starts again."""
    if sim.controller is not None:
        sim.forget_journal = True
        sim.controller.crash()


@fault
async def journal_disk_full(sim: Sim, rng: random.Random) -> None:
    """Writes are refused for a while."""
    controller = sim.controller
    if controller is not None and controller.alive:
        controller.journal.connection.execute("PRAGMA query_only = ON")
        later(sim, spark_of(sim, rng), a_while(rng), controller.journal.writable)


@fault
async def two_controllers(sim: Sim, rng: random.Random) -> None:
    """Another one comes up on another machine, and stays a while."""
    sim.wires[spark_of(sim, rng)].spawn(sim.rival(a_while(rng), graceful=rng.random() < 0.5))


@fault
async def clock_jump(sim: Sim, rng: random.Random) -> None:
    sim.clock_offset = rng.choice((-7200.0, -60.0, 0.0, 30.0, 7200.0))


# The connection


@fault
async def link_cut(sim: Sim, rng: random.Random) -> None:
    """Packets are dropped, nothing is closed; connections hang half-open."""
    spark = spark_of(sim, rng)
    if spark not in sim.off:
        sim.wires[spark].cut()
        later(sim, spark, a_while(rng), lambda: sim.heal(spark))


@fault
async def connection_dropped(sim: Sim, rng: random.Random) -> None:
    sim.wires[spark_of(sim, rng)].drop()


@fault
async def auth_refused(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    sim.sparks[spark].faults.auth_refused()
    sim.wires[spark].drop()
    later(sim, spark, a_while(rng), lambda: sim.sparks[spark].faults.auth_refused(False))


@fault
async def host_key_changed(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    wire = sim.wires[spark]
    wire.trusted = False
    wire.drop()

    def trust() -> None:
        wire.trusted = True

    later(sim, spark, a_while(rng), trust)


@fault
async def commands_go_wrong(sim: Sim, rng: random.Random) -> None:
    """Some of them: not done, done and not told, told too late, cut short, refused a session."""
    spark = spark_of(sim, rng)
    wire, share = sim.wires[spark], rng.choice((0.1, 0.5, 1.0))
    wrong = rng.choice((*(f for f in Fate if f is not Fate.FINE), None))

    def fate(_: str) -> Fate:
        if rng.random() >= share:
            return Fate.FINE
        return wrong or rng.choice([f for f in Fate if f is not Fate.FINE])

    def heal() -> None:
        wire.fate = fine

    wire.fate = fate
    later(sim, spark, a_while(rng), heal)


@fault
async def events_go_wrong(sim: Sim, rng: random.Random) -> None:
    """Lost, doubled, late, in another order."""
    how = rng.choice(((), (0.0, 0.0), (3.0,), (0.0, 1.0)))
    sim.drop_event = lambda _, __: how if rng.random() < 0.7 else (0.0,)

    def heal() -> None:
        sim.drop_event = lambda _, __: (0.0,)

    later(sim, spark_of(sim, rng), a_while(rng), heal)


@fault
async def forwarding_refused(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    sim.sparks[spark].faults.forwarding_refused()
    sim.wires[spark].drop()

    def heal() -> None:
        sim.sparks[spark].faults.forwarding_refused(False)
        sim.wires[spark].drop()

    later(sim, spark, a_while(rng), heal)


# The machine


@fault
async def rebooted(sim: Sim, rng: random.Random) -> None:
    await sim.reboot(spark_of(sim, rng), rng.uniform(0.5, 40.0))


@fault
async def power_cut(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    await sim.power_off(spark)
    later(sim, spark, a_while(rng), lambda: sim.power_on(spark))


@fault
async def daemon_restarted(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    if spark not in sim.off:
        sim.wires[spark].spawn(_restart(sim, spark, rng.uniform(0.2, 10.0)))


async def _restart(sim: Sim, spark: str, seconds: float) -> None:
    sim.powered_off = True
    sim.off.add(spark)
    try:
        await sim.sparks[spark].faults.daemon_restart(seconds)
    finally:
        sim.off.discard(spark)


@fault
async def disk_full(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    sim.sparks[spark].faults.disk_full()
    later(sim, spark, a_while(rng), lambda: sim.sparks[spark].faults.disk_full(False))


@fault
async def memory_comes_back_late(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    sim.sparks[spark].faults.memory_slow_release(rng.uniform(1.0, 30.0))
    later(sim, spark, a_while(rng), lambda: sim.sparks[spark].faults.memory_slow_release(None))


@fault
async def port_taken(sim: Sim, rng: random.Random) -> None:
    spark, port = spark_of(sim, rng), rng.randrange(9000, 9006)
    if port not in sim.sparks[spark].machine.listeners:
        sim.sparks[spark].faults.port_taken(port)
        later(sim, spark, a_while(rng), lambda: sim.sparks[spark].faults.port_freed(port))


@fault
async def slow_stop(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    sim.sparks[spark].faults.slow_stop(rng.uniform(1.0, 30.0))
    later(sim, spark, a_while(rng), lambda: sim.sparks[spark].faults.slow_stop(None))


# Images and containers


@fault
async def pulls_go_wrong(sim: Sim, rng: random.Random) -> None:
    """An image is gone, and fetching it fails or stalls."""
    spark, image = spark_of(sim, rng), rng.choice(IMAGES)
    await sim.docker(spark, "rmi", image)
    faults = sim.sparks[spark].faults
    if rng.random() < 0.5:
        faults.pull_fails("network")
        later(sim, spark, a_while(rng), lambda: faults.pull_fails(""))
    else:
        faults.pull_stalls()
        later(sim, spark, a_while(rng), lambda: faults.pull_stalls(False))


@fault
async def exits_by_itself(sim: Sim, rng: random.Random) -> None:
    spark = spark_of(sim, rng)
    target = rng.choice(sorted(sim.ours(spark)) or ["sparkkeep-w0"])
    sim.sparks[spark].faults.exit_after(
        target, rng.choice((0.0, 0.5, 20.0)), rng.choice((0, 1)), times=rng.choice((1, 2))
    )


async def _one_of_ours(sim: Sim, rng: random.Random) -> tuple[str, str] | None:
    found = [(spark, name) for spark in sorted(sim.sparks) for name in sorted(sim.ours(spark))]
    return rng.choice(found) if found else None


@fault
async def out_of_memory(sim: Sim, rng: random.Random) -> None:
    hit = await _one_of_ours(sim, rng)
    if hit is not None and sim.containers(hit[0])[hit[1]].state == "running":
        sim.wires[hit[0]].spawn(sim.sparks[hit[0]].faults.oom(hit[1]))


@fault
async def somebody_stops_one(sim: Sim, rng: random.Random) -> None:
    """Nobody restarts a model by hand: its old memory is not back when it takes it anew."""
    hit = await _one_of_ours(sim, rng)
    if hit is not None:
        verb = rng.choice(("stop", "kill", "restart", "pause"))
        large = sim.containers(hit[0])[hit[1]].memory > LARGE
        await sim.docker(hit[0], "stop" if verb == "restart" and large else verb, hit[1])


@fault
async def somebody_removes_one(sim: Sim, rng: random.Random) -> None:
    hit = await _one_of_ours(sim, rng)
    if hit is not None:
        await sim.docker(hit[0], "rm", "-f", hit[1])


@fault
async def somebody_takes_a_name(sim: Sim, rng: random.Random) -> None:
    """A container of theirs, by the name that one of ours would have; they remove it later."""
    spark, name = spark_of(sim, rng), f"sparkkeep-w{rng.randrange(5)}"
    if name in sim.containers(spark):
        return
    await sim.docker(spark, "run", "-d", "--name", name, "--network", "host", "keep/echo:1", "--port", "9500")

    async def gone() -> None:
        if name in sim.containers(spark) and "sparkkeep.owner" not in sim.containers(spark)[name].spec.labels:
            await sim.docker(spark, "rm", "-f", name)

    later(sim, spark, a_while(rng), gone)


# The desired state


@fault
async def half_written(sim: Sim, rng: random.Random) -> None:
    text = sim.text
    sim.write(text[: rng.randrange(len(text) + 1)])


@fault
async def emptied(sim: Sim, rng: random.Random) -> None:
    sim.write("")


@fault
async def gone(sim: Sim, rng: random.Random) -> None:
    (sim.folder / "desired.yaml").unlink(missing_ok=True)


def heal(sim: Sim) -> None:
    """Nothing goes wrong any more; what has happened stays happened."""
    sim.drop_event = lambda _, __: (0.0,)
    sim.pick_scan = lambda _, past: past[-1]
    sim.clock_offset = 0.0
    if sim.controller is not None:
        sim.controller.life.fatal = 0
        if sim.controller.alive:
            sim.controller.journal.writable()
    for name, spark in sim.sparks.items():
        spark.faults.clear()
        sim.wires[name].fate = fine
        sim.wires[name].trusted = True
        sim.wires[name].drop()
