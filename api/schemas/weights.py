"""Weights: what lies where, fetches, and what would be deleted."""

from __future__ import annotations

from api.errors import Refusal
from api.schemas.base import Shape
from reconciler.weights.fetches import State


class RevisionShape(Shape):
    """One revision of a repository; `complete` is null where the disk could not be read."""

    commit: str
    refs: list[str]
    bytes: int
    complete: bool | None


class RepositoryShape(Shape):
    """A repository in a cache, and who needs it."""

    repository: str
    path: str
    bytes: int
    incomplete_bytes: int
    referenced_by: list[str]
    revisions: list[RevisionShape]


class CacheShape(Shape):
    """One Spark's cache as last surveyed."""

    surveyed_at: float | None
    reason: str
    message: str
    repositories: list[RepositoryShape]


class ProgressShape(Shape):
    """How far a fetch is: bytes, bytes a second, seconds left (null: not known)."""

    bytes: int
    total: int
    files_done: int
    files: int
    rate: float
    eta: float | None
    source: str


class FetchShape(Shape):
    """One fetch."""

    id: int
    spark: str
    repository: str
    revision: str
    files: list[str]
    quant: str | None
    state: State
    asked_at: float
    started_at: float | None
    ended_at: float | None
    next_at: float | None
    attempts: int
    reason: str
    message: str
    progress: ProgressShape | None
    commit: str
    notes: list[str]


class WeightsShape(Shape):
    """What lies in each Spark's cache, and the fetches."""

    sparks: dict[str, CacheShape]
    fetches: list[FetchShape]


class DeletionShape(Shape):
    """What would be deleted, and why nothing needs it."""

    what: str
    why: str
    bytes: int
    paths: list[str]


class KeptShape(Shape):
    """What stays, and why."""

    what: str
    why: str


class SparkPlanShape(Shape):
    """What would be deleted on one Spark, or why nothing can be planned there."""

    root: str | None
    bytes: int
    reason: str
    message: str
    delete: list[DeletionShape]
    keep: list[KeptShape]


class GcPlanShape(Shape):
    """What would be deleted, and the digest that agrees to it."""

    digest: str
    bytes: int
    sparks: dict[str, SparkPlanShape]


class GcPlanChanged(Refusal):
    """The plan is another one by now: this."""

    plan: GcPlanShape


class CollectedShape(Shape):
    """What was deleted on one Spark."""

    deleted: list[str]
    bytes: int
    problems: list[str]


class CollectedAll(Shape):
    """What was deleted."""

    sparks: dict[str, CollectedShape]
