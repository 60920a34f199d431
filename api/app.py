"""The HTTP API of one loop."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI

from api import errors
from api.context import Context
from api.guard import Guard, Hosts
from api.routes import actions, events, health, page, plans, practice, sparks, status, workloads

DESCRIPTION = """
Keeps the Sparks in the state you declared. Reads are cheap and answer from what the loop knows; what changes
something says so in its verb. Every refusal is `{reason, message, field, allowed}`. Times are Unix seconds.
"""


def build(context: Context, *, version: str, allow_hosts: Iterable[str] = ()) -> FastAPI:
    """The app around a running loop. The practice routes are there only if `context.practice` is."""
    app = FastAPI(
        title="sparkkeep",
        version=version,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page loads foreign script, which our headers forbid
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},  # tells nobody anything
    )
    app.state.context = context
    for router in _routers(context):
        app.include_router(router)
    errors.install(app)
    app.add_middleware(Guard, hosts=Hosts(allow_hosts))
    return app


def _routers(context: Context) -> Iterable[APIRouter]:
    yield from (module.router for module in (page, health, status, plans, events, workloads, sparks, actions))
    if context.practice is not None:
        yield practice.router
