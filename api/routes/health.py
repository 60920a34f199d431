"""Is this process alive, and does it know the fleet yet."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.context import Ctx
from reconciler.model import Sight

router = APIRouter(tags=["health"])
NEVER_SEEN = Sight().unknown


class Ready(BaseModel):
    """Whether answers about the fleet mean something yet."""

    ready: bool
    reasons: list[str]


@router.get("/healthz", summary="Is the process alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does. Says nothing of the Sparks."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Ready,
    summary="Is the fleet known",
    responses={503: {"model": Ready, "description": "not yet, with the reasons"}},
)
async def readyz(context: Ctx) -> Any:
    """200 once a desired state is in force and every Spark was looked at, or found not to answer; 503 before."""
    reasons = [
        f"{name} was not looked at yet"
        for name, worker in sorted(context.loop.workers.items())
        if worker.sight.unknown == NEVER_SEEN
    ]
    return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)
