"""Two verdicts on each instance, never merged: is it as declared (sync), and does it serve (health).

Pure. Made from the same target, world and plan that the loop acts on, so that what a person reads is what
the loop believes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.model import OWNER, Container, Held, Instance, Key, Plan, Scan, Sight, Step, World
from reconciler.target import Target

SYNCED, OUT_OF_SYNC, UNKNOWN = "Synced", "OutOfSync", "Unknown"
HEALTHY, PROGRESSING, DEGRADED = "Healthy", "Progressing", "Degraded"
SUSPENDED, MISSING = "Suspended", "Missing"
WORST_SYNC: Final = (OUT_OF_SYNC, UNKNOWN, SYNCED)
WORST_HEALTH: Final = (DEGRADED, MISSING, PROGRESSING, UNKNOWN, SUSPENDED, HEALTHY)
CONTENT: Final = frozenset({"OnDemand", "Suspended"})  # held, and still as declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The two words on one instance, with the reason (CamelCase) and the sentence for each."""

    sync: str
    sync_reason: str
    sync_message: str
    health: str
    health_reason: str
    health_message: str
    stalled: bool = False
    container: Container | None = None


class Verdicts:
    """Verdicts on the instances of one target in one world. The indexes are made once, at construction."""

    def __init__(self, target: Target, world: World, plan: Plan) -> None:
        self._target = target
        self._world = world
        self._steps: dict[Key, Step] = {}
        for step in (*plan.withheld, *reversed(plan.steps)):
            self._steps[step.workload, step.spark] = step
        self._held: dict[Key, Held] = {(held.workload, held.spark): held for held in plan.held}
        self._named: dict[str, Mapping[str, Container]] = {}

    def on(self, instance: Instance) -> Verdict:
        """The verdict on one instance."""
        key = (instance.workload, instance.spark)
        sight = self._world.sights.get(instance.spark, Sight())
        container = self._container(instance, sight)
        held = self._held.get(key)
        if sight.unknown:
            text = f"{instance.spark}: {sight.message}"
            return Verdict(
                sync=UNKNOWN, sync_reason=sight.unknown, sync_message=text,
                health=UNKNOWN, health_reason=sight.unknown, health_message=text, container=container,
            )  # fmt: skip
        sync = self._sync(key, instance, container, held)
        health = self._health(key, instance, container, held)
        stalled = held is not None and (held.terminal or held.approvable)
        return Verdict(
            sync=sync[0], sync_reason=sync[1], sync_message=sync[2],
            health=health[0], health_reason=health[1], health_message=health[2],
            stalled=stalled, container=container,
        )  # fmt: skip

    def leftover(self, workload: str) -> tuple[Step, ...]:
        """Steps about a workload on Sparks where nothing of it should be."""
        return tuple(step for (name, _), step in self._steps.items() if name == workload)

    def _container(self, instance: Instance, sight: Sight) -> Container | None:
        if instance.spark not in self._named:
            self._named[instance.spark] = _by_name(sight.scan, self._target.owner)
        return self._named[instance.spark].get(instance.name)

    def _sync(
        self, key: Key, instance: Instance, container: Container | None, held: Held | None
    ) -> tuple[str, str, str]:
        if instance.workload in self._target.suspended:
            same = container is not None and container.spec_hash == instance.spec_hash
            return (SYNCED if same else OUT_OF_SYNC), "Suspended", "suspended: nothing about it is changed"
        if held is not None and held.reason not in CONTENT:
            return OUT_OF_SYNC, held.reason, held.message
        step = self._steps.get(key)
        if step is not None:
            return OUT_OF_SYNC, f"{step.verb.capitalize()}Planned", step.cause
        return SYNCED, "AsDeclared", "as declared" if held is None else held.message

    def _health(
        self, key: Key, instance: Instance, container: Container | None, held: Held | None
    ) -> tuple[str, str, str]:
        failure = self._world.failures.get(key)
        if instance.workload in self._target.suspended:
            return SUSPENDED, "Suspended", "suspended by a person or its declaration"
        if held is not None and held.reason == "OnDemand" and not (failure is not None and failure.terminal):
            return MISSING, held.reason, held.message
        if container is None:
            if failure is not None and failure.spec_hash == instance.spec_hash:
                return DEGRADED, failure.reason, failure.message
            return MISSING, held.reason if held else "NotCreated", held.message if held else "no container yet"
        if container.state == "running":
            return self._serving(key, instance, container)
        if container.state == "created":
            return PROGRESSING, "Created", container.error or "created, not started yet"
        if failure is not None:
            return DEGRADED, failure.reason, failure.message
        return DEGRADED, "NotRunning", f"its container is {container.state} (status {container.exit_code})"

    def _serving(self, key: Key, instance: Instance, container: Container) -> tuple[str, str, str]:
        if instance.probe.kind == "none":
            return HEALTHY, "Running", "its container runs (it declares no probe)"
        probe = self._world.probes.get(key)
        if probe is None or probe.container != container.id:
            return PROGRESSING, "NotAskedYet", "its container runs and was not asked yet"
        if probe.ready:
            return HEALTHY, "Serving", probe.message
        if probe.ready_at:
            return DEGRADED, "NotAnswering", probe.message
        how_far = self._world.loads.get(key)
        told = f"it {how_far}" if how_far else f"its container runs and does not answer yet: {probe.message}"
        return PROGRESSING, "Starting", told


def worst(words: Iterable[str], order: tuple[str, ...]) -> str:
    """The worst of the words; the last of `order` if there are none."""
    found = set(words)
    return next((word for word in order if word in found), order[-1])


def _by_name(scan: Scan | None, owner: str) -> Mapping[str, Container]:
    containers = scan.containers if scan is not None else ()
    return {c.name: c for c in containers if c.labels.get(OWNER) == owner}
