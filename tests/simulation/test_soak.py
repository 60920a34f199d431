"""What a month must not gather: tried in minutes, since each crash would leave its part."""

import weakref

from tests.simulation import soak
from tests.simulation.sim import Sim, play
from tests.simulation.stories import prepare

CRASHES = 4


def test_dead_controllers_leave_nothing_behind() -> None:
    """Fifty Sparks grew from 194 to 284 MiB in a month: the dead were kept until the day's end, and each left a listener
    on every Spark to whom all further events were told.
    """

    async def story(sim: Sim) -> None:
        prepare(sim)
        sim.declare(soak.declared(sim), settings=soak.SETTINGS)
        sim.keep()
        lived = list[weakref.ref[object]]()
        for _ in range(CRASHES):
            await sim.calm()
            assert sim.controller is not None
            lived += [weakref.ref(sim.controller), weakref.ref(sim.controller.keeper)]
            sim.controller.crash()
            await sim.sleep(5)
            await soak.bury(sim)
        assert [ref for ref in lived if ref() is not None] == []
        assert [len(spark.engine.events._listeners) for spark in sim.sparks.values()] == [1, 1]

    play(story, fast=True, host=soak.QuickHost, terms=soak.TERMS, reread=3600.0)
