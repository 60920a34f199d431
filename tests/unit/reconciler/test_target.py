"""A target that is made from an earlier one is the very target that would be made from nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler import target as made
from reconciler.engines import Fabric
from reconciler.place import Placements
from reconciler.target import Known, Overrides, Target, build
from tests.unit.reconciler.builders import FABRIC, loaded_from

YAML = """
sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}, s3: {host: 10.0.0.3}}
models:
  big: {recipe: {engine: vllm, model: a/b, image: v:1, memory: 9GiB, port: 8000}, across: [s1, s2]}
  unstated: {recipe: {engine: vllm, model: c/d, image: v:1, port: 8001, mods: [fix]}, on: s3}
services:
  echo: {recipe: {image: e:1, port: 9000}, on: [s1, s3]}
  roams: {recipe: {image: e:1, port: 9001}, on: any}
  off: {recipe: {image: e:1, port: 9002}, on: s1, run: never}
"""
LOADED = loaded_from(YAML)
GIVEN: dict[str, Any] = {
    "revision": "rev1",
    "generations": {"echo": 3},
    "overrides": Overrides(),
    "placements": Placements(on={"roams": "s1"}, waiting={}),
    "known": Known(fabric=FABRIC, mods={"fix": "f" * 32}),
}


def built(**given: Any) -> Target:
    return build(LOADED.desired, LOADED.resolved.values(), **{**GIVEN, **given})


def known(**changes: Any) -> dict[str, Any]:
    return {"known": replace(GIVEN["known"], **changes)}


CHANGES: list[tuple[dict[str, Any], set[str]]] = [  # an input, and the workloads that depend on it
    ({}, set()),
    ({"revision": "rev2"}, {"big", "unstated", "echo", "roams", "off"}),
    ({"generations": {"echo": 4}}, {"echo"}),
    ({"overrides": Overrides(drained=frozenset({"s3"}))}, {"unstated", "echo"}),
    ({"overrides": Overrides(suspended=frozenset({"echo"}), cordoned=frozenset({"s1"}))}, set()),
    ({"placements": Placements(on={"roams": "s2"}, waiting={})}, {"roams"}),
    ({"placements": Placements(on={}, waiting={"roams": ("NoRoom", "nowhere")})}, {"roams"}),
    (known(fabric={**FABRIC, "s2": Fabric(address="10.9.9.9", interface="eth1")}), {"big"}),
    (known(fabric={**FABRIC, "s3": Fabric(address="10.0.0.3", gpus=False)}), {"unstated", "echo"}),
    (known(fabric={"s1": FABRIC["s1"]}), {"big", "unstated", "echo"}),
    (known(mods={"fix": "0" * 32}), {"unstated"}),
    (known(mods={}), {"unstated"}),
    (known(peaks={("unstated", "s3"): ("0" * 64, 5 * 2**30)}), {"unstated"}),
    (known(peaks={("echo", "s1"): ("0" * 64, 5 * 2**30)}), {"echo"}),
]


@pytest.mark.parametrize(("given", "anew"), CHANGES)
def test_what_depends_on_a_change_is_made_anew_and_nothing_else(given: dict[str, Any], anew: set[str]) -> None:
    before = built()
    after = built(**given, before=before.bound)
    assert after == built(**given)
    assert {name for name, bound in after.bound.items() if bound is not before.bound[name]} == anew
    assert built(before=after.bound) == before


def test_another_declaration_of_the_same_name_is_made_anew() -> None:
    before = built()
    other = loaded_from(YAML.replace("e:1, port: 9000", "e:2, port: 9000"))
    after = build(other.desired, other.resolved.values(), **GIVEN, before=before.bound)
    assert after == build(other.desired, other.resolved.values(), **GIVEN)
    assert {i.spec.image for i in after.instances["s3"] if i.workload == "echo"} == {"e:2"}


def test_a_fleet_that_comes_into_sight_is_not_bound_anew_for_each_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1,000 Sparks the start of a controller would have taken minutes: all was bound anew for each that came."""
    names = [f"s{n}" for n in range(60)]
    text = "sparks:\n" + "".join(f"  {name}: {{host: 10.0.1.{n}}}\n" for n, name in enumerate(names))
    text += "services:\n" + "".join(f"  w-{n}: {{recipe: {{image: e:1, port: 9000}}, on: {n}}}\n" for n in names)
    loaded = loaded_from(text)
    launched = list[str]()
    launch = made.launch
    monkeypatch.setattr(
        made, "launch", lambda recipe, seat, mods: launched.append(seat.workload) or launch(recipe, seat, mods)
    )
    bound: Any = {}
    for count in range(len(names) + 1):
        fabric = {name: Fabric(address=f"10.0.1.{n}") for n, name in enumerate(names[:count])}
        given = {**GIVEN, "known": Known(fabric=fabric), "before": bound}
        bound = build(loaded.desired, loaded.resolved.values(), **given).bound
    assert len(launched) == 2 * len(names)  # once before it was seen, once after
