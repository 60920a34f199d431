"""The HTTP API of one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from api import errors
from api.context import Context
from api.guard.addressed import Hosts
from api.guard.bearer import Token
from api.guard.middleware import Guard
from api.guard.origins import Origins
from api.metrics import registry
from api.routes import (
    actions,
    desired,
    events,
    health,
    history,
    metrics,
    models,
    notifications,
    page,
    plans,
    practice,
    redaction,
    render,
    requests,
    secrets,
    series,
    settings,
    sparks,
    status,
    trying,
    watch,
    weights,
    workloads,
)
from api.watch.hub import Watch

DESCRIPTION = """
Keeps the Sparks in the state you declared. Reads are cheap and answer from what the loop knows; what changes
something says so in its verb. Every refusal is `{reason, message, field, allowed}`. Times are Unix seconds.
"""

ANYWHERE = errors.answers(400, 401, 403, 413, 414, 415, 421, 422, 431)  # by `api.guard.middleware`, or not to be read


class Guarded(FastAPI):
    """The app behind its guard, which so sees every answer: those to what went wrong inside, too."""

    guard: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """What a request goes through."""
        return self.guard(super().build_middleware_stack())


def build(
    context: Context,
    *,
    version: str,
    allow_hosts: Iterable[str] = (),
    origins: Origins | None = None,
    token: Token | None = None,
) -> FastAPI:
    """The app around a running loop. The practice routes are there only if `context.practice` is."""
    app = Guarded(
        title="sparkkeep",
        version=version,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads foreign script, which our headers forbid
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # tells nobody anything
    )
    app.state.context = context
    app.state.metrics = registry(context, version=version)
    app.state.watch = Watch(context)
    app.state.token_asked = token is not None
    for router in _routers(context):
        app.include_router(router, responses=ANYWHERE)
    errors.install(app)
    app.guard = partial(Guard, hosts=Hosts(allow_hosts), origins=origins, token=token)
    return app


def _routers(context: Context) -> Iterable[APIRouter]:
    """In the order of the document: the fleet, what is wanted of it, the machine room."""
    the_fleet = (
        health,
        metrics,
        status,
        watch,
        series,
        plans,
        events,
        workloads,
        sparks,
        models,
        render,
        weights,
        requests,
        actions,
    )
    what_is_wanted = (desired, settings, history, secrets, trying, notifications, redaction)
    yield from (module.router for module in (page, *the_fleet, *what_is_wanted))
    if context.practice is not None:
        yield practice.router
