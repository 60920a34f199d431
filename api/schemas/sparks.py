"""One Spark: whether it takes work, its host key, and the practice ones."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.schemas.base import Shape
from api.schemas.plans import PlanShape


class TakesWork(Shape):
    """Whether it may take work now, by the desired state and by what people asked for."""

    spark: str
    cordoned: bool
    drained: bool
    plan: PlanShape | None = Field(description="with `dryRun`: what would be done")


class HostKey(Shape):
    """The host key that a Spark shows now. Nothing is trusted by asking."""

    spark: str
    fingerprint: str
    line: str = Field(description="as it would stand in known_hosts")


class PracticeSpark(Shape):
    """Where one listens, how to log in, and how often each fault made a difference."""

    host: str
    port: int
    user: str
    ssh: str
    happened: dict[str, int]


class Argument(Shape):
    """An argument of a fault."""

    name: str
    type: str
    required: bool
    default: bool | float | str | None


class Fault(Shape):
    """What can go wrong."""

    about: str
    arguments: list[Argument]


class PracticeShape(Shape):
    """The practice Sparks and their faults, by name."""

    desired: str
    sparks: dict[str, PracticeSpark]
    faults: dict[str, Fault]


class Injected(Shape):
    """What was done to which."""

    spark: str
    fault: str
    result: Any
