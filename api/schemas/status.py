"""`GET /api/status`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.errors import ProblemShape
from api.schemas.base import Shape
from api.schemas.history import CheckoutShape

Sync = Literal["Synced", "OutOfSync", "Unknown"]
Health = Literal["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"]
Kind = Literal["model", "service", "removed"]
Run = Literal["always", "on-demand", "never"]


class ConditionShape(Shape):
    """One fact, and since when it holds (RFC 3339)."""

    type: Literal["Ready", "Synced", "Stalled", "Leased"]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


class ContainerShape(Shape):
    """The container of an instance."""

    id: str
    state: str
    started_at: float | None
    exit_code: int | None
    restart_count: int
    spec_hash: str
    generation: str | None


class MemoryShape(Shape):
    """What a start is counted with, in bytes, and the arithmetic for people."""

    bytes: int | None
    source: Literal["stated", "measured", "estimated", "unknown"]
    lines: list[str]


class InstanceShape(Shape):
    """A workload on one Spark."""

    spark: str
    rank: int
    name: str
    engine: str
    image: str
    port: int | None
    memory: MemoryShape
    sync: Sync
    health: Health
    message: str
    container: ContainerShape | None


class ProgressShape(Shape):
    """How far a start is, in seconds and in percent of the whole; null where no earlier start tells."""

    stage: str
    elapsed: float
    remaining: float | None
    percent: float | None


class PlacedShape(InstanceShape):
    """A workload on one Spark, and how far it is while it starts."""

    progress: ProgressShape | None


class WorkloadShape(Shape):
    """One workload, with the two verdicts."""

    kind: Kind
    run: Run
    generation: int
    observed_generation: int
    sync: Sync
    health: Health
    message: str
    conditions: list[ConditionShape]
    instances: list[PlacedShape]


class GpuShape(Shape):
    """Percent, Celsius, watts; null where `nvidia-smi` does not say."""

    name: str
    utilization: float | None
    temperature: float | None
    power: float | None


class FactsShape(Shape):
    """What the machine says of itself; sizes in bytes."""

    memory_total: int
    memory_available: int
    memory_free: int | None = Field(description="without the page cache; null where the kernel does not say")
    disk_free: int | None
    disk_total: int | None
    gpus: list[GpuShape]
    interfaces: dict[str, list[str]]


class ForeignShape(Shape):
    """A container that is not ours."""

    id: str
    name: str
    image: str
    state: str
    ports: list[int]


class LeaseShape(Shape):
    """Who may act on a Spark: `ours`, or the sparkkeep on the machine `holder`. `expires_in` in seconds."""

    holder: str | None
    ours: bool
    token: int
    reason: str
    message: str
    taken_at: float | None
    renewed_at: float | None
    expires_in: float | None


class SparkShape(Shape):
    """One Spark as last seen."""

    host: str | None
    reachable: bool
    reason: str
    message: str
    since: float | None
    scanned_at: float | None
    scan_seconds: float | None
    cordoned: bool
    drained: bool
    facts: FactsShape | None
    foreign: list[ForeignShape]
    lease: LeaseShape | None
    conditions: list[ConditionShape]


class PlanSummary(Shape):
    """How many steps there are to do."""

    id: str
    steps: int
    withheld: int


class StatusShape(Shape):
    """Every Spark and every workload, by name."""

    revision: str
    generation: int
    problems: list[ProblemShape]
    sparks: dict[str, SparkShape]
    workloads: dict[str, WorkloadShape]
    plan: PlanSummary
    checkout: CheckoutShape | None
