"""How it was: what a page draws beside how it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.context import Ctx
from api.errors import answers
from api.schemas.base import answer
from api.schemas.series import SeriesShape, UptimeShape
from api.trends.series import HOUR
from api.trends.slots import SLOT, answered, begin

router = APIRouter(tags=["status"])
CHANGES = 5000


@router.get("/api/series", summary="What the scans measured", responses=answer(SeriesShape) | answers(404))
async def series(
    context: Ctx,
    spark: Annotated[str | None, Query(max_length=200, description="only of this one")] = None,
    since: Annotated[
        float | None, Query(ge=0, le=1e11, allow_inf_nan=False, description="what came after; default an hour ago")
    ] = None,
) -> dict[str, Any]:
    """Memory, disk, GPU and how long a scan took, of the last 24 hours at most, in columns. A `since` within the last
    hour gives samples 30 seconds apart, an earlier one means of five minutes, the last of which still changes. Kept in
    memory: it begins anew with sparkkeep.
    """  # noqa: D205
    if spark is not None:
        context.worker(spark)
    now = context.loop.now()
    names = sorted(context.loop.workers) if spark is None else [spark]
    after = now - HOUR if since is None else since
    return {"sparks": {name: context.series.told(name, after, now) for name in names}}


@router.get("/api/uptime", summary="The last 24 hours in 60 slots", responses=answer(UptimeShape))
async def uptime(context: Ctx) -> dict[str, Any]:
    """Whether each Spark answered (Unknown: not all the time) and the worst health of each workload, slot by slot; null
    where nobody looked, or it was not declared. Health is kept in memory and begins anew with sparkkeep.
    """  # noqa: D205
    now = context.loop.now()
    changes = {name: await context.journal.connectivity(name, limit=CHANGES) for name in sorted(context.loop.workers)}
    return {
        "start": begin(now),
        "step": SLOT,
        "sparks": {name: answered(found, now) for name, found in changes.items()},
        "workloads": {name: context.healths.told(name, now) for name in context.loop.store.current.loaded.resolved},
    }
