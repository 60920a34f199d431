"""What a verb would do: the plan of the desired state in force, in the world as the verb would leave it.

For people who want to see before they agree (`?dryRun=true`). Nothing is stored, and nothing is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from api.candidate import candidate_plan
from api.context import Context
from reconciler.model import World
from reconciler.target import Overrides
from state.journal import Override

FIELDS = {Override.SUSPEND: "suspended", Override.CORDON: "cordoned", Override.DRAIN: "drained"}


async def overridden(context: Context, verb: Override, name: str, *, on: bool) -> dict[str, Any]:
    """The plan once a workload is suspended, a Spark cordoned or drained, or that is taken back."""
    now = context.loop.overrides()
    named: frozenset[str] = getattr(now, FIELDS[verb])
    then: Overrides = replace(now, **{FIELDS[verb]: named | {name} if on else named - {name}})
    return await candidate_plan(context, context.loop.store.current.loaded, overrides=then)


async def restarted(context: Context, workload: str) -> dict[str, Any]:
    """The plan once every container of a workload is to be restarted, its failures forgotten."""
    world = _forgiven(context.loop.world(), workload)
    ended = {container.id: container.started_at for _, container in context.containers(workload)}
    world = replace(world, restarts={**world.restarts, **ended})
    return await candidate_plan(context, context.loop.store.current.loaded, world=world)


async def tried_again(context: Context, workload: str) -> dict[str, Any]:
    """The plan once a workload's failures are forgotten."""
    world = _forgiven(context.loop.world(), workload)
    return await candidate_plan(context, context.loop.store.current.loaded, world=world)


def _forgiven(world: World, workload: str) -> World:
    return replace(world, failures={key: failure for key, failure in world.failures.items() if key[0] != workload})
