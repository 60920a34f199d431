"""Conditions: facts about an object, each with the time since when it holds.

The way Kubernetes has them: True, False or Unknown, one CamelCase reason, one sentence, and the generation of the
spec that the fact was found for. A condition that says the same again keeps its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One fact. `last_transition_time` (Unix seconds) moves only when `status` does."""

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the time as RFC 3339."""
        since = datetime.fromtimestamp(self.last_transition_time, UTC)
        return {
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "observedGeneration": self.observed_generation,
            "lastTransitionTime": since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }


def merge(old: Iterable[Condition], new: Iterable[Condition], now: float) -> tuple[Condition, ...]:
    """`new` over `old`, by type and in the order of type. What `new` doesn't speak of stays as it was."""
    merged = {condition.type: condition for condition in old}
    for condition in new:
        before = merged.get(condition.type)
        same = before is not None and before.status == condition.status
        since = before.last_transition_time if before is not None and same else now
        merged[condition.type] = replace(condition, last_transition_time=since)
    return tuple(merged[name] for name in sorted(merged))
