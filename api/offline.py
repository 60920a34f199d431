"""Plans and applies without a server: this process looks at the Sparks itself.

A plan only looks. An apply runs the very loop that `serve` runs, until there is nothing left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from api.assemble import context_places, mods_places, running
from api.environment import Completion
from api.folder import DataFolder
from api.preview import preview, recipes_of
from api.reach import Reach
from api.settle import Json, Outcome, Settling, covers, outcome
from reconciler.building import Folders
from reconciler.delivery import Mods
from reconciler.facts import ScanFailed
from reconciler.knowledge import context_names, mod_names
from reconciler.linkdown import LinkDown
from reconciler.loop import Loop, PlanMoved
from reconciler.model import Plan, Sight, World
from reconciler.status import plan_json
from reconciler.target import Known, Overrides
from state.desired import Settings, Spark
from state.load import Loaded, load_sources
from state.sources import read_desired, read_recipes, recipe_files

CONNECT_LIMIT: Final = 20.0  # seconds
Tell = Callable[[str], None]


def load_desired(path: Path, environ: Mapping[str, str]) -> Loaded:
    """What is declared there. Raises Invalid."""
    return load_sources(Completion(environ)(read_desired(path)), read_recipes(recipe_files(environ)))


async def plan_offline(desired: Path, data: Path, environ: Mapping[str, str], tell: Tell) -> Json:
    """Scan every Spark once and plan. What people suspended or cordoned by a verb is known to the server only."""
    loaded = load_desired(desired, environ)
    folder = DataFolder(data)
    folder.make()
    reach = Reach.of(environ, folder.known_hosts)
    sparks = loaded.desired.sparks
    tell(f"looking at {', '.join(sparks) or 'no Spark'}")
    settings = loaded.desired.settings
    sights = await asyncio.gather(*(_look(reach, name, spark, settings) for name, spark in sparks.items()))
    now = asyncio.get_running_loop().time()
    world = World(sights=dict(zip(sparks, sights, strict=True)), now=_wall(sights, now))
    revision = f"sha256:{loaded.digest[:12]}"
    recipes = recipes_of(loaded)
    known = Known(
        mods=await Mods(mods_places(desired, folder, environ)).of(mod_names(recipes)),
        contexts=await Folders(context_places(desired)).of(context_names(recipes)),
    )
    _, plan = preview(loaded, world, revision=revision, generations={}, overrides=Overrides(), known=known)
    return plan_json(plan)


def _wall(sights: list[Sight], fallback: float) -> float:
    """The time of the newest scan: nothing in a first plan depends on more than that."""
    return max((sight.scan.taken_at for sight in sights if sight.scan), default=fallback)


async def _look(reach: Reach, name: str, spark: Spark, settings: Settings) -> Sight:
    host, limit = reach.host(name, spark, lambda: settings), CONNECT_LIMIT + settings.scan_timeout
    try:
        async with asyncio.timeout(limit):
            await host.connect()
            return Sight(scan=await host.scan(full=True, before=None), unknown="", message="")
    except LinkDown as down:
        return Sight(unknown=down.reason, message=down.message)
    except ScanFailed as failed:
        return Sight(unknown=failed.reason, message=str(failed))
    except TimeoutError:
        return Sight(unknown="ScanTimeout", message=f"it was not looked at within {limit:g} s")
    finally:
        await host.close()


async def apply_offline(
    desired: Path, data: Path, environ: Mapping[str, str], agreed: Json, tell: Tell, *, limit: float
) -> Outcome:
    """Run the loop until every workload is as declared or held. `agreed` is the plan that a person agreed to."""
    with DataFolder(data) as folder:
        async with running(desired, folder, environ, watching=False) as parts, _telling(parts.context.loop, tell):
            context, clock = parts.context, asyncio.get_running_loop()
            settling, end, asked = Settling(), clock.time() + limit, False
            while clock.time() < end:
                await asyncio.sleep(0.5)
                status, plan = context.status.build(), context.loop.plan()
                if plan.withheld and not asked and covers(agreed, plan_json(plan)):
                    asked = _approve(context.loop, plan)
                    continue
                found = settling.look(status, plan_json(plan), clock.time())
                if found is not None:
                    return found
            return outcome(context.status.build())


def _approve(loop: Loop, plan: Plan) -> bool:
    try:
        loop.approve(plan.digest)
    except PlanMoved:
        return False
    return True


@asynccontextmanager
async def _telling(loop: Loop, tell: Tell) -> AsyncIterator[None]:
    """Tell every event while something runs."""
    journal = loop.history.journal

    async def follow() -> None:
        after = journal.latest_seq
        with journal.subscribe() as bell:
            async for _ in bell:
                for recorded in await journal.events(since_seq=after):
                    after = recorded.seq
                    event = recorded.event
                    where = f" on {event.spark}" if event.spark and event.spark != event.name else ""
                    tell(f"{event.reason}  {event.name}{where}  {event.message}")

    task = asyncio.create_task(follow(), name="tell events")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
