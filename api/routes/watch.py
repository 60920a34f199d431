"""The one stream that a page needs: the status, what changes in it, and what happens."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from sse_starlette import EventSourceResponse

from api.errors import Refused
from api.schemas.base import answer
from api.schemas.watch import WatchGone
from api.watch.hub import Watch
from api.watch.listener import Listener
from api.watch.log import MARK, Mark

router = APIRouter(tags=["status"])

ID: Final = "3f6a1c08d2b94e57.7.41"
EXAMPLE: Final = f"""\
retry: 2000

event: status
id: {ID}
data: {{"revision":"sha256:5d41402abc4b","sparks":{{}},"workloads":{{}}}}

event: patch
id: 3f6a1c08d2b94e57.8.41
data: [{{"op":"replace","path":"/workloads/qwen3-8b/health","value":"Degraded"}}]
"""


def _shared(request: Request) -> Watch:
    watch = request.app.state.watch
    assert isinstance(watch, Watch)  # noqa: S101  # put there by api.app.build
    return watch


@router.get(
    "/api/watch",
    summary="The status, and what changes in it",
    response_class=EventSourceResponse,
    responses={
        200: {"description": "a stream", "content": {"text/event-stream": {"example": EXAMPLE}}},
        **answer(WatchGone, 410),
    },
)
async def watch(
    shared: Annotated[Watch, Depends(_shared)],
    since: Annotated[
        str | None, Query(pattern=MARK, description="only what came after this id, or 410", examples=[ID])
    ] = None,
    events: Annotated[bool, Query(description="false: without the journal's events")] = True,
    last_event_id: Annotated[str | None, Header(description="what a browser saw last")] = None,
) -> EventSourceResponse:
    """Server-sent events. `status` is what `GET /api/status` answers, `patch` what changed in it (JSON Patch, RFC
    6902), `event` one of the journal as in `GET /api/events`; `reset` says that some of these can't be had any more,
    and `bookmark` that all is quiet. The `id` of each is where to go on after it: with the header `Last-Event-ID` only
    what was missed comes, or the whole status again where that is not known any more; with `since` it is 410 then.
    """  # noqa: D205
    await shared.refresh()
    seen = Mark.read(last_event_id) if last_event_id else None
    if last_event_id:
        listener = Listener.resumed(shared, seen, events=events) if seen is not None else None
    elif since is not None:
        listener = _exactly(shared, since, events=events)
    else:
        listener = None
    if listener is None:
        listener = Listener.anew(shared, events=events, seq=seen.point.seq if seen is not None else None)
    return EventSourceResponse(listener.frames(), ping=0, sep="\n")


def _exactly(shared: Watch, since: str, *, events: bool) -> Listener:
    """Going on after that mark. Raises Refused (410)."""
    mark = Mark.read(since)
    listener = Listener.resumed(shared, mark, events=events) if mark is not None else None
    if listener is None:
        latest = str(shared.mark(shared.log.head))
        message = f"what came after {since} is not known (any more): begin without `since`"
        raise Refused(410, "WatchGone", message, field="since", extra={"latest": latest})
    return listener
