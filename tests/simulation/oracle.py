"""What must hold, whatever happened on the way."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.scenarios.stage import FLEETING, OURS
from tests.simulation.sim import Sim

CANARY = "canary"
LABELS = (*FLEETING, "sparkkeep.fence")
CREATES = frozenset({"run", "create"})
STOPS = frozenset({"stop", "kill", "rm", "restart"})
SILENT = 10  # passes

End = dict[str, dict[str, Any]]


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True)
class Undisturbed:
    """How a story ends, and what it takes, when nothing goes wrong."""

    end: End
    creates: Counter[tuple[str, str]]
    stops: Counter[tuple[str, str]]
    steps: int


async def put_canaries(sim: Sim) -> dict[str, tuple[str, int]]:
    """A container of somebody else on every Spark, that looks a little like ours."""
    for spark in sim.sparks:
        labels = ("--label", "sparkkeep.owner=somebody-else", "--label", "sparkkeep.workload=web")
        where = ("--network", "host", "--restart", "always")
        await sim.docker(spark, "run", "-d", "--name", CANARY, *where, *labels, "keep/echo:1", "--port", "9999")
    return {spark: _life(sim, spark) for spark in sim.sparks}


def _life(sim: Sim, spark: str) -> tuple[str, int]:
    canary = sim.containers(spark)[CANARY]
    return canary.id, canary.started


def end_of(sim: Sim) -> End:
    """Every container of ours, without what differs from run to run."""
    return {
        spark: {
            name: {
                "image": c.spec.image,
                "command": tuple(c.spec.command),
                "restart": c.spec.policy.name,
                "state": c.state,
                "labels": {k: v for k, v in c.spec.labels.items() if k.startswith(OURS) and k not in LABELS},
            }
            for name, c in sorted(sim.ours(spark).items())
        }
        for spark in sim.sparks
    }


def counted(sim: Sim, verbs: frozenset[str]) -> Counter[tuple[str, str]]:
    """How often controllers gave such a command, by Spark and verb."""
    return Counter((spark, argv[1]) for spark in sim.sparks for argv in sim.commands(spark) if argv[1] in verbs)


def undisturbed(sim: Sim) -> Undisturbed:
    """To compare others with."""
    return Undisturbed(end_of(sim), counted(sim, CREATES), counted(sim, STOPS), sim.all[0].life.steps)


async def check(
    sim: Sim, canaries: dict[str, tuple[str, int]], reference: Undisturbed | None, *, boots: bool, crashes: int
) -> None:
    """At the end of a story, when all is calm. Raises Violation."""
    await silence(sim)
    for problem in (*sim.broken, *(problem for doorman in sim.doormen for problem in doorman.broken)):
        raise Violation(problem)
    for spark, (identity, started) in canaries.items():
        if CANARY not in sim.containers(spark) or _life(sim, spark)[0] != identity:
            raise Violation(f"{spark}: somebody else's container was replaced")
        if not boots and _life(sim, spark)[1] != started:
            raise Violation(f"{spark}: somebody else's container was restarted")
        if any(CANARY in argv or identity[:12] in word for argv in sim.commands(spark) for word in argv):
            raise Violation(f"{spark}: a command named somebody else's container")
    for name, spark in sim.sparks.items():
        if spark.machine.overcommits:
            raise Violation(f"{name}: something was started that did not fit into its memory")
    if reference is None:
        return
    if end_of(sim) != reference.end:
        raise Violation(f"another end:\n{end_of(sim)}\ninstead of\n{reference.end}")
    for verbs, allowed in ((CREATES, reference.creates), (STOPS, reference.stops)):
        found = counted(sim, verbs)
        for key in found:
            if found[key] > allowed[key] + crashes:  # each crash may cost one command a second try
                raise Violation(f"{key}: {found[key]} times instead of {allowed[key]}")


async def silence(sim: Sim, passes: int = SILENT) -> None:
    """Looking again, however often, does nothing. Raises Violation."""
    before = {spark: len(sim.commands(spark)) for spark in sim.sparks}
    end = end_of(sim)
    await sim.look(passes)
    for spark, count in before.items():
        if sim.commands(spark)[count:]:
            raise Violation(f"{spark}: not silent: {sim.commands(spark)[count:]}")
    if end_of(sim) != end:
        raise Violation("the world moved although nobody did anything")
