"""Who asked for a change, as it will stand in the commit: what the client says of itself, and which way it came.

Nothing is decided by it; there are no logins to check it against.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.context import Actor as Said
from state.repository_commit import Actor


def _author(request: Request, said: Said) -> Actor:
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        via = "dashboard"
    else:
        via = "cli" if request.headers.get("user-agent", "").startswith("sparkkeep/") else "api"
    return Actor(said, via)


Author = Annotated[Actor, Depends(_author)]
