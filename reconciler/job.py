"""One thing to do, or one reason not to: what the survey of a Spark comes to, and what `sequence` turns into steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.model import Container, Held, Instance
from reconciler.weights.cache import Want


class Kind(StrEnum):
    """The shapes of work; `sequence` knows which steps each takes."""

    PULL = "pull"
    BUILD = "build"
    ASK = "ask"  # its image, which flags it knows
    CREATE = "create"
    RECREATE = "recreate"
    START = "start"
    UNPAUSE = "unpause"
    RESTART = "restart"
    UPDATE = "update"
    PRUNE = "prune"
    DISBAND = "disband"  # a rank of a group that has lost another: it goes too, and the whole group comes back
    UNLOAD = "unload"  # what runs on demand and nobody needs now: stopped in the ordinary course, which asks no guard
    RESERVE = "reserve"  # a head that waits for its workers: its memory and ports are kept for it


TAKES_DOWN: Final = (Kind.PRUNE, Kind.RECREATE)


@dataclass(slots=True, eq=False)
class Job:
    """One thing to do on one Spark. `instance` is missing for a prune, `container` for a first creation.

    Made by the thousand and never changed; neither `frozen` nor `kw_only`, since each makes it three times as
    costly to make.
    """

    kind: Kind
    spark: str
    workload: str
    rank: int
    cause: str
    instance: Instance | None = None
    container: Container | None = None
    failing: bool = False
    event: str = ""
    sake: str = ""
    image: str = ""  # of a fetch: what is fetched
    broken: bool = False  # what it ends can't serve any more, although its own container may run

    @property
    def stops(self) -> Container | None:
        """The running container that this job takes down for good; what guards count."""
        container = self.container
        return container if container is not None and self.kind in TAKES_DOWN and container.running else None


def held(
    instance: Instance,
    reason: str,
    message: str,
    *,
    until: float | None = None,
    terminal: bool = False,
    want: Want | None = None,
    blockers: tuple[str, ...] = (),
) -> Held:
    """A reason, at an instance's own address."""
    return Held(
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        reason=reason,
        message=message,
        until=until,
        terminal=terminal,
        want=want,
        blockers=blockers,
    )


def job(
    kind: Kind,
    instance: Instance,
    container: Container | None,
    cause: str,
    *,
    failing: bool = False,
    broken: bool = False,
) -> Job:
    """A job, at an instance's own address."""
    at = (instance.spark, instance.workload, instance.rank)
    return Job(kind, *at, cause, instance, container, failing, broken=broken)
