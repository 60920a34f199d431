"""What the simulation found, each told once more in the fewest words, by its symptom."""

from tests.scenarios.play import echo
from tests.simulation.oracle import check, put_canaries
from tests.simulation.sim import Sim, play
from tests.simulation.stories import ONE, prepare


def test_no_step_begins_on_a_spark_that_was_lost_in_the_middle_of_a_pass() -> None:
    """Its Engine went away after the first of two steps; the second was sent all the same."""

    async def story(sim: Sim) -> None:
        prepare(sim)
        sim.watch_closely()
        canaries = await put_canaries(sim)
        sim.declare({"one": echo(ONE), "two": echo(ONE, 9001)})
        docker, spark = sim.sparks[ONE].console.tools["docker"], sim.sparks[ONE]
        gone = list[str]()

        async def hangs_up(shell: object, argv: list[str], io: object) -> int:
            if argv[1] == "run" and not gone:
                gone.append(argv[1])
                spark.hang_up_engine()
                await sim.sleep(0.5)
            return await docker(shell, argv, io)  # type: ignore[arg-type]

        spark.console.tools = {**spark.console.tools, "docker": hangs_up}
        sim.keep()
        await sim.calm()
        assert gone
        await check(sim, canaries, None, boots=False, crashes=0)

    play(story, sparks=1)
