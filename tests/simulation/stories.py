"""What operators and machines do on an ordinary day. Each is told once undisturbed, and then with every possible crash.

A story goes on when the fleet is calm again; it never looks into a controller, since the one it looked into may be
dead by then.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from reconciler.demand import State
from reconciler.loop import Loop
from state.journal import Override
from tests.practice.stage import IMAGES
from tests.scenarios.groups import big
from tests.scenarios.play import echo
from tests.simulation.oracle import Undisturbed, check, put_canaries, undisturbed
from tests.simulation.sim import Sim, play

ONE, TWO = "spark-1", "spark-2"
Telling = Callable[[Sim], Awaitable[None]]


@dataclass(frozen=True)
class Story:
    """`boots`: somebody else's containers are restarted in it, too."""

    name: str
    tell: Telling
    boots: bool = False


ALL: dict[str, Story] = {}
SHORTEST = ("create", "update_in_place", "rename", "suspend")  # those that are told with two crashes


def story(*, boots: bool = False) -> Callable[[Telling], Telling]:
    """Register one under its function's name."""

    def add(tell: Telling) -> Telling:
        ALL[tell.__name__] = Story(tell.__name__, tell, boots)
        return tell

    return add


def prepare(sim: Sim) -> None:
    """What lies on every Spark beforehand."""
    for spark in sim.sparks.values():
        spark.engine.images.known.update(IMAGES)
        for image in IMAGES:
            spark.engine.images.add(image)


def run(
    told: Story,
    reference: Undisturbed | None,
    fatal: tuple[int, ...] = (),
    seed: int = 0,
    each_step: Callable[[Sim], None] | None = None,
) -> Sim:
    """Tell it with crashes before these steps. Raises Violation or AssertionError."""

    async def whole(sim: Sim) -> None:
        prepare(sim)
        sim.each_step = each_step
        canaries = await put_canaries(sim)
        sim.declare({})
        sim.keep()
        await told.tell(sim)
        await sim.calm()
        await check(sim, canaries, reference, boots=told.boots, crashes=sim.counts["crash"])

    return play(whole, seed=seed, fatal=fatal)


def alone(told: Story, seed: int = 0) -> Undisturbed:
    """How it goes when nothing goes wrong."""
    return undisturbed(run(told, None, seed=seed))


async def verb(sim: Sim, what: Callable[[Loop], Any]) -> None:
    """Ask whoever keeps the fleet now."""
    await sim.alive()
    assert sim.controller is not None
    assert sim.controller.keeper is not None
    what(sim.controller.keeper)


@story()
async def create(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(TWO, 9001)})
    await sim.calm()


@story()
async def update_in_place(sim: Sim) -> None:
    sim.declare({"web": echo(ONE)})
    await sim.calm()
    sim.declare({"web": echo(ONE, restart="always")})
    await sim.calm()


@story()
async def recreate(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(TWO, 9001)})
    await sim.calm()
    sim.declare({"web": echo(ONE, image="keep/echo:2"), "other": echo(TWO, 9001, env={"A": "b"})})
    await sim.calm()


@story()
async def prune(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(ONE, 9001), "third": echo(TWO, 9002)})
    await sim.calm()
    sim.declare({"other": echo(ONE, 9001)})
    await sim.calm()


@story()
async def rename(sim: Sim) -> None:
    sim.declare({"web": echo(ONE)})
    await sim.calm()
    sim.declare({"site": echo(ONE)})
    await sim.calm()


@story()
async def move(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(TWO, 9001)})
    await sim.calm()
    sim.declare({"web": echo(TWO), "other": echo(ONE, 9001)})
    await sim.calm()


@story()
async def drain(sim: Sim) -> None:
    sim.declare({"web": echo("any"), "other": echo(ONE, 9001)})
    await sim.calm()
    await verb(sim, lambda loop: loop.override(Override.DRAIN, ONE, on=True, by="somebody"))
    await sim.calm()
    await verb(sim, lambda loop: loop.override(Override.DRAIN, ONE, on=False, by="somebody"))
    await sim.calm()


@story(boots=True)
async def reboot(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(ONE, 9001, restart="always"), "third": echo(TWO, 9002)})
    await sim.calm()
    await sim.reboot(ONE)
    await sim.calm()


@story()
async def group_of_two_ranks(sim: Sim) -> None:
    sim.declare({}, **big(sim))
    await sim.calm()
    await sim.docker(TWO, "kill", "sparkkeep-big_1")
    await sim.calm()


@story()
async def backoff(sim: Sim) -> None:
    sim.sparks[ONE].faults.exit_after("sparkkeep-web", 0.2, times=3)
    sim.declare({"web": echo(ONE, restart="no")})
    await sim.calm()


@story()
async def suspend(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(TWO, 9001)})
    await sim.calm()
    await verb(sim, lambda loop: loop.override(Override.SUSPEND, "web", on=True, by="somebody"))
    await sim.calm()
    await verb(sim, lambda loop: loop.override(Override.SUSPEND, "web", on=False, by="somebody"))
    await sim.calm()


@story()
async def rollback_of_a_bad_revision(sim: Sim) -> None:
    good = {"web": echo(ONE), "other": echo(TWO, 9001)}
    sim.declare(good)
    await sim.calm()
    sim.declare({**good, "web": echo(ONE, command=["--no-such-flag"])})
    await sim.sleep(5)
    sim.write("sparks: [this is no desired state")
    await sim.sleep(5)
    sim.declare(good)
    await sim.calm()


@story()
async def killed_and_removed_by_hand(sim: Sim) -> None:
    sim.declare({"web": echo(ONE), "other": echo(ONE, 9001)})
    await sim.calm()
    await sim.docker(ONE, "kill", "sparkkeep-web")
    await sim.docker(ONE, "rm", "-f", "sparkkeep-other")
    await sim.calm()


@story()
async def swap(sim: Sim) -> None:
    sim.declare({"web": echo(ONE, 9000), "other": echo(ONE, 9001)})
    await sim.calm()
    sim.declare({"web": echo(ONE, 9001), "other": echo(ONE, 9000)})
    await sim.calm()


@story()
async def on_demand(sim: Sim) -> None:
    """Two that don't fit beside each other, asked for in turn; a crash forgets who asked."""
    web, other = (echo(ONE, port, memory="70GiB", run="on-demand") for port in (9000, 9001))
    settings = {"evictAfter": "0s"}
    sim.declare({"web": web, "other": other}, settings=settings)
    await sim.calm()
    for name in ("web", "other"):
        while not await _answers(sim, name):
            await verb(sim, lambda loop, name=name: loop.demand.ask(name))  # type: ignore[misc]
            await sim.sleep(0.2)
        await verb(sim, lambda loop, name=name: loop.demand.withdraw(name))  # type: ignore[misc]
    sim.declare({"other": other}, settings=settings)
    await sim.calm()


async def _answers(sim: Sim, name: str) -> bool:
    await sim.alive()
    assert sim.controller is not None
    assert sim.controller.keeper is not None
    return sim.controller.keeper.outlook(name).state is State.READY
