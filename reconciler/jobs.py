"""What each container of one Spark needs: exactly one job or one reason to leave it alone.

Pure. Here every instance that should be meets the container that is, and every container of ours that no
instance claims is marked for removal. Order, ports and memory come later, in `reconciler.sequence`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.images import has_image
from reconciler.model import OWNER, SPEC, Container, Failure, Held, Instance, ProbeResult, Scan, World
from reconciler.target import NO_CONTAINER, Target


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


FROM_IMAGE: Final = (Kind.CREATE, Kind.RECREATE)
TELLABLE: Final = 3  # words of a list that are shown one by one
TAKES_DOWN: Final = (Kind.PRUNE, Kind.RECREATE)


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One thing to do on one Spark. `instance` is missing for a prune, `container` for a first creation.

    Made by the thousand and never changed; not `frozen`, since that makes it three times as costly to make.
    """

    kind: Kind
    spark: str
    workload: str
    rank: int = 0
    cause: str
    instance: Instance | None = None
    container: Container | None = None
    failing: bool = False

    @property
    def stops(self) -> Container | None:
        """The running container that this job takes down for good; what guards count."""
        container = self.container
        return container if container is not None and self.kind in TAKES_DOWN and container.running else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkView:
    """What the planner sees of one Spark whose scan is current."""

    spark: str
    scan: Scan
    target: Target
    world: World
    owned: tuple[Container, ...]  # the containers that carry our owner label


def survey(view: SparkView) -> list[Job | Held]:
    """A job or a reason for each thing on this Spark that is not as it should be; nothing for what is."""
    named = {container.name: container for container in view.scan.containers}
    instances = view.target.instances[view.spark]
    claimed = {instance.name for instance in instances}
    unclaimed = [container for container in view.owned if container.name not in claimed]
    found = [_unclaimed(view, container) for container in sorted(unclaimed, key=lambda c: c.name)]
    for instance in instances:
        container = named.get(instance.name)
        if instance.workload in view.target.suspended:
            found.append(held(instance, "Suspended", f"{instance.workload} is suspended: nothing about it is changed"))
        elif container is None:
            found.append(_absent(view, instance))
        elif container.labels.get(OWNER) != view.target.owner:
            found.append(held(instance, "NameTaken", _name_taken(container)))
        elif container.spec_hash != instance.spec_hash:
            found.append(_drifted(view, instance, container))
        elif container.state == "running":
            found += _running(view, instance, container)
        else:
            found.append(_stopped(view, instance, container))
    return found


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


def _job(kind: Kind, instance: Instance, container: Container | None, cause: str, *, failing: bool = False) -> Job:
    return Job(
        kind=kind,
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        cause=cause,
        instance=instance,
        container=container,
        failing=failing,
    )


def _unclaimed(view: SparkView, container: Container) -> Job | Held:
    """A container with our label that no instance of this Spark claims."""
    workload, rank = container.workload, container.rank
    if workload in view.target.suspended:
        message = f"{workload} is suspended: {container.name} stays"
        return Held(spark=view.spark, workload=workload, rank=rank, reason="Suspended", message=message)
    if container.state == "removing":
        message = f"Docker is removing {container.name}"
        return Held(spark=view.spark, workload=workload, rank=rank, reason="Removing", message=message)
    cause = _why_unclaimed(view, container)
    return Job(kind=Kind.PRUNE, spark=view.spark, workload=workload, rank=rank, cause=cause, container=container)


def _why_unclaimed(view: SparkView, container: Container) -> str:
    name = container.workload
    if view.spark in view.target.drained and name in view.target.declared:
        return f"{view.spark} is being drained"
    if name not in view.target.declared:
        return f"{name or container.name} is not declared"
    if any(instance.workload == name for instance in view.target.instances[view.spark]):
        return f"{container.name} carries the label of {name}, but not the name of its container"
    return f"{name} is {view.target.declared[name]}, not on {view.spark}"


def _absent(view: SparkView, instance: Instance) -> Job | Held:
    if instance.on_demand:
        return held(instance, "OnDemand", f"{instance.workload} starts when it is asked for")
    if view.spark in view.target.cordoned:
        return held(instance, "Cordoned", f"{view.spark} is cordoned: nothing new starts there")
    return _when_possible(view, instance, Kind.CREATE, None, NO_CONTAINER)


