"""The last day: curves, and slots."""

from __future__ import annotations

from typing import Literal

from api.schemas.base import Shape
from api.schemas.status import Health

Column = list[float | None]


class TrackShape(Shape):
    """One Spark, in columns as long as `t`: Unix seconds, at least `step` apart. null: the Spark did not say.

    Bytes, percent, Celsius, watts, seconds; of several GPUs the mean, the hottest, the sum.
    """

    step: Literal[30, 300]
    t: list[float]
    memory_available: Column
    memory_free: Column
    disk_free: Column
    gpu_utilization: Column
    temperature: Column
    power: Column
    scan_seconds: Column


class SeriesShape(Shape):
    """By Spark."""

    sparks: dict[str, TrackShape]


class UptimeShape(Shape):
    """Sixty slots of `step` seconds, the first from `start` on, the last still going on. null: not known."""

    start: int
    step: int
    sparks: dict[str, list[Literal["Reachable", "Unknown"] | None]]
    workloads: dict[str, list[Health | None]]
