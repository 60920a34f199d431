"""What is found in a body's bytes is what a JSON parser finds, wherever they were cut, and whichever way was taken."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.peek import SHORT, Asked, Peek, look

KEYS = st.sampled_from(
    ["model", "stream", "user", "session_id", "messages", "prompt", "input", "x", 'mo"del', "é", "\\"]
)
ODD = ['"', "\\", '\\"', "}", '{"model":"q"}', "\ud83d\ude00", "\u2028", "a" * 300]
LISTS = [
    [{"role": "system", "content": "x"}, {"role": "user"}, {}],
    [{"role": "user", "content": [{"type": "text", "text": "model"}]}, 3],
    ["a", {}],
    [[1], [2]],
    [1, 2],
    [],
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(ODD)
    | st.sampled_from(LISTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def written(pairs: list[tuple[str, object]], ascii_only: bool, blanks: random.Random) -> bytes:
    """A JSON object in which a key may come twice."""
    parts = [
        json.dumps(key, ensure_ascii=ascii_only)
        + blanks.choice([":", " : ", ":\n"])
        + json.dumps(value, ensure_ascii=ascii_only)
        for key, value in pairs
    ]
    return ("{" + blanks.choice([",", " ,\t"]).join(parts) + "}").encode("utf-8", "surrogatepass")


def in_pieces(body: bytes, cuts: list[int]) -> Asked:
    peek, there, left = Peek(), bytearray(), list(cuts)
    while len(there) < len(body):
        size = left.pop() if left else len(body)
        there += body[len(there) : len(there) + size]
        peek.feed(there)
    assert peek.done
    assert not peek.bad
    return peek.asked()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(KEYS, VALUES), max_size=6),
    st.booleans(),
    st.lists(st.integers(1, 9), max_size=60),
    st.randoms(use_true_random=False),
)
def test_as_a_parser_reads_it(pairs, ascii_only: bool, cuts: list[int], blanks: random.Random) -> None:
    body = written(pairs, ascii_only, blanks)
    said = json.loads(body)
    model, stream = said.get("model"), said.get("stream")
    found = [look(body), in_pieces(body, []), in_pieces(body, cuts)]
    for asked in found:
        assert asked.whole
        assert asked.model == (model if isinstance(model, str) else "")
        assert asked.stream is (stream if isinstance(stream, bool) else None)
        changed = json.loads(asked.spliced(body, 'nä"w'))
        assert changed == (said | {"model": 'nä"w'} if isinstance(model, str) else said)
        assert (asked.session, asked.prefix) == (found[0].session, found[0].prefix)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.text('{}[]":,\\model tru', max_size=40).map(str.encode))
def test_whatever_else_comes_does_no_harm(body: bytes) -> None:
    asked = look(body)
    assert asked.spliced(body, "n") is not None
    peek = Peek()
    for end in range(len(body) + 1):
        peek.feed(body[:end])
    peek.asked()


def conversation(*said: str, system: str | None = "be brief") -> bytes:
    first = [] if system is None else [{"role": "system", "content": system}]
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(said)]
    return json.dumps({"model": "m", "messages": first + turns}).encode()


def test_all_calls_of_a_conversation_begin_alike() -> None:
    first = look(conversation("hello")).prefix
    assert first
    assert look(conversation("hello", "yes?", "why")).prefix == first
    assert look(conversation("hello", "yes?", "why" * SHORT)).prefix == first, "also once it is long"
    assert look(conversation("good day")).prefix != first
    assert look(conversation("hello", system="be wordy")).prefix != first
    assert look(conversation("hello", system=None)).prefix not in {first, 0}
    assert look(b'{"model": "m"}').prefix == 0


def test_who_it_belongs_to() -> None:
    assert look(b'{"user": "ann", "session_id": "s1"}').session == "s1"
    assert look(b'{"user": "ann", "session_id": 3}').session == "ann"
    assert look(b'{"metadata": {"user": "ann"}}').session == ""


@pytest.mark.parametrize(
    "evil",
    [
        b'{"a":["' + b'\\"' * 2_000_000,
        b'{"a":"' + b"\\" * 4_000_000,
        b'{"a":["' + (b"\\" * 64 + b'"') * 60_000,
        b'{"a":' + b"[" * 4_000_000,
        b'{"a":[' + b'"",' * 1_000_000,
        b"{" + b'"a":1,' * 600_000,
        b'{"messages":[' + b"[[]]," * 800_000,
    ],
    ids=["quotes", "backslashes", "both", "brackets", "strings", "keys", "messages"],
)
def test_no_body_is_dear(evil: bytes) -> None:
    """Work grows with what comes, not with what came: each piece costs a bounded number of steps."""
    peek, there = Peek(), bytearray()
    for at in range(0, len(evil), 65536):
        there += evil[at : at + 65536]
        peek.feed(there)
    assert not peek.done
    assert peek._steps <= 250_001
