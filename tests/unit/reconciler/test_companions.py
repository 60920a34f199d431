"""Whom a look at one Spark concerns elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.companions import companions
from reconciler.model import Container, Instance, LaunchSpec, Sight
from tests.unit.reconciler.builders import container, sight

SPEC = LaunchSpec(image="keep/echo:1")


def rank(number: int, workload: str = "big") -> Instance:
    return Instance(
        workload=workload, kind="model", spark=f"s{number + 1}", rank=number, ranks=3, head="s1",
        name=f"sparkkeep-{workload}", spec=SPEC, spec_hash="h",
    )  # fmt: skip


GROUP = tuple(rank(number) for number in range(3))
HERE: dict[str, Container] = {i.spark: container(i, number) for number, i in enumerate(GROUP)}
WHOLE = {spark: sight(here) for spark, here in HERE.items()}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Sight(), WHOLE["s2"]),
        (WHOLE["s2"], sight()),
        (WHOLE["s2"], sight(replace(HERE["s2"], state="exited"))),
        (WHOLE["s2"], sight(replace(HERE["s2"], id="f" * 64))),
    ],
)
def test_a_rank_that_came_went_or_changed_concerns_the_others(before: Sight, after: Sight) -> None:
    found, _ = companions([GROUP], {**WHOLE, "s2": after}, "s2", before, after)
    assert found == {"s1", "s3"}


def test_what_is_as_it_was_concerns_nobody() -> None:
    other = sight(HERE["s2"], replace(HERE["s2"], id="e" * 64, name="another"))
    assert companions([GROUP], WHOLE, "s2", WHOLE["s2"], other) == (set(), set())
    assert companions([GROUP], WHOLE, "s9", Sight(), WHOLE["s2"]) == (set(), set()), "no rank is there"
    assert companions([], WHOLE, "s2", Sight(), WHOLE["s2"]) == (set(), set())


def test_workers_are_led_once_they_are_seen_beside_a_head() -> None:
    _, led = companions([GROUP], WHOLE, "s3", Sight(), WHOLE["s3"])
    assert led == {HERE["s2"].id, HERE["s3"].id}
    without = {**WHOLE, "s1": sight()}
    assert companions([GROUP], without, "s3", Sight(), WHOLE["s3"]) == ({"s1", "s2"}, set())
    part = {**WHOLE, "s2": sight()}
    assert companions([GROUP], part, "s3", Sight(), WHOLE["s3"])[1] == {HERE["s3"].id}
