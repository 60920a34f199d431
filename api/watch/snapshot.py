"""The whole status, as `GET /api/status` answers it and as those who watch are told."""

from __future__ import annotations

from typing import Any

from api.context import Context
from api.versioned import checkout_json


def snapshot(context: Context) -> dict[str, Any]:
    """What the loop knows now, and how the files stand to git. Plain JSON; nothing waits."""
    checkout = checkout_json(context.follow.seen) if context.follow is not None else None
    return {**context.status.build(), "checkout": checkout}
