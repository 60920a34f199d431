"""What the ranks of each group need: one decision for all of them, whatever Spark they are on.

Pure. A group is one workload over several Sparks; each rank waits for the others, so it lives and ends as a whole:

- all of it runs, or is on its way there: nothing to do;
- a rank is missing, dead or of another spec: every other rank is taken down, head or worker (`DISBAND`);
- nothing of it is left: the workers are created, if every rank can be (`CREATE`); meanwhile the head's memory and ports
  are kept for it (`RESERVE`);
- all workers run: the head is created.

Which of these it is follows from what the scans show. A head that ended leaves its container behind, one that was never
created does not: that is how "the workers wait for their head" is told from "the head died". A head that somebody
removed leaves nothing; the one thing remembered is therefore which workers were seen beside one (`world.led`). While
a rank's Spark does not answer, or its lease is not ours, nothing about the group is changed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler.drift import drift
from reconciler.images import identity
from reconciler.job import Job, Kind, held, job
from reconciler.jobs import ended, fetch, name_taken, not_serving, waiting
from reconciler.lacking import lacking, meanwhile
from reconciler.model import OWNER, Container, Held, Instance, Scan, Step, World
from reconciler.on_demand import EVICTED, MAKING_ROOM, needed, resting, rests, unload, unneeded
from reconciler.target import Target
from reconciler.vetting import vet

Group = tuple[Instance, ...]  # by rank
Address = tuple[str, str]  # Spark, container name
Orders = dict[Address, Job | Held | None]
STARTS = (Kind.CREATE, Kind.RESERVE)
LOOK_FIRST: Final = "LookFirst"
FRESH: Final = 10.0  # seconds; what a Spark can hold is taken from no older look than this when a group starts
HOPELESS: Final = frozenset({"InsufficientMemory", "PortTaken"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One rank as it was found. `fault` says why it can't stay: another spec, or not running."""

    instance: Instance
    scan: Scan
    container: Container | None
    stranger: Container | None
    drifted: str = ""
    fault: str = ""

    @property
    def good(self) -> bool:
        """It runs as declared."""
        return self.container is not None and not self.fault

    @property
    def where(self) -> str:
        """Its place, for a sentence."""
        return f"rank {self.instance.rank} on {self.instance.spark}"


def orders(target: Target, world: World, scans: Mapping[str, Scan | None]) -> Orders:
    """The job of each rank of each group, or the reason why it has none; None for a rank that is as it should be."""
    found: Orders = {}
    for group in target.groups:
        found.update({(i.spark, i.name): order for i, order in _decide(target, world, scans, group)})
    return found


def unfit(groups: Iterable[Group], given: Orders, refused: Iterable[Held]) -> dict[str, list[Held]]:
    """The groups that were to start and can't now: workload -> the refusal of the Spark of one of its ranks.

    Or, if every Spark has room or can make it, all that make it.
    """
    starting = {
        group[0].workload
        for group in groups
        if any(isinstance(o := given.get((i.spark, i.name)), Job) and o.kind in STARTS for i in group)
    }
    found: dict[str, list[Held]] = {}
    for reason in refused:
        if reason.workload not in starting or reason.reason == "WaitingForWorkers":
            continue
        known = found.setdefault(reason.workload, [reason])
        if known[0].reason != MAKING_ROOM:
            continue
        if reason.reason != MAKING_ROOM:
            found[reason.workload] = [reason]
        elif reason is not known[0]:
            known.append(reason)
    return found


def without(
    groups: Iterable[Group], given: Orders, refusals: Mapping[str, Sequence[Held]], scans: Mapping[str, Scan | None]
) -> Orders:
    """The orders again, with these groups waiting: all ranks of a group start, or none.

    Workers that wait for a head which finds no room after all give theirs back.
    """
    changed = dict(given)
    for group in groups:
        for instance in group if group[0].workload in refusals else ():
            refused = refusals[instance.workload]
            own = next((refusal for refusal in refused if refusal.spark == instance.spark), refused[0])
            changed[instance.spark, instance.name] = _without(instance, given, own, scans)
    return changed


