"""What holds for any text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.redaction.detect import DetectionSettings
from api.proxies.redaction.detect.local import Finder
from api.proxies.redaction.detect.merge import merged
from api.proxies.redaction.detect.split import joined, pieces
from api.proxies.redaction.finds import Find

FINDER = Finder(DetectionSettings(ner=False))
SAID = st.sampled_from(
    [
        "ada@lovelace-works.org",
        "84.23.11.9",
        "4111 1111 1111 1111",
        "221 Baker Street",
        "+49 30 901820",
        "219-09-9999",
        "password=hunter2!",
        "Dr. Who",
        "İstanbul",
        "\n",
        "😀",
        "aged 42",
    ]
)
TEXT = st.lists(st.one_of(SAID, st.text(max_size=20)), max_size=12).map(" ".join)


@given(TEXT)
@settings(deadline=None, max_examples=150)
def test_finds_are_sorted_disjoint_within_the_text_and_the_same_again(text: str) -> None:
    found = FINDER.find(text)
    assert all(0 <= find.start < find.end <= len(text) and 0 <= find.score <= 1 for find in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert all(find.type.replace("_", "").isalpha() and find.type.isupper() for find in found)
    assert FINDER.find(text) == found


@given(st.text(alphabet="ab .\n", min_size=1, max_size=300), st.integers(20, 80))
def test_pieces_hold_all_of_a_text_and_whatever_is_short_is_whole_in_one(text: str, size: int) -> None:
    overlap = size // 2
    cut = pieces(text, size, overlap)
    assert cut[0].start == 0
    assert cut[-1].end == len(text)
    assert all(piece.end - piece.start <= size for piece in cut)
    short = overlap // 4
    for start in range(len(text) - short):
        assert any(piece.start <= start and start + short <= piece.end for piece in cut)


@given(
    st.lists(st.one_of(SAID, st.sampled_from(["and so on.", "It is fine.\n"])), min_size=20, max_size=60).map(". ".join)
)
@settings(deadline=None, max_examples=30)
def test_in_pieces_nothing_is_lost(text: str) -> None:
    whole = {
        at
        for find in FINDER.find(text)
        if find.type in ("EMAIL", "IP", "SSN", "SECRET")
        for at in range(find.start, find.end)
    }
    parts = [(piece, FINDER.find(text[piece.start : piece.end])) for piece in pieces(text, 300, 160)]
    assert whole <= {at for find in joined(text, parts) for at in range(find.start, find.end)}


FINDS = st.lists(
    st.builds(
        lambda start, size, kind, score: Find(start, min(40, start + size), kind, score),
        st.integers(0, 39),
        st.integers(1, 12),
        st.sampled_from(["PERSON", "EMAIL", "ADDRESS"]),
        st.floats(0, 1),
    ),
    max_size=8,
)


@given(FINDS)
def test_whatever_one_has_found_is_covered_after_the_merge(finds: list[Find]) -> None:
    text = "ABCDEFGHIJ" * 4
    kept = merged(finds, text)
    assert {at for find in finds for at in range(find.start, find.end)} == {
        at for find in kept for at in range(find.start, find.end)
    }
    assert all(one.end <= other.start for one, other in pairwise(kept))
