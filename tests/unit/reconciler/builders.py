"""Small worlds for the planner's tests: a Spark, its containers, and what was declared about them."""

from __future__ import annotations

from typing import Any

from reconciler.engines import Fabric
from reconciler.model import (
    GENERATION,
    MEMORY,
    OWNER,
    RANK,
    SPEC,
    SPEC_HASH,
    WORKLOAD,
    Container,
    Facts,
    Instance,
    Scan,
    Sight,
    World,
)
from reconciler.place import Placements
from reconciler.target import Known, Overrides, Target, build
from state.load import Loaded, load_text

GIB = 2**30
NOW = 1_800_000_000.0
FABRIC = {f"s{n}": Fabric(address=f"10.0.0.{n}", interface="eth0") for n in (1, 2, 3)}


def declare(yaml: str, **overrides: Any) -> Target:
    """A target from YAML; `sparks:` is added if it is left out."""
    loaded = loaded_from(yaml)
    placements = overrides.pop("placements", Placements(on={}, waiting={}))
    known = {"fabric": FABRIC} | {
        n: overrides.pop(n) for n in ("fabric", "mods", "peaks", "contexts") if n in overrides
    }
    return build(
        loaded.desired,
        loaded.resolved.values(),
        revision="rev1",
        generations={},
        overrides=Overrides(**overrides),
        placements=placements,
        known=Known(**known),
    )


def loaded_from(yaml: str) -> Loaded:
    if "sparks:" not in yaml:
        yaml = "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}\n" + yaml
    return load_text(yaml, "desired.yaml")


def container(instance: Instance, number: int = 1, *, spec_hash: str | None = None, **changes: Any) -> Container:
    """The container that creating this instance makes."""
    labels = {
        OWNER: "sparkkeep",
        WORKLOAD: instance.workload,
        RANK: str(instance.rank),
        GENERATION: "1",
        SPEC_HASH: spec_hash or instance.spec_hash,
        MEMORY: str(instance.memory),
        SPEC: instance.spec.canonical(),
    }
    given: dict[str, Any] = {
        "id": f"{number:012x}" + "0" * 52,
        "name": instance.name,
        "image": instance.spec.image,
        "state": "running",
        "labels": labels,
        "ports": instance.spec.host_ports,
        "started_at": NOW - 100,
        "restart_policy": instance.restart,
    }
    return Container(**(given | changes))


def foreign(name: str, number: int = 99, **changes: Any) -> Container:
    given: dict[str, Any] = {
        "id": f"{number:012x}" + "0" * 52,
        "name": name,
        "image": "other/thing:1",
        "state": "running",
    }
    return Container(**(given | changes))


def sight(
    *containers: Container,
    images: frozenset[str] = frozenset(),
    free: int = 100 * GIB,
    listeners: set[int] | None = None,
) -> Sight:
    """A Spark that answers. The ports of its running containers listen."""
    held = {port for c in containers if c.running for port in c.ports}
    facts = Facts(
        boot_id="b", memory_total=121 * GIB, memory_available=free, listeners=frozenset(held | (listeners or set()))
    )
    scan = Scan(
        began=1.0,
        ended=1.1,
        taken_at=NOW,
        containers=containers,
        images=dict.fromkeys(images, frozenset[str]()),
        facts=facts,
    )
    return Sight(scan=scan, unknown="", message="", since=NOW)


def unknown(*containers: Container) -> Sight:
    """A Spark that answered once and does not now."""
    return Sight(scan=sight(*containers).scan, unknown="ConnectTimeout", message="it does not answer", since=NOW)


def world(**changes: Any) -> World:
    given: dict[str, Any] = {"sights": {"s1": sight(images=IMAGES), "s2": sight(images=IMAGES)}, "now": NOW}
    sights = {**given["sights"], **changes.pop("sights", {})}
    return World(**(given | {"sights": sights} | changes))


IMAGES = frozenset({"keep/echo:1", "keep/echo:2", "keep/other:1"})


def only(target: Target, spark: str = "s1") -> Instance:
    (instance,) = target.instances[spark]
    return instance


def named(target: Target, workload: str) -> Instance:
    return next(i for found in target.instances.values() for i in found if i.workload == workload)


def service(name: str = "echo", *, on: str = "s1", port: int = 8000, extra: str = "", recipe: str = "") -> str:
    return f"  {name}: {{recipe: {{image: 'keep/echo:1', port: {port}{recipe}}}, on: {on}{extra}}}\n"
