"""Edits of commented files: what comes out, letter by letter. The laws are in test_yaml_edit_laws.py."""

from __future__ import annotations

import difflib
import time
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from state.yaml_edit import GONE, Edit, NotEditable, apply, merge_patch, put
from state.yaml_edit_data import value_at
from state.yaml_read import read
from state.yaml_tree import WrittenFloat

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = (ROOT / "examples" / "desired.yaml").read_bytes()
RECIPES = (ROOT / "models.yaml").read_bytes()


def edit(text: str, path: str, value: Any) -> str:
    return apply(text.encode(), [Edit(tuple(path.split(".")), value)]).decode()


def lines(data: bytes) -> list[str]:
    return data.decode().splitlines(keepends=True)


def differing(before: bytes, after: bytes) -> tuple[int, int]:
    """How many lines are gone, and how many came."""
    signs = [line[0] for line in difflib.unified_diff(lines(before), lines(after), n=0) if line[:2] not in {"--", "++"}]
    return signs.count("-"), signs.count("+")


def paths(tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, below in tree.items() if isinstance(tree, dict) else []:
        found += [(*above, key), *paths(below, (*above, key))]
    return found


CHANGED = {
    "a plain word keeps comment and spaces": ("a:  1   # why\nb: 2\n", "a", 3, "a:  3   # why\nb: 2\n"),
    "a quoted word": ("a: 'x w'  # c\n", "a", "z", "a: z  # c\n"),
    "a word over two lines": ('a: "x\n  w" # c\nb: 1\n', "a", "z", "a: z # c\nb: 1\n"),
    "a value below its key": ("a: # 1\n  x # 2\n", "a", "w", "a: # 1\n  w # 2\n"),
    "nothing": ("a:   # c\nb: 1\n", "a", 1, "a: 1   # c\nb: 1\n"),
    "to nothing": ("a: 1 # c\n", "a", None, "a: null # c\n"),
    "a tab stays": ("a:\t1\t# c\n", "a", 2, "a:\t2\t# c\n"),
    "a block of text to a word": ("a: |  # c\n  x\n\n  w\n\nb: 1\n", "a", "z", "a: z  # c\n\nb: 1\n"),
    "a word to a block of text": ("a: z  # c\nb: 1\n", "a", "x\n\ny\n", "a: |  # c\n  x\n\n  y\nb: 1\n"),
    "a block of text to another": ("a: >+ # c\n  x\n\n\nb: 1\n", "a", "x\ny", "a: |- # c\n  x\n  y\nb: 1\n"),
    "a list in brackets to a word": ("a: [1,\n  2]  # c\n", "a", 3, "a: 3  # c\n"),
    "a list in lines to a word": ("a:  # c\n- 1 # i\n- 2\nb: 1\n", "a", 3, "a: 3  # c\nb: 1\n"),
    "a list in lines to text": ("a:  # c\n- 1\nb: 1\n", "a", "x\ny\n", "a: |  # c\n  x\n  y\nb: 1\n"),
    "a map in lines to a word": ("a:  # c\n  # i\n  x: 1 # i\n  # i\nb: 1\n", "a", 3, "a: 3  # c\nb: 1\n"),
    "a map in lines to nothing in it": ("a:  # c\n  x: 1\nb: 1\n", "a", {}, "a: {}  # c\nb: 1\n"),
    "a word to a map in lines": ("a: 1  # c\nb: 1\n", "a", {"x": {"w": 1}}, "a:  # c\n  x:\n    w: 1\nb: 1\n"),
    "a word below its key to a map": ("a:\n  1  # c\n", "a", {"x": 2}, "a:  # c\n  x: 2\n"),
    "neither comment of a word below its key": ("a: # 1\n  1 # 2\n", "a", {"x": 2}, "a: # 1\n  # 2\n  x: 2\n"),
    "a word to a list": ("a: 1  # c\n", "a", ["x", "w"], "a: [x, w]  # c\n"),
    "a list of maps": ("a: [] # c\n", "a", [{"x": 1, "w": [2]}, [3]], "a: # c\n  - x: 1\n    w: [2]\n  - [3]\n"),
    "a long list of words": ("a:\n", "a", ["x" * 30, "w" * 30, "z" * 30], f"a:\n  - {'x' * 30}\n  - {'w' * 30}\n  - {'z' * 30}\n"),
    "inside brackets": ("a: {x: 1, w: [1, 2] } # c\n", "a.x", {"z": "a,b"}, 'a: {x: {z: "a,b"}, w: [1, 2] } # c\n'),
    "inside brackets without space": ('a: {"x":1}\n', "a.x", 2, 'a: {"x": 2}\n'),
    "inside brackets without a value": ("a: {x, w: }\n", "a.x", 2, "a: {x: 2, w: }\n"),
    "inside brackets after a colon": ("a: {x, w: }\n", "a.w", 2, "a: {x, w: 2 }\n"),
    "a tag goes with its value": ("a: !!str 5 # c\n", "a", 5, "a: 5 # c\n"),
    "an anchor that nobody uses": ("a: &x\n  b: 1\n", "a", 5, "a: 5\n"),
    "the break of the last line is still missing": ("a: 1\nb: 2", "b", 3, "a: 1\nb: 3"),
    "no block of text above a comment that it would swallow": ("a: 1 # c\n     # d\n", "a", "x\nz\n", 'a: "x\\nz\\n" # c\n     # d\n'),
    "a comment right behind": ("a: 'x'# c\n", "a", "w", "a: w # c\n"),
}  # fmt: skip

ADDED = {
    "after the last of its siblings": ("m:\n  a: 1 # c\n\nn: 2\n", "m.b", 2, "m:\n  a: 1 # c\n  b: 2\n\nn: 2\n"),
    "before comments of what follows": ("m:\n  a: 1\n# on n\nn: 2\n", "m.b", 2, "m:\n  a: 1\n  b: 2\n# on n\nn: 2\n"),
    "after comments of the sibling": ("m:\n  a:\n    x: 1\n    # w: 2\n\n    # z\nn: 2\n", "m.b", 2, "m:\n  a:\n    x: 1\n    # w: 2\n\n    # z\n  b: 2\nn: 2\n"),
    "before a sibling out of use": ("m:\n  a: 1\n  # b: 2\n", "m.c", 3, "m:\n  a: 1\n  c: 3\n  # b: 2\n"),
    "in steps of four": ("m:\n    a:\n        x: 1\n", "m.b", {"w": {"z": 2}}, "m:\n    a:\n        x: 1\n    b:\n        w:\n            z: 2\n"),
    "in the file's steps": ("m:\n    a: 1\n", "m.b", {"x": 2}, "m:\n    a: 1\n    b:\n        x: 2\n"),
    "in the siblings' steps, not the file's": ("k:\n    l:\n        n: 1\nm:\n  a:\n    x: 1\n", "m.b", {"w": 2}, "k:\n    l:\n        n: 1\nm:\n  a:\n    x: 1\n  b:\n    w: 2\n"),
    "in brackets as its siblings are": ("m:\n  a: {x: 1}\n", "m.b", {"x": 2, "w": [1]}, "m:\n  a: {x: 1}\n  b: {x: 2, w: [1]}\n"),
    "in lines where brackets are too long": ("m:\n  a: {x: 1}\n", "m.b", {"x": "w" * 95}, f"m:\n  a: {{x: 1}}\n  b:\n    x: {'w' * 95}\n"),
    "apart by a blank line as its siblings are": ("a: 1\n\nb: 2\n\n# end\n", "c", 3, "a: 1\n\nb: 2\n\nc: 3\n\n# end\n"),
    "after text that keeps its blank lines": ("a: 1\n\nb: |+\n  x\n\n\n# end\n", "c", 3, "a: 1\n\nb: |+\n  x\n\n\nc: 3\n# end\n"),
    "after text that does not": ("a: |\n  x\n\n# end\n", "b", 3, "a: |\n  x\nb: 3\n\n# end\n"),
    "into nothing": ("m:  # none yet\n\nn: 1\n", "m.a", 1, "m:  # none yet\n  a: 1\n\nn: 1\n"),
    "into null": ("m: null  # c\n", "m.a.b", 1, "m:  # c\n  a:\n    b: 1\n"),
    "into empty brackets": ("m: {}  # c\n", "m.a", 1, "m:  # c\n  a: 1\n"),
    "into empty brackets with a comment": ("m: { # c\n  }\n", "m.a", 1, "m: {a: 1 # c\n  }\n"),
    "into empty brackets inside brackets": ("m: {a: { }}\n", "m.a.b", 1, "m: {a: {b: 1}}\n"),
    "into brackets": ("m: { a: 1 } # c\n", "m.b", {"x": [1]}, "m: { a: 1, b: {x: [1]} } # c\n"),
    "into brackets with a last comma": ("m: {a: 1, }\n", "m.b", 2, "m: {a: 1, b: 2, }\n"),
    "into brackets with a last colon": ("m: {a: }\n", "m.b", 2, "m: {a: , b: 2 }\n"),
    "into brackets over two lines": ("m: {a: 1,\n    b: 2} # c\n", "m.c", 3, "m: {a: 1,\n    b: 2, c: 3} # c\n"),
    "into brackets with lines for each": ("m: {\n  a: 1, # 1\n  b: 2  # 2\n}\n", "m.c", 3, "m: {\n  a: 1, # 1\n  b: 2,  # 2\n  c: 3\n}\n"),
    "into such with a last comma": ("m: {\n  a: 1, # 1\n}\n", "m.c", 3, "m: {\n  a: 1, # 1\n  c: 3,\n}\n"),
    "maps on the way": ("a: 1\n", "m.b.c", 1, "a: 1\nm:\n  b:\n    c: 1\n"),
    "a map in the place of a word": ("a: 1 # c\n", "a.b", 2, "a: # c\n  b: 2\n"),
    "to an empty file": ("", "a.b", 1, "a:\n  b: 1\n"),
    "to a file of comments": ("# c\n", "a", 1, "# c\na: 1\n"),
    "to an empty document": ("---\n# c\n", "a", 1, "---\n# c\na: 1\n"),
    "to a root in brackets": ("{a: 1}\n", "b", 2, "{a: 1, b: 2}\n"),
    "before the end mark": ("---\na: 1\n...\n", "b", 2, "---\na: 1\nb: 2\n...\n"),
    "the last line gets its break, the new one has none": ("a: 1", "b", 2, "a: 1\nb: 2"),
    "no block of text at an end without break": ("a: 1", "b", "x\n", 'a: 1\nb: "x\\n"'),
    "beside an alias": ("a: &x {b: 1}\nc: *x\n", "d", 2, "a: &x {b: 1}\nc: *x\nd: 2\n"),
    "over what << brings": ("a: &x {b: 1}\nc:\n  <<: *x\n", "c.b", 2, "a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n"),
}  # fmt: skip

REMOVED = {
    "with the comment on its line": ("a: 1\nb: 2 # b\nc: 3\n", "b", "a: 1\nc: 3\n"),
    "with the comments directly above": ("a: 1\n# on\n# b\nb: 2\nc: 3\n", "b", "a: 1\nc: 3\n"),
    "with all inside": ("a: 1\nb: # 1\n  # 2\n  x: |\n    t\n  # 3\n\n  # 4\n# on c\nc: 3\n", "b", "a: 1\n# on c\nc: 3\n"),
    "with a comment that goes on below": ("a: 1 # long\n     # more\nb: 2\n", "a", "b: 2\n"),
    "but not comments a line away": ("a: 1\n# all\n\nb: 2\nc: 3\n", "b", "a: 1\n# all\n\nc: 3\n"),
    "but not comments of another column": ("m:\n  a: 1\n# left\n  b: 2\n", "m.b", "m:\n  a: 1\n# left\n"),
    "but not the sibling's": ("a:\n  x: 1\n  # of a\nb: 2\n", "b", "a:\n  x: 1\n  # of a\n"),
    "but not what heads the file": ("# schema\n# words\na: 1\nb: 2\n", "a", "# schema\n# words\nb: 2\n"),
    "but not a sibling out of use": ("a: 1\n# x: {w: 1}\n# on b\nb: 2\n", "b", "a: 1\n# x: {w: 1}\n"),
    "two blank lines are one": ("a: 1\n\nb: 2\n\nc: 3\n", "b", "a: 1\n\nc: 3\n"),
    "no blank line at the end": ("a: 1\n\nb: 2\n", "b", "a: 1\n"),
    "a blank line below": ("a: 1\nb: 2\n\nc: 3\n", "b", "a: 1\n\nc: 3\n"),
    "blank lines that are a text's": ("a: |+\n  x\n\n# b\nb: 1\n", "b", "a: |+\n  x\n\n"),
    "the last of its map": ("m: # c\n  a: 1\n\n  # b: 2\nn: 1\n", "m.a", "m: {} # c\n\n  # b: 2\nn: 1\n"),
    "the last of a map with an anchor": ("m: &x # c\n  a: 1\n", "m.a", "m: &x {} # c\n"),
    "the last of the file": ("# c\n\na: 1\n", "a", "# c\n"),
    "from brackets": ("m: {a: 1, b: 2, c: 3} # c\n", "m.b", "m: {a: 1, c: 3} # c\n"),
    "from brackets, the first": ("m: { a: 1, b: 2 }\n", "m.a", "m: { b: 2 }\n"),
    "from brackets, the last": ("m: { a: 1, b: 2 }\n", "m.b", "m: { a: 1 }\n"),
    "from brackets, the last with a comma": ("m: {a: 1, b: 2,}\n", "m.b", "m: {a: 1,}\n"),
    "from brackets, the only one": ("m: { a: 1, }\n", "m.a", "m: {}\n"),
    "from brackets over two lines": ("m: {a: 1,\n    b: 2}\n", "m.b", "m: {a: 1}\n"),
    "from brackets with a comment between": ("m: {a: 1, # c\n    b: 2}\n", "m.a", "m: { # c\n    b: 2}\n"),
    "from brackets with a comment before": ("m: {a: 1, # c\n    b: 2}\n", "m.b", "m: {a: 1, # c\n    }\n"),
    "from brackets with lines for each": ("m: {\n  a: 1, # 1\n  # 2\n  b: 2,\n  c: 3 # 3\n}\n", "m.b", "m: {\n  a: 1, # 1\n  c: 3 # 3\n}\n"),
    "the last of such": ("m: {\n  a: 1, # 1\n  # 2\n  b: 2 # 2\n}\n", "m.b", "m: {\n  a: 1, # 1\n}\n"),
    "a line without a break": ("a: 1\nb: 2", "b", "a: 1"),
    "a line without a break after a block of text": ("a: |\n  x\nb: 2", "b", "a: |\n  x\n"),
    "nothing": ("a: {b: 1} # c\n", "a.c.d", "a: {b: 1} # c\n"),
    "a key beside <<": ("a: &x {b: 1}\nc: {<<: *x, d: 1}\n", "c.d", "a: &x {b: 1}\nc: {<<: *x}\n"),
    "an alias": ("a: &x {b: 1}\nc: *x\n", "c", "a: &x {b: 1}\n"),
    "a quoted key": ("'a b': 1\n\"c\": 2\n", "c", "'a b': 1\n"),
}  # fmt: skip

LISTED = {
    "one more": ("l: [a, b] # c\n", ["a", "b", "c"], "l: [a, b, c] # c\n"),
    "one in the middle": ("l: [ a, b ]\n", ["a", "x", "w", "b"], "l: [ a, x, w, b ]\n"),
    "one before the first": ("l: [a, b]\n", ["x", "a", "b"], "l: [x, a, b]\n"),
    "one less": ("l: [a, b, c]\n", ["a", "c"], "l: [a, c]\n"),
    "another": ("l: [a, b, c]\n", ["a", "x", "c"], "l: [a, x, c]\n"),
    "none that stays": ("l: [a] # c\n", ["x"], "l: [x] # c\n"),
    "none at all": ("l: # c\n  - a\n", [], "l: [] # c\n"),
    "lines: one more": ("l:\n- a # 1\n# 2\n- b # 3\n", ["a", "b", {"x": 1, "w": 2}], "l:\n- a # 1\n# 2\n- b # 3\n- x: 1\n  w: 2\n"),
    "lines: one before the first": ("l: # c\n  # 1\n  - a\n", ["x", "a"], "l: # c\n  - x\n  # 1\n  - a\n"),
    "lines: one less": ("l:\n  - a # 1\n  # 2\n  - b # 2\n  - c # 3\n", ["a", "c"], "l:\n  - a # 1\n  - c # 3\n"),
    "lines: a map changed": ("l:\n  - a: 1 # 1\n    b: 1\n  - a: 2 # 2\n", [{"a": 1, "b": 1}, {"a": 3}], "l:\n  - a: 1 # 1\n    b: 1\n  - a: 3\n"),
    "lines: none that stays": ("l:\n- {a: 1} # 1\n", [{"a": 2}, 1], "l:\n- a: 2\n- 1\n"),
    "brackets with lines for each": ("l: [\n  a, # 1\n  b # 2\n]\n", ["a", "b", "c"], "l: [\n  a, # 1\n  b, # 2\n  c\n]\n"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "value", "expected"), CHANGED.values(), ids=CHANGED)
def test_a_value_changes(text: str, path: str, value: Any, expected: str) -> None:
    assert edit(text, path, value) == expected


@pytest.mark.parametrize(("text", "path", "value", "expected"), ADDED.values(), ids=ADDED)
def test_a_key_comes(text: str, path: str, value: Any, expected: str) -> None:
    assert edit(text, path, value) == expected


@pytest.mark.parametrize(("text", "path", "expected"), REMOVED.values(), ids=REMOVED)
def test_a_key_goes(text: str, path: str, expected: str) -> None:
    assert edit(text, path, GONE) == expected


@pytest.mark.parametrize(("text", "value", "expected"), LISTED.values(), ids=LISTED)
def test_items_of_a_list(text: str, value: Any, expected: str) -> None:
    assert edit(text, "l", value) == expected


@pytest.mark.parametrize("cases", [CHANGED, ADDED, [(text, path, GONE, out) for text, path, out in REMOVED.values()]])
def test_all_of_it_with_other_line_breaks_and_a_byte_order_mark(cases: Any) -> None:
    for text, path, value, expected in cases.values() if isinstance(cases, dict) else cases:
        if "\n" in text:
            data = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
            after = apply(data, [Edit(tuple(path.split(".")), value)])
            assert after == b"\xef\xbb\xbf" + expected.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a b", "a b"),
        ("192.168.1.11", "192.168.1.11"),
        ("--port", "--port"),
        ("$HOME/x", "$HOME/x"),
        ("a:b", "a:b"),
        ("http://x/y#z", "http://x/y#z"),
        ("é日本", "é日本"),
        ("64MiB", "64MiB"),
        ("", '""'),
        ("no", '"no"'),
        ("Yes", '"Yes"'),
        ("y", '"y"'),
        ("on", '"on"'),
        ("true", '"true"'),
        ("null", '"null"'),
        ("~", '"~"'),
        ("5", '"5"'),
        ("1.10", '"1.10"'),
        ("1e3", '"1e3"'),
        ("0x1F", '"0x1F"'),
        ("010", '"010"'),
        ("1_000", '"1_000"'),
        ("1:30", '"1:30"'),
        ("2024-01-02", '"2024-01-02"'),
        (".inf", '".inf"'),
        ("=", '"="'),
        ("<<", '"<<"'),
        ("a: b", '"a: b"'),
        ("a:", '"a:"'),
        ("a #b", '"a #b"'),
        ("- a", '"- a"'),
        ("-", '"-"'),
        ("---", '"---"'),
        ("*a", '"*a"'),
        ("{a}", '"{a}"'),
        (" a", '" a"'),
        ("a ", '"a "'),
        ("a\tb", '"a\\tb"'),
        ('"a"', '"\\"a\\""'),
        ("a\u2028b\x85\ufeff\x7f", '"a\\u2028b\\u0085\\ufeff\\u007f"'),
        (True, "true"),
        (None, "null"),
        (-5, "-5"),
        (1.0, "1.0"),
        (1e30, "1.0e+30"),
        (WrittenFloat("1.10"), "1.10"),
        ([], "[]"),
        ({}, "{}"),
        (["a,b", "a b", ["c"]], None),
        ([True, "no"], '[true, "no"]'),
    ],
)
def test_how_a_value_is_written(value: Any, written: str | None) -> None:
    after = edit("k: was\n", "k", value)
    if written is not None:
        assert after == f"k: {written}\n"
    assert pyyaml.safe_load(after) == {"k": value}
    assert pyyaml.safe_load(edit("{k: 1}", "k", value)) == {"k": value}


