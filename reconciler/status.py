"""The status that people and programs read: every Spark and every workload, as plain data.

Read from the loop, never written back. Conditions keep the time of their last flip between calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from reconciler.lease import Lease
from reconciler.loop import Loop
from reconciler.memory.estimate import Source
from reconciler.model import OWNER, Container, Held, Instance, Plan, Sight, Step
from reconciler.target import Target
from reconciler.verdict import (
    DEGRADED,
    HEALTHY,
    MISSING,
    OUT_OF_SYNC,
    SUSPENDED,
    SYNCED,
    UNKNOWN,
    WORST_HEALTH,
    WORST_SYNC,
    Verdict,
    Verdicts,
    worst,
)
from state.conditions import Condition, merge
from state.conditions import Status as Truth
from state.load import Declaration

Json = dict[str, Any]


class Status:
    """Builds the status of one loop."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._conditions: dict[str, tuple[Condition, ...]] = {}

    def build(self) -> Json:
        """The whole status; see docs/API.md for its shape."""
        loop = self._loop
        plan = loop.plan()
        target, world = loop.target(), loop.world()
        verdicts = Verdicts(target, world, plan)
        current = loop.store.current
        placed: dict[str, list[Instance]] = {name: [] for name in current.loaded.resolved}
        for instances in target.instances.values():
            for instance in instances:
                placed[instance.workload].append(instance)
        workloads = {
            name: self._workload(declaration, placed[name], verdicts, plan, target)
            for name, declaration in current.loaded.resolved.items()
        }
        workloads |= _leftovers(loop, plan, workloads)
        return {
            "revision": current.revision,
            "generation": current.generation,
            "problems": [problem.as_dict() for problem in loop.store.problems],
            "sparks": {name: self._spark(name, target) for name in sorted(loop.workers)},
            "workloads": workloads,
            "plan": {"id": plan.digest, "steps": len(plan.steps), "withheld": len(plan.withheld)},
        }

    def _spark(self, name: str, target: Target) -> Json:
        """A Spark, with the lease of it and whether that is ours."""
        loop, now = self._loop, self._loop.now()
        lease = loop.workers[name].lease.lease
        if lease is None:
            return {**_spark(name, loop, target), "lease": None, "conditions": []}
        key = f"spark/{name}"
        why = ("LeaseOurs", f"token {lease.token}") if lease.ours else (lease.reason, lease.told())
        new = _condition("Leased", "True" if lease.ours else "False", why, 0)
        merged = self._conditions[key] = merge(self._conditions.get(key, ()), (new,), now)
        return {
            **_spark(name, loop, target),
            "lease": _lease(lease, now),
            "conditions": [condition.as_dict() for condition in merged],
        }

    def _workload(
        self, declaration: Declaration, instances: list[Instance], verdicts: Verdicts, plan: Plan, target: Target
    ) -> Json:
        name, workload = declaration.name, declaration.workload
        found = [(instance, verdicts.on(instance)) for instance in instances]
        sync, health, why = _summary(name, workload.run, found, verdicts, plan, target)
        generation = self._loop.store.generation_of(name)
        stalled = any(v.stalled for _, v in found) or any(h.workload == name and h.terminal for h in plan.held)
        stall = (why[0], why[1]) if stalled else ("NotStalled", "")
        new = (
            _condition("Ready", _truth(health), (why[2], why[3]), generation),
            _condition("Synced", _truth(sync), (why[0], why[1]), generation),
            _condition("Stalled", "True" if stalled else "False", stall, generation),
        )
        conditions = self._conditions[name] = merge(self._conditions.get(name, ()), new, self._loop.now())
        return {
            "kind": declaration.kind,
            "run": workload.run,
            "generation": generation,
            "observedGeneration": generation,
            "sync": sync,
            "health": health,
            "message": why[3] if health not in {HEALTHY, SUSPENDED} else why[1],
            "conditions": [condition.as_dict() for condition in conditions],
            "instances": [
                {**instance_json(instance, verdict), "progress": self._progress(instance)}
                for instance, verdict in found
            ],
        }

    def _progress(self, instance: Instance) -> Json | None:
        """How far a start is that is being followed."""
        worker = self._loop.workers.get(instance.spark)
        known = worker.loads.accounts.get((instance.workload, instance.spark)) if worker is not None else None
        return None if known is None else asdict(known)


def _condition(kind: str, status: Truth, why: tuple[str, str], generation: int) -> Condition:
    return Condition(type=kind, status=status, reason=why[0], message=why[1], observed_generation=generation)


def _summary(
    name: str, run: str, found: list[tuple[Instance, Verdict]], verdicts: Verdicts, plan: Plan, target: Target
) -> tuple[str, str, tuple[str, str, str, str]]:
    """Sync, health, and (sync reason, sync message, health reason, health message) of the worst instance."""
    going = verdicts.leftover(name)
    if not found:
        refused = next((held for held in plan.held if held.workload == name), None)
        if run == "never" or refused is None:
            text = going[0].cause if going else f"{name} is {target.declared.get(name, 'not declared')}"
            return (OUT_OF_SYNC if going else SYNCED), SUSPENDED, ("RunNever", text, "RunNever", text)
        why = (refused.reason, refused.message, refused.reason, refused.message)
        drained = refused.reason == "Drained"
        return (SYNCED if drained and not going else OUT_OF_SYNC), (SUSPENDED if drained else MISSING), why
    sync = worst((v.sync for _, v in found), WORST_SYNC)
    health = worst((v.health for _, v in found), WORST_HEALTH)
    by_sync = next(v for _, v in found if v.sync == sync)
    by_health = next(v for _, v in found if v.health == health)
    here = {instance.spark for instance, _ in found}
    elsewhere = [step for step in going if step.spark not in here]
    if sync == SYNCED and elsewhere:
        why = (
            f"{elsewhere[0].verb.capitalize()}Planned",
            elsewhere[0].cause,
            by_health.health_reason,
            by_health.health_message,
        )
        return OUT_OF_SYNC, health, why
    return sync, health, (by_sync.sync_reason, by_sync.sync_message, by_health.health_reason, by_health.health_message)


