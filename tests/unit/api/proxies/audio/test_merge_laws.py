"""What holds of merged labels whatever a server and a diarizer say; and an example of each rule."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.audio.merge import Frames, Turn, Word, by_channel, match, merge

EXAMPLES = 1500 if os.environ.get("SPARKKEEP_LONG") else 60
laws = settings(max_examples=EXAMPLES, deadline=None)

moments = st.integers(0, 40_000).map(lambda ms: ms / 1000)
lengths = st.integers(0, 3_000).map(lambda ms: ms / 1000)
texts = st.sampled_from(["a", "and", "that", "Yes.", "okay", "it's", "Sparks.", "", "1984", "so?”"])


@st.composite
def heard_words(draw: st.DrawFn) -> list[Word]:
    """In order, as servers give them; some without times, some with half of them."""
    found = []
    for start in sorted(draw(st.lists(moments, max_size=25))):
        end = round(start + draw(lengths), 3)
        kind = draw(st.integers(0, 9))
        found.append(Word(draw(texts), None if kind in {0, 1} else start, None if kind in {0, 2} else end))
    return found


turns = st.lists(
    st.builds(
        lambda start, length, who, sure: Turn(start, round(start + length, 3), who, sure),
        moments,
        lengths,
        st.sampled_from("ABC"),
        st.sampled_from([1.0, 0.9, 0.5]),
    ),
    max_size=12,
)


@laws
@given(heard_words(), turns)
def test_every_word_is_kept_once_in_order_with_its_own_times(words: list[Word], heard: list[Turn]) -> None:
    merged = merge(words, heard)
    assert [each.word for each in merged.words] == words
    for each in merged.words:
        assert each.word.start in {None, each.start}
        assert each.word.end in {None, each.end}
    assert [at for part in merged.segments for at in range(part.first, part.last)] == list(range(len(words)))


@laws
@given(heard_words(), turns)
def test_times_are_in_order(words: list[Word], heard: list[Turn]) -> None:
    whole = [word for word in words if (word.start is None) == (word.end is None)]
    merged = merge(whole, heard)
    timed = [each for each in merged.words if each.start is not None and each.end is not None]
    assert timed == ([] if all(word.start is None for word in whole) else merged.words)
    assert all(a.start <= b.start for a, b in pairwise(timed))  # type: ignore[operator]
    assert all(each.start <= each.end for each in timed)  # type: ignore[operator]


@laws
@given(heard_words(), turns)
def test_no_label_is_invented(words: list[Word], heard: list[Turn]) -> None:
    merged = merge(words, heard)
    said = {turn.speaker for turn in heard if turn.end > turn.start}
    for each in merged.words:
        assert each.speaker is None or each.speaker in said
        assert 0 <= each.speaker_confidence <= 1
        assert each.speaker is not None or (each.speaker_confidence == 0 and not each.overlap)
    for part in merged.segments:
        assert {each.speaker for each in merged.words[part.first : part.last]} == {part.speaker}


@laws
@given(heard_words(), turns, st.randoms(use_true_random=False))
def test_neither_the_order_of_turns_nor_empty_ones_nor_silence_matter(
    words: list[Word], heard: list[Turn], dice: Random
) -> None:
    merged = merge(words, heard)
    empty = [Turn(at, at, "Z") for at in (0.0, 3.0, 20.0)] + [Turn(2.0, 1.0, "Z"), Turn(0.0, 9.0, "Z", 0.0)]
    far = [Turn(5_000.0, 5_010.0, "Z")]  # somebody after an hour of silence
    others = heard + empty + far
    dice.shuffle(others)
    assert merge(words, others) == merged
    assert merge(words, heard) == merged


@laws
@given(heard_words(), turns, st.integers(0, 36_000))
def test_the_hour_does_not_matter(words: list[Word], heard: list[Turn], later: int) -> None:
    def moved(time: float | None) -> float | None:
        return None if time is None else round(time + later, 3)

    then = merge(
        [word._replace(start=moved(word.start), end=moved(word.end)) for word in words],
        [turn._replace(start=round(turn.start + later, 3), end=round(turn.end + later, 3)) for turn in heard],
    )
    now = merge(words, heard)
    assert [each[3:] for each in then.words] == [each[3:] for each in now.words]
    assert [(part.speaker, part.first, part.last) for part in then.segments] == [
        (part.speaker, part.first, part.last) for part in now.segments
    ]


@laws
@given(heard_words(), st.lists(st.tuples(*[st.sampled_from([0.0, 0.2, 0.6, 1.0])] * 3), max_size=200))
def test_with_frames_words_are_kept_and_no_label_is_invented(words: list[Word], rows: list[tuple[float, ...]]) -> None:
    merged = merge(words, Frames("ABC", 0.08, rows))
    assert [each.word for each in merged.words] == words
    active = {who for row in rows for who, value in zip("ABC", row, strict=True) if value}
    assert {each.speaker for each in merged.words} - {None} <= active
    longer = merge(words, Frames("ABC", 0.08, [*rows, *[(0.0, 0.0, 0.0)] * 500]))
    assert longer == merged


@laws
@given(
    st.dictionaries(
        st.sampled_from("ABCD"),
        st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 10).map(lambda n: n / 10), max_size=4),
        max_size=4,
    )
)
def test_no_other_pairs_of_labels_and_names_are_better(similarity: dict[str, dict[str, float]]) -> None:
    found = match(similarity, 0.4)
    assert len(set(found.values())) == len(found)
    assert all(similarity[label][name] >= 0.4 for label, name in found.items())

    def worth(pairs: Sequence[tuple[str, str | None]]) -> float:
        gains = (similarity[label].get(name, 0.0) - 0.4 for label, name in pairs if name)
        return sum(gain for gain in gains if gain >= 0)

    names: list[str | None] = ["w", "x", "y", "z"]
    best = max(worth(list(zip(similarity, order, strict=False))) for order in permutations(names))
    assert worth(list(found.items())) == pytest.approx(best)


def said(text: str, start: float, each: float = 0.3, gap: float = 0.0) -> list[Word]:
    return [
        Word(word, round(start + at * (each + gap), 3), round(start + at * (each + gap) + each, 3))
        for at, word in enumerate(text.split())
    ]


def who(words: Sequence[Word], heard: Sequence[Turn] | Frames) -> str:
    return "".join(each.speaker or "-" for each in merge(words, heard).words)


def test_a_word_stretched_over_silence_is_whose_it_began_with() -> None:
    words = [*said("this is what I", 0), Word("think", 1.2, 7.0), *said("No I do not", 7.0)]
    assert who(words, [Turn(0, 1.6, "A"), Turn(3.0, 9.0, "B")]) == "AAAAABBBB"


def test_a_word_without_times_is_between_its_neighbours() -> None:
    words = [*said("in the year", 0), Word("1984"), *said("it was", 1.2)]
    merged = merge(words, [Turn(0, 2, "A")])
    assert [each.speaker for each in merged.words] == ["A"] * 6
    assert (merged.words[3].start, merged.words[3].end) == (0.9, 1.2)
    assert merged.words[3].word.start is None
    begins = [*said("so it is.", 0), Word("2"), *said("come", 4.0)]
    assert who(begins, [Turn(0, 0.9, "A"), Turn(3.5, 5, "B")]) == "AAABB"


def test_without_any_times_nobody_is_named() -> None:
    merged = merge([Word("a"), Word("b")], [Turn(0, 2, "A")])
    assert [(each.speaker, each.start) for each in merged.words] == [(None, None), (None, None)]
    assert [(part.first, part.last) for part in merged.segments] == [(0, 2)]


def test_a_word_in_a_gap_is_the_nearest_speakers_or_nobodys() -> None:
    assert who(said("well", 3.0), [Turn(0, 2.9, "A"), Turn(3.9, 5, "B")]) == "A"
    assert who(said("well", 20.0), [Turn(0, 2.9, "A")]) == "-"


def test_far_from_turns_a_word_inherits_within_its_sentence_only() -> None:
    heard = [Turn(0, 0.4, "A")]
    assert who(said("we go on and on and on", 0), heard) == "AAAAAAA"
    assert who(said("we go on and on. Then others", 0), heard) == "AAAAA--"
    assert who([*said("we go on and on", 0), *said("then others", 4)], heard) == "AAAAA--"


def test_a_lone_word_inside_a_sentence_stays_with_it() -> None:
    heard = [Turn(0, 0.9, "A"), Turn(0.9, 1.2, "B"), Turn(1.2, 3, "A")]
    assert who(said("we have seen that in all of them", 0), heard) == "AAAAAAAA"


def test_a_lone_word_between_pauses_or_sentences_is_anothers() -> None:
    apart = [*said("we have seen", 0), *said("Sparks", 1.5), *said("in all of", 2.4)]
    assert who(apart, [Turn(0, 0.9, "A"), Turn(1.5, 1.8, "B"), Turn(2.4, 4, "A")]) == "AAABAAA"
    heard = [Turn(0, 0.9, "A"), Turn(0.9, 1.2, "B"), Turn(1.2, 3, "A")]
    assert who(said("have you seen? Sparks. That is it", 0), heard) == "AAABAAA"


@pytest.mark.parametrize("answer", ["yes", "no", "okay", "Mm-hm"])
def test_a_short_answer_is_anothers_even_while_somebody_speaks(answer: str) -> None:
    words = [*said("we have seen", 0), *said(answer, 0.9), *said("in all of them", 1.2)]
    assert who(words, [Turn(0, 3, "A"), Turn(0.88, 1.22, "B")]) == "AAABAAAA"
    words[3] = words[3]._replace(text="that")
    assert who(words, [Turn(0, 3, "A"), Turn(0.88, 1.22, "B")]) == "AAAAAAAA"


def test_a_border_snaps_to_the_end_of_a_sentence() -> None:
    words = said("that is how it is. And now we go", 0)
    assert who(words, [Turn(0, 1.3, "A"), Turn(1.3, 3, "B")]) == "AAAAABBBB"
    assert who(words, [Turn(0, 1.7, "A"), Turn(1.7, 3, "B")]) == "AAAAABBBB"


def test_who_speaks_at_the_same_time_is_told() -> None:
    merged = merge(said("one two three four", 0), [Turn(0, 1.2, "A"), Turn(0.9, 2.0, "B")])
    assert [(each.speaker, each.overlap) for each in merged.words] == [
        *[("A", False)] * 3,
        ("A", True),
    ]
    assert [each.speaker_confidence for each in merged.words] == [1.0, 1.0, 1.0, 0.0]


def test_probabilities_of_turns_and_frames_count() -> None:
    assert who(said("one two", 0), [Turn(0, 1, "A", 0.3), Turn(0, 1, "B", 0.9)]) == "BB"
    rows = [(0.9, 0.3)] * 10 + [(0.2, 0.8)] * 10
    merged = merge(said("one two. Three four", 0, each=0.4), Frames("AB", 0.08, rows))
    assert [each.speaker for each in merged.words] == list("AABB")
    assert [round(each.speaker_confidence, 6) for each in merged.words] == [0.6, 0.6, 0.6, 0.6]


def test_a_model_with_all_its_labels_in_use_and_little_evidence_is_told() -> None:
    words = said("one. two. three. four.", 0, each=0.8)
    unsure = [[0.5 if who == at // 10 else 0.1 for who in range(4)] for at in range(40)]
    sure = [[0.9 if who == at // 10 else 0.1 for who in range(4)] for at in range(40)]
    assert merge(words, Frames("ABCD", 0.08, unsure), most_speakers=4).crowded
    assert not merge(words, Frames("ABCD", 0.08, sure), most_speakers=4).crowded
    assert not merge(words, Frames("ABCD", 0.08, unsure), most_speakers=8).crowded
    assert not merge(words, Frames("ABCD", 0.08, unsure)).crowded


def test_two_labels_never_get_one_name_and_strangers_none() -> None:
    similarity = {"A": {"ada": 0.9, "bob": 0.7}, "B": {"ada": 0.85, "bob": 0.2}, "C": {"ada": 0.3, "bob": 0.3}}
    assert match(similarity, 0.5) == {"A": "bob", "B": "ada"}
    assert match(similarity, 0.8) == {"A": "ada"}
    assert match({"A": {"ada": 0.1}}, 0.5) == {}
    assert match({}, 0.5) == {}


def test_of_a_call_in_stereo_the_channel_is_the_speaker() -> None:
    left = [word._replace(channel="left") for word in said("how are you today", 0)]
    right = [word._replace(channel="right") for word in [*said("fine", 1.0), Word("2"), *said("thanks", 1.6)]]
    merged = by_channel([*left, *right])
    assert sorted(each.word for each in merged.words) == sorted([*left, *right], key=lambda word: word[0])
    assert [(each.word.text, each.speaker, each.overlap) for each in merged.words] == [
        ("how", "left", False),
        ("are", "left", False),
        ("you", "left", False),
        ("today", "left", True),
        ("fine", "right", True),
        ("2", "right", False),
        ("thanks", "right", False),
    ]


def test_segments_break_at_speakers_silence_and_length() -> None:
    words = [*said("one two", 0), *said("three", 2.0), *said("four five", 2.3)]
    merged = merge(words, [Turn(0, 3, "A")])
    assert [(part.speaker, part.first, part.last) for part in merged.segments] == [("A", 0, 2), ("A", 2, 5)]
    changed = merge(said("one two. three four", 0), [Turn(0, 0.6, "A"), Turn(0.6, 3, "B")])
    assert [part.speaker for part in changed.segments] == ["A", "B"]
    long = merge(said(" ".join(["on"] * 250), 0), [Turn(0, 100, "A")])
    assert all(part.end - part.start <= 30 for part in long.segments if part.end and part.start is not None)
    assert len(long.segments) == 3
