"""The menu: `GET /api/models`."""

from __future__ import annotations

from typing import Any

from api.schemas.base import Shape
from reconciler.menu import State
from reconciler.menu_recipes import Kind


class PresenceShape(Shape):
    """An entry on one Spark; sizes in bytes."""

    revision: str | None
    refs: list[str]
    size: int
    size_on_disk: int
    complete: bool | None
    downloading: bool
    incomplete_bytes: int
    missing: list[str]
    path: str


class EntryShape(Shape):
    """One line of the menu."""

    repository: str
    kind: Kind
    file: str | None
    state: State
    size: int
    recipes: list[str]
    workloads: list[str]
    sparks: dict[str, PresenceShape]
    inferred: dict[str, Any] | None


class OtherShape(Shape):
    """What lies in a cache and is no model."""

    folder: str
    name: str


class SurveyedShape(Shape):
    """How fresh what is said of a Spark's disks is."""

    surveyed_at: float | None
    reason: str
    message: str
    failed_at: float | None
    problems: list[str]
    others: list[OtherShape]


class MenuShape(Shape):
    """Every model, GGUF file and NIM cache, and how fresh this is."""

    models: list[EntryShape]
    sparks: dict[str, SurveyedShape]


class AskedShape(Shape):
    """The Sparks whose disks are looked at now."""

    asked: list[str]