def evicted(groups: Iterable[Group], given: Orders, steps: Iterable[Step], scans: Mapping[str, Scan | None]) -> Orders:
    """The orders again, with all of each group going of which one rank makes way for another workload."""
    causes = {step.workload: step for step in steps if step.event == EVICTED}
    changed = dict(given)
    for instance in (i for group in groups if group[0].workload in causes for i in group):
        key, scan = (instance.spark, instance.name), scans[instance.spark]
        container = next((c for c in scan.containers if c.name == instance.name), None) if scan else None
        if given.get(key) is None and container is not None:
            first = causes[instance.workload]
            changed[key] = unload(instance, container, EVICTED, first.cause, sake=first.sake)
    return changed


def _without(instance: Instance, given: Orders, refusal: Held, scans: Mapping[str, Scan | None]) -> Job | Held | None:
    order, own = given.get((instance.spark, instance.name)), instance.spark == refusal.spark
    text = f"rank {refusal.rank} on {refusal.spark}: {refusal.message}"
    if refusal.reason == MAKING_ROOM and own:
        return order
    if isinstance(order, Job) and order.kind in STARTS:
        message = refusal.message if own else f"a group starts as a whole; {text}"
        return held(instance, refusal.reason, message, blockers=refusal.blockers)
    scan = scans[instance.spark]
    container = next((c for c in scan.containers if c.name == instance.name), None) if scan else None
    if order is None and container is not None and refusal.reason in HOPELESS:
        return job(Kind.DISBAND, instance, container, f"the whole group goes: {text}")
    return order


def _decide(
    target: Target, world: World, scans: Mapping[str, Scan | None], group: Group
) -> Iterable[tuple[Instance, Job | Held | None]]:
    name = group[0].workload
    if name in target.suspended:
        return _all(group, "Suspended", f"{name} is suspended: nothing about it is changed")
    ranks = [_look(target, i, scan) for i in group if (scan := scans[i.spark]) is not None]
    unseen = [i.spark for i in group if scans[i.spark] is None]
    if unseen:
        why = f"{', '.join(unseen)} can't be seen, and {name} runs on all of its Sparks or on none"
        return [(r.instance, None if r.good else held(r.instance, "GroupUnknown", why)) for r in ranks]
    for rank in ranks:
        lease = world.leases.get(rank.instance.spark)
        if lease is not None and not lease.ours:
            why = f"{rank.instance.spark}: {lease.told()}"
            return [(r.instance, None if r.good else held(r.instance, lease.reason, why)) for r in ranks]
    if cause := _broken(ranks, world):
        return _disband(target, ranks, cause)
    if group[0].on_demand and (ending := _unneeded(ranks, world)) is not None:
        return _unload(ranks, *ending)
    if any(not rank.good for rank in ranks):
        return _form(target, world, ranks)
    return _running(target, world, ranks)


def _running(target: Target, world: World, ranks: Sequence[Rank]) -> Iterable[tuple[Instance, Job | Held | None]]:
    """All of it runs as declared."""
    head = ranks[0]
    if _asked_for(ranks, world):
        return _disband(target, ranks, "a person asked for a restart")
    if cause := _silent(head, world):
        if head.instance.on_demand and not needed(head.instance, world):
            return _unload(ranks, "", f"{cause}; nobody waits for it", failing=True)
        return _disband(target, ranks, cause, failing=True)
    return [(rank.instance, None) for rank in ranks]


def _look(target: Target, instance: Instance, scan: Scan) -> Rank:
    container = next((c for c in scan.containers if c.name == instance.name), None)
    if container is None or container.labels.get(OWNER) != target.owner:
        return Rank(instance=instance, scan=scan, container=None, stranger=container)
    drifted = "" if container.spec_hash == instance.spec_hash else drift(container, instance)
    fault = drifted or ("" if container.state == "running" else _why_down(container))
    return Rank(instance=instance, scan=scan, container=container, stranger=None, drifted=drifted, fault=fault)


def _why_down(container: Container) -> str:
    return ended(container) if container.state in {"exited", "created"} else f"its container is {container.state}"


def _broken(ranks: Sequence[Rank], world: World) -> str:
    """Why the group can't go on as it stands; empty if it can, or if nothing of it is there."""
    for rank in ranks:
        if rank.fault:
            return f"{rank.where}: {rank.fault}"
    head, *workers = ranks
    lost = next((worker for worker in workers if worker.container is None), None)
    if head.container is not None and lost is not None:
        return f"{lost.where}: no container of it there"
    if head.container is None and any(worker.container and worker.container.id in world.led for worker in workers):
        return f"{head.where}: its container is gone"
    return ""


