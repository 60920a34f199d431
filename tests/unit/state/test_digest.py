"""The digest sees meaning and nothing else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.fields import MAX_BYTES, MAX_SECONDS, parse_duration, parse_size
from state.load import load_sources, load_text
from state.sources import Source

names = st.text("abcdefghij", min_size=1, max_size=6)
flags = st.dictionaries(
    st.text("abc-x", min_size=1, max_size=5).filter(lambda k: k[0] != "-"),
    st.integers(-5, 5)
    | st.booleans()
    | st.text("xyz", max_size=3)
    | st.dictionaries(names, st.integers(0, 3), max_size=2),
    max_size=3,
)
workloads = st.builds(
    lambda image, flags, env, priority, aliases, on: {
        "recipe": {"image": image, "flags": flags, "env": env},
        "priority": priority,
        "aliases": aliases,
        "on": on,
    },
    image=names,
    flags=flags,
    env=st.dictionaries(names, names, max_size=3),
    priority=st.integers(-3, 3),
    aliases=st.just([]),
    on=st.sampled_from(["any", "s1", ["s1", "s2"]]),
)
documents = st.dictionaries(names, workloads, max_size=3).map(
    lambda models: {"sparks": {"s1": {"host": "a"}, "s2": {"host": "b"}}, "models": models}
)


def shuffled(value, random):
    if isinstance(value, dict):
        pairs = [(k, shuffled(v, random)) for k, v in value.items()]
        random.shuffle(pairs)
        return dict(pairs)
    return [shuffled(v, random) for v in value] if isinstance(value, list) else value


@given(documents, st.randoms(use_true_random=False), st.sampled_from([None, 1, 4]))
@settings(max_examples=100, deadline=None)
def test_order_and_layout_mean_nothing(document, random, indent):
    first = load_text(json.dumps(document), "a.yaml")
    second = load_text(
        "# a comment\n" + json.dumps(shuffled(document, random), indent=indent) + "\n\n# more\n", "b.yaml"
    )
    assert first.digest == second.digest
    assert first.spec_digests == second.spec_digests


@given(documents, documents)
@settings(max_examples=100, deadline=None)
def test_different_states_have_different_digests(one, two):
    first, second = load_text(json.dumps(one), "a"), load_text(json.dumps(two), "b")
    assert (first.digest == second.digest) == (first.resolved == second.resolved)


BASE = "sparks: {s: {host: a}, t: {host: b}}\nmodels: {m: {recipe: {image: a}, on: [s, t]}, n: {recipe: {image: b}, on: s}}\n"


@pytest.mark.parametrize(
    "same",
    [
        BASE.replace("[s, t]", "[t, s]"),
        BASE.replace("image: a}", "image: a, engine: container, stopTimeout: 30s, flags: {}}"),
        BASE + "settings: {scanInterval: 0.5m}\n",
        BASE + "apiVersion: sparkkeep/v1\nguards:\n",
        BASE.replace("{image: a}", "'r'"),
    ],
)
def test_the_same_said_otherwise(same):
    recipes = [Source("r", b"recipes: {r: {image: a}, unused: {image: z}}")]
    assert load_sources([Source("d", same.encode())], recipes).digest == load_text(BASE, "d").digest


def test_an_unused_recipe_changes_no_digest_and_a_used_one_changes_only_its_users():
    text = b"models: {m: {recipe: r}, n: {recipe: {image: b}}}"

    def digests(recipes):
        state = load_sources([Source("d", text)], [Source("r", recipes)])
        return state.digest, state.spec_digests

    whole, each = digests(b"recipes: {r: {image: a}, unused: {image: z}}")
    assert digests(b"recipes: {r: {image: a}}") == (whole, each)
    whole2, each2 = digests(b"recipes: {r: {image: a2}}")
    assert whole2 != whole
    assert each2["m"] != each["m"]
    assert each2["n"] == each["n"]


@pytest.mark.parametrize(
    "other",
    [
        BASE.replace("host: a", "host: c"),
        BASE.replace("image: b", "image: c"),
        BASE + "settings: {scanInterval: 31s}\n",
        BASE + "guards: {allowEmpty: true}\n",
        BASE.replace("models", "services"),
        BASE.replace("on: s}", "on: t}"),
        BASE.replace("on: s}", "across: [s, t]}"),
        BASE.replace("image: b}", "image: b, env: {A: '1'}}"),
    ],
)
def test_another_meaning(other):
    assert load_text(other, "d").digest != load_text(BASE, "d").digest


def test_the_order_of_ranks_has_meaning():
    one = BASE.replace("on: s}", "across: [s, t]}")
    assert load_text(one, "d").digest != load_text(one.replace("across: [s, t]", "across: [t, s]"), "d").digest


@given(st.integers(0, 2**40), st.sampled_from(["", "B", "KiB", "kb", "MB", "MiB", "g", "GiB"]))
def test_sizes(number, unit):
    scale = {"": 1, "B": 1, "KiB": 2**10, "kb": 1000, "MB": 10**6, "MiB": 2**20, "g": 2**30, "GiB": 2**30}[unit]
    if number * scale > MAX_BYTES:
        with pytest.raises(ValueError, match="at most"):
            parse_size(f"{number}{unit}")
    else:
        assert parse_size(f"{number} {unit}") == number * scale
        assert parse_size(parse_size(f"{number}{unit}")) == number * scale


@given(st.text(max_size=12) | st.floats() | st.integers() | st.booleans() | st.none() | st.lists(st.integers()))
def test_a_size_or_duration_is_in_bounds_or_refused(value):
    for parse, most in ((parse_size, MAX_BYTES), (parse_duration, MAX_SECONDS)):
        try:
            found = parse(value)
        except ValueError:
            continue
        assert 0 <= found <= most


@given(st.integers(0, 6), st.integers(0, 59), st.integers(0, 59))
def test_durations(hours, minutes, seconds):
    whole = hours * 3600 + minutes * 60 + seconds
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == whole
    assert parse_duration(whole) == whole
    assert parse_duration(f"{whole * 1000}ms") == pytest.approx(whole)
