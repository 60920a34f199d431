"""What people and programs are told of those who wait. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from api.proxies.queue.schedule import View
from reconciler.demand import State

SHORTEST_RETRY: Final = 1.0  # seconds
LONGEST_RETRY: Final = 600.0
UNKNOWN_RETRY: Final = 30.0
ORDINALS: Final = {1: "st", 2: "nd", 3: "rd"}
TEENS: Final = range(11, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One request that waits. `since` in Unix seconds, `eta` in seconds from now, None where nobody knows."""

    workload: str
    who: str
    position: int
    of: int
    since: float
    eta: float | None
    message: str

    def row(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "workload": self.workload,
            "position": self.position,
            "of": self.of,
            "since": self.since,
            "eta": None if self.eta is None else round(self.eta, 1),
            "message": self.message,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Everyone who waits for one workload. `givesWay`: what it serves ends, since others have a right to its room."""

    workload: str
    state: str
    waiting: int
    clients: int
    under_way: int
    since: float
    eta: float | None
    gives_way: bool
    message: str

    def row(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "workload": self.workload,
            "state": self.state,
            "waiting": self.waiting,
            "clients": self.clients,
            "underWay": self.under_way,
            "since": self.since,
            "eta": None if self.eta is None else round(self.eta, 1),
            "givesWay": self.gives_way,
            "message": self.message,
        }


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    return f"{number}{'th' if number % 100 in TEENS else ORDINALS.get(number % 10, 'th')}"


def spoken(seconds: float) -> str:
    """About how long, as a person would say it: 40 s, 3 min."""
    return f"{max(1, math.ceil(seconds))} s" if seconds < 100 else f"{math.ceil(seconds / 60)} min"  # noqa: PLR2004


def told(what: str, eta: float | None, position: int, of: int) -> str:
    """One line for who waits: `qwen3 is being started on spark-1: about 40 s; you are 3rd of 5`."""
    about = "" if eta is None else f": about {spoken(eta)}"
    return f"{what}{about}; you are {ordinal(position)} of {of}"


def retry_after(eta: float | None) -> float:
    """When it is worth asking again, in seconds."""
    return min(max(SHORTEST_RETRY, UNKNOWN_RETRY if eta is None else eta), LONGEST_RETRY)


def what_for(name: str, seen: View, said: str, *, shut: bool) -> str:
    """What those who wait for it wait for. `said`: the loop's own sentence, if it has one."""
    if seen.state == State.READY:
        return f"{name} makes room for another model" if shut else f"{name} answers as many requests as it takes"
    if seen.state == State.BLOCKED and seen.blockers:
        return f"{name} waits for its turn after {' and '.join(seen.blockers)}"
    return said or f"{name} is to be started"
