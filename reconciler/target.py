"""What should run where, at one revision: the declarations bound to Sparks.

Pure, and computed once per change of the desired state, of an operator's override or of a placement, so
that planning a thousand workloads is a matter of comparing hashes. Of an earlier target what was made from the same
things is kept: a fleet that comes into sight, one Spark after the other, is not bound anew for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from reconciler.built import Contexts, built, tagged
from reconciler.engines import Digests, Fabric, Launch, NotLaunchable, Seat, launch, seats
from reconciler.holdings import meant
from reconciler.job import Job, Kind, job
from reconciler.launch import container_name, create
from reconciler.memory.estimate import SPARK, Need, need_of
from reconciler.memory.files import ModelFiles
from reconciler.model import Held, Instance, Key, Login, Step, Verb
from reconciler.place import Placements, gib
from reconciler.preflight.ask import PROGRAMS
from reconciler.weights.wanted import wanted
from state.contexts import Context
from state.desired import ANY, Desired, Workload
from state.load import Declaration
from state.recipes import Recipe

NO_CONTAINER: Final = "no container of it on this Spark"
ASKED_FOR: Final = "it is asked for, and has no container on this Spark"
NOWHERE: Final = Fabric()
UNRESOLVED: Final = frozenset({"NotLaunchable", "FabricUnknown", "FabricMissing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the desired state: of the Sparks, of this machine, of what happened before."""

    fabric: Mapping[str, Fabric] = field(default_factory=dict)  # each Spark's GPU, memory and network
    mods: Digests = field(default_factory=dict)  # the content hash of each mod by its name, or why it can't be used
    contexts: Contexts = field(default_factory=dict)  # what images are built from by its name, or why it can't be used
    files: Mapping[tuple[str, str], ModelFiles] = field(default_factory=dict)  # by what recipes mean (`holdings.meant`)
    peaks: Mapping[Key, tuple[str, int]] = field(default_factory=dict)  # what starts took: spec hash and bytes


NOTHING_KNOWN: Final = Known()


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
    groups: tuple[tuple[Instance, ...], ...]  # the instances of each workload `across` several Sparks, by rank
    refused: tuple[Held, ...]
    unresolved: frozenset[str]  # workloads whose instances are not known now: what runs of them stays as it is
    declared: Mapping[str, str]  # workload -> where it should be, in words
    suspended: frozenset[str]
    cordoned: frozenset[str]
    drained: frozenset[str]
    allow_empty: bool
    max_destructive: int
    unreachable_freeze: float
    logins: Mapping[str, Login] = field(default_factory=dict)  # by the registry's name
    drop_page_cache: bool = True
    fetch_weights: bool = True  # a launch waits for the weights that its Spark fetches
    evict_after: float = 0.0  # seconds unused after which one that runs on demand may be stopped for another
    drain: float = 0.0  # seconds that a planned stop waits for the requests under way at what it ends
    absent: Mapping[tuple[str, str], Job] = field(compare=False)  # as `creations`: the job where nothing is there yet
    bound: Mapping[str, Bound] = field(default_factory=dict, repr=False, compare=False)  # what it was made of


