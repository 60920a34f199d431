"""The plan that a desired state would have in a given world: nothing is stored, and nothing is done.

Pure. For a document that somebody wants to try (`sparkkeep plan --file`) and for plans without a server
(`--offline`): both know the world, and neither may touch the running loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.binding import bind_floating
from reconciler.fabric import fabrics
from reconciler.model import Plan, Sight, World
from reconciler.place import Placements
from reconciler.plan import plan
from reconciler.target import NOTHING_KNOWN, Known, Overrides, Target, build
from state.load import Loaded
from state.recipes import Recipe

NOT_CONNECTED = Sight(unknown="NotDeclaredYet", message="not in the desired state in force, so it was never looked at")


def recipes_of(loaded: Loaded) -> list[Recipe]:
    """The recipes of what is declared."""
    return [declaration.recipe for declaration in loaded.resolved.values()]


def preview(
    loaded: Loaded,
    world: World,
    *,
    revision: str,
    generations: Mapping[str, int],
    overrides: Overrides,
    before: Mapping[str, str] | None = None,
    known: Known = NOTHING_KNOWN,
) -> tuple[Target, Plan]:
    """The target and plan of `loaded` in `world`. `before` is where `on: any` workloads are now.

    Of `known` all counts but the fabric, which is taken from `world`. Who keeps which Spark is left out: the plan says
    what would be done by whoever may.
    """
    sights = {name: world.sights.get(name, NOT_CONNECTED) for name in loaded.desired.sparks}
    world = replace(world, sights=sights, lenient=True, leases={})

    def bind(placements: Placements) -> Target:
        return build(
            loaded.desired,
            loaded.resolved.values(),
            revision=revision,
            generations=generations,
            overrides=overrides,
            placements=placements,
            known=replace(known, fabric=fabrics(loaded.desired.sparks, sights)),
        )

    target = bind(Placements(on={}, waiting={}))
    placements = bind_floating(loaded, target, sights, before or {}, wishes=world.wishes, world=lambda: world)
    if placements is not None:
        target = bind(placements)
    return target, plan(target, world)
