"""When has an `apply` come to its end: every workload is as declared, or something holds it.

Pure: fed with what the status and the plan say, and the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
ON_THE_WAY: Final = frozenset(
    {
        *("Pulling", "Building", "WaitingTurn", "Removing", "Restarting", "NotYetSeen", "PlacementUnknown"),
        "LeaseNotTaken",
        *("WeightsUnknown", "WeightsWaiting", "WeightsFetching"),
    }
)
MAY_PASS: Final = frozenset(
    {"InsufficientMemory", "PortTaken", "NameTaken", "LeaseBusy"}
)  # as memory does after a stop
STEADY: Final = 2.0  # seconds without a change, after which an end is believed
PATIENT: Final = 20.0  # the same, where something may still pass by itself


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. `lines` say which workloads are not as declared, and why."""

    good: bool
    lines: tuple[str, ...]


class Settling:
    """Feed it with looks, about once a second, until it gives an outcome."""

    def __init__(self) -> None:
        self._last: object = None
        self._since = 0.0

    def look(self, status: Json, plan: Json, now: float) -> Outcome | None:
        """None while it goes on."""
        reasons = {held["reason"] for held in plan["held"]}
        reasons |= {spark["reason"] for spark in status["sparks"].values()}
        picture = (
            sorted((name, w["sync"]) for name, w in status["workloads"].items()),
            sorted(reasons),
            [step["command"] for step in (*plan["steps"], *plan["withheld"])],
        )
        if picture != self._last:
            self._last, self._since = picture, now
        if plan["steps"] or reasons & ON_THE_WAY:
            return None
        if now - self._since < (PATIENT if reasons & MAY_PASS else STEADY):
            return None
        return outcome(status)


def outcome(status: Json) -> Outcome:
    """What the status says of the whole fleet."""
    lines = tuple(_lines(status))
    return Outcome(not lines, lines)


def _lines(status: Json) -> Iterator[str]:
    for name, workload in status["workloads"].items():
        if workload["sync"] != "Synced":
            synced: Json = next((c for c in workload["conditions"] if c["type"] == "Synced"), {})
            yield f"{name}: {workload['sync']}: {synced.get('message') or workload['message']}"


def covers(agreed: Json, moved: Json) -> bool:
    """Whether everything that the newer plan withholds was seen in the one that a person agreed to."""
    seen = {(step["spark"], step["command"]) for step in (*agreed["steps"], *agreed["withheld"])}
    return all((step["spark"], step["command"]) in seen for step in moved["withheld"] if step["destructive"])
