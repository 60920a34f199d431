"""What each container of one Spark needs: exactly one job or one reason to leave it alone.

Pure. Here every instance that should be meets the container that is, and every container of ours that no
instance claims is marked for removal. Order, ports and memory come later, in `reconciler.sequence`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.images import has_image
from reconciler.model import OWNER, SPEC, Container, Failure, Held, Instance, ProbeResult, Scan, World
from reconciler.target import Target


class Kind(StrEnum):
    """The shapes of work; `sequence` knows which steps each takes."""

    PULL = "pull"
    CREATE = "create"
    RECREATE = "recreate"
    START = "start"
    UNPAUSE = "unpause"
    RESTART = "restart"
    UPDATE = "update"
    PRUNE = "prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to do on one Spark. `instance` is missing for a prune, `container` for a first creation."""

    kind: Kind
    spark: str
    workload: str
    rank: int = 0
    cause: str
    instance: Instance | None = None
    container: Container | None = None

    @property
    def stops(self) -> Container | None:
        """The running container that this job takes down for good; what guards count."""
        taken = self.kind in {Kind.PRUNE, Kind.RECREATE} and self.container is not None and self.container.running
        return self.container if taken else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkView:
    """What the planner sees of one Spark whose scan is current."""

    spark: str
    scan: Scan
    target: Target
    world: World

    @property
    def owned(self) -> tuple[Container, ...]:
        """The containers that carry our owner label."""
        return tuple(c for c in self.scan.containers if c.labels.get(OWNER) == self.target.owner)


def survey(view: SparkView) -> Iterator[Job | Held]:
    """A job or a reason for each thing on this Spark that is not as it should be; nothing for what is."""
    named = {container.name: container for container in view.scan.containers}
    instances = view.target.instances[view.spark]
    claimed = {instance.name for instance in instances}
    unclaimed = [container for container in view.owned if container.name not in claimed]
    for container in sorted(unclaimed, key=lambda c: c.name):
        yield from _unclaimed(view, container)
    for instance in instances:
        if instance.workload in view.target.suspended:
            yield held(instance, "Suspended", f"{instance.workload} is suspended: nothing about it is changed")
        else:
            yield from _compare(view, instance, named.get(instance.name))


def _compare(view: SparkView, instance: Instance, container: Container | None) -> Iterator[Job | Held]:
    """One instance against the container that has its name."""
    if container is None:
        yield from _absent(view, instance)
    elif container.labels.get(OWNER) != view.target.owner:
        yield held(instance, "NameTaken", _name_taken(container))
    elif container.spec_hash != instance.spec_hash:
        yield from _drifted(view, instance, container)
    else:
        yield from _present(view, instance, container)


def held(instance: Instance, reason: str, message: str, *, until: float | None = None, terminal: bool = False) -> Held:
    """A reason, at an instance's own address."""
    return Held(
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        reason=reason,
        message=message,
        until=until,
        terminal=terminal,
    )


def _job(kind: Kind, instance: Instance, container: Container | None, cause: str) -> Job:
    return Job(
        kind=kind,
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        cause=cause,
        instance=instance,
        container=container,
    )


def _unclaimed(view: SparkView, container: Container) -> Iterator[Job | Held]:
    """A container with our label that no instance of this Spark claims."""
    workload, rank = container.workload, container.rank
    if workload in view.target.suspended:
        message = f"{workload} is suspended: {container.name} stays"
        yield Held(spark=view.spark, workload=workload, rank=rank, reason="Suspended", message=message)
    elif container.state == "removing":
        message = f"Docker is removing {container.name}"
        yield Held(spark=view.spark, workload=workload, rank=rank, reason="Removing", message=message)
    else:
        cause = _why_unclaimed(view, container)
        yield Job(kind=Kind.PRUNE, spark=view.spark, workload=workload, rank=rank, cause=cause, container=container)


def _why_unclaimed(view: SparkView, container: Container) -> str:
    name = container.workload
    if view.spark in view.target.drained and name in view.target.declared:
        return f"{view.spark} is being drained"
    if name not in view.target.declared:
        return f"{name or container.name} is not declared"
    if any(instance.workload == name for instance in view.target.instances[view.spark]):
        return f"{container.name} carries the label of {name}, but not the name of its container"
    return f"{name} is {view.target.declared[name]}, not on {view.spark}"


def _absent(view: SparkView, instance: Instance) -> Found:
    if instance.on_demand:
        yield held(instance, "OnDemand", f"{instance.workload} starts when it is asked for")
    elif view.spark in view.target.cordoned:
        yield held(instance, "Cordoned", f"{view.spark} is cordoned: nothing new starts there")
    else:
        return _when_possible(view, instance, Kind.CREATE, None, "no container of it on this Spark")


def _drifted(view: SparkView, instance: Instance, container: Container) -> Found:
    cause = drift(container, instance)
    if container.state == "removing":
        yield held(instance, "Removing", f"Docker is removing {container.name}")
    elif instance.on_demand:
        yield Job(
            kind=Kind.PRUNE,
            spark=view.spark,
            workload=instance.workload,
            rank=instance.rank,
            cause=cause,
            container=container,
        )
    elif view.spark in view.target.cordoned:
        yield held(
            instance,
            "Cordoned",
            f"{view.spark} is cordoned: {container.name} keeps running as it was ({cause})",
        )
    else:
        return _when_possible(view, instance, Kind.RECREATE, container, cause)


