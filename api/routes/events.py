"""What has happened: as a list, or as a stream that can be taken up again where it broke off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse, Response

from api.context import Context, Ctx
from api.errors import Refused
from api.schemas.base import answer
from api.schemas.journal import EventsGone, EventsShape

router = APIRouter(tags=["events"])
BATCH: Final = 500
RETRY: Final = 2000  # milliseconds after which a browser comes back

Name = Annotated[str | None, Query(max_length=200)]


@router.get(
    "/api/events",
    summary="What has happened",
    responses={
        200: {
            "model": EventsShape,
            "description": "a stream of events, or `{events, oldestSeq, latestSeq}`",
            "content": {
                "application/json": {"example": {"events": [], "oldestSeq": 1, "latestSeq": 41}},
                "text/event-stream": {"example": 'id: 41\ndata: {"seq": 41, "reason": "Created"}\n\n'},
            },
        },
        **answer(EventsGone, 410),
    },
)
async def events(  # query parameters and headers
    context: Ctx,
    since: Annotated[int | None, Query(ge=0, description="only what came after this seq")] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
    workload: Name = None,
    spark: Name = None,
    follow: Annotated[bool | None, Query(description="true: a stream; false: a list")] = None,
    accept: Annotated[str, Header()] = "*/*",
    last_event_id: Annotated[str | None, Header(max_length=32)] = None,
) -> Response:
    """A stream (server-sent events) from now on, or after `Last-Event-ID`; with `since` or `Accept: application/json`
    a list: the first `limit` after `since`, or without it the newest. `since` with `follow=true` streams from there.
    An event named `reset` in a stream says that a gap could not be filled. 410 if the place asked for is not known
    (any more): read the status again and start from now.
    """  # noqa: D205
    after = _after(since, last_event_id)
    journal = context.journal
    if after is not None and not journal.resumable(after):
        message = f"events are kept from {journal.oldest_seq} to {journal.latest_seq}; {after} is not among them"
        extra = {"oldestSeq": journal.oldest_seq, "latestSeq": journal.latest_seq}
        raise Refused(410, "EventsGone", message, field="since", extra=extra)
    if _as_stream(follow, accept, since):
        start = journal.latest_seq if after is None else after
        stream = _stream(context, start, workload, spark)
        return EventSourceResponse(stream, ping=context.heartbeat, ping_message_factory=_heartbeat, sep="\n")
    latest = journal.latest_seq
    found = await journal.events(since_seq=after, limit=limit, workload=workload, spark=spark)
    body: dict[str, Any] = {
        "events": [recorded.as_dict() for recorded in found],
        "oldestSeq": journal.oldest_seq,
        "latestSeq": latest,
    }
    return JSONResponse(body)


def _after(since: int | None, last_event_id: str | None) -> int | None:
    """Where to go on. The header wins: a browser that reconnects repeats the address it was given."""
    if not last_event_id:
        return since
    if not last_event_id.isdecimal():
        raise Refused(422, "InvalidRequest", "Last-Event-ID is the number of an event", field="Last-Event-ID")
    return int(last_event_id)


def _as_stream(follow: bool | None, accept: str, since: int | None) -> bool:
    if follow is not None:
        return follow
    if "text/event-stream" in accept:
        return True
    return "application/json" not in accept and since is None


async def _stream(
    context: Context, after: int, workload: str | None, spark: str | None
) -> AsyncIterator[ServerSentEvent]:
    """Everything after `after`, then whatever comes. Says at once that it is there, so that no client waits for it."""
    journal = context.journal
    with journal.subscribe() as bell:
        yield ServerSentEvent(comment="following", retry=RETRY, sep="\n")
        while not context.closing.is_set():
            latest = journal.latest_seq
            if not journal.resumable(after):  # a reader so slow that what it had not read was forgotten
                after = latest
                yield ServerSentEvent(data=json.dumps({"latestSeq": latest}), id=str(latest), event="reset", sep="\n")
            found = await journal.events(since_seq=after, limit=BATCH, workload=workload, spark=spark)
            for recorded in found:
                after = recorded.seq
                yield ServerSentEvent(data=json.dumps(recorded.as_dict()), id=str(after), sep="\n")
            if len(found) < BATCH:
                after = max(after, latest)
                await bell.wait(1.0)


def _heartbeat() -> ServerSentEvent:
    return ServerSentEvent(comment="still here", sep="\n")
