"""`GET /api/watch`."""

from __future__ import annotations

from api.errors import Refusal
from api.schemas.base import Shape


class WatchGone(Refusal):
    """What came after the place asked for is not known (any more). `latest` is the newest place."""

    model_config = Shape.model_config

    latest: str
