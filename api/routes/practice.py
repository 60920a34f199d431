"""Practice Sparks: what can go wrong with them, on request. Only there while sparkkeep minds practice Sparks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path

from api.context import Context, Ctx, PracticeRoom
from api.errors import Refused, answers, no_such
from api.schemas.base import answer
from api.schemas.sparks import Injected, PracticeShape

router = APIRouter(prefix="/api/practice", tags=["practice"])


def _room(context: Context) -> PracticeRoom:
    assert context.practice is not None, "these routes exist only with a practice room"  # noqa: S101  # see api.app
    return context.practice


@router.get("", summary="The practice Sparks and their faults", responses=answer(PracticeShape))
async def practice(context: Ctx) -> dict[str, Any]:
    """Where the practice Sparks are, how to log in, and which faults there are with which arguments."""
    return _room(context).describe()


@router.post("/{spark}/{fault}", summary="Let something go wrong", responses=answer(Injected) | answers(404))
async def inject(
    context: Ctx,
    spark: Annotated[str, Path(max_length=200, examples=["spark-1"])],
    fault: Annotated[str, Path(max_length=200, examples=["reboot"])],
    arguments: Annotated[dict[str, Any] | None, Body(examples=[{"seconds": 1}])] = None,
) -> dict[str, Any]:
    """Break (or mend) something on a practice Spark and watch what sparkkeep does about it."""
    room = _room(context)
    if spark not in room.sparks():
        raise no_such("practice spark", spark, room.sparks())
    if fault not in room.faults():
        raise no_such("fault", fault, room.faults())
    try:
        result = await room.inject(spark, fault, arguments or {})
    except (TypeError, ValueError) as error:
        raise Refused(422, "InvalidArguments", f"{fault}: {error}", field="arguments") from error
    if spark in context.loop.workers:
        context.loop.hurry(spark)
    return {"spark": spark, "fault": fault, "result": result}
