"""Requests under way at each instance, and the wait of a planned stop for them.

A stop that somebody wants (another declaration, a move, a restart) can wait; one that repairs can't. `Traffic` counts,
with no I/O and no opinion: the data path says what begins and ends. The rest is pure: which job waits, for what, and
until when. While it waits the instance is offered to no new request, so the wait ends by itself; and never later than
`settings.proxy.drain` after it began.

Nothing of it survives a restart of the controller: the requests, which pass through it, do not either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from reconciler.job import Job, Kind
from reconciler.model import OWNER, Held, Key, Plan, Step, Verb, World
from reconciler.moments import clock
from reconciler.target import Target

DRAINING: Final = "Draining"
ENDS: Final = frozenset({Kind.RECREATE, Kind.PRUNE, Kind.DISBAND, Kind.UNLOAD, Kind.RESTART})
STOPS: Final = frozenset({Verb.STOP, Verb.RESTART})


class Traffic:
    """How many requests each instance has under way, and since when it is offered to no others.

    `free` hears of an instance that is being drained and has just ended its last request.
    """

    def __init__(self, now: Callable[[], float], free: Callable[[Key], None]) -> None:
        self._now = now
        self._free = free
        self._wanted: dict[str, frozenset[Key]] = {}  # by the Spark whose pass wants it
        self.under_way: dict[Key, int] = {}
        self.draining: dict[Key, float] = {}

    def begin(self, key: Key) -> None:
        """A request goes there."""
        self.under_way[key] = self.under_way.get(key, 0) + 1

    def end(self, key: Key) -> None:
        """It is over."""
        left = self.under_way.get(key, 0) - 1
        if left > 0:
            self.under_way[key] = left
            return
        self.under_way.pop(key, None)
        if key in self.draining:
            self._free(key)

    def passed(self, spark: str, plan: Plan) -> bool:
        """A pass of this Spark has a plan: what has to be drained for it, and what not any longer. Whether that is new.

        What was drained stays so until its stop has been sent.
        """
        keys = {held.drains for held in plan.held if held.spark == spark and held.drains is not None}
        going = (step for step in plan.for_spark(spark) if step.verb in STOPS and not step.look_first)
        keys |= {step.drains for step in going if step.drains in self.draining and step.drains is not None}
        return self._want(spark, frozenset(keys))

    def keep_only(self, sparks: Collection[str]) -> None:
        """These are kept, and no others."""
        for gone in [spark for spark in self._wanted if spark not in sparks]:
            self._want(gone, frozenset())

    def _want(self, spark: str, keys: frozenset[Key]) -> bool:
        if not keys and spark not in self._wanted:
            return False
        self._wanted[spark] = keys
        if not keys:
            del self._wanted[spark]
        wanted, before = frozenset[Key]().union(*self._wanted.values()), self.draining
        self.draining = {key: before[key] if key in before else self._now() for key in wanted}
        return self.draining.keys() != before.keys()

    def waited_for_by(self, key: Key) -> list[str]:
        """The Sparks on which something waits for it."""
        return [spark for spark, keys in self._wanted.items() if key in keys]

    def allows(self, step: Step, longest: float) -> bool:
        """Whether a stop is still right: since it was planned, a request may have come."""
        key = step.drains
        if key is None or step.verb not in STOPS or key not in self.under_way or longest <= 0:
            return True
        since = self.draining.get(key)
        return since is not None and self._now() - since >= longest


def drained(job: Job, world: World) -> Key | None:
    """The instance whose requests this job ends, if those are worth a wait: it is planned, and what it ends serves."""
    container = job.container
    if container is None or container.state != "running" or job.kind not in ENDS or job.failing or job.broken:
        return None
    instance = job.instance
    if instance is None:
        return (job.workload, job.spark if job.rank == 0 else _head(job, world))
    key = (job.workload, instance.head or job.spark)
    probe = world.probes.get(key)
    silent = probe is not None and not probe.ready and (instance.rank > 0 or probe.container == container.id)
    return None if silent else key


def _head(job: Job, world: World) -> str:
    """The Spark that answers for a rank of a group which is declared no more."""
    assert job.container is not None  # noqa: S101  # as `drained` has seen
    owner = job.container.labels.get(OWNER)
    for spark, sight in sorted(world.sights.items()):
        for container in sight.scan.containers if sight.scan is not None else ():
            if container.workload == job.workload and not container.rank and container.labels.get(OWNER) == owner:
                return spark
    return job.spark


def wait(job: Job, key: Key, target: Target, world: World) -> Held | None:
    """Why this job is not done now; None if nothing is under way, or it has waited for as long as it may."""
    count = world.under_way.get(key, 0)
    if not count or target.drain <= 0:
        return None
    left = target.drain - (world.clock - world.draining.get(key, world.clock))
    if left <= 0:
        return None
    until, name = world.now + left, f"{key[0]} on {key[1]}"
    requests = "1 request is" if count == 1 else f"{count} requests are"
    done = "it is done" if count == 1 else "they are done"
    text = f"{requests} under way at {name}: it is stopped when {done}, at {clock(until)} at the latest ({job.cause})"
    return Held(
        spark=job.spark,
        workload=job.workload,
        rank=job.rank,
        reason=DRAINING,
        message=text,
        until=until,
        drains=key,
    )
