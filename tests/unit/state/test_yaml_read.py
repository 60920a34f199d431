import math
import time

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from state.problems import Invalid, Problem
from state.yaml_build import MAX_DEPTH, MAX_NODES
from state.yaml_read import MAX_BYTES, read, read_tree
from state.yaml_tree import WrittenFloat, overlay


def plain(text):
    return read(text, "f.yaml").plain()


def refused(text) -> Problem:
    with pytest.raises(Invalid) as caught:
        read(text, "f.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("010", "010"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("2024-01-02", "2024-01-02"),
        ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("+5", "+5"),
        ("-5", -5),
        ("0", 0),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("~", None),
        ("null", None),
        ("''", ""),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("!!float 5", 5.0),
        ("!!int 5", 5),
        ("!!bool true", True),
        ("=", "="),
        ("9" * 30, int("9" * 30)),
        ("9" * 41, "9" * 41),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_what_a_word_means(written, meant):
    found = plain(f"k: {written}\n")["k"]
    assert found == meant
    assert isinstance(found, type(meant))


def test_keys_that_yaml_1_1_takes_for_booleans_are_text():
    assert plain("on: 1\noff: 2\nyes: 3\nno: 4\ny: 5\n") == {"on": 1, "off": 2, "yes": 3, "no": 4, "y": 5}


@pytest.mark.parametrize("key", ["true", "1", "1.5", "null", "~", "? [a]\n", "? {a: b}\n"])
def test_a_key_that_is_not_text_is_refused_where_it_stands(key):
    problem = refused(f"a: 1\n{key}: 2\n")
    assert problem.line == 2
    assert "text" in problem.message


def test_quoted_keys_are_text():
    assert plain("'1': a\n\"true\": b\n") == {"1": "a", "true": "b"}


def test_a_number_remembers_its_digits():
    found = plain("k: 1.10")["k"]
    assert isinstance(found, WrittenFloat)
    assert found.written == "1.10"
    assert type(plain("k: 1.5")["k"]) is float


def test_a_duplicate_key_is_refused_at_its_second_place():
    problem = refused("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert (problem.line, problem.column, problem.field) == (4, 3, "a.b")
    assert "line 2" in problem.message


def test_every_duplicate_and_every_bad_key_is_reported():
    _, problems = read_tree("a: 1\na: 2\nb: {x: 1, x: 2}\n3: c\n", "f.yaml")
    assert [problem.line for problem in problems] == [2, 3, 4]


def test_positions_of_every_path():
    node = read("a:\n  b: [x,\n    {c: 1}]\nd: 2\n", "f.yaml")
    assert node.position(["a"]) == (1, 1)
    assert node.position(["a", "b"]) == (2, 3)
    assert node.position(["a", "b", 0]) == (2, 7)
    assert node.position(["a", "b", 1, "c"]) == (3, 6)
    assert node.position(["a", "b", 9, "z"]) == (2, 3)
    assert node.position(["nowhere"]) == (1, 1)


def test_positions_count_characters_not_bytes():
    assert read("é: {ü: 1, k: 2}", "f").position(["é", "k"]) == (1, 11)


def test_an_alias_points_at_its_definition():
    node = read("a: &x\n  b: 1\nc: *x\n", "f.yaml")
    assert node.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert node.position(["c", "b"]) == (2, 3)


def test_merge_keys():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], c: 3}\nw:\n  d: 4\n  <<: *x\n  a: 5\n"
    found = plain(text)
    assert found["z"] == {"a": 1, "b": 1, "c": 3}
    assert found["w"] == {"d": 4, "a": 5, "b": 1}
    assert found == pyyaml.safe_load(text)


def test_a_merge_key_takes_only_maps():
    assert "<<" in refused("a: {<<: 3}").message
    assert plain("a: {'<<': 3}") == {"a": {"<<": 3}}


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]", "a: &a {b: *a}", "a: *nowhere"],
)
def test_aliases_without_end_or_beginning(text):
    assert refused(text).line == 1


def test_an_alias_bomb_is_refused_quickly():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]" for i in range(12)]
    started = time.process_time()
    assert str(MAX_NODES) in refused("\n".join(lines)).message
    assert time.process_time() - started < 5


