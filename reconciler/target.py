"""What should run where, at one revision: the declarations bound to Sparks.

Pure, and computed once per change of the desired state, of an operator's override or of a placement, so
that planning a thousand workloads is a matter of comparing hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from reconciler.launch import NotLaunchable, container_name, create, launch_spec, probe_spec
from reconciler.model import Held, Instance, Step, Verb
from reconciler.place import Placements, gib
from state.desired import ANY, Desired, Workload
from state.load import Declaration
from state.recipes import Recipe

NO_CONTAINER: Final = "no container of it on this Spark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What people asked for by verbs that are not desired state."""

    suspended: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The input of the planner that people decide. `instances` are per Spark, in the order of their names."""

    revision: str
    owner: str
    sparks: tuple[str, ...]
    reserves: Mapping[str, int]
    instances: Mapping[str, tuple[Instance, ...]]
    creations: Mapping[tuple[str, str], Step]  # Spark, container name -> the step that creates it
    refused: tuple[Held, ...]
    declared: Mapping[str, str]  # workload -> where it should be, in words
    suspended: frozenset[str]
    cordoned: frozenset[str]
    drained: frozenset[str]
    allow_empty: bool
    max_destructive: int
    unreachable_freeze: float


def build(
    desired: Desired,
    declarations: Iterable[Declaration],
    *,
    revision: str,
    generations: Mapping[str, int],
    overrides: Overrides,
    placements: Placements,
) -> Target:
    """Bind every declaration to its Sparks; what can't be bound is refused with a reason."""
    owner = desired.settings.owner
    drained = overrides.drained | {name for name, spark in desired.sparks.items() if spark.drain}
    cordoned = overrides.cordoned | drained | {name for name, spark in desired.sparks.items() if spark.cordon}
    instances: dict[str, list[Instance]] = {name: [] for name in desired.sparks}
    refused: list[Held] = []
    declared: dict[str, str] = {}
    suspended = set(overrides.suspended)
    for declaration in declarations:
        name, workload = declaration.name, declaration.workload
        if workload.suspend:
            suspended.add(name)
        spots = list(_spots(name, workload, placements))
        declared[name] = _whereabouts(workload, [spark for spark, _ in spots])
        if workload.run != "never":
            waiting = placements.waiting.get(name, ("NotPlaced", "no Spark chosen yet"))
            for found in _instances(declaration, spots, generations.get(name, 1), drained, waiting):
                if isinstance(found, Held):
                    refused.append(found)
                else:
                    instances[found.spark].append(found)
    return Target(
        revision=revision,
        owner=owner,
        sparks=tuple(sorted(desired.sparks)),
        reserves={name: spark.reserve for name, spark in desired.sparks.items()},
        instances={name: tuple(sorted(found, key=lambda i: i.name)) for name, found in instances.items()},
        creations={
            (i.spark, i.name): _creation(i, owner=owner, revision=revision)
            for found in instances.values()
            for i in found
        },
        refused=tuple(refused),
        declared=declared,
        suspended=frozenset(suspended),
        cordoned=frozenset(cordoned),
        drained=frozenset(drained),
        allow_empty=desired.guards.allow_empty,
        max_destructive=desired.guards.max_destructive,
        unreachable_freeze=desired.guards.unreachable_freeze,
    )


def _instances(
    declaration: Declaration,
    spots: list[tuple[str, int | None]],
    generation: int,
    drained: AbstractSet[str],
    waiting: tuple[str, str],
) -> Iterator[Instance | Held]:
    """The instances of one declaration, or why there is none in a place where it should be."""
    name = declaration.name
    if not spots:
        yield _refusal(name, "", *waiting)
    try:
        bound = _bind(declaration, spots, generation)
    except NotLaunchable as error:
        yield from (_refusal(name, spark, "NotLaunchable", str(error)) for spark, _ in spots)
        return
    for instance in bound:
        spark = instance.spark
        yield _refusal(name, spark, "Drained", f"{spark} is being drained") if spark in drained else instance


def _spots(name: str, workload: Workload, placements: Placements) -> Iterator[tuple[str, int | None]]:
    """Spark and rank of each instance; the rank is None outside groups."""
    if workload.across is not None:
        yield from ((spark, rank) for rank, spark in enumerate(workload.across))
    elif workload.on == [ANY]:
        if name in placements.on:
            yield placements.on[name], None
    else:
        yield from ((spark, None) for spark in workload.on)


def _whereabouts(workload: Workload, sparks: list[str]) -> str:
    if workload.run == "never":
        return "declared with run: never"
    return f"declared on {', '.join(sparks)}" if sparks else "not placed yet"


def _bind(declaration: Declaration, spots: list[tuple[str, int | None]], generation: int) -> list[Instance]:
    workload, recipe = declaration.workload, declaration.recipe
    if workload.across is not None:
        raise NotLaunchable("across: this version runs a workload on one Spark each, not as a group")
    spec = launch_spec(recipe)
    digest = spec.digest()
    probe = probe_spec(recipe)
    return [
        Instance(
            workload=declaration.name,
            kind=declaration.kind,
            spark=spark,
            rank=rank or 0,
            name=container_name(declaration.name, rank),
            spec=spec,
            spec_hash=digest,
            ports=spec.host_ports,
            memory=recipe.memory or 0,
            restart=recipe.restart,
            create_folders=_folders(recipe),
            pull=recipe.pull,
            probe=probe,
            stop_timeout=recipe.stop_timeout,
            start_timeout=recipe.start_timeout,
            priority=workload.priority,
            generation=generation,
            on_demand=workload.run == "on-demand",
        )
        for spark, rank in spots
    ]


def _creation(instance: Instance, *, owner: str, revision: str) -> Step:
    """The step that creates the instance where there is nothing of it yet."""
    memory = f", taking up to {gib(instance.memory)}" if instance.memory else ""
    return Step(
        verb=Verb.CREATE,
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        argv=create(instance, owner=owner, revision=revision),
        cause=NO_CONTAINER,
        consequence=f"{instance.workload} starts on {instance.spark}{memory}",
        secrets=instance.spec.secrets,
        name=instance.name,
    )


def _folders(recipe: Recipe) -> tuple[str, ...]:
    return tuple(mount.source for mount in recipe.mounts if mount.create and mount.source.startswith(("/", "$HOME")))


def _refusal(workload: str, spark: str, reason: str, message: str) -> Held:
    return Held(spark=spark, workload=workload, reason=reason, message=message, terminal=reason == "NotLaunchable")