def build(
    desired: Desired,
    declarations: Iterable[Declaration],
    *,
    revision: str,
    generations: Mapping[str, int],
    overrides: Overrides,
    placements: Placements,
    known: Known = NOTHING_KNOWN,
    before: Mapping[str, Bound] | None = None,
) -> Target:
    """Bind every declaration to its Sparks; what can't be bound is refused with a reason.

    `before` is `bound` of an earlier target.
    """
    owner = desired.settings.owner
    drained = overrides.drained | {name for name, spark in desired.sparks.items() if spark.drain}
    cordoned = overrides.cordoned | drained | {name for name, spark in desired.sparks.items() if spark.cordon}
    made_for = (owner, revision)
    bound = [
        _bound(d, generations.get(d.name, 1), drained, placements, known, made_for, (before or {}).get(d.name))
        for d in declarations
    ]
    by_spark: dict[str, list[Instance]] = {name: [] for name in desired.sparks}
    for instance in (instance for each in bound for instance in each.instances):
        by_spark[instance.spark].append(instance)
    refused = tuple(reason for each in bound for reason in each.refused)
    return Target(
        revision=revision,
        owner=owner,
        sparks=tuple(sorted(desired.sparks)),
        reserves={
            name: desired.settings.reserve if spark.reserve is None else spark.reserve
            for name, spark in desired.sparks.items()
        },
        instances={name: tuple(sorted(found, key=lambda i: i.name)) for name, found in by_spark.items()},
        creations={(step.spark, step.name): step for each in bound for step in each.creations},
        groups=tuple(
            each.instances for each in bound if each.instances and each.declaration.workload.across is not None
        ),
        refused=refused,
        unresolved=frozenset(held.workload for held in refused if held.reason in UNRESOLVED),
        declared={each.declaration.name: each.where for each in bound},
        suspended=overrides.suspended | {d.name for each in bound if (d := each.declaration).workload.suspend},
        cordoned=frozenset(cordoned),
        drained=frozenset(drained),
        allow_empty=desired.guards.allow_empty,
        max_destructive=desired.guards.max_destructive,
        unreachable_freeze=desired.guards.unreachable_freeze,
        logins={
            registry: Login(registry=registry, user=given.user, secret=given.secret)
            for registry, given in desired.settings.registries.items()
        },
        drop_page_cache=desired.settings.drop_page_cache,
        fetch_weights=desired.settings.fetch_weights,
        evict_after=desired.settings.evict_after,
        drain=desired.settings.proxy.drain,
        absent={
            (instance.spark, instance.name): missing
            for each in bound
            for instance, missing in zip(each.instances, each.absent, strict=True)
        },
        bound={each.declaration.name: each for each in bound},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one declaration comes to: its instances, or why there is none in a place where it should be."""

    declaration: Declaration
    made_from: tuple[object, ...]  # everything else that it depends on
    where: str  # in words
    instances: tuple[Instance, ...]
    creations: tuple[Step, ...]  # one for each instance
    absent: tuple[Job, ...]  # likewise, where nothing is there yet
    refused: tuple[Held, ...]

    @property
    def grouped(self) -> bool:
        """Its instances are ranks of one group."""
        return self.declaration.workload.across is not None


def _bound(
    declaration: Declaration,
    generation: int,
    drained: AbstractSet[str],
    placements: Placements,
    known: Known,
    made_for: tuple[str, str],
    before: Bound | None,
) -> Bound:
    """`made_for`: the owner and the revision that stand in labels."""
    name, workload = declaration.name, declaration.workload
    spots = list(_spots(name, workload, placements))
    waiting = placements.waiting.get(name, ("NotPlaced", "no Spark chosen yet"))
    made_from = (
        *(generation, made_for, spots, waiting),
        [(spark in drained, known.fabric.get(spark), known.peaks.get((name, spark))) for spark, _ in spots],
        [known.mods.get(mod) for mod in declaration.recipe.mods],
        _content(declaration.recipe, known.contexts),
        known.files.get(meant(declaration.recipe)) if known.files else None,
    )
    if before is not None and before.declaration is declaration and before.made_from == made_from:
        return before
    wanted = workload.run != "never"
    found = list(_instances(declaration, spots, generation, drained, waiting, known)) if wanted else []
    instances = tuple(each for each in found if isinstance(each, Instance))
    owner, revision = made_for
    return Bound(
        declaration=declaration,
        made_from=made_from,
        where=_whereabouts(workload, [spark for spark, _ in spots]),
        instances=instances,
        creations=tuple(_creation(instance, owner=owner, revision=revision) for instance in instances),
        absent=tuple(job(Kind.CREATE, instance, None, why_missing(instance)) for instance in instances),
        refused=tuple(each for each in found if isinstance(each, Held)),
    )


def _instances(
    declaration: Declaration,
    spots: list[tuple[str, int | None]],
    generation: int,
    drained: AbstractSet[str],
    waiting: tuple[str, str],
    known: Known,
) -> Iterator[Instance | Held]:
    """The instances of one declaration, or why there is none in a place where it should be."""
    name = declaration.name
    if not spots:
        yield _refusal(name, "", *waiting)
    if declaration.workload.across is not None and (whole := _wholly(name, spots, drained, known.fabric)) is not None:
        yield from (_refusal(name, spark, *whole) for spark, _ in spots)
        return
    try:
        bound = _bind(declaration, spots, generation, known)
    except NotLaunchable as error:
        yield from (_refusal(name, spark, "NotLaunchable", str(error)) for spark, _ in spots)
        return
    for instance in bound:
        spark = instance.spark
        yield _refusal(name, spark, "Drained", f"{spark} is being drained") if spark in drained else instance


def _wholly(
    name: str, spots: list[tuple[str, int | None]], drained: AbstractSet[str], fabric: Mapping[str, Fabric]
) -> tuple[str, str] | None:
    """Why a group can't be on all of its Sparks, and so is on none: reason and message."""
    leaving = [spark for spark, _ in spots if spark in drained]
    if leaving:
        return "Drained", f"{', '.join(leaving)} is being drained, and {name} runs on all of its Sparks or on none"
    unseen = [spark for spark, _ in spots if spark not in fabric]
    if unseen:
        return "FabricUnknown", f"{', '.join(unseen)} not seen yet: the ranks of {name} need each other's addresses"
    mute = [spark for spark, _ in spots if not fabric[spark].address]
    if mute:
        what = f"no address on {', '.join(mute)} that other Sparks could use"
        return "FabricMissing", f"{what}: write its `interface:` in the desired state, or give it an address"
    return None


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


def _bind(
    declaration: Declaration,
    spots: list[tuple[str, int | None]],
    generation: int,
    known: Known,
) -> list[Instance]:
    """An instance for each spot. Raises NotLaunchable."""
    made = built(declaration.recipe, known.contexts)
    recipe, grouped = tagged(declaration.recipe, made), declaration.workload.across is not None
    launches: dict[Seat, tuple[Launch, str]] = {}  # replicas on equal Sparks are launched alike
    instances = []
    sparks = [spark for spark, _ in spots]
    places = seats(declaration.name, sparks, known.fabric, grouped=grouped, listening=recipe.listening_port)
    for (spark, rank), seat in zip(spots, places, strict=True):
        if seat not in launches:
            found = launch(recipe, seat, known.mods)
            launches[seat] = found, found.spec.digest()
        instance = _instance(declaration, spark, rank, *launches[seat], generation, known)
        instances.append(instance if made is None else replace(instance, built=made))
    return instances if grouped or len(instances) == 1 else [replace(i, replicas=len(instances)) for i in instances]


def _instance(
    declaration: Declaration, spark: str, rank: int | None, made: Launch, digest: str, generation: int, known: Known
) -> Instance:
    workload, recipe = declaration.workload, declaration.recipe
    across, need = workload.across, _need(declaration, spark, digest, known)
    return Instance(
        workload=declaration.name,
        kind=declaration.kind,
        spark=spark,
        rank=rank or 0,
        ranks=len(across) if across else 1,
        head=across[0] if across else "",
        name=container_name(declaration.name, rank),
        spec=made.spec,
        spec_hash=digest,
        ports=made.spec.host_ports,
        memory=need.size or 0,
        memory_source=need.source,
        memory_lines=(*need.lines, *need.warnings),
        restart="no" if across else recipe.restart,  # a rank that Docker restarts meets no other rank
        create_folders=tuple(folder for folder in made.folders if folder not in made.open),
        open_folders=tuple(folder for folder in made.folders if folder in made.open),
        mods=_delivered(recipe, known.mods),
        pull=recipe.pull,
        probe=made.probe,
        stop_timeout=recipe.stop_timeout,
        start_timeout=recipe.start_timeout,
        priority=workload.priority,
        generation=generation,
        on_demand=workload.run == "on-demand",
        idle=workload.idle if workload.run == "on-demand" else None,
        engine=recipe.engine,
        flags=recipe.flags if recipe.engine in PROGRAMS else {},
        patched=bool(recipe.mods),
        weights=wanted(recipe, made.spec),
    )


def _content(recipe: Recipe, contexts: Contexts) -> str:
    """What tells one content of its build context from another; empty if it is not built."""
    context = contexts.get(recipe.build.context) if recipe.build is not None else None
    return context.digest if isinstance(context, Context) else str(context or "")


def _delivered(recipe: Recipe, mods: Digests) -> tuple[tuple[str, str], ...]:
    """Name and digest of each mod; what is launchable has them all."""
    found = ((name, mods.get(name)) for name in recipe.mods)
    return tuple((name, digest) for name, digest in found if isinstance(digest, str))


def _need(declaration: Declaration, spark: str, digest: str, known: Known) -> Need:
    """What the instance is counted with; what earlier starts took there counts where they were of the same spec."""
    recipe, across = declaration.recipe, declaration.workload.across
    before, peak = known.peaks.get((declaration.name, spark), ("", 0))
    return need_of(
        recipe,
        known.files.get(meant(recipe)),
        total=known.fabric.get(spark, NOWHERE).memory or SPARK,
        group=len(across) if across else 1,
        seen=peak if peak and before == digest else None,
    )


def why_missing(instance: Instance) -> str:
    """Why one is created where there is none. What runs on demand is created only when somebody asks for it."""
    return ASKED_FOR if instance.on_demand else NO_CONTAINER


def _creation(instance: Instance, *, owner: str, revision: str) -> Step:
    """The step that creates the instance where there is nothing of it yet."""
    memory = f", taking up to {gib(instance.memory)}" if instance.memory else ""
    return Step(
        verb=Verb.CREATE,
        spark=instance.spark,
        workload=instance.workload,
        rank=instance.rank,
        argv=create(instance, owner=owner, revision=revision),
        cause=why_missing(instance),
        consequence=f"{instance.workload} starts on {instance.spark}{memory}",
        secrets=instance.spec.secrets,
        name=instance.name,
    )


def _refusal(workload: str, spark: str, reason: str, message: str) -> Held:
    return Held(spark=spark, workload=workload, reason=reason, message=message, terminal=reason == "NotLaunchable")
