"""Where the workloads with `on: any` go, given what is declared and what is seen.

Pure. Shared by the loop, which remembers the answer, and by previews of a desired state that is not in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from reconciler.holdings import meant
from reconciler.memory.estimate import need_of
from reconciler.memory.files import ModelFiles
from reconciler.model import NO_WISH, OWNER, Instance, Sight, Wish, World
from reconciler.on_demand import yields
from reconciler.place import NOTHING_HELD, Candidate, Placements, place
from reconciler.target import Target
from state.desired import ANY
from state.load import Declaration, Loaded

NO_WISHES: Final[Mapping[str, Wish]] = {}
NO_FILES: Final[Mapping[tuple[str, str], ModelFiles]] = {}


def bind_floating(
    loaded: Loaded,
    target: Target,
    sights: Mapping[str, Sight],
    before: Mapping[str, str],
    *,
    holding: Mapping[str, frozenset[str]] = NOTHING_HELD,
    files: Mapping[tuple[str, str], ModelFiles] = NO_FILES,
    wishes: Mapping[str, Wish] = NO_WISHES,
    world: Callable[[], World] | None = None,
) -> Placements | None:
    """Placements for every floating workload; None if there is none. `before` is where they were placed earlier.

    `holding` says on which Sparks the weights of each workload lie, `files` what is known of the files they mean, for
    the estimate of its memory. What nobody can tell counts as nothing here; admission refuses it there. `wishes` says
    what is asked for of those that run on demand; `world` is looked at only where one of them is, or where one that
    always runs has no place yet and could be given theirs.
    """
    floating = [
        (declaration.name, need_of(declaration.recipe, files.get(meant(declaration.recipe))).size or 0)
        for declaration in loaded.resolved.values()
        if floats(declaration)
    ]
    if not floating:
        return None
    names = {name for name, _ in floating}
    on_demand = {name for name in names if loaded.resolved[name].workload.run == "on-demand"}
    asked = {name for name in on_demand if wishes.get(name, NO_WISH).wanted}
    homeless = names - on_demand - before.keys() if _any_on_demand(loaded) else set[str]()
    wanting = {name: loaded.resolved[name].workload.priority for name in asked | homeless}
    spare = _spare(target, world(), wanting) if wanting and world else {}
    return place(
        floating,
        [
            Candidate(name=name, sight=sight, reserve=target.reserves[name], open=name not in target.cordoned)
            for name, sight in sights.items()
        ],
        owner=target.owner,
        before={name: spark for name, spark in before.items() if name in names},
        promised=_promised(target, sights, wishes, asked),
        drained=target.drained,
        holding=holding,
        resting=on_demand - asked,
        spare=spare,
        staying=names - on_demand,
    )


def _any_on_demand(loaded: Loaded) -> bool:
    return any(declaration.workload.run == "on-demand" for declaration in loaded.resolved.values())


def floats(declaration: Declaration) -> bool:
    """Whether a Spark is to be found for it."""
    workload = declaration.workload
    return workload.on == [ANY] and workload.across is None and workload.run != "never"


def _promised(
    target: Target, sights: Mapping[str, Sight], wishes: Mapping[str, Wish], asked: AbstractSet[str]
) -> dict[str, int]:
    """Memory that bound instances will take on each Spark and have not taken yet, but for `asked`: they are placed."""
    promised = {}
    for spark, instances in target.instances.items():
        scan = sights[spark].current if spark in sights else None
        up = {container.name for container in scan.containers if container.running} if scan else set()
        promised[spark] = sum(i.memory for i in instances if i.name not in up and _comes(i, wishes, asked))
    return promised


def _comes(instance: Instance, wishes: Mapping[str, Wish], asked: AbstractSet[str]) -> bool:
    if not instance.on_demand:
        return True
    return instance.workload not in asked and wishes.get(instance.workload, NO_WISH).wanted


def _spare(target: Target, world: World, wanting: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """For each workload (with its priority) what each Spark could give back by stopping what nobody uses."""
    given = [(spark, i, memory) for spark in target.sparks for i, memory in _yielding(target, world, spark)]
    spare = {name: dict(world.returning) for name in wanting}
    for name, priority in wanting.items():
        for spark, instance, memory in given:
            if instance.priority <= priority and instance.workload != name:
                spare[name][spark] = spare[name].get(spark, 0) + memory
    return spare


def _yielding(target: Target, world: World, spark: str) -> Iterator[tuple[Instance, int]]:
    """What runs on demand there and may be stopped, with the memory that it holds."""
    sight = world.sights.get(spark)
    scan = sight.current if sight is not None else None
    there = {i.name: i for i in target.instances[spark] if i.on_demand}
    for container in scan.containers if scan is not None and there else ():
        instance = there.get(container.name)
        if instance is None or not container.running or container.labels.get(OWNER) != target.owner:
            continue
        if yields(instance, container, target, world):
            yield instance, container.memory
