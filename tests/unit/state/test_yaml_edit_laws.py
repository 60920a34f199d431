"""Laws of edits, over commented files made at random: 1,000 of them, or 10,000 with SPARKKEEP_LONG=1.

A seed makes a file and an edit, so a seed is all that a failure has to name (a smaller seed is no simpler file).
"""

from __future__ import annotations

import difflib
import os
import re
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from state.yaml_edit import GONE, Edit, apply, merge_patch, put
from state.yaml_edit_data import edited, replacing, same, value_at
from state.yaml_read import read
from tests.unit.state.commented import NAMES, Commented, commented

EXAMPLES = 10000 if os.environ.get("SPARKKEEP_LONG") == "1" else 1000
SEEDS = st.integers(0, 2**32)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
TAG = re.compile(r"# [^#\r\n]*(<\d+>)")
TEXTS = ["spark-2", "no", "1:30", "0x1F", "- x", "a: b", "a #b", "", "[x]", "it's", '"q"', "two\nlines\n", " lead", "é日", "5",
         "null", "~", "=", "<<", "a\tb", "\u2028", "x" * 90, "2024-01-02", "a,b", "*x", "&x", "!x", "%", "@", "`", "-", "a\n\nb"]  # fmt: skip


def rolled(seed: int) -> Random:
    note(f"the seed is {seed}")
    return Random(seed)


def lines_of(data: bytes) -> list[str]:
    return data.decode("utf-8-sig").splitlines()


def tags(data: bytes) -> list[str]:
    return TAG.findall(data.decode())


def changed(before: bytes, after: bytes) -> tuple[list[int], list[str], list[str]]:
    """The numbers of the lines that are gone, these lines, and those that came. Blank lines don't count."""
    old = [(number, line) for number, line in enumerate(lines_of(before)) if line.strip()]
    new = [line for line in lines_of(after) if line.strip()]
    matcher = difflib.SequenceMatcher(None, [line for _, line in old], new, autojunk=False)
    parts = [part for part in matcher.get_opcodes() if part[0] != "equal"]
    gone = [number for _, i1, i2, _, _ in parts for number, _ in old[i1:i2]]
    left = [line for _, i1, i2, _, _ in parts for _, line in old[i1:i2]]
    return gone, left, [line for _, _, _, j1, j2 in parts for line in new[j1:j2]]


def value(rng: Random, depth: int = 0) -> Any:
    kinds = ["text", "text", "number", "word", "list", "map"] if depth < 2 else ["text", "number"]
    match rng.choice(kinds):
        case "text":
            return rng.choice(TEXTS)
        case "number":
            return rng.choice([0, 7, -3, 1.5, 1e30, 1e-7, 123456789])
        case "word":
            return rng.choice([True, False, None])
        case "list":
            return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
        case _:
            return {key: value(rng, depth + 1) for key in rng.sample(NAMES, rng.randint(0, 3))}


def any_edit(rng: Random, doc: Commented) -> Edit:
    path = rng.choice(list(doc.ranges))
    was = value_at(doc.data, path)
    match rng.choice(["gone", "put", "put", "new", "new", "within", "items"]):
        case "gone":
            return Edit(path, GONE)
        case "new":
            return Edit((*path[: rng.randint(0, len(path))], "new"), value(rng))
        case "within":
            return Edit((*path, *rng.sample(NAMES, rng.randint(1, 2))), value(rng))
        case "items" if isinstance(was, list) and was:
            items = [item for item in was if rng.random() < 0.7]
            items.insert(rng.randint(0, len(items)), value(rng, 1))
            return Edit(path, items)
        case _:
            return Edit(path, value(rng))


def survivors(doc: Commented, edit: Edit) -> tuple[set[str], set[str]]:
    """The comments that have to be there still, and those that must not."""
    gone: set[str] = set()
    must = {comment.tag for comment in doc.comments}
    was = value_at(doc.data, edit.path)
    for step in [edit] if edit.value is GONE else replacing(edit.path, was, edit.value):
        path, size = step.path, len(step.path)
        there = value_at(doc.data, path) is not GONE
        while not there and value_at(doc.data, path[:-1]) is GONE:
            path, size = path[:-1], size - 1
        if not there and not isinstance(value_at(doc.data, path[:-1]), dict):
            path, size = path[:-1], size - 1  # a value that is no map gives way to one
        for comment in doc.comments:
            below = comment.owner[:size] == path
            if step.value is GONE and below:
                must.discard(comment.tag)
                gone |= {comment.tag} if comment.kind == "own" else set()
            elif below and (len(comment.owner) > size or comment.kind != "own"):
                must.discard(comment.tag)
    return must, gone


