"""A controller that is killed at any await, and started again, brings about what it would have brought about anyway."""

import pytest

from reconciler.loop import Loop
from reconciler.model import Sight
from tests.scenarios.play import echo
from tests.simulation.crashes import distinct, tried
from tests.simulation.forks import Fatal, crashed, crashed_at
from tests.simulation.sim import Sim, play
from tests.simulation.stories import ALL, ONE, SHORTEST, alone, prepare

POINTS = 16  # of each story; `make faults` takes them all
FIRSTS = 8  # of two crashes, each with about two others after it


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ALL)
def test_killed_at_awaits_of(name: str) -> None:
    steps = alone(ALL[name]).steps
    every = max(1, steps // POINTS)
    points = [(step,) for step in range(1 + len(name) % every, steps + 1, every)]
    done = tried(name, points)
    assert not done.violations
    assert done.points == done.crashes == len(points)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SHORTEST)
def test_killed_again_while_it_recovers_in(name: str) -> None:
    firsts = distinct(name)
    points = list[Fatal]()
    for at, first in enumerate(firsts[:: max(1, len(firsts) // FIRSTS)]):
        seconds = distinct(name, (first,), traces=Sim.deeds)
        apart = max(1, len(seconds) * FIRSTS // POINTS)
        points += [(first, second) for second in seconds[at % apart :: apart]]
    done = tried(name, points)
    assert not done.violations
    assert done.crashes == 2 * len(points) > POINTS // 2


def test_a_fork_ends_as_a_story_told_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool itself: here a controller restarts whatever it finds running, which one crash does not excuse twice."""
    saw = Loop.saw

    def rash(loop: Loop, spark: str, before: Sight, after: Sight) -> None:
        saw(loop, spark, before, after)
        if before.scan is None and after.scan is not None:
            loop._restarts |= {c.id: c.started_at for c in after.scan.containers if loop.owns(c)}

    reference = alone(ALL["swap"])
    monkeypatch.setattr(Loop, "saw", rash)
    steps = range(5, reference.steps + 1, 40)
    forked = crashed_at("swap", (), steps, reference)
    assert forked == {(step,): crashed("swap", (step,), reference) for step in steps}
    assert 0 < sum(bool(verdict.problem) for verdict in forked.values()) < len(steps)


def test_the_same_seed_is_the_same_story() -> None:
    """Else no failure could be shown again."""
    for name in ("drain", "group_of_two_ranks"):
        assert alone(ALL[name], seed=7) == alone(ALL[name], seed=7)
        assert distinct(name) == distinct(name)


def test_a_dead_controller_gives_no_command() -> None:
    """The tool itself: else a crash would be no crash, and no violation could be seen."""

    async def story(sim: Sim) -> None:
        prepare(sim)
        sim.declare({"web": echo(ONE), "other": echo(ONE, 9001)})
        sim.keep()
        await sim.calm()
        await sim.docker(ONE, "kill", "sparkkeep-web")
        await sim.sleep(30)
        assert sim.ours(ONE)["sparkkeep-web"].state == "running"
        assert sim.controller is not None
        sim.abandon()
        sim.controller.crash()
        before = sim.commands(ONE)
        await sim.docker(ONE, "kill", "sparkkeep-other")
        await sim.sleep(600)
        assert sim.commands(ONE) == before
        assert sim.ours(ONE)["sparkkeep-other"].state == "exited"

    play(story, sparks=1)
