"""Events, commands, and when Sparks answered."""

from __future__ import annotations

from typing import Literal

from api.errors import Refusal
from api.schemas.base import Shape
from state.journal_rows import Kind, Outcome


class ObjectShape(Shape):
    """What an event is about."""

    kind: Kind
    name: str
    spark: str


class EventShape(Shape):
    """Something that happened, once or `count` times."""

    seq: int
    id: int
    object: ObjectShape
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    source: str
    count: int
    first_at: float
    last_at: float
    reconcile: str  # id of the pass that it came from last; empty if from none


class EventsShape(Shape):
    """Events, and which are kept."""

    events: list[EventShape]
    oldest_seq: int
    latest_seq: int


class EventsGone(Refusal):
    """The place asked for is not among what is kept."""

    model_config = Shape.model_config

    oldest_seq: int
    latest_seq: int


class ActionShape(Shape):
    """One command on one Spark; without `outcome` while it runs."""

    id: int
    revision: str
    spark: str
    workload: str
    verb: str
    command: str
    cause: str
    started_at: float
    ended_at: float | None
    exit_status: int | None
    outcome: Outcome | None
    stdout: str
    stderr: str
    reconcile: str


class ActionsShape(Shape):
    """Commands, in the order they began."""

    actions: list[ActionShape]


class ChangeShape(Shape):
    """From then on a Spark answered, or did not."""

    at: float
    reachable: bool
    reason: str


class ConnectivityShape(Shape):
    """Every change of one Spark, oldest first."""

    spark: str
    changes: list[ChangeShape]
