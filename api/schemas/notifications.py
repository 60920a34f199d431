"""Who is told, and how that went."""

from __future__ import annotations

from typing import Literal

from api.schemas.base import Shape
from state.notifications import Kind, Topic


class NotificationShape(Shape):
    """One place. `after` in seconds; `failing`: the last try failed; `waiting`: messages that it did not take yet."""

    name: str
    kind: Kind
    address: str
    after: float
    on: list[Topic]
    delivered_at: float | None
    failed_at: float | None
    failure: str
    failing: bool
    waiting: int


class NotificationsShape(Shape):
    """All of them, in the order of their names."""

    notifications: list[NotificationShape]


class Tested(Shape):
    """The test was taken."""

    name: str
    delivered: Literal[True]
