"""Moments in sentences: by the clock and not by how far away they are, so that a sentence stays true as time passes."""

from __future__ import annotations

from datetime import UTC, datetime


def clock(at: float) -> str:
    """`07:59:48 UTC`, for what is less than a day away."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def minute(at: float) -> str:
    """`2027-01-15 07:59 UTC`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