def _asked_for(ranks: Sequence[Rank], world: World) -> bool:
    containers = [rank.container for rank in ranks if rank.container]
    return any(world.restarts.get(container.id) == container.started_at for container in containers)


def _silent(head: Rank, world: World) -> str:
    probe = world.probes.get((head.instance.workload, head.instance.spark))
    why = not_serving(head.instance, head.container, probe, world.now) if head.container else None
    return f"{head.where}: {why}" if why else ""


def _unneeded(ranks: Sequence[Rank], world: World) -> tuple[str, str] | None:
    """Why it goes although nothing is wrong with it; None if it stays, or if nothing of it is there."""
    if not any(rank.good for rank in ranks):
        return None
    return unneeded(ranks[0].instance, ranks[0].container, world)


def _unload(
    ranks: Sequence[Rank], event: str, cause: str, *, failing: bool = False
) -> Iterable[tuple[Instance, Job | Held | None]]:
    """Take all of it down until it is asked for."""
    return [
        (r.instance, unload(r.instance, r.container, event, cause, failing=failing and r.instance.rank == 0))
        for r in ranks
        if r.container is not None
    ]


def _disband(
    target: Target, ranks: Sequence[Rank], cause: str, *, failing: bool = False
) -> Iterable[tuple[Instance, Job | Held | None]]:
    """Take down what is left of it. A change of the declaration asks the guards, a repair does not.

    `failing`: its head runs and does not serve, which counts as a failure of the head.
    """
    cordoned = [r.instance.spark for r in ranks if r.instance.spark in target.cordoned]
    drifted = any(rank.drifted for rank in ranks)
    if drifted and cordoned and all(r.container and r.container.state == "running" for r in ranks):
        text = f"{', '.join(cordoned)} cordoned: the group keeps running as it was ({cause})"
        return _all([rank.instance for rank in ranks], "Cordoned", text)
    kind = Kind.PRUNE if drifted else Kind.DISBAND
    broken = failing or any(r.container is None or r.container.state != "running" for r in ranks)
    found: list[tuple[Instance, Job | Held | None]] = []
    for rank in ranks:
        instance, container = rank.instance, rank.container
        if container is None:
            found.append((instance, held(instance, "GroupReplaced", f"the whole group is replaced: {cause}")))
        elif container.state == "removing":
            found.append((instance, held(instance, "Removing", f"Docker is removing {container.name}")))
        else:
            text = f"the whole group goes: {cause}"
            at_fault = failing and instance.rank == 0
            found.append((instance, job(kind, instance, container, text, failing=at_fault, broken=broken)))
    return found


def _form(target: Target, world: World, ranks: Sequence[Rank]) -> Iterable[tuple[Instance, Job | Held | None]]:
    """Create what is missing, workers first, unless something keeps the group from starting."""
    group = tuple(rank.instance for rank in ranks)
    obstacle = _obstacle(target, world, ranks) or _unlike(ranks) or _unlike_weights(ranks, world)
    obstacle = obstacle or _awaited(ranks, target, world) or _stale(ranks, world)
    if obstacle is not None:
        return _every(ranks, obstacle)
    name = group[0].workload
    cause = "a group starts as a whole"
    unready = {r.instance.rank: f for r in ranks if (f := fetch(r.instance, r.scan, world, cause))} or _vetted(
        target, ranks, world
    )
    if unready:
        where = ", ".join(group[rank].spark for rank in unready)
        text = f"the image of {name} is made ready on {where} first"
        waits = {rank: meanwhile(order, group[rank], world) for rank, order in unready.items()}
        return _every(ranks, lambda instance: waits.get(instance.rank) or held(instance, "GroupWaits", text))
    ready = all(rank.good for rank in ranks[1:])

    def start(instance: Instance) -> Job | Held:
        if instance.rank == 0 and not ready:
            return job(Kind.RESERVE, instance, None, "the head starts when its workers run")
        return job(Kind.CREATE, instance, None, "all of its workers run" if instance.rank == 0 else "its group starts")

    return _every(ranks, start)


def _vetted(target: Target, ranks: Sequence[Rank], world: World) -> dict[int, Job | Held]:
    """All ranks have the same image and almost the same flags: the first that has a word on them speaks for all."""
    words = ((r.instance.rank, vet(r.instance, r.scan, world, target)) for r in ranks if not r.good)
    return next(({rank: word} for rank, word in words if word), {})


