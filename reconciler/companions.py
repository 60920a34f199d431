"""Whom a look at one Spark concerns elsewhere: the ranks of a group depend on each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.model import Instance, Sight


def companions(
    groups: Iterable[Sequence[Instance]], sights: Mapping[str, Sight], spark: str, before: Sight, after: Sight
) -> tuple[set[str], set[str]]:
    """The other Sparks of each group whose rank on `spark` came, went or changed its state.

    And the ids of the containers of those groups' workers that are seen beside a head.
    """
    found, led = set[str](), set[str]()
    for group in groups:
        own = next((i.name for i in group if i.spark == spark), None)
        if own is not None and _state(before, own) != _state(after, own):
            found |= {i.spark for i in group if i.spark != spark}
            head, *workers = [_state(sights[i.spark], i.name) for i in group]
            led |= {worker[0] for worker in workers if head and worker}
    return found, led


def _state(sight: Sight, name: str) -> tuple[str, str] | None:
    containers = sight.scan.containers if sight.scan is not None else ()
    return next(((c.id, c.state) for c in containers if c.name == name), None)