def _truth(word: str) -> Truth:
    if word in {SYNCED, HEALTHY}:
        return "True"
    return "Unknown" if word == UNKNOWN else "False"


def instance_json(instance: Instance, verdict: Verdict) -> Json:
    """One instance as the API shows it."""
    container = verdict.container
    return {
        "spark": instance.spark,
        "rank": instance.rank,
        "name": instance.name,
        "engine": instance.engine,
        "image": instance.spec.image,
        "port": instance.spec.port,
        "memory": {
            "bytes": None if instance.memory_source == Source.UNKNOWN else instance.memory,
            "source": str(instance.memory_source),
            "lines": list(instance.memory_lines),
        },
        "sync": verdict.sync,
        "health": verdict.health,
        "message": verdict.health_message,
        "container": _container(container) if container else None,
    }


def _container(container: Container) -> Json:
    return {
        "id": container.id[:12],
        "state": container.state,
        "startedAt": container.started_at or None,
        "exitCode": None if container.running else container.exit_code,
        "restartCount": container.restart_count,
        "specHash": container.spec_hash,
        "generation": container.labels.get("sparkkeep.generation"),
    }


def _spark(name: str, loop: Loop, target: Target) -> Json:
    sight: Sight = loop.workers[name].sight
    declared = loop.store.current.loaded.desired.sparks.get(name)
    scan = sight.scan
    return {
        "host": declared.host if declared else None,
        "reachable": not sight.unknown,
        "reason": sight.unknown or "Reachable",
        "message": sight.message,
        "since": sight.since or None,
        "scannedAt": scan.taken_at if scan else None,
        "scanSeconds": round(scan.ended - scan.began, 4) if scan else None,
        "cordoned": name in target.cordoned,
        "drained": name in target.drained,
        "facts": _facts(sight),
        "foreign": _foreign(scan.containers if scan else (), target.owner),
    }


def _lease(lease: Lease, now: float) -> Json:
    return {
        "holder": lease.holder.rpartition("@")[2] or None,
        "ours": lease.ours,
        "token": lease.token,
        "reason": lease.reason or "LeaseOurs",
        "message": "" if lease.ours else lease.told(),
        "takenAt": lease.taken_at or None,
        "renewedAt": lease.renewed_at or None,
        "expiresIn": round(max(0.0, lease.expires_at - now), 1) if lease.expires_at else None,
    }


def _facts(sight: Sight) -> Json | None:
    if sight.scan is None:
        return None
    facts = sight.scan.facts
    return {
        "memoryTotal": facts.memory_total,
        "memoryAvailable": facts.memory_available,
        "memoryFree": facts.memory_free,
        "diskFree": facts.disk_free,
        "diskTotal": facts.disk_total,
        "gpus": [
            {"name": g.name, "utilization": g.utilization, "temperature": g.temperature, "power": g.power}
            for g in facts.gpus
        ],
        "interfaces": {name: list(addresses) for name, addresses in facts.interfaces.items()},
    }


def _foreign(containers: Iterable[Container], owner: str) -> list[Json]:
    return [
        {"id": c.id[:12], "name": c.name, "image": c.image, "state": c.state, "ports": list(c.ports)}
        for c in containers
        if c.labels.get(OWNER) != owner
    ]


def _leftovers(loop: Loop, plan: Plan, workloads: Mapping[str, Json]) -> dict[str, Json]:
    """Containers of ours whose workload is declared nowhere: shown until they are gone."""
    found: dict[str, Json] = {}
    for name, worker in loop.workers.items():
        for container in worker.sight.scan.containers if worker.sight.scan else ():
            if not loop.owns(container) or container.workload in workloads or container.workload in found:
                continue
            held = next((h for h in plan.held if h.workload == container.workload and h.spark == name), None)
            found[container.workload] = {
                "kind": "removed",
                "run": "never",
                "generation": 0,
                "observedGeneration": 0,
                "sync": UNKNOWN if worker.sight.unknown else OUT_OF_SYNC,
                "health": UNKNOWN if worker.sight.unknown else (HEALTHY if container.state == "running" else DEGRADED),
                "message": held.message if held else "no longer declared: being removed",
                "conditions": [],
                "instances": [],
            }
    return found


def step_json(step: Step) -> Json:
    """A step as the API and `-o json` show it."""
    return {
        "verb": str(step.verb),
        "spark": step.spark,
        "workload": step.workload,
        "rank": step.rank,
        "command": step.command,
        "cause": step.cause,
        "consequence": step.consequence,
        "destructive": step.destructive,
        "lookFirst": step.look_first or None,
    }


def plan_json(plan: Plan) -> Json:
    """A plan as the API and `-o json` show it."""
    return {
        "id": plan.digest,
        "revision": plan.revision,
        "steps": [step_json(step) for step in plan.steps],
        "withheld": [step_json(step) for step in plan.withheld],
        "unknown": list(plan.unknown),
        "held": [held_json(held) for held in plan.held],
    }


def held_json(held: Held) -> Json:
    """What is left alone, as the API and `-o json` show it."""
    return {
        "spark": held.spark,
        "workload": held.workload,
        "rank": held.rank,
        "reason": held.reason,
        "message": held.message,
        "until": held.until,
        "terminal": held.terminal,
        "approvable": held.approvable,
    }
