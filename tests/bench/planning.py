"""(d) The planner alone: 1,000 workloads on 100 Sparks."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable
from dataclasses import replace

from api import (
    collector,
    serve,  # noqa: F401  # so that all the code is there that a server has in memory
)
from reconciler.model import OWNER, SPEC, SPEC_HASH, WORKLOAD, Container, Facts, Instance, Scan, Sight, World
from reconciler.place import Placements
from reconciler.plan import plan
from reconciler.target import Overrides, Target, build
from state.load import load_text
from tests.bench.figures import Table, against, ms, p50, p99

SPARKS, WORKLOADS, RUNS = 100, 1000, 300
GOAL = 0.010
GIB = 2**30
NOW = 1_800_000_000.0


def bench() -> Table:
    table = Table(
        f"(d) Plan of {WORKLOADS:,} workloads on {SPARKS} Sparks",
        ("world", "steps", "p50", "p99", "worst", "p99 of its processor time", "goal"),
    )
    collector.settle()
    target = _target()
    cases = {
        "converged": _world(target, missing=(), drifted=()),
        "10 % changed": _world(target, missing=range(0, WORKLOADS, 20), drifted=range(10, WORKLOADS, 20)),
        "everything to create": _world(target, missing=range(WORKLOADS), drifted=()),
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    worked: dict[str, list[float]] = {name: [] for name in cases}
    for world in cases.values():  # once unmeasured: imports and caches
        plan(target, world)
    for _ in range(RUNS):
        for name, world in cases.items():
            began, worked_before = time.perf_counter(), time.thread_time()
            plan(target, world)
            worked[name].append(time.thread_time() - worked_before)
            taken[name].append(time.perf_counter() - began)
    for name, world in cases.items():
        times = taken[name]
        steps = len(plan(target, world).steps)
        goal = against(GOAL, p99(times), "p99 <= 10 ms")
        table.add(name, str(steps), ms(p50(times)), ms(p99(times)), ms(max(times)), ms(p99(worked[name])), goal)
    table.notes.append(
        f"{RUNS} runs of each, interleaved, garbage collection on and set as `serve` sets it (api/collector.py; "
        f"{gc.get_freeze_count():,} objects there for good, {len(gc.get_objects()):,} others live). "
        "`10 % changed`: half of them have no container, half one of another spec."
    )
    return table


def _target() -> Target:
    sparks = "".join(f"  s{n}: {{host: 10.0.0.{n}}}\n" for n in range(SPARKS))
    recipe = "image: keep/echo:1, command: [serve, --threads, '4'], env: {LEVEL: info}, memory: 1GiB"
    services = "".join(
        f"  w{n}: {{on: s{n % SPARKS}, recipe: {{{recipe}, port: {8000 + n // SPARKS}}}}}\n" for n in range(WORKLOADS)
    )
    text = f"guards: {{maxDestructive: {WORKLOADS}}}\nsparks:\n{sparks}services:\n{services}"
    loaded = load_text(text, "desired.yaml")
    return build(
        loaded.desired,
        loaded.resolved.values(),
        revision="bench",
        generations={},
        overrides=Overrides(),
        placements=Placements(on={}, waiting={}),
    )


def _world(target: Target, *, missing: Iterable[int], drifted: Iterable[int]) -> World:
    absent, changed = {f"w{n}" for n in missing}, {f"w{n}" for n in drifted}
    sights = {}
    for spark, instances in target.instances.items():
        there = [i for i in instances if i.workload not in absent]
        sights[spark] = _sight([_container(i, drifted=i.workload in changed) for i in there])
    return World(sights=sights, now=NOW)


def _container(instance: Instance, *, drifted: bool) -> Container:
    spec = replace(instance.spec, image="keep/echo:0") if drifted else instance.spec
    labels = {OWNER: "sparkkeep", WORKLOAD: instance.workload, SPEC_HASH: spec.digest(), SPEC: spec.canonical()}
    return Container(
        id=f"{hash(instance.name) & (2**256 - 1):064x}",
        name=instance.name,
        image=spec.image,
        state="running",
        labels=labels,
        ports=spec.host_ports,
        started_at=NOW - 100,
        restart_policy=instance.restart,
    )


def _sight(containers: list[Container]) -> Sight:
    ports = frozenset(port for container in containers for port in container.ports)
    facts = Facts(boot_id="b", memory_total=121 * GIB, memory_available=100 * GIB, listeners=ports)
    images = {"keep/echo:1": frozenset({"sha256:1"})}
    scan = Scan(began=1.0, ended=1.1, taken_at=NOW, containers=tuple(containers), images=images, facts=facts)
    return Sight(scan=scan, unknown="", message="", since=NOW)
