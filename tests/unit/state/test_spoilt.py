"""Texts that broke the reading of a desired state, or took it minutes. `tests/bad_input` found them."""

import time

import pytest

from state.load import load_text
from state.problems import Invalid
from state.yaml_build import MAX_DEPTH

SECONDS = 5.0  # of computing: these took from ten seconds to hours, and take half a second now


def refused(text: str) -> Invalid:
    began = time.thread_time()
    with pytest.raises(Invalid) as caught:
        load_text(text, "desired.yaml")
    assert time.thread_time() - began < SECONDS
    return caught.value


@pytest.mark.parametrize("text", ["? " * 1000, "? - " * 1000, "x:\n  - " + "? " * 1000])
def test_keys_within_keys_are_nested_as_values_are(text: str) -> None:
    """They ended in a RecursionError, which is no Invalid: the task that follows the files died of it."""
    assert f"is nested deeper than {MAX_DEPTH}" in refused(text).problems[-1].message


def test_thousands_of_unknown_keys_are_refused_soon() -> None:
    found = refused("".join(f"k{n}: v\n" for n in range(10_000))).problems
    assert str(found[0]).startswith("desired.yaml:1:1: k0: is not a known key; allowed: apiVersion")
    assert [found[-1].message, len(found)] == ["at least 9800 more problems are not shown", 201]


def test_thousands_of_unknown_recipes_are_refused_soon() -> None:
    text = "sparks: {s: {host: h}}\nmodels:\n" + "".join(f"  m{n}: {{recipe: r{n}, on: s{n}}}\n" for n in range(4000))
    assert len(refused(text).problems) == 201


def test_what_is_missing_at_the_end_is_missing_in_the_last_line() -> None:
    """The parser says it of the line after it, which no editor has."""
    assert str(refused("a: [b,\n  c").problems[0]).startswith("desired.yaml:2:4: did not find expected ',' or ']'")
    assert str(refused("a: [b,\n  c\n").problems[0]).startswith("desired.yaml:3:1: did not find expected ',' or ']'")


def test_of_too_many_values_is_said_once_how_many_problems_are_not_shown() -> None:
    """Such a text was refused with `at least 1 more` in place of the number, at the head of the list."""
    found = refused("x: {" + "a, " * 1_000_000 + "}").problems
    assert [problem.line for problem in found[:2]] == [1, 1]
    assert found[-1].message.endswith("more problems are not shown")
    assert sum(not problem.line for problem in found) == 1


def test_a_map_with_too_many_entries_has_more_than_allowed() -> None:
    """It had `None`."""
    text = "sparks:\n" + "".join(f"  s{n}: {{host: h}}\n" for n in range(257))
    assert str(refused(text).problems[0]) == "desired.yaml:1:1: sparks: must have at most 256 entries; it has more"