def test_a_key_has_quotes_only_where_it_needs_them_and_on_has_none() -> None:
    value = {"on": "spark-1", "no": 1, "5": 2, "a: b": 3, "VLLM_X": 4, "max-model-len": 5}
    expected = 'k:\n  on: spark-1\n  "no": 1\n  "5": 2\n  "a: b": 3\n  VLLM_X: 4\n  max-model-len: 5\n'
    assert edit("k:\n", "k", value) == expected


@settings(max_examples=200)
@given(
    st.text(max_size=30) | st.text("ab01.e \n#:-?'\"\\\t\r,{", max_size=12),
    st.sampled_from(["k:\n", "{k: 1}\n", "k:\n  - 1\n"]),
)
@example("0?", "{k: 1}\n")
@example("http://x?q", "{k: 1}\n")
def test_any_text_reads_back_here_and_in_pyyaml(value: str, text: str) -> None:
    after = edit(text, "k", value)
    assert read(after, "f").plain() == pyyaml.safe_load(after) == {"k": value}
    keyed = edit(text, "k", {value: 1})
    assert read(keyed, "f").plain() == {"k": {value: 1}}


REFUSED = {
    "a key twice": ("a: 1\na: 2\n", "a", 3, ["f.yaml:2:1", "stands twice", "put this right first"]),
    "a tab": ("a:\n\tb: 1\n", "a", 3, ["f.yaml:2:1", "a tab stands here", "put this right first"]),
    "not UTF-8 text": (b"a: \xff\n", "a", 3, ["f.yaml:1:4", "UTF-8"]),
    "a list": ("- a\n", "a", 3, ["f.yaml:1:1", "is not a map"]),
    "two documents": ("a: 1\n---\nb: 1\n", "a", 3, ["f.yaml:2:1", "second document"]),
    "null": ("~ # c\n", "a", 3, ["f.yaml:1:1", "is not a map"]),
    "what an alias means": ("a: &x {b: 1}\nc: *x\n", "a.b", 2, ["f.yaml:1:4", "&x", "*x in line 2", "edit the file by hand"]),
    "what stands behind an alias": ("a: &x {b: 1}\nc: *x\n", "c.b", 2, ["f.yaml:2:4", "only *x stands here"]),
    "an anchor that is used": ("a:\n  b: &x 1\nc: *x\n", "a", GONE, ["f.yaml:2:6", "*x in line 3"]),
    "what << brings": ("a: &x {b: 1}\nc: {<<: *x}\n", "c.b", GONE, ["f.yaml:2:4", "<<"]),
    "what << would bring back": ("a: &x {b: 1}\nc: {<<: *x, b: 2}\n", "c.b", GONE, ["f.yaml:2:4", "<<"]),
    "a key with a question mark": ("? a\n: 1\n", "a", 2, ["f.yaml:1:3", "`?`"]),
    "such a key goes": ("? a\n: 1\nb: 2\n", "a", GONE, ["f.yaml:1:3", "shares its line"]),
    "a key after such": ("b: 1\n? a\n: 1\n", "c", 2, ["f.yaml:2:3", "lines of their own"]),
    "a key apart from its colon": ("m: {? a\n  : 1}\n", "m.a", 2, ["f.yaml:1:7", "stand apart"]),
    "a text at the end without a break": ("a: |\n  x", "b", 2, ["f.yaml:1:1", "line break"]),
    "after the end mark": ("# c\n---\n...\n", "a", 2, ["f.yaml:1:1", "without changing something else"]),
    "no number": ("m: {a: 1}\n", "m.a", float("inf"), ["f.yaml:1:5", "m.a: the number inf can't be written"]),
    "too long a number": ("a: 1\n", "a", 10**40, ["f.yaml:1:1", "40 digits"]),
    "half a character": ("a: 1\n", "a", "\ud800", ["f.yaml:1:1", "surrogate"]),
    "no JSON": ("a: 1\n", "a", object(), ["type object"]),
    "too large": ("a: 1\n", "a", "x" * 5 * 2**20, ["a document may have"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "path", "value", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_and_what_is_said(text: str | bytes, path: str, value: Any, said: list[str]) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(NotEditable) as caught:
        apply(data, [Edit(tuple(path.split(".")), value)], "f.yaml")
    assert not [part for part in said if part not in str(caught.value)]


def test_of_several_edits_the_one_that_is_refused_is_named() -> None:
    data = b"a: &x {b: 1}\nc: *x\nd: 1\n"
    with pytest.raises(NotEditable, match=r"desired.yaml:1:4: a\.b: &x"):
        apply(data, [Edit(("d",), 2), Edit(("a", "b"), 2), Edit(("e",), 2)])
    assert apply(data, [Edit(("c",), 1), Edit(("a", "b"), 2)]) == b"a: &x {b: 2}\nc: 1\nd: 1\n"


def test_an_edit_next_to_an_alias_is_done_where_it_stays_its_own() -> None:
    text = "a: &x\n  b: 1 # c\nc: {<<: *x, b: 2}\n"
    assert edit(text, "a.b", 3) == "a: &x\n  b: 3 # c\nc: {<<: *x, b: 2}\n"  # c has a b of its own


def test_an_edit_has_a_path() -> None:
    with pytest.raises(ValueError, match="path"):
        Edit((), {})


def test_no_edits_change_nothing() -> None:
    assert apply(EXAMPLE, []) == EXAMPLE


def test_putting_is_the_smallest_list_of_edits() -> None:
    tree = read("m:\n  a: {x: 1, y: 2, z: {u: 1}}\n", "f")
    assert put(tree, ("m", "a"), {"x": 1, "y": 2, "z": {"u": 1}}) == []
    found = put(tree, ("m", "a"), {"x": 1, "y": True, "z": {"u": 1, "v": 2}, "w": [1]})
    assert found == [Edit(("m", "a", "y"), True), Edit(("m", "a", "z", "v"), 2), Edit(("m", "a", "w"), [1])]
    assert put(tree, ("m", "a"), {"z": {}, "n": 1}) == [
        Edit(("m", "a", "z"), {}), Edit(("m", "a", "n"), 1), Edit(("m", "a", "x"), GONE), Edit(("m", "a", "y"), GONE)
    ]  # fmt: skip
    assert put(tree, ("m", "b"), {"x": 1}) == [Edit(("m", "b"), {"x": 1})]
    assert put(tree, ("m", "a"), 5) == [Edit(("m", "a"), 5)]


def test_what_differs_for_a_reader_is_an_edit() -> None:
    tree = read("a: 1\nb: true\nc: 1.10\nd: '1'\n", "f")
    assert put(tree, (), {"a": 1, "b": True, "c": 1.1, "d": "1"}) == []
    assert put(tree, ("a",), 1.0) == [Edit(("a",), 1.0)]
    assert put(tree, ("a",), True) == [Edit(("a",), True)]
    assert put(tree, ("b",), 1) == [Edit(("b",), 1)]
    assert put(tree, ("c",), WrittenFloat("1.10")) == []
    assert put(tree, ("c",), WrittenFloat("1.1")) == [Edit(("c",), 1.1)]
    assert apply(b"c: 1.10\n", [Edit(("c",), WrittenFloat("1.1"))]) == b"c: 1.1\n"


def test_an_object_that_is_put_keeps_the_comments_of_the_keys_that_stay() -> None:
    after = edit(
        "m:\n  # big\n  a: # c\n    on: x # 1\n    # 2\n    run: y\n    # 3\n    z: 1\nn: 1\n",
        "m.a",
        {"run": "y", "on": "w", "k": 1},
    )
    assert after == "m:\n  # big\n  a: # c\n    on: w # 1\n    # 2\n    run: y\n    k: 1\nn: 1\n"


MERGES = [  # the table of RFC 7396, appendix A, as far as its documents are maps
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": "x"}, {"a": {"b": 1, "c": None}}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), MERGES)
def test_a_merge_patch(target: Any, patch: Any, result: Any) -> None:
    data = apply(b"k: 1\n", [Edit(("k",), target)])
    edits = merge_patch(read(data, "f"), ("k",), patch)
    assert read(apply(data, edits), "f").plain() == {"k": result}
    assert merge_patch(read(apply(data, edits), "f"), ("k",), patch) == []


def test_a_merge_patch_touches_only_what_it_changes() -> None:
    tree = read(EXAMPLE, "f")
    assert (
        merge_patch(tree, ("models", "qwen3-8b"), {"on": "spark-1", "flags": {"max-model-len": 65536}, "x": None}) == []
    )
    found = merge_patch(tree, ("models", "qwen3-8b"), {"on": "any", "flags": {"max-model-len": 1}, "priority": None})
    below = ("models", "qwen3-8b")
    assert found == [
        Edit((*below, "on"), "any"),
        Edit((*below, "flags", "max-model-len"), 1),
        Edit((*below, "priority"), GONE),
    ]
    assert merge_patch(tree, ("settings",), {"a": None, "b": {"c": 1}}) == [Edit(("settings",), {"b": {"c": 1}})]


@pytest.mark.parametrize("data", [EXAMPLE, RECIPES], ids=["desired.yaml", "models.yaml"])
def test_every_entry_of_our_own_files(data: bytes) -> None:
    tree = read(data, "f").plain()
    chosen = paths(tree) if data is EXAMPLE else [path for path in paths(tree) if len(path) == 2][::8]
    for path in chosen:
        assert apply(data, [Edit(path, value_at(tree, path))]) == data
        assert differing(data, apply(data, [Edit(path, GONE)]))[1] <= 1  # `key: {}`, or brackets with a key less
        assert differing(data, apply(data, [Edit((*path[:-1], "new"), {"n": 1})]))[0] <= 1  # brackets with a key more


def test_a_key_added_and_taken_away_leaves_the_file_as_it_was() -> None:
    for path in [("models", "new"), ("sparks", "spark-3"), ("services", "hello", "recipe", "env"), ("settings",)]:
        after = apply(EXAMPLE, [Edit(path, {"x": {"y": [1, {"z": "text\nof lines\n"}]}})])
        assert after != EXAMPLE
        assert apply(after, [Edit(path, GONE)]) == EXAMPLE


def test_the_example_after_a_day_of_edits() -> None:
    after = apply(
        EXAMPLE,
        [
            Edit(("sparks", "spark-3"), {"host": "192.168.1.13", "user": "nvidia"}),
            Edit(("models", "gpt-oss-20b", "on"), "spark-3"),
            Edit(("models", "qwen3-8b", "aliases"), ["gpt-4o-mini", "gpt-4o"]),
            Edit(("models", "qwen3-8b", "flags", "enable-prefix-caching"), True),
            Edit(("services", "reranker"), GONE),
            Edit(("services", "hello", "on"), ["spark-2"]),
            Edit(("settings", "reserve"), "8GiB"),
        ],
    ).decode()
    expected = EXAMPLE.decode()
    for old, new in [
        ("12, user: nvidia}\n", "12, user: nvidia}\n  spark-3: {host: 192.168.1.13, user: nvidia}\n"),
        ("on: any                   # wherever", "on: spark-3                   # wherever"),
        ("[gpt-4o-mini]    #", "[gpt-4o-mini, gpt-4o]    #"),
        ("{max-model-len: 65536}", "{max-model-len: 65536, enable-prefix-caching: true}"),
        ("  reranker: {recipe: bge-reranker, on: spark-2}\n", ""),
        ("on: [spark-1, spark-2]    #", "on: [spark-2]    #"),
    ]:
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    assert after == expected + "\nsettings:\n  reserve: 8GiB\n"


def test_a_large_file_is_edited_in_a_moment() -> None:
    parts = [f"  m{number}:  # number {number}\n    recipe: qwen3-8b\n    on: spark-1\n\n" for number in range(1000)]
    data = ("models:\n" + "".join(parts)).encode()
    started = time.process_time()
    after = apply(data, [Edit(("models", "m500", "on"), "any"), Edit(("models", "m501"), GONE)])
    assert time.process_time() - started < 20  # a guard against work that grows with the square of the size
    assert after == ("models:\n" + "".join([*parts[:500], parts[500].replace("spark-1", "any"), *parts[502:]])).encode()