def _obstacle(target: Target, world: World, ranks: Sequence[Rank]) -> Callable[[Instance], Held] | None:
    """What keeps the group from starting, as the reason for any one of its ranks."""
    if ranks[0].instance.on_demand and rests(ranks[0].instance, world) and not any(rank.good for rank in ranks):
        return lambda i: resting(i, world)
    for rank in ranks:
        spark = rank.instance.spark
        if rank.stranger is not None:
            taken = name_taken(rank.instance, rank.stranger)
            return lambda i: held(i, taken.reason, f"{taken.message} ({rank.where})")
        if spark in target.cordoned:
            return lambda i: held(i, "Cordoned", f"{spark} is cordoned: nothing new starts there")
        wait = waiting(rank.instance, world)
        if wait is not None:
            text = f"{wait.message} ({rank.where})"
            return lambda i: held(i, wait.reason, text, until=wait.until, terminal=wait.terminal)
    return None


def _unlike(ranks: Sequence[Rank]) -> Callable[[Instance], Held] | None:
    """Ranks of unlike programs hang or crash each other: all must have the very same image."""
    image = ranks[0].instance.spec.image
    known = [(rank.instance.spark, ids) for rank in ranks if (ids := identity(rank.scan.images, image))]
    for spark, ids in known[1:]:
        if ids.isdisjoint(known[0][1]):
            one, two = min(known[0][1]), min(ids)
            what = f"{image} is {one:.19} on {known[0][0]} and {two:.19} on {spark}"
            text = f"{what}: all ranks need the same; fetch it anew on one of them, or pin a digest"
            return lambda i: held(i, "ImageDiffers", text)
    return None


def _unlike_weights(ranks: Sequence[Rank], world: World) -> Callable[[Instance], Held] | None:
    """Ranks that load different commits of a model start well and answer nonsense."""
    instances = [rank.instance for rank in ranks]
    known = [(i.spark, commit) for i in instances if (commit := world.commits.get((i.workload, i.spark)))]
    for spark, commit in known[1:]:
        first, other = known[0]
        if commit != other:
            what = f"the recipe names no commit, and its weights are {other:.12} on {first} and {commit:.12} on {spark}"
            text = f"{what}: all ranks need the same; write one as `revision:`, or fetch the model anew on both"
            return lambda i: held(i, "RevisionDiffers", text)
    return None


def _awaited(ranks: Sequence[Rank], target: Target, world: World) -> Callable[[Instance], Held] | None:
    """Weights that some rank lacks, once nothing is left to do about the image: all ranks wait for them."""
    instances = [rank.instance for rank in ranks]
    if not any((i.spark, i.weights) in world.weights for i in instances) or any(rank.good for rank in ranks):
        return None
    if any(fetch(r.instance, r.scan, world, "") for r in ranks) or _vetted(target, ranks, world):
        return None
    waits = {r.instance.rank: w for r in ranks if (w := lacking(r.instance, r.scan, target, world)) is not None}
    where = ", ".join(instances[rank].spark for rank in waits)
    text = f"the weights of {instances[0].workload} come to {where} first"
    return (lambda i: waits.get(i.rank) or held(i, "GroupWaits", text)) if waits else None


def _stale(ranks: Sequence[Rank], world: World) -> Callable[[Instance], Held] | None:
    """A group starts on what its Sparks can hold now, not on what they could half a minute ago."""
    # A look of the future is one before somebody set our clock back: nobody knows how old it is.
    old = {rank.instance.spark for rank in ranks if not -1.0 <= world.now - rank.scan.taken_at <= FRESH}
    if world.lenient or not old:
        return None
    text = f"{', '.join(sorted(old))} is looked at once more before a group starts there"
    return lambda i: held(i, LOOK_FIRST if i.spark in old else "GroupWaits", text)


def _every(
    ranks: Sequence[Rank], decide: Callable[[Instance], Job | Held]
) -> Iterable[tuple[Instance, Job | Held | None]]:
    """A decision for each rank that is not there yet."""
    return [(rank.instance, None if rank.good else decide(rank.instance)) for rank in ranks]


def _all(group: Sequence[Instance], reason: str, message: str) -> Iterable[tuple[Instance, Job | Held | None]]:
    return [(instance, held(instance, reason, message)) for instance in group]
