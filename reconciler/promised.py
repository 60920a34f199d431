"""What of a Spark's memory is spoken for although the kernel still calls it available.

Pure. A container that was admitted and still loads counts with all that it was admitted with, until it answers. A check
that asks an image for its flags counts with its whole limit for as long as it runs, whoever began it: one that an
earlier life of this process began is known by its label. Running out of memory hangs a Spark, so nothing here is
reckoned by what "usually" suffices.
"""

from __future__ import annotations

from typing import Final

from reconciler.memory.admission import Promise
from reconciler.model import OWNER, Container, Instance, Scan, World
from reconciler.preflight.ask import CAP, FLAGS, LABEL, container_name
from reconciler.target import Target

CHECK: Final = Promise(workload="a check of an image's flags", memory=CAP, doing="is under way")


def loading(target: Target, world: World, spark: str, scan: Scan) -> list[tuple[Container, Instance]]:
    """Containers that run but have not answered yet: what they will still take is not gone from MemAvailable."""
    if not scan.containers:
        return []
    expected = {i.name: i for i in target.instances[spark] if i.probe.kind != "none" or i.ranks > 1}
    found = []
    for container in scan.containers if expected else ():
        instance = expected.get(container.name)
        if instance is None or not container.running or container.labels.get(OWNER) != target.owner:
            continue
        if not _loaded(world, instance, container):
            found.append((container, instance))
    return found


def checks(world: World, spark: str, scan: Scan) -> tuple[Promise, ...]:
    """The checks of flags under way on a Spark, each with its limit."""
    ours = {container_name(image) for name, _, image in world.asking if name == spark}
    seen = {c.name for c in scan.containers if c.running and c.labels.get(LABEL) == FLAGS}
    return (CHECK,) * len(ours | seen)


def _loaded(world: World, instance: Instance, container: Container) -> bool:
    """It has answered once; for a worker, which nobody can ask, its head has."""
    probe = world.probes.get((instance.workload, instance.head or instance.spark))
    if probe is None or not probe.ready_at:
        return False
    return probe.container == container.id or instance.rank > 0
