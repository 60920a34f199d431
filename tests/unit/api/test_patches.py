"""JSON Patches: what they lead to, and that there are none where nothing differs."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.watch.patches import NotApplicable, apply, diff

NAMES = st.sampled_from(["a", "b", "", "/", "~", "~1", "a/b", "ä"]) | st.text(max_size=3)
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False, width=16) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def exact(document: Any) -> str:
    """As text, in which 1 and true differ; 1 and 1.0 are one number to JSON."""
    return json.dumps(_whole(document), sort_keys=True)


def _whole(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _whole(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_whole(value) for value in document]
    number = isinstance(document, float) and document.is_integer()
    return int(document) if number else document


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_from_one_to_the_other(before: Any, after: Any) -> None:
    kept = copy.deepcopy((before, after))
    assert exact(apply(before, json.loads(json.dumps(diff(before, after))))) == exact(after)
    assert exact(list(kept)) == exact([before, after]), "neither was touched"


@given(DOCUMENTS)
def test_nothing_for_what_is_equal(document: Any) -> None:
    assert diff(document, copy.deepcopy(document)) == []


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_is_empty_only_where_they_are_equal(before: Any, after: Any) -> None:
    assert (diff(before, after) == []) == (exact(before) == exact(after))


@given(st.lists(DOCUMENTS, min_size=2, max_size=5))
def test_patches_one_after_the_other(documents: list[Any]) -> None:
    folded = documents[0]
    for before, after in itertools.pairwise(documents):
        folded = apply(folded, diff(before, after))
    assert exact(folded) == exact(documents[-1])


def test_as_it_is_written() -> None:
    """The three operations, escaped names, an array as a whole, and a number that became a truth."""
    before = {"gone": 1, "kept": {"a/b": 1, "m~n": [1, 2]}, "flag": 1}
    after = {"kept": {"a/b": 2, "m~n": [1, 3]}, "new": None, "flag": True}
    assert diff(before, after) == [
        {"op": "remove", "path": "/gone"},
        {"op": "replace", "path": "/kept/a~1b", "value": 2},
        {"op": "replace", "path": "/kept/m~0n", "value": [1, 3]},
        {"op": "add", "path": "/new", "value": None},
        {"op": "replace", "path": "/flag", "value": True},
    ]
    assert diff([1], [1, 2]) == [{"op": "replace", "path": "", "value": [1, 2]}]


@pytest.mark.parametrize(
    ("document", "change"),
    [
        ({}, {"op": "remove", "path": "/a"}),
        ({}, {"op": "replace", "path": "/a", "value": 1}),
        ({"a": 1}, {"op": "add", "path": "/a", "value": 1}),
        ({"a": 1}, {"op": "add", "path": "/a/b", "value": 1}),
        ({}, {"op": "add", "path": "/a/b", "value": 1}),
        ({"a": [1]}, {"op": "replace", "path": "/a/0", "value": 1}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1}),
        ({"a": 1}, {"op": "add", "path": "", "value": 1}),
    ],
)
def test_what_does_not_fit_is_said(document: Any, change: Any) -> None:
    """A client that has gone astray has to notice it."""
    with pytest.raises(NotApplicable):
        apply(document, [change])
