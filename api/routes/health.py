"""Is this process alive, does it know the fleet yet, and does everything answer that should."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.context import Actor, Ctx
from api.errors import Refused, answers
from api.schemas.base import answer
from api.schemas.health import DeepHealthShape
from reconciler.deep_health import DeepHealth
from reconciler.findings import Report
from reconciler.model import Sight

router = APIRouter(tags=["health"])
NEVER_SEEN = Sight().unknown


class Alive(BaseModel):
    """Nothing more than that."""

    status: Literal["ok"]


class Ready(BaseModel):
    """Whether answers about the fleet mean something yet."""

    ready: bool
    reasons: list[str]


@router.get("/healthz", summary="Is the process alive", responses=answer(Alive))
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


def _deep(context: Ctx) -> DeepHealth:
    if context.health is None:
        raise Refused(503, "NoDeepHealth", "this server does not look that deep")
    return context.health


Deep = Annotated[DeepHealth, Depends(_deep)]


@router.get("/api/health/deep", summary="The last deep health", responses=answer(DeepHealthShape) | answers(503))
async def last_deep(health: Deep) -> dict[str, Any]:
    """What the last run found: every workload that should serve was asked a question, every Spark whether all that is
    needed is there, and sparkkeep itself. `last` is null before the first; `settings.deepHealthEvery` has the schedule.
    """  # noqa: D205
    return _deep_json(health)


@router.post("/api/health/deep", summary="Look at everything now", responses=answer(DeepHealthShape) | answers(503))
async def deep(health: Deep, actor: Actor) -> dict[str, Any]:
    """Ask everything, and answer when it is done, after two minutes at most. Nothing is started or changed by it. While
    a run is under way, this waits for that one.
    """  # noqa: D205
    await health.check(actor)
    return _deep_json(health)


def _deep_json(health: DeepHealth) -> dict[str, Any]:
    last = _report_json(health.last) if health.last is not None else None
    return {"running": health.running, "nextAt": health.next_at, "last": last}


def _report_json(report: Report) -> dict[str, Any]:
    return {
        "at": report.at,
        "seconds": report.seconds,
        "by": report.by,
        "healthy": report.healthy,
        "findings": [asdict(finding) for finding in report.findings],
    }
