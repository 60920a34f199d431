"""What `docker inspect` tells of a container of ours: what came from a secret is not in it, whatever it is called."""

from __future__ import annotations

import json

import pytest

from reconciler.importers.live import masked
from reconciler.importers.masks import MASKED
from reconciler.model import SPEC, LaunchSpec

ENV = ["GREETING=c4nary", "MODE=fast"]


def told(spec: str | None) -> list[str]:
    labels = {} if spec is None else {SPEC: spec}
    (found,) = masked(json.dumps([{"Config": {"Env": list(ENV), "Labels": labels}}]))
    env: list[str] = found["Config"]["Env"]
    return env


def test_a_variable_that_a_secret_fills_is_masked() -> None:
    spec = LaunchSpec(image="i", secrets=(("GREETING", "plain"),))
    assert told(spec.canonical()) == [f"GREETING={MASKED}", "MODE=fast"]


def test_other_variables_are_shown() -> None:
    assert told(None) == ENV
    assert told(LaunchSpec(image="i").canonical()) == ENV


@pytest.mark.parametrize(
    "spec", ["", "{", "[]", "3", '{"secrets": 3}', '{"secrets": [3]}', '{"secrets": [["A"]]}', "[" * 100_000]
)
def test_where_the_spec_says_nothing_sensible_all_are_masked(spec: str) -> None:
    """Anybody who may ask Docker may write labels."""
    assert told(spec) == [f"GREETING={MASKED}", f"MODE={MASKED}"]
