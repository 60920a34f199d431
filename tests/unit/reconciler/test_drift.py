"""What changed between two specs, in words; and labels, which anybody may write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.drift import drift
from tests.unit.reconciler.builders import container, declare, only, service

UP = container(only(declare("services:\n" + service())))


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (", command: [a, b, c, d]", ", command: [w, x, y, d]", "changed: command a -> w, b -> x, c -> y"),
        (", command: [a, b, c, d]", ", command: [w, x, y, z]", "changed: command"),
        (", command: [--n, '1']", ", command: [-m, '1']", "changed: command --n -> -m"),
        (", command: [a, --n, '1', x]", ", command: [b, --n, '2', x]", "changed: command a -> b, --n 1 -> 2"),
        (", command: [x, '1']", ", command: [x, '2']", "changed: command 1 -> 2"),
        (f", command: [{'a' * 70}]", f", command: [{'b' * 70}]", f"changed: command {'a' * 60} -> {'b' * 60}"),
        ("", ", command: [a]", "changed: command"),
        ("", ", mounts: [{source: /a, target: /b}]", "changed: mounts"),
        (", command: [a]", "", "changed: command"),
        ("", ", shm: 1GiB", "changed: shm (none) -> 1073741824"),
        (", shm: 1GiB", ", shm: 2GiB, user: me", "changed: shm 1073741824 -> 2147483648; user (none) -> me"),
        ("", ", env: {B: x, A: y}", "changed: env A, B"),
        (
            ", env: {T: {secret: one}, S: {secret: s}}",
            ", env: {T: {secret: two}, S: {secret: s}}",
            "changed: secrets T",
        ),
        (
            ", mounts: [{source: /a, target: /b}]",
            ", mounts: [{source: /c, target: /b}]",
            "changed: mounts ['/a', '/b', False] -> ['/c', '/b', False]",
        ),
    ],
)
def test_what_changed_is_told_as_far_as_it_can_be(old: str, new: str, cause: str) -> None:
    before = container(only(declare("services:\n" + service(recipe=old))))
    assert drift(before, only(declare("services:\n" + service(recipe=new)))) == cause


NONSENSE = ("[]", "null", "3", '"image"', "[" * 100_000)


def test_variables_in_a_label_that_are_none_are_not_compared() -> None:
    """Symptom: `env: [3]` in a label, and no plan for any Spark."""
    instance = only(declare("services:\n" + service(recipe=", env: {A: b}")))
    for env in ("[3]", '[["x"]]', '[["x", 1, 2]]', "[[[], 1]]", "{}", "7", '"AB"'):
        spec = '{"image": "keep/echo:1", "port": 8000, "env": ' + env + "}"
        assert drift(replace(UP, labels={"sparkkeep.spec": spec}), instance) == "changed: env A"
    same = '{"image": "keep/echo:1", "port": 8000, "env": [["A", "b"], ["B", "c"], 3, ["C", "d"]]}'
    assert drift(replace(UP, labels={"sparkkeep.spec": same}), instance) == "changed: env B, C"


@pytest.mark.parametrize("text", ["²", "٣", "-1", "x", "", "9" * 5000, "1e3"])
def test_a_number_in_a_label_that_is_none_counts_as_nothing(text: str) -> None:
    """Symptom: `²` as the memory of a container, and no plan for any Spark."""
    odd = replace(UP, labels={**UP.labels, "sparkkeep.rank": text, "sparkkeep.memory": text})
    assert (odd.rank, odd.memory) == (0, 0)
    good = replace(UP, labels={"sparkkeep.rank": "2", "sparkkeep.memory": "99999999999999"})
    assert (good.rank, good.memory) == (2, 99999999999999)


def test_a_label_that_nobody_can_read_is_no_spec_to_compare_with() -> None:
    """Anybody may write labels; the plan must not fail over one."""
    instance = only(declare("services:\n" + service()))
    for label in ({"sparkkeep.spec": "{"}, {}, *({"sparkkeep.spec": text} for text in NONSENSE)):
        text = drift(replace(UP, labels=label), instance)
        assert text == "changed: image (none) -> keep/echo:1; port (none) -> 8000"
