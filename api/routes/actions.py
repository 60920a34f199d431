"""Every command that changed something on a Spark, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.context import Ctx
from api.schemas.base import answer
from api.schemas.journal import ActionsShape
from state.journal import Action

router = APIRouter(tags=["actions"])
Name = Annotated[str | None, Query(max_length=200)]


@router.get("/api/actions", summary="Commands and their outcome", responses=answer(ActionsShape))
async def actions(
    context: Ctx,
    workload: Name = None,
    spark: Name = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 100,
    before: Annotated[int | None, Query(ge=1, description="only those with a lower id, for paging")] = None,
) -> dict[str, Any]:
    """The newest commands, in the order they began, with cause, exact command, exit status and the end of what they
    printed. `outcome` is null while one runs, and `unknown` where the answer got lost.
    """  # noqa: D205
    found = await context.journal.actions(limit=limit, workload=workload, spark=spark, before=before)
    return {"actions": [action_json(action) for action in found]}


def action_json(action: Action) -> dict[str, Any]:
    """An action as the API shows it."""
    return {
        "id": action.id,
        "revision": action.revision,
        "spark": action.spark,
        "workload": action.workload,
        "verb": action.verb,
        "command": action.command,
        "cause": action.cause,
        "startedAt": action.started_at,
        "endedAt": action.ended_at,
        "exitStatus": action.exit_status,
        "outcome": action.outcome,
        "stdout": action.stdout,
        "stderr": action.stderr,
        "reconcile": action.reconcile,
    }
