"""The settings of waiting: who may wait for a model, how long, and which model is next."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from state.declared import Declared
from state.fields import Duration, LongestWait, Steers

WAITING = Steers("requests that wait for a model")
SWAPS = Steers("which on-demand model is next where not all fit")


class Queue(Declared):
    """Requests that wait for a model that is not ready, and which model is next."""

    length: Annotated[int, Field(strict=True, ge=1, le=10_000), WAITING] = 100
    """How many requests may wait for one model. The next is refused (429), or takes a place of a client with many."""
    total: Annotated[int, Field(strict=True, ge=1, le=100_000), WAITING] = 1_000
    """How many requests may wait in all."""
    longest_wait: Annotated[LongestWait, WAITING] = 600.0
    """A request waits at most this long, such as 10m; then it is refused (503)."""
    patience: Annotated[float, Field(ge=0, le=100), SWAPS] = 2.0
    """A model that waits for room has a right to it after so many times the seconds that its start takes."""
    longest_patience: Annotated[Duration, SWAPS] = 120.0
    """It has that right after this long at the latest, such as 2m."""
    shortest_stay: Annotated[Duration, SWAPS] = 30.0
    """A model that was started serves for at least this long before it gives way to one with a right to its room."""
