"""How the fleet is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.context import Ctx
from api.schemas.base import answer
from api.schemas.status import StatusShape
from api.watch.snapshot import snapshot

router = APIRouter(tags=["status"])

EXAMPLE = {
    "revision": "sha256:5d41402abc4b",
    "generation": 4,
    "problems": [],
    "sparks": {"spark-1": {"host": "192.168.1.11", "reachable": True, "reason": "Reachable"}},
    "workloads": {
        "qwen3-8b": {
            "kind": "model",
            "run": "always",
            "generation": 2,
            "observedGeneration": 2,
            "sync": "Synced",
            "health": "Healthy",
            "message": "as declared",
            "conditions": [],
            "instances": [],
        }
    },
    "checkout": {"revision": "5f2b9c0d", "branch": "main", "dirty": [], "problem": "", "remote": None},
    "plan": {"id": "9f86d081884c7d65", "steps": 0, "withheld": 0},
}


@router.get(
    "/api/status",
    summary="Every Spark and every workload",
    responses=answer(StatusShape, example=EXAMPLE),
)
async def status(context: Ctx) -> dict[str, Any]:
    """What is declared, what was seen, and the two verdicts on each workload: `sync` (is it as declared) and
    `health` (does it serve), with the conditions and sentences that explain them. `checkout` says how the files stand
    to git: what was edited by hand since the newest commit, and how the remote is.
    """  # noqa: D205
    return snapshot(context)
