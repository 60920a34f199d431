"""What would be done, and the approval of exactly that."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Field

from api.candidate import candidate_plan
from api.context import Actor, Context, Ctx
from api.errors import InvalidDocument, Refused
from api.schemas.base import answer, link
from api.schemas.plans import ApprovedPlan, MadePlan, PlanMovedShape
from reconciler.loop import PlanMoved
from reconciler.status import plan_json
from state.load import Loaded, load_sources
from state.sources import Source, read_recipes

router = APIRouter(tags=["plans"])


TRIED: Final = """\
sparks:
  spark-1: {host: 192.168.1.11}
services:
  hello: {recipe: {image: 'python:3.13-slim', port: 8080}, on: spark-1}
"""


class PlanRequest(BaseModel):
    """What to plan for; with nothing given, the desired state that is in force."""

    model_config = ConfigDict(extra="forbid")

    desired: str | None = Field(
        default=None,
        max_length=2**21,
        description="the text of a desired state (YAML) to try",
    )
    file: str = Field(default="candidate", max_length=1000, description="the name that problems give it")


@router.post(
    "/api/plan",
    summary="What would be done now",
    responses=answer(MadePlan, links={"apply": link("apply_plan_api_plans__id__apply_post", id="$response.body#/id")})
    | answer(InvalidDocument, 422),
)
async def make_plan(
    context: Ctx, request: Annotated[PlanRequest | None, Body(examples=[{"desired": TRIED}])] = None
) -> dict[str, Any]:
    """The ordered steps from what was seen to what is declared, each with its cause, consequence and exact command;
    what a guard withholds; and what is left alone, with the reason. With `desired`, the same for that document
    against the world as it is: nothing is stored and nothing is done.
    """  # noqa: D205
    if request is None or request.desired is None:
        return {"candidate": False, **plan_json(context.loop.plan())}
    source = Source(request.file, request.desired.encode("utf-8", "surrogatepass"))
    loaded = await asyncio.to_thread(_load, context, source)
    return {"candidate": True, **await candidate_plan(context, loaded)}


@router.post(
    "/api/plans/{id}/apply",
    summary="Approve exactly this plan",
    responses=answer(ApprovedPlan) | answer(PlanMovedShape, 409),
)
async def apply_plan(
    context: Ctx,
    actor: Actor,
    id: Annotated[str, Path(max_length=64, description="the `id` of a plan", examples=["9f86d081884c7d65"])],  # noqa: A002
) -> dict[str, Any]:
    """Release what the guards withhold in the plan with this id. If the plan is another one by now, 409, with the new
    plan in `plan`: look at it and approve that. What no guard withholds is done without anyone's approval.
    """  # noqa: D205
    del actor
    try:
        return {"approved": True, **plan_json(context.loop.approve(id))}
    except PlanMoved as moved:
        raise Refused(409, "PlanMoved", str(moved), field="id", extra={"plan": plan_json(moved.plan)}) from moved


def _load(context: Context, source: Source) -> Loaded:
    return load_sources(context.complete((source,)), read_recipes(context.recipes))