def _drifted(view: SparkView, instance: Instance, container: Container) -> Job | Held:
    cause = drift(container, instance)
    if container.state == "removing":
        return held(instance, "Removing", f"Docker is removing {container.name}")
    if instance.on_demand:
        return Job(
            kind=Kind.PRUNE,
            spark=view.spark,
            workload=instance.workload,
            rank=instance.rank,
            cause=cause,
            container=container,
        )
    if view.spark in view.target.cordoned:
        text = f"{view.spark} is cordoned: {container.name} keeps running as it was ({cause})"
        return held(instance, "Cordoned", text)
    return _when_possible(view, instance, Kind.RECREATE, container, cause)


def _running(view: SparkView, instance: Instance, container: Container) -> Iterator[Job | Held]:
    """A running container of the right spec."""
    probe = view.world.probes.get((instance.workload, view.spark))
    if view.world.restarts.get(container.id) == container.started_at:
        yield _job(Kind.RESTART, instance, container, "a person asked for a restart")
    elif (why := not_serving(instance, container, probe, view.world.now)) is not None:
        yield _when_possible(view, instance, Kind.RESTART, container, why)
    if container.restart_policy != instance.restart:
        cause = f"restart policy: {container.restart_policy} -> {instance.restart}"
        yield _job(Kind.UPDATE, instance, container, cause)


def _stopped(view: SparkView, instance: Instance, container: Container) -> Job | Held:
    """A container of the right spec that does not run."""
    match container.state:
        case "exited" | "created" if instance.on_demand:
            return held(instance, "OnDemand", f"{instance.workload} starts when it is asked for")
        case "exited" | "created":
            return _when_possible(view, instance, Kind.START, container, _ended(container))
        case "paused":
            return _job(Kind.UNPAUSE, instance, container, "somebody paused it")
        case "dead":
            cause = "Docker calls it dead: it could not be removed whole"
            return _when_possible(view, instance, Kind.RECREATE, container, cause)
        case "removing":
            return held(instance, "Removing", f"Docker is removing {container.name}")
        case _:
            text = f"Docker is restarting it ({container.restart_count} times so far)"
            return held(instance, "Restarting", text)


def _when_possible(
    view: SparkView, instance: Instance, kind: Kind, container: Container | None, cause: str
) -> Job | Held:
    """The job, unless an earlier failure still holds it back; an image that is missing is fetched first."""
    failure = view.world.failures.get((instance.workload, view.spark))
    if (
        failure is not None
        and failure.spec_hash == instance.spec_hash
        and (wait := _waiting(instance, failure, view.world.now))
    ):
        return wait
    image = instance.spec.image
    if kind not in FROM_IMAGE or has_image(view.scan.images, image):
        return _job(kind, instance, container, cause, failing=kind is Kind.RESTART)
    if (view.spark, image) in view.world.pulling:
        return held(instance, "Pulling", f"{view.spark} is fetching {image}")
    if instance.pull == "never":
        text = f"{image} is not on {view.spark}, and `pull: never` forbids fetching it"
        return held(instance, "ImageMissing", text)
    return _job(Kind.PULL, instance, container, f"{image} is not on {view.spark} ({cause})")


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
    if field in {"env", "secrets"}:
        return f"{field} {_names(before, after)}"
    if isinstance(before, list) and isinstance(after, list) and (words := _words(before, after)):
        return f"{field} {words}"
    if isinstance(before, (list, dict)) or isinstance(after, (list, dict)):
        return field
    return f"{field} {before if before is not None else '(none)'} -> {after if after is not None else '(none)'}"


def _names(before: object, after: object) -> str:
    """The variables that came, went or changed; never their values, which people take for private."""
    old, new = (dict(pairs) if isinstance(pairs, list) else {} for pairs in (before, after))
    return ", ".join(sorted(name for name in {*old, *new} if old.get(name) != new.get(name)))


def _words(before: list[object], after: list[object]) -> str:
    """The few words of an argv that changed, each behind its flag; empty if it changed beyond telling so."""
    if len(before) != len(after):
        return ""
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    if len(changed) > TELLABLE:
        return ""
    flags = [f"{after[at - 1]} " if at and str(after[at - 1]).startswith("-") else "" for at in changed]
    return ", ".join(f"{flag}{before[at]!s:.60} -> {after[at]!s:.60}" for flag, at in zip(flags, changed, strict=True))
