"""Plans: `POST /api/plan` and the approval of one."""

from __future__ import annotations

from typing import Literal

from api.errors import Refusal
from api.schemas.base import Shape
from reconciler.model import Verb


class StepShape(Shape):
    """One command on one Spark."""

    verb: Verb
    spark: str
    workload: str
    rank: int
    command: str
    cause: str
    consequence: str
    destructive: bool
    look_first: str | None


class HeldShape(Shape):
    """What is left alone, and why; `until` is a Unix time where waiting ends by itself."""

    spark: str
    workload: str
    rank: int
    reason: str
    message: str
    until: float | None
    terminal: bool
    approvable: bool


class PlanShape(Shape):
    """The ordered steps, what a guard keeps back, and what was left alone."""

    id: str
    revision: str
    steps: list[StepShape]
    withheld: list[StepShape]
    unknown: list[str]
    held: list[HeldShape]


class MadePlan(PlanShape):
    """A plan, and whether it is for the document in the request."""

    candidate: bool


class ApprovedPlan(PlanShape):
    """The plan that was approved."""

    approved: Literal[True]


class PlanMovedShape(Refusal):
    """The plan is another one by now: this."""

    plan: PlanShape
