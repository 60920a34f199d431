"""One workload: why it is as it is, and what the verbs answer."""

from __future__ import annotations

from api.schemas.base import Shape
from api.schemas.journal import ActionShape, EventShape
from api.schemas.plans import HeldShape, PlanShape, StepShape
from api.schemas.status import ConditionShape, Health, InstanceShape, Kind, Run, Sync


class RecipeShape(Shape):
    """What is declared to run."""

    engine: str
    model: str | None
    revision: str | None
    image: str | None


class LaunchedShape(InstanceShape):
    """An instance, and how it is started."""

    program: str
    command: str
    warnings: list[str]


class HelpedShape(HeldShape):
    """What is left alone, and what a person could do about it, the most fitting first."""

    helps: list[str]


class FailureShape(Shape):
    """What failed on one Spark, and when it is tried again."""

    spark: str
    reason: str
    message: str
    advice: str
    count: int
    at: float
    retry_at: float | None
    terminal: bool
    log: list[str]


class WhyShape(Shape):
    """Everything known about a workload; `because` is the story in sentences."""

    workload: str
    declared: str
    kind: Kind | None
    run: Run | None
    generation: int | None
    sync: Sync | None
    health: Health | None
    message: str | None
    conditions: list[ConditionShape] | None
    recipe: RecipeShape | None
    instances: list[LaunchedShape]
    steps: list[StepShape]
    withheld: list[StepShape]
    held: list[HelpedShape]
    failures: list[FailureShape]
    events: list[EventShape]
    actions: list[ActionShape]
    because: list[str]


class Restarted(Shape):
    """Whether its containers restart; with `dryRun` only the plan of that."""

    workload: str
    restart: bool
    plan: PlanShape | None


class BackoffReset(Shape):
    """Whether its failures are forgotten; with `dryRun` only the plan of that."""

    workload: str
    reset_backoff: bool
    plan: PlanShape | None


class Suspended(Shape):
    """Whether it is left alone now; with `dryRun` the plan of what would be then."""

    workload: str
    suspended: bool
    plan: PlanShape | None
