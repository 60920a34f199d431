"""Secrets: their names, and what they are for. Never what they hold, nor how long it is."""

from __future__ import annotations

from api.schemas.base import Shape


class SecretShape(Shape):
    """One secret. `since` is when it was last set, null for one that a workload names and nobody has set yet."""

    since: float | None
    used_by: list[str]
    problem: str


class SecretsShape(Shape):
    """All of them, by name."""

    secrets: dict[str, SecretShape]


class SecretForgotten(Shape):
    """It is there no more."""

    name: str
    removed: bool
