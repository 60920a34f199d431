"""Where the workloads with `on: any` go, given what is declared and what is seen.

Pure. Shared by the loop, which remembers the answer, and by previews of a desired state that is not in force.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model import Sight
from reconciler.place import Candidate, Placements, place
from reconciler.target import Target
from state.desired import ANY
from state.load import Loaded


def bind_floating(
    loaded: Loaded, target: Target, sights: Mapping[str, Sight], before: Mapping[str, str]
) -> Placements | None:
    """Placements for every floating workload; None if there is none. `before` is where they were placed earlier."""
    floating = [
        (name, declaration.recipe.memory or 0)
        for name, declaration in loaded.resolved.items()
        if declaration.workload.on == [ANY]
        and declaration.workload.across is None
        and declaration.workload.run != "never"
    ]
    if not floating:
        return None
    names = {name for name, _ in floating}
    return place(
        floating,
        [
            Candidate(name=name, sight=sight, reserve=target.reserves[name], open=name not in target.cordoned)
            for name, sight in sights.items()
        ],
        owner=target.owner,
        before={name: spark for name, spark in before.items() if name in names},
        promised=_promised(target, sights),
        drained=target.drained,
    )


def _promised(target: Target, sights: Mapping[str, Sight]) -> dict[str, int]:
    """Memory that bound instances will take on each Spark and have not taken yet."""
    promised = {}
    for spark, instances in target.instances.items():
        scan = sights[spark].current if spark in sights else None
        up = {container.name for container in scan.containers if container.running} if scan else set()
        promised[spark] = sum(instance.memory for instance in instances if instance.name not in up)
    return promised