def test_a_bomb_of_merge_keys_is_refused():
    many = ", ".join(f"k{i}: 1" for i in range(1000))
    text = f"a: &a {{{many}}}\nb: [{', '.join(['{<<: *a}'] * 300)}]"
    assert str(MAX_NODES) in refused(text).message


def test_deep_nesting_is_refused():
    assert str(MAX_DEPTH) in refused("a: " + "[" * 100_000).message
    assert plain("a: " + "[" * 50 + "]" * 50)["a"]


def test_size_is_bounded():
    assert str(MAX_BYTES) in refused(b"# " + b"x" * MAX_BYTES).message
    assert str(MAX_BYTES) in refused("é" * (MAX_BYTES // 2 + 1)).message


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os.system", "!!binary", "!x", "!!set"])
def test_tags_are_refused(tag):
    problem = refused(f"a: {tag} x\n")
    assert (problem.line, problem.field) == (1, "a")


def test_a_tag_that_lies_is_refused():
    assert "!!int" in refused("a: !!int x").message
    assert "!!int" in refused("a: !!int true").message


def test_a_second_document_is_refused_where_it_begins():
    assert refused("a: 1\n---\nb: 2\n").line == 2


@pytest.mark.parametrize("text", ["", "# only this\n", "---\n", "---\n...\n", "null", "~", "\ufeff", b"\xef\xbb\xbf"])
def test_an_empty_document_is_an_empty_map(text):
    assert plain(text) == {}


def test_a_tab_is_named():
    problem = refused("a:\n\tb: 1\n")
    assert (problem.line, problem.column) == (2, 1)
    assert "tab" in problem.message


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2", 2), ("a: b: c", 1), ("a: 'x", 1), ("ok: 1\na: @x", 2), ("a: 1\n b: 2\n", 2)]
)
def test_a_syntax_error_has_its_place(text, line):
    problem = refused(text)
    assert problem.line == line
    assert problem.column > 0


def test_characters_that_yaml_forbids():
    assert (refused("a: 1\nb: x\x00").line, refused("a: 1\nb: x\x00").column) == (2, 5)
    assert (refused(b"a: 1\nb: \xff").line, refused(b"a: 1\nb: \xff").column) == (2, 4)
    assert "surrog" in refused("a: \ud800").message or "U+D800" in refused("a: \ud800").message


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=["Cc", "Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz-_", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_every_json_document_means_itself(value):
    import json

    text = json.dumps({"k": value}, ensure_ascii=False)
    try:
        found = plain(text)
    except Invalid as invalid:
        assert "U+" in str(invalid)
        return
    assert found == {"k": value}


@given(json_values)
@example("0E0")
@example(["1E5", {"a": 1e16}])
@settings(max_examples=100, deadline=None)
def test_what_pyyaml_writes_is_read_back(value):
    """PyYAML writes YAML 1.1, where `0E0` is text and `1e+16` no number: numbers may differ in kind, not in value."""

    def same(a, b):
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        if isinstance(a, str) != isinstance(b, str) and all(isinstance(x, (str, float)) for x in (a, b)):
            return math.isclose(float(a), float(b))
        return a == b

    text = pyyaml.safe_dump({"k": value}, allow_unicode=True)
    if "0x" in text or "!!" in text:
        return
    assert same(value, plain(text)["k"])


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        read(text, "f.yaml")
    except Invalid as invalid:
        assert invalid.problems
        assert all(p.file == "f.yaml" and p.line >= 0 and p.message for p in invalid.problems)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(data):
    try:
        read(data, "f.yaml")
    except Invalid as invalid:
        assert invalid.problems


def test_overlay_keeps_the_places_of_both():
    base = read("a: {x: 1, y: 2}\nb: 1\n", "base.yaml")
    top = read("\n\na: {y: 3}\nc: 4\n", "top.yaml")
    merged = overlay(base, top)
    assert merged.plain() == {"a": {"x": 1, "y": 3}, "b": 1, "c": 4}
    assert str(merged.find(["a", "y"])[0]) == "top.yaml:3:5"
    assert str(merged.find(["a", "x"])[0]) == "base.yaml:1:5"
    assert str(merged.find(["b"])[0]) == "base.yaml:2:1"
