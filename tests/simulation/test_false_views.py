"""What a controller sees may be old, or may never have been said: it does no harm by it, and sees the truth later."""

import random
from collections.abc import Sequence

import pytest

from reconciler.model import Scan
from tests.scenarios.play import echo
from tests.simulation.oracle import check, end_of, put_canaries
from tests.simulation.sim import REREAD, Sim, play
from tests.simulation.stories import ALL, ONE, TWO, prepare

LOOKS = 4  # of each story, that are made false; the others are true


@pytest.mark.timeout(300)
@pytest.mark.parametrize("back", range(1, 6))
@pytest.mark.parametrize("name", [name for name in ALL if name not in {"backoff", "group_of_two_ranks"}])
def test_a_scan_from_before(name: str, back: int) -> None:
    """Each look in turn shows what was true `back` looks ago; no container that is as declared is taken away."""
    looks = _looks(name)
    for chosen in range(1 + back, looks + 1, max(1, looks // LOOKS)):
        _told(name, chosen, back)


def _looks(name: str) -> int:
    count = [0]

    async def story(sim: Sim) -> None:
        def counting(_: str, past: Sequence[Scan]) -> Scan:
            count[0] += 1
            return past[-1]

        prepare(sim)
        sim.pick_scan = counting
        sim.declare({})
        sim.keep()
        await ALL[name].tell(sim)

    play(story)
    return count[0]


def _told(name: str, chosen: int, back: int) -> None:
    count = [0]

    async def story(sim: Sim) -> None:
        def stale(_: str, past: Sequence[Scan]) -> Scan:
            count[0] += 1
            return past[max(-1 - back, -len(past))] if count[0] == chosen else past[-1]

        prepare(sim)
        canaries = await put_canaries(sim)
        sim.watch_closely(strict=True)
        sim.pick_scan = stale
        sim.declare({})
        sim.keep()
        await ALL[name].tell(sim)
        await sim.calm()
        await check(sim, canaries, None, boots=ALL[name].boots, crashes=0)

    play(story)


@pytest.mark.parametrize("heard", [(), (0.0, 0.0, 0.0), (2.0,), "shuffled"])
def test_events_lost_doubled_late_or_in_another_order(heard: Sequence[float] | str) -> None:
    """The next sweep finds what no event told."""

    async def story(sim: Sim) -> None:
        rng = random.Random(5)
        prepare(sim)
        canaries = await put_canaries(sim)
        sim.drop_event = lambda _, __: (rng.uniform(0, 3),) if heard == "shuffled" else tuple(map(float, heard))
        sim.declare({"web": echo(ONE), "other": echo(TWO, 9001)})
        sim.keep()
        await sim.calm()
        before = end_of(sim)
        await sim.docker(ONE, "kill", "sparkkeep-web")
        await sim.docker(TWO, "rm", "-f", "sparkkeep-other")
        await sim.sleep(REREAD + 5)
        assert end_of(sim) == before
        await check(sim, canaries, None, boots=False, crashes=0)

    play(story)