def _present(view: SparkView, instance: Instance, container: Container) -> Found:
    """A container of the right spec, in whatever state."""
    if container.state == "running":
        return _running(view, instance, container)
    elif container.state in {"exited", "created"}:
        if instance.on_demand:
            yield held(instance, "OnDemand", f"{instance.workload} starts when it is asked for")
        else:
            return _when_possible(view, instance, Kind.START, container, _ended(container))
    elif container.state == "paused":
        yield _job(Kind.UNPAUSE, instance, container, "somebody paused it")
    elif container.state == "dead":
        return _when_possible(
            view, instance, Kind.RECREATE, container, "Docker calls it dead: it could not be removed whole"
        )
    elif container.state == "removing":
        yield held(instance, "Removing", f"Docker is removing {container.name}")
    else:
        yield held(instance, "Restarting", f"Docker is restarting it ({container.restart_count} times so far)")


def _running(view: SparkView, instance: Instance, container: Container) -> Found:
    probe = view.world.probes.get((instance.workload, view.spark))
    if view.world.restarts.get(container.id) == container.started_at:
        yield _job(Kind.RESTART, instance, container, "a person asked for a restart")
    elif (why := not_serving(instance, container, probe, view.world.now)) is not None:
        return _when_possible(view, instance, Kind.RESTART, container, why)
    if container.restart_policy != instance.restart:
        yield _job(
            Kind.UPDATE,
            instance,
            container,
            f"restart policy: {container.restart_policy} -> {instance.restart}",
        )


def _when_possible(
    view: SparkView, instance: Instance, kind: Kind, container: Container | None, cause: str
) -> Found:
    """The job, unless an earlier failure still holds it back; an image that is missing is fetched first."""
    failure = view.world.failures.get((instance.workload, view.spark))
    if (
        failure is not None
        and failure.spec_hash == instance.spec_hash
        and (wait := _waiting(instance, failure, view.world.now))
    ):
        yield wait
        return
    needs_image = kind in {Kind.CREATE, Kind.RECREATE}
    if not needs_image or has_image(view.scan.images, instance.spec.image):
        yield _job(kind, instance, container, cause)
    elif (view.spark, instance.spec.image) in view.world.pulling:
        yield held(instance, "Pulling", f"{view.spark} is fetching {instance.spec.image}")
    elif instance.pull == "never":
        yield held(
            instance,
            "ImageMissing",
            f"{instance.spec.image} is not on {view.spark}, and `pull: never` forbids fetching it",
        )
    else:
        yield _job(Kind.PULL, instance, container, f"{instance.spec.image} is not on {view.spark} ({cause})")


def _waiting(instance: Instance, failure: Failure, now: float) -> Held | None:
    if failure.terminal:
        return held(
            instance,
            failure.reason,
            f"{failure.message} (waits for a change of its declaration)",
            terminal=True,
        )
    if now < failure.retry_at:
        text = f"{failure.message} (failure {failure.count}, next try in {failure.retry_at - now:.0f} s)"
        return held(instance, failure.reason, text, until=failure.retry_at)
    return None


def not_serving(instance: Instance, container: Container, probe: ProbeResult | None, now: float) -> str | None:
    """Why a running container should be restarted: it stopped answering, or never began to. None if it should not."""
    if instance.probe.kind == "none" or probe is None or probe.container != container.id or probe.ready:
        return None
    if probe.ready_at and probe.failures >= instance.probe.failures:
        return f"it runs but does not answer since {now - probe.failing_since:.0f} s: {probe.message}"
    # The Spark's clock may differ from ours: what counts is how long we have been asking.
    if not probe.ready_at and probe.failing_since and now - probe.failing_since > instance.start_timeout:
        return f"it did not answer within {instance.start_timeout:.0f} s of its start: {probe.message}"
    return None


def _ended(container: Container) -> str:
    if container.state == "created":
        return f"it was created but did not start{': ' + container.error if container.error else ''}"
    if container.oom_killed:
        return "it was killed for lack of memory"
    return f"it exited with status {container.exit_code}"


def _name_taken(container: Container) -> str:
    return (
        f"the name {container.name} is taken by a container that is not ours ({container.image}, {container.id[:12]})"
    )


def drift(container: Container, instance: Instance) -> str:
    """Which fields of the spec differ, old to new, read from the container's own label."""
    try:
        old = json.loads(container.labels.get(SPEC, "{}"))
    except ValueError:
        old = {}
    new = json.loads(instance.spec.canonical())
    changed = [_change(field, old, new) for field in sorted({*old, *new}) if old.get(field) != new.get(field)]
    return "changed: " + ("; ".join(changed) or "its spec (the container's label says nothing more)")


def _change(field: str, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    before, after = old.get(field), new.get(field)
    if isinstance(before, (list, dict)) or isinstance(after, (list, dict)):
        return field
    return f"{field} {before if before is not None else '(none)'} -> {after if after is not None else '(none)'}"
