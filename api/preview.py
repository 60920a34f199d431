"""The plan that a desired state would have in a given world: nothing is stored, and nothing is done.

Pure. For a document that somebody wants to try (`sparkkeep plan --file`) and for plans without a server
(`--offline`): both know the world, and neither may touch the running loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.model import Plan, Sight, World
from reconciler.place import Candidate, Placements, place
from reconciler.plan import plan
from reconciler.target import Overrides, Target, build
from state.desired import ANY
from state.load import Loaded

NOT_CONNECTED = Sight(unknown="NotDeclaredYet", message="not in the desired state in force, so it was never looked at")


def preview(
    loaded: Loaded,
    world: World,
    *,
    revision: str,
    generations: Mapping[str, int],
    overrides: Overrides,
    before: Mapping[str, str] | None = None,
) -> tuple[Target, Plan]:
    """The target and plan of `loaded` in `world`. `before` is where `on: any` workloads are now."""
    sights = {name: world.sights.get(name, NOT_CONNECTED) for name in loaded.desired.sparks}
    world = replace(world, sights=sights)

    def bind(placements: Placements) -> Target:
        return build(
            loaded.desired,
            loaded.resolved.values(),
            revision=revision,
            generations=generations,
            overrides=overrides,
            placements=placements,
        )

    target = bind(Placements(on={}, waiting={}))
    floating = [
        (name, declaration.recipe.memory or 0)
        for name, declaration in loaded.resolved.items()
        if declaration.workload.on == [ANY]
        and declaration.workload.across is None
        and declaration.workload.run != "never"
    ]
    if floating:
        candidates = [
            Candidate(name=n, sight=sight, reserve=target.reserves[n], open=n not in target.cordoned)
            for n, sight in sights.items()
        ]
        kept = {name: spark for name, spark in (before or {}).items() if name in dict(floating)}
        target = bind(
            place(
                floating,
                candidates,
                owner=target.owner,
                before=kept,
                promised=_promised(target, world),
                drained=target.drained,
            )
        )
    return target, plan(target, world)


def _promised(target: Target, world: World) -> dict[str, int]:
    """Memory that workloads with a fixed place will take on each Spark and have not taken yet."""
    promised = {}
    for spark, instances in target.instances.items():
        scan = world.sights[spark].current
        up = {container.name for container in scan.containers if container.running} if scan else set()
        promised[spark] = sum(instance.memory for instance in instances if instance.name not in up)
    return promised
