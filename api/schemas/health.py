"""Deep health: what was asked, and what came of it."""

from __future__ import annotations

from api.schemas.base import Shape
from reconciler.findings import Kind, Outcome


class FindingShape(Shape):
    """One check. `milliseconds` where an answer was waited for; `spark` is empty for sparkkeep's own."""

    kind: Kind
    name: str
    spark: str
    check: str
    outcome: Outcome
    message: str
    milliseconds: float | None


class ReportShape(Shape):
    """One run; `healthy`: nothing failed. `by`: who asked for it."""

    at: float
    seconds: float
    by: str
    healthy: bool
    findings: list[FindingShape]


class DeepHealthShape(Shape):
    """The last run since this server began, null before the first; and when the schedule has the next."""

    running: bool
    next_at: float | None
    last: ReportShape | None
