"""What the journal holds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

MAX_MESSAGE: Final = 1024
MAX_COMMAND: Final = 16_384
MAX_TAIL: Final = 4096
MAX_WORD: Final = 256


class Kind(StrEnum):
    """What an event is about."""

    WORKLOAD = "workload"
    SPARK = "spark"
    DESIRED = "desired"
    SELF = "sparkkeep"


class Override(StrEnum):
    """Verbs that are not desired state but outlive a restart."""

    SUSPEND = "suspend"  # a workload
    CORDON = "cordon"  # a Spark
    DRAIN = "drain"  # a Spark
    RESTART = "restart"  # a workload; the value is the container that was there before
    APPROVE = "approve"  # the id of a container that a person agreed to lose


Outcome = Literal["ok", "failed", "timeout", "unknown"]
Reach = Literal["reachable", "unknown"]


def head(text: str, length: int) -> str:
    """The beginning of a text that may be too long, fit for UTF-8."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= length else f"{text[: length - 1]}…"


def tail(text: str, length: int) -> str:
    """The end of a text that may be too long (in bytes), fit for UTF-8."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= length else data[-length:].decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to something. `reason` is CamelCase and names exactly one situation."""

    kind: Kind | str
    name: str
    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    spark: str = ""
    source: str = "sparkkeep"

    def bounded(self) -> Event:
        """The same with every text cut to its limit."""
        return Event(
            kind=head(str(self.kind), MAX_WORD),
            name=head(self.name, MAX_WORD),
            reason=head(self.reason, MAX_WORD),
            message=head(self.message, MAX_MESSAGE),
            type=self.type,
            spark=head(self.spark, MAX_WORD),
            source=head(self.source, MAX_WORD),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event in the journal. `seq` is new with every recurrence, `id` stays."""

    seq: int
    id: int
    event: Event
    count: int
    first_at: float
    last_at: float
    reconcile: str = ""  # the pass that it came from last, if it came from one

    def row(self) -> tuple[Any, ...]:
        """In the order of the table's columns."""
        e = self.event
        words = (e.source, str(e.kind), e.name, e.spark, e.type, e.reason, e.message)
        return (self.seq, self.id, *words, self.count, self.first_at, self.last_at, self.reconcile)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Recorded:
        """From the table."""
        seq, id_, source, kind, name, spark, type_, reason, message, count, first_at, last_at, of = row
        event = Event(source=source, kind=kind, name=name, spark=spark, type=type_, reason=reason, message=message)
        return cls(seq=seq, id=id_, event=event, count=count, first_at=first_at, last_at=last_at, reconcile=of)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        e = self.event
        return {
            "seq": self.seq,
            "id": self.id,
            "object": {"kind": str(e.kind), "name": e.name, "spark": e.spark},
            "type": e.type,
            "reason": e.reason,
            "message": e.message,
            "source": e.source,
            "count": self.count,
            "firstAt": self.first_at,
            "lastAt": self.last_at,
            "reconcile": self.reconcile,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One command on one Spark, and what came of it. `outcome` is None while it runs."""

    id: int
    revision: str
    spark: str
    workload: str
    verb: str
    command: str
    cause: str
    started_at: float
    ended_at: float | None = None
    exit_status: int | None = None
    outcome: Outcome | None = None
    stdout: str = ""
    stderr: str = ""
    reconcile: str = ""  # the pass that it was part of


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectivity:
    """From when on a Spark answered, or did not."""

    spark: str
    from_at: float
    state: Reach
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overriding:
    """One override: what it says (often nothing but that it is there), who said it, why, and when."""

    verb: Override
    name: str
    value: str = ""
    by: str = ""
    why: str = ""
    at: float = 0.0
