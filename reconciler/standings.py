"""How each instance of a workload stands, read off the workers for `reconciler.outlook`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from reconciler.model import Failure, Held, Instance, Key
from reconciler.outlook import Standing
from reconciler.target import Target
from reconciler.worker import Worker


def standing(
    instance: Instance,
    target: Target,
    workers: Mapping[str, Worker],
    failures: Mapping[Key, Failure],
    left: Mapping[str, tuple[Held, ...]],
    past: Callable[[Key], Sequence[float]],
    leaving: AbstractSet[Key],
    draining: Collection[Key] = (),
) -> Standing:
    """What is known of it now. `left` is what the last pass of each Spark left alone; a group answers by its head.

    `leaving`: what a command ends now; `draining`: what is ended when its requests are done.
    """
    worker, key = workers[instance.spark], (instance.workload, instance.spark)
    head, scan, failure = workers.get(instance.head, worker), worker.sight.scan, failures.get(key)
    containers = scan.containers if scan is not None else ()
    return Standing(
        instance=instance,
        sight=worker.sight,
        container=next((c for c in containers if c.name == instance.name), None),
        probe=head.prober.results.get((instance.workload, head.name)),
        failure=failure if failure is not None and failure.spec_hash == instance.spec_hash else None,
        held=next((held for held in left.get(instance.spark, ()) if held.workload == instance.workload), None),
        accounts={name: known for (name, _), known in worker.loads.accounts.items()},
        past=past(key),
        stopping=key in leaving,
        draining=(instance.workload, head.name) in draining,
        total=scan.facts.memory_total - target.reserves[instance.spark] if scan is not None else None,
    )
