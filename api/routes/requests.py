"""The requests of apps to models."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query

from api.context import Ctx
from api.errors import Refused, answers
from api.proxies.queue.holds import Held
from api.proxies.records import Record
from api.schemas.base import answer
from api.schemas.requests import OneRequestShape, RequestsShape

router = APIRouter(tags=["requests"])
MOST: Final = 1000  # under way, that are shown
EXAMPLE: Final = {
    "inFlight": [],
    "queues": [
        {
            "workload": "gemma3-27b",
            "state": "starting",
            "waiting": 3,
            "clients": 2,
            "underWay": 0,
            "since": 1795450000.7,
            "eta": 38.0,
            "givesWay": False,
            "message": "gemma3-27b loads its weights (40 %)",
        }
    ],
    "ended": [
        {
            "id": "5f0c9d0e8a3b4d7c",
            "at": 1795450000.123,
            "who": "open-webui",
            "method": "POST",
            "path": "/v1/chat/completions",
            "model": "gpt-4o-mini",
            "workload": "qwen3-8b",
            "backend": "qwen3-8b@spark-1",
            "why": "the less busy of two: 1 under way there, 3 at the other",
            "tries": 1,
            "stream": True,
            "state": "ended",
            "waiting": None,
            "queuedSeconds": 0.000041,
            "loadSeconds": 0.0,
            "firstByteSeconds": 0.182,
            "totalSeconds": 4.09,
            "bytesIn": 412,
            "bytesOut": 31876,
            "promptTokens": 57,
            "completionTokens": 211,
            "tokensPerSecond": 53.99,
            "status": 200,
            "cause": "answered",
            "captured": False,
        }
    ],
}


@router.get("/api/requests", summary="Requests of apps", responses=answer(RequestsShape, example=EXAMPLE))
async def requests(
    context: Ctx,
    limit: Annotated[int, Query(ge=0, le=10_000, description="of those that ended, at most so many")] = 100,
    workload: Annotated[str | None, Query(max_length=200, description="only those that went there")] = None,
) -> dict[str, Any]:
    """Those under way, with what they wait for, and the last that ended: who asked, where it went and why, how long it
    took, how it ended. As many are remembered as `settings.proxy.keepRequests` says, in memory; not what was said
    in them.
    """  # noqa: D205
    records, holds = context.records, context.fleet.holds if context.fleet is not None else None
    held = holds.calls() if holds is not None else {}
    return {
        "inFlight": [_row(record, held) for record in islice(records.under_way(workload), MOST)],
        "queues": [queue.row() for queue in holds.queues()] if holds is not None else [],
        "ended": [record.as_dict() for record in records.last(limit, workload)],
    }


def _row(record: Record, held: Mapping[int, Held]) -> dict[str, Any]:
    """One under way, with what it waits for if it does."""
    hold = held.get(id(record.call))
    waiting = hold.waiting() if hold is not None else None
    return {**record.as_dict(), "waiting": waiting.row() if waiting is not None else None}


@router.get("/api/requests/{id}", summary="One request", responses=answer(OneRequestShape) | answers(404))
async def request(
    context: Ctx, name: Annotated[str, Path(alias="id", max_length=128, examples=["5f0c9d0e8a3b4d7c"])]
) -> dict[str, Any]:
    """One of them, by its `x-request-id` (of several, the newest). What was said in it is there if
    `settings.proxy.capture` names its model: of the last `settings.proxy.keepCaptured` requests, in memory.
    """  # noqa: D205
    record = context.records.find(name)
    if record is None:
        raise Refused(404, "NoSuchRequest", "no request of that id is remembered", field="id")
    words = record.capture.as_dict() if record.capture is not None else None
    return {"request": record.as_dict(), "words": words}
