"""What each container of one Spark needs: exactly one job or one reason to leave it alone.

Pure. Here every instance that should be meets the container that is, and every container of ours that no
instance claims is marked for removal. Order, ports and memory come later, in `reconciler.sequence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.access import waits_for
from reconciler.drift import drift
from reconciler.images import has_image
from reconciler.job import Job, Kind, held, job
from reconciler.lacking import lacking, meanwhile
from reconciler.model import OWNER, Built, Container, Failure, Held, Instance, ProbeResult, Scan, World
from reconciler.moments import clock
from reconciler.on_demand import needed, resting, rests, unload, unneeded
from reconciler.target import Target, why_missing
from reconciler.vetting import vet

DEAD: Final = "Docker calls it dead: it could not be removed whole"
NO_ORDERS: Final[Mapping[str, Job | Held | None]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkView:
    """What the planner sees of one Spark whose scan is current."""

    spark: str
    scan: Scan
    target: Target
    world: World
    owned: tuple[Container, ...]  # the containers that carry our owner label
    orders: Mapping[str, Job | Held | None]  # by name, for the ranks of groups: decided for all at once


def survey(view: SparkView) -> list[Job | Held]:
    """A job or a reason for each thing on this Spark that is not as it should be; nothing for what is."""
    unclaimed = {container.name: container for container in view.owned}
    foreign = _foreign(view)
    suspended = view.target.suspended
    images, absent = view.scan.images, view.target.absent
    open_to_all = not (foreign or suspended or view.world.failures or view.spark in view.target.cordoned)
    found: list[Job | Held] = []
    for instance in view.target.instances[view.spark]:
        container = unclaimed.pop(instance.name, None)
        if container is None and open_to_all and instance.plain and instance.spec.image in images:
            found.append(absent[view.spark, instance.name])
        elif instance.ranks > 1:
            order = view.orders.get(instance.name)
            found += (order,) if order is not None else ()
        elif instance.workload in suspended:
            found.append(held(instance, "Suspended", f"{instance.workload} is suspended: nothing about it is changed"))
        elif container is None:
            stranger = foreign.get(instance.name)
            found.append(_absent(view, instance) if stranger is None else name_taken(instance, stranger))
        elif container.spec_hash != instance.spec_hash:
            found.append(_drifted(view, instance, container))
        elif container.state == "running":
            found += _running(view, instance, container)
        else:
            found.append(_stopped(view, instance, container))
    if unclaimed:
        found[:0] = [_unclaimed(view, container) for _, container in sorted(unclaimed.items())]
    return found


def _foreign(view: SparkView) -> dict[str, Container]:
    """The containers that are not ours, by name."""
    if len(view.owned) == len(view.scan.containers):
        return {}
    return {c.name: c for c in view.scan.containers if c.labels.get(OWNER) != view.target.owner}


def _unclaimed(view: SparkView, container: Container) -> Job | Held:
    """A container with our label that no instance of this Spark claims."""
    workload, rank = container.workload, container.rank
    if workload in view.target.suspended:
        message = f"{workload} is suspended: {container.name} stays"
        return Held(spark=view.spark, workload=workload, rank=rank, reason="Suspended", message=message)
    if workload in view.target.unresolved:
        message = f"what should run of {workload} is not known now: {container.name} stays"
        return Held(spark=view.spark, workload=workload, rank=rank, reason="Unresolved", message=message)
    if container.state == "removing":
        message = f"Docker is removing {container.name}"
        return Held(spark=view.spark, workload=workload, rank=rank, reason="Removing", message=message)
    cause = _why_unclaimed(view, container)
    return Job(Kind.PRUNE, view.spark, workload, rank, cause, container=container)


def _why_unclaimed(view: SparkView, container: Container) -> str:
    name = container.workload
    if view.spark in view.target.drained and name in view.target.declared:
        return f"{view.spark} is being drained"
    drained = next((h for h in view.target.refused if h.workload == name and h.reason == "Drained"), None)
    if drained is not None and drained.spark == view.spark:
        return drained.message
    if name not in view.target.declared:
        return f"{name or container.name} is not declared"
    if any(instance.workload == name for instance in view.target.instances[view.spark]):
        return f"{container.name} carries the label of {name}, but not the name of its container"
    return f"{name} is {view.target.declared[name]}, not on {view.spark}"


def _absent(view: SparkView, instance: Instance) -> Job | Held:
    if instance.on_demand and rests(instance, view.world):  # asked of a thousand that run always
        return resting(instance, view.world)
    if view.spark in view.target.cordoned:
        return held(instance, "Cordoned", f"{view.spark} is cordoned: nothing new starts there")
    return _in_the_way(view, instance, None, why_missing(instance)) or view.target.absent[instance.spark, instance.name]


def _drifted(view: SparkView, instance: Instance, container: Container) -> Job | Held:
    cause = drift(container, instance)
    if container.state == "removing":
        return held(instance, "Removing", f"Docker is removing {container.name}")
    if instance.on_demand and not needed(instance, view.world):
        return Job(Kind.PRUNE, view.spark, instance.workload, instance.rank, cause, container=container)
    if view.spark in view.target.cordoned:
        text = f"{view.spark} is cordoned: {container.name} keeps running as it was ({cause})"
        return held(instance, "Cordoned", text)
    return _recreated(view, instance, container, cause)


def _running(view: SparkView, instance: Instance, container: Container) -> list[Job | Held]:
    """A running container of the right spec."""
    world = view.world
    found: list[Job | Held] = []
    if world.restarts.get(container.id) == container.started_at:
        found.append(job(Kind.RESTART, instance, container, "a person asked for a restart"))
    elif instance.on_demand and (ending := _unloaded(instance, container, world)) is not None:
        return [ending]
    elif instance.probe.kind != "none":
        probe = world.probes.get((instance.workload, view.spark))
        why = not_serving(instance, container, probe, world.now)
        if why is not None:
            found.append(waiting(instance, world) or job(Kind.RESTART, instance, container, why, failing=True))
    if container.restart_policy != instance.restart:
        cause = f"restart policy: {container.restart_policy} -> {instance.restart}"
        found.append(job(Kind.UPDATE, instance, container, cause))
    return found


def _unloaded(instance: Instance, container: Container, world: World) -> Job | None:
    """The end of one that runs on demand and nobody needs: unused, or it stopped answering and nobody waits for it."""
    if (why := unneeded(instance, container, world)) is not None:
        return unload(instance, container, *why)
    if needed(instance, world):
        return None
    silent = not_serving(instance, container, world.probes.get((instance.workload, instance.spark)), world.now)
    return unload(instance, container, "", f"{silent}; nobody waits for it", failing=True) if silent else None


def _stopped(view: SparkView, instance: Instance, container: Container) -> Job | Held:
    """A container of the right spec that does not run."""
    match container.state:
        case "exited" | "created" if rests(instance, view.world):
            return resting(instance, view.world, ended(container))
        case "dead" if rests(instance, view.world):
            return Job(Kind.PRUNE, view.spark, instance.workload, instance.rank, DEAD, container=container)
        case "exited" | "created":
            failure = view.world.failures.get((instance.workload, view.spark))
            if failure is not None and failure.renewed and failure.spec_hash == instance.spec_hash:
                cause = f"{ended(container)}, and its secrets have changed since it was made"
                return _recreated(view, instance, container, cause)
            return (
                waiting(instance, view.world)
                or lacking(instance, view.scan, view.target, view.world, container)
                or job(Kind.START, instance, container, ended(container))
            )
        case "paused":
            return job(Kind.UNPAUSE, instance, container, "somebody paused it")
        case "dead":
            return _recreated(view, instance, container, DEAD)
        case "removing":
            return held(instance, "Removing", f"Docker is removing {container.name}")
        case _:
            text = f"Docker is restarting it ({container.restart_count} times so far)"
            return held(instance, "Restarting", text)


def _recreated(view: SparkView, instance: Instance, container: Container, cause: str) -> Job | Held:
    return _in_the_way(view, instance, container, cause) or job(Kind.RECREATE, instance, container, cause)


def _in_the_way(view: SparkView, instance: Instance, container: Container | None, cause: str) -> Job | Held | None:
    """What comes before a new container: the wait after an earlier failure, an image or weights that are missing."""
    scan, world = view.scan, view.world
    if world.failures and (wait := waiting(instance, world)):
        return wait
    first = fetch(instance, scan, world, cause, container)
    if first is None and instance.flags:
        first = vet(instance, scan, world, view.target, container)
    if instance.weights is None:
        return first
    return meanwhile(first, instance, world) or lacking(instance, scan, view.target, world, container)


def fetch(
    instance: Instance, scan: Scan, world: World, cause: str, container: Container | None = None
) -> Job | Held | None:
    """What stands between an instance and its image: a fetch, a build, the wait for one. None if it is there."""
    spark, image = instance.spark, instance.spec.image
    if has_image(scan.images, image):
        return None
    if instance.built is not None:
        return _build(instance, instance.built, scan, world, cause, container)
    return _pull(instance, image, world, f"{image} is not on {spark} ({cause})", container)


def _pull(instance: Instance, image: str, world: World, cause: str, container: Container | None) -> Job | Held:
    spark = instance.spark
    if (spark, image) in world.pulling:
        return held(instance, "Pulling", f"{spark} is fetching {image}")
    if instance.pull == "never":
        text = f"{image} is not on {spark}, and `pull: never` forbids fetching it"
        return held(instance, "ImageMissing", text)
    made = job(Kind.PULL, instance, container, cause)
    made.image = image
    return made


def _build(
    instance: Instance, built: Built, scan: Scan, world: World, cause: str, container: Container | None
) -> Job | Held:
    """Its base first, then the build; one at a time on a Spark, since nobody knows how much memory one takes."""
    spark, image = instance.spark, instance.spec.image
    if (spark, image) in world.building:
        return held(instance, "Building", f"{spark} is building {image}")
    if built.base and not has_image(scan.images, built.base):
        return _pull(
            instance, built.base, world, f"{image} is built upon {built.base}, which is not on {spark}", container
        )
    other = next((each for at, each in sorted(world.building) if at == spark), "")
    if other:
        return held(instance, "WaitingTurn", f"{spark} is building {other}; images are built one at a time")
    return job(Kind.BUILD, instance, container, f"{image} is not on {spark} ({cause})")


def waiting(instance: Instance, world: World) -> Held | None:
    """The wait that an earlier failure of this instance imposes, if one does."""
    failure = world.failures.get((instance.workload, instance.spark))
    if failure is None or failure.spec_hash != instance.spec_hash:
        return None
    return _failed(instance, failure, world.now)


def _failed(instance: Instance, failure: Failure, now: float) -> Held | None:
    if failure.terminal:
        return held(
            instance,
            failure.reason,
            f"{failure.message} ({waits_for(failure.reason, instance)})",
            terminal=True,
        )
    if now < failure.retry_at:
        text = f"{failure.message} (failure {failure.count}, next try at {clock(failure.retry_at)})"
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


def ended(container: Container) -> str:
    """How a container that does not run came to its end."""
    if container.state == "created":
        return f"it was created but did not start{': ' + container.error if container.error else ''}"
    if container.oom_killed:
        return "it was killed for lack of memory"
    return f"it exited with status {container.exit_code}"


def name_taken(instance: Instance, stranger: Container) -> Held:
    """A container that is not ours stands where the instance should."""
    what = f"a container that is not ours ({stranger.image}, {stranger.id[:12]})"
    return held(instance, "NameTaken", f"the name {stranger.name} is taken by {what}")