def allowed(doc: Commented, edit: Edit) -> set[int]:
    """The lines that the edit may concern."""
    found: set[int] = set()
    was = value_at(doc.data, edit.path)
    for step in [edit] if edit.value is GONE else replacing(edit.path, was, edit.value):
        path = step.path
        while value_at(doc.data, path) is GONE:
            path = path[:-1]
        there, above = path == step.path, path[:-1]
        if step.value is GONE and not there:
            continue
        if there and above in doc.braces:
            path = above
        if path and (there or path in doc.braces or not isinstance(value_at(doc.data, path), dict)):
            found |= set(range(doc.ranges[path][0], doc.ranges[path][1] + 1))
        if step.value is GONE and above and len(value_at(doc.data, above)) == 1:  # what is left is `key: {}`
            found |= set(range(doc.ranges[above][0], doc.ranges[step.path][0]))
    return found


def check(rng: Random) -> None:
    doc = commented(rng)
    data = doc.bytes
    assert read(data, "f").plain() == doc.data, doc.text
    edit = any_edit(rng, doc)
    after = apply(data, [edit])

    wanted = edited(doc.data, edit)
    assert same(read(after, "f").plain(), wanted)
    must, gone = survivors(doc, edit)
    found = tags(after)
    assert [tag for tag in tags(data) if tag in must] == [tag for tag in found if tag in must]
    assert not gone & set(found)
    assert set(changed(data, after)[0]) <= allowed(doc, edit)

    assert apply(after, [edit]) == after
    assert after.startswith(b"\xef\xbb\xbf") == doc.bom
    if doc.newline in doc.text and doc.newline == "\r\n":
        assert after.count(b"\n") == after.count(b"\r\n")
    back = apply(after, [Edit(edit.path[:1], doc.data.get(edit.path[0], GONE))])
    assert same(read(back, "f").plain(), doc.data)

    if doc.final:
        other = (data.decode() + doc.newline.join(["", "other: [1, 2]  # than the first", ""])).encode()
        assert changed(other, apply(other, [edit]))[1:] == changed(data, after)[1:]
    smallest = apply(data, put(read(data, "f"), edit.path, edit.value)) if edit.value is not GONE else after
    assert smallest == after


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, wanted in patch.items():
        if wanted is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), wanted)
    return found


@pytest.mark.timeout(900)
@settings(max_examples=EXAMPLES, deadline=None, phases=PHASES)
@given(SEEDS)
def test_the_laws_of_an_edit(seed: int) -> None:
    check(rolled(seed))


@pytest.mark.timeout(900)
@settings(max_examples=EXAMPLES // 5, deadline=None, phases=PHASES)
@given(SEEDS)
def test_edits_in_a_row(seed: int) -> None:
    rng = rolled(seed)
    doc = commented(rng)
    edits = [any_edit(rng, doc) for _ in range(rng.randint(2, 6))]
    wanted = reduce(edited, edits, doc.data)
    after = apply(doc.bytes, edits)
    assert same(read(after, "f").plain(), wanted)
    assert after == reduce(lambda data, edit: apply(data, [edit]), edits, doc.bytes)


@pytest.mark.timeout(900)
@settings(max_examples=EXAMPLES // 5, deadline=None, phases=PHASES)
@given(SEEDS)
def test_merge_patches(seed: int) -> None:
    rng = rolled(seed)
    doc = commented(rng)
    path = rng.choice(list(doc.ranges))
    was = value_at(doc.data, path)
    patch = {key: value(rng) for key in rng.sample(NAMES, 3)}
    if isinstance(was, dict):
        patch |= {key: rng.choice([None, below]) for key, below in was.items()}
    tree = read(doc.bytes, "f")
    after = apply(doc.bytes, merge_patch(tree, path, patch))
    assert same(value_at(read(after, "f").plain(), path), merged(was, patch))
    assert merge_patch(read(after, "f"), path, patch) == []
