"""One workload: its log, why the loop does what it does with it, and the verbs that are not desired state."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import StreamingResponse

from api import what_if
from api.context import Actor, Context, Ctx, Dry
from api.errors import Refused, answers, no_such
from api.logs import Tail, lines_of
from api.schemas.base import answer
from api.schemas.workloads import BackoffReset, Restarted, Suspended, WhyShape
from api.why import why as explain
from reconciler.model import Container
from state.journal import Override

router = APIRouter(prefix="/api/workloads/{name}", tags=["workloads"])

Name = Annotated[str, Path(max_length=200, description="a workload", examples=["qwen3-8b"])]
TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"example": "INFO: Application startup complete.\n"}}}
}


@router.get(
    "/logs",
    summary="The container's log",
    response_class=StreamingResponse,
    responses={**TEXT, **answers(404, 503)},
)
async def logs(
    context: Ctx,
    name: Name,
    tail: Annotated[int, Query(ge=0, le=100_000, description="how many of the last lines")] = 100,
    follow: Annotated[bool, Query(description="go on with what it says next")] = False,
    spark: Annotated[str | None, Query(max_length=200, description="only the one on this Spark")] = None,
) -> StreamingResponse:
    """The last lines of the workload's container as text, and with `follow` everything it says from then on.
    Where it runs on several Sparks, each line begins with its Spark.
    """  # noqa: D205
    tails = _tails(context, name, spark, context.containers(name))
    lines = await lines_of(tails, tail=tail, follow=follow, closing=context.closing)
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8", headers={"cache-control": "no-store"})


def _tails(context: Context, name: str, spark: str | None, found: list[tuple[str, Container]]) -> list[Tail]:
    if spark is not None:
        context.worker(spark)
        here = [(where, container) for where, container in found if where == spark]
        if found and not here:
            raise no_such("spark", spark, {where for where, _ in found})
        found = here
    if not found:
        raise Refused(404, "NoContainer", f"{name} has no container now, so there is no log", field="name")
    return [Tail(where, context.worker(where).host, container.id) for where, container in found]


@router.get("/why", summary="Why is it as it is", responses=answer(WhyShape) | answers(404))
async def why(context: Ctx, name: Name) -> dict[str, Any]:
    """What is declared, what was seen, what the loop is about to do or leaves alone and for which reason, what failed
    (with the last lines of its log), and the latest events and commands about it.
    """  # noqa: D205
    context.containers(name)
    return await explain(context, name)


@router.post("/restart", summary="Restart its containers once", responses=answer(Restarted) | answers(404, 409))
async def restart(context: Ctx, name: Name, dry: Dry = False) -> dict[str, Any]:
    """Stop and start every running container of it, in the order the loop keeps anyway. Forgets its failures."""
    if not context.containers(name):
        raise Refused(409, "NoContainer", f"{name} has no container now; there is nothing to restart", field="name")
    if dry:
        return {"workload": name, "restart": False, "plan": await what_if.restarted(context, name)}
    context.loop.restart(name)
    return {"workload": name, "restart": True, "plan": None}


@router.post("/reset-backoff", summary="Try again now", responses=answer(BackoffReset) | answers(404))
async def reset_backoff(context: Ctx, name: Name, dry: Dry = False) -> dict[str, Any]:
    """Forget its failures, so that what waits for a retry, or for a change of its declaration, is tried at once."""
    context.containers(name)
    if dry:
        return {"workload": name, "resetBackoff": False, "plan": await what_if.tried_again(context, name)}
    context.loop.reset_backoff(name)
    return {"workload": name, "resetBackoff": True, "plan": None}


@router.post("/suspend", summary="Leave it alone", responses=answer(Suspended) | answers(404))
async def suspend(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """From now on nothing about it is started, stopped or changed. Outlives a restart of sparkkeep."""
    return await _suspended(context, name, on=True, actor=actor, dry=dry)


@router.post("/resume", summary="Mind it again", responses=answer(Suspended) | answers(404))
async def resume(context: Ctx, name: Name, actor: Actor, dry: Dry = False) -> dict[str, Any]:
    """Take `suspend` back. A `suspend: true` in the desired state stays as it is: edit it there."""
    return await _suspended(context, name, on=False, actor=actor, dry=dry)


async def _suspended(context: Context, name: str, *, on: bool, actor: str, dry: bool) -> dict[str, Any]:
    context.containers(name)
    plan = await what_if.overridden(context, Override.SUSPEND, name, on=on) if dry else None
    if not dry:
        context.loop.override(Override.SUSPEND, name, on=on, by=actor)
    return {"workload": name, "suspended": name in context.loop.target().suspended, "plan": plan}
