"""Who spoke when, in every shape in which diarizers say it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.audio.merge import Turn
from api.proxies.audio.turns import letters, turns
from api.proxies.audio.words import Unreadable
from reconciler.canaries.sounds import SPANS

SAID = [Turn(0.0, 1.5, "a"), Turn(1.5, 2.0, "b")]
OBJECTS = [{"start": 0, "end": 1.5, "speaker": "a"}, {"start": 1.5, "end": 2, "speaker": "b"}]


@pytest.mark.parametrize(
    "said",
    [
        OBJECTS,
        *({name: OBJECTS} for name in SPANS),
        {"output": {"diarization": [], "exclusiveDiarization": OBJECTS}},  # pyannoteAI
        {
            "result": 1,
            "segments": [
                {"start_time": 0, "end_time": "1.5", "label": "a"},
                {"start": 1.5, "duration": 0.5, "label": "b"},
            ],
        },
        {"segments": ["0.00 1.50 a", "1.50 2.00 b"]},  # NeMo's sortformer
        [["0.00 1.50 a", "1.50 2.00 b"]],  # the same for a list of files
        {"turns": [[0, 1.5, "a"], [1.5, 2, "b"]]},
    ],
    ids=str,
)
def test_shapes(said: Any) -> None:
    assert turns(json.dumps(said).encode()) == SAID


@pytest.mark.parametrize(
    "text",
    [
        "SPEAKER call 1 0.000 1.500 <NA> <NA> a <NA> <NA>\nSPEAKER call 1 1.5 0.5 <NA> <NA> b <NA> <NA>\n",
        "0.00 1.50 a\n\n1.50 2.00 b",
        json.dumps("0.00 1.50 a\n1.50 2.00 b"),
    ],
)
def test_lines(text: str) -> None:
    assert turns(text.encode()) == SAID


def test_numbers_and_how_sure() -> None:
    said = {"segments": [{"start": 0, "end": 1, "speaker": 3, "confidence": 0.5}]}
    assert turns(json.dumps(said).encode()) == [Turn(0.0, 1.0, "speaker_3", 0.5)]
    assert turns(b'{"segments": []}') == []


@pytest.mark.parametrize(
    "said",
    [b"", b"{}", b"[1]", b'{"segments": [{"start": 0, "end": 1}]}', b"SPEAKER x 1 a b <NA> <NA> c", b"<html>", b"\xff"],
)
def test_what_is_none_of_them(said: bytes) -> None:
    with pytest.raises(Unreadable):
        turns(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*SPANS, "start", "end", "duration", "speaker", "label"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_whatever_a_diarizer_says_is_read_or_refused(said: bytes) -> None:
    try:
        found = turns(said)
    except Unreadable:
        return
    assert all(isinstance(turn.speaker, str) and turn.start == turn.start for turn in found)  # no NaN


def test_letters_in_order_of_appearance() -> None:
    assert letters(["x", None, "y", "x", "B", "z"], known=["B"]) == {"x": "A", "y": "C", "B": "B", "z": "D"}
    many = letters(str(at) for at in range(30))
    assert list(many.values())[24:28] == ["Y", "Z", "AA", "AB"]
