"""Who said which word: a transcript's words and a diarizer's turns become one diarized transcript.

A server for speech to text tells words with times that are about right, and often wrong at a word's end: it is
stretched over the silence that follows. A diarizer tells who speaks when, with borders that are about right, pieces
that it missed and pieces that it gave to somebody else. Each word gets the evidence that it lies in each speaker's
turns (its length first cut down to what a mouth needs), or the mean of the probabilities where there are such. Then
the likeliest sequence of speakers is sought (Viterbi), in which a change costs something: little after a sentence or
a pause, much inside a sentence. So a border that is off by a word snaps to the pause beside it, and a single word in
the middle of a sentence is not torn out, unless it is a short answer. docs/adr/0030-label-merge.md has the figures.

Pure and deterministic. Inside, times are whole milliseconds, so the hour of the day changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from typing import NamedTuple

SHORT_ANSWERS = frozenset(
    (
        *("yes", "yeah", "yep", "yup", "no", "nope", "nah", "okay", "ok", "right", "sure", "oh", "ah", "huh"),
        *("mm", "mm-hm", "mm-hmm", "mhm", "mmhmm", "uh-huh", "uhhuh", "hm", "hmm", "ja", "nein", "oui", "non", "si"),
    )
)
_ENDS = frozenset(".!?…。！？")  # noqa: RUF001  # as they are written
_CLOSING = "\"'”’)]"  # noqa: RUF001  # may follow them
_AROUND = "\"'“”‘’()[].,;:!?…。，！？- "  # noqa: RUF001  # what is no part of a word


class Word(NamedTuple):
    """A word as the server told it. Times are seconds, or None where it has none (digits and symbols often)."""

    text: str
    start: float | None = None
    end: float | None = None
    confidence: float | None = None
    channel: str | None = None


class Turn(NamedTuple):
    """A diarizer's statement that `speaker` speaks from `start` to `end` (seconds), as probable as it says."""

    start: float
    end: float
    speaker: str
    probability: float = 1.0


class Frames(NamedTuple):
    """A diarizer's probabilities: a row per frame of `length` seconds, in it one for each of `speakers`."""

    speakers: Sequence[str]
    length: float
    rows: Sequence[Sequence[float]]
    start: float = 0.0


class Labelled(NamedTuple):
    """A word with its speaker. `start` and `end` are its own; where it had none, they lie between its neighbours'."""

    word: Word
    start: float | None
    end: float | None
    speaker: str | None
    speaker_confidence: float  # 0..1: how much more evidence there is for this speaker than for the next likely
    overlap: bool  # somebody else speaks too


class Segment(NamedTuple):
    """Words in a row of one speaker: `words[first:last]` of the transcript."""

    speaker: str | None
    start: float | None
    end: float | None
    first: int
    last: int


class Transcript(NamedTuple):
    """The words in order, and the same in segments."""

    words: Sequence[Labelled]
    segments: Sequence[Segment]
    crowded: bool = False  # there may be more speakers than the diarizer's model can tell apart


@dataclass(frozen=True, slots=True)
class Rules:
    """How labels are merged. Times are seconds; evidence is 1 for a word that lies wholly in a speaker's sure turn."""

    longest_word: float = 1.2  # of a word counts at most this, from its start,
    per_character: float = 0.12  # and at most this for each character,
    least_limit: float = 0.3  # but any word may last this long
    reach: float = 1.0  # how far a turn may be from a word that lies in nobody's
    near: float = 0.5  # the evidence of a turn that ends where the word begins; it falls to 0 at `reach`
    least_evidence: float = 0.05  # less than this is none
    change: float = 0.7  # what a change of speaker costs inside a sentence, in evidence,
    change_pause: float = 0.25  # after a pause,
    change_sentence: float = 0.2  # after a sentence's end,
    pause: float = 0.5  # the silence that makes a change as cheap as pauses make it
    short_answer: float = 3.0  # what draws a short answer to a short turn that it fills
    short_turn: float = 1.0  # the longest of these
    overlap: float = 0.5  # from this evidence on for another, two speak
    segment_gap: float = 1.0  # a longer silence ends a segment, and what a word without evidence may inherit over
    segment_longest: float = 30.0  # a segment ends before it would be longer
    low_evidence: float = 0.6  # a mean below this, with all labels of a model in use: it may not tell all apart
    short_answers: frozenset[str] = SHORT_ANSWERS


DEFAULT = Rules()
_Rows = list[list[float]]  # for each word the evidence for each speaker
_Evidence = tuple[list[str], _Rows]


def merge(
    words: Sequence[Word], heard: Sequence[Turn] | Frames, rules: Rules = DEFAULT, *, most_speakers: int | None = None
) -> Transcript:
    """Every word once, in order, with its speaker. `most_speakers` is how many the diarizer's model can tell apart."""
    spans = _spans(words, rules)
    labels, evidence = _heard(words, spans, heard, rules) if spans else ([], [])
    if not spans or not labels:
        labelled = [_labelled(word, spans[at] if spans else None, None) for at, word in enumerate(words)]
        return Transcript(labelled, _segments(labelled, rules))
    path = _likeliest(evidence, _costs(words, spans, rules))
    chosen = _within_evidence(path, evidence, words, spans, rules)
    labelled = [
        _labelled(word, span, None) if at is None else _labelled(word, span, labels[at], *_sureness(own, at, rules))
        for word, span, own, at in zip(words, spans, evidence, chosen, strict=True)
    ]
    used = {at for at in chosen if at is not None}
    crowded = most_speakers is not None and len(used) >= most_speakers and _weak(evidence, rules)
    return Transcript(labelled, _segments(labelled, rules), crowded)


def by_channel(words: Iterable[Word], rules: Rules = DEFAULT) -> Transcript:
    """A call recorded with a channel for each side: the speaker is the channel. Each channel's words come in order."""
    apart: dict[str | None, list[Word]] = {}
    for word in words:
        apart.setdefault(word.channel, []).append(word)
    placed: list[tuple[_Span | None, Word]] = []
    for own in apart.values():
        spans = _spans(own, rules)
        placed += [(spans[at] if spans else None, word) for at, word in enumerate(own)]
    placed.sort(key=lambda pair: -1 if pair[0] is None else pair[0].start)
    until: dict[str | None, int] = {}  # how long each channel is heard
    both = [False] * len(placed)
    latest: dict[str | None, int] = {}  # the word of each that is heard so long
    for at, (span, word) in enumerate(placed):
        if span is None:
            continue
        for other, end in until.items():
            if other != word.channel and end > span.start:
                both[at] = both[latest[other]] = True
        if span.until > until.get(word.channel, -1):
            until[word.channel], latest[word.channel] = span.until, at
    labelled = [
        _labelled(word, span, word.channel, 0.0 if word.channel is None else 1.0, two)
        for (span, word), two in zip(placed, both, strict=True)
    ]
    return Transcript(labelled, _segments(labelled, rules))


def match(similarity: Mapping[str, Mapping[str, float]], floor: float) -> dict[str, str]:
    """The known name of each label: one to one, no pair below `floor`, with the greatest sum above it.

    The Hungarian method; whoever is better left alone has a partner that isn't there.
    """
    labels = sorted(similarity)
    names = sorted({name for row in similarity.values() for name in row})
    size = len(labels) + len(names)
    cost = [[0.0] * size for _ in range(size)]
    for i, label in enumerate(labels):
        for j, name in enumerate(names):
            value = similarity[label].get(name, float("-inf"))
            cost[i][j] = floor - value - 1e-9 if value >= floor else 0.0
    partner = _assigned(cost)
    return {
        label: names[partner[i]]
        for i, label in enumerate(labels)
        if partner[i] < len(names) and cost[i][partner[i]] < 0
    }


def _assigned(cost: Sequence[Sequence[float]]) -> list[int]:
    """Each row's column, so that the sum is least (Kuhn and Munkres, with potentials; cubic)."""
    size = len(cost)
    rows, columns = [0.0] * (size + 1), [0.0] * (size + 1)
    owner = [0] * (size + 1)  # of each column; 0 is nobody, as rows and columns count from 1
    for row in range(1, size + 1):
        owner[0], at = row, 0
        least, came = [float("inf")] * (size + 1), [0] * (size + 1)
        done = [False] * (size + 1)
        while owner[at]:
            done[at] = True
            for column in range(1, size + 1):
                reduced = cost[owner[at] - 1][column - 1] - rows[owner[at]] - columns[column]
                if not done[column] and reduced < least[column]:
                    least[column], came[column] = reduced, at
            best = min((column for column in range(1, size + 1) if not done[column]), key=least.__getitem__)
            step = least[best]
            for column in range(size + 1):
                if done[column]:
                    rows[owner[column]] += step
                    columns[column] -= step
                else:
                    least[column] -= step
            at = best
        while at:
            owner[at] = owner[came[at]]
            at = came[at]
    found = [0] * size
    for column in range(1, size + 1):
        found[owner[column] - 1] = column - 1
    return found


class _Span(NamedTuple):
    """When a word is spoken, in ms: `end` as it will be told, `until` as far as it counts."""

    start: int
    end: int
    until: int


def _limits(words: Sequence[Word], rules: Rules) -> list[int]:
    """How long each word can last at most, in ms."""
    longest, each, least = round(rules.longest_word * 1000), rules.per_character * 1000, round(rules.least_limit * 1000)
    return [max(least, min(longest, round(each * len(word.text.strip())))) for word in words]


def _ms(seconds: float | None) -> int | None:
    return round(seconds * 1000) if seconds is not None and isfinite(seconds) else None


def _spans(words: Sequence[Word], rules: Rules) -> list[_Span] | None:
    """When each word is spoken; None if no word has a time."""
    limits = _limits(words, rules)
    starts = [_ms(word.start) for word in words]
    ends = [_ms(word.end) for word in words]
    known = [at for at, start in enumerate(starts) if start is not None or ends[at] is not None]
    if not known:
        return None
    spans = [_span(start, end, limit) for start, end, limit in zip(starts, ends, limits, strict=True)]
    _fill(spans, known, words, limits)
    return spans


def _span(start: int | None, end: int | None, limit: int) -> _Span:
    if start is None:
        if end is None:
            return _Span(0, 0, 0)
        return _Span(end - limit, end, end)
    if end is None:
        return _Span(start, start + limit, start + limit)
    return _Span(start, max(start, end), max(start, min(end, start + limit)))


def _fill(spans: list[_Span], known: Sequence[int], words: Sequence[Word], limits: Sequence[int]) -> None:
    """Words without times, between their neighbours: after the one before, or before the next if a sentence begins."""
    before = -1
    for next_known in [*known, len(spans)]:
        count = next_known - before - 1
        if count:
            _place(spans, before, next_known, words, limits)
        before = next_known


def _place(spans: list[_Span], before: int, after: int, words: Sequence[Word], limits: Sequence[int]) -> None:
    missing = range(before + 1, after)
    need = sum(limits[at] for at in missing)
    if before < 0:
        high = spans[after].start
        low = high - need
    elif after == len(spans):
        low = spans[before].until
        high = low + need
    else:
        high = max(spans[before].start, spans[after].start)
        low = min(spans[before].until, high)
        if high - low > need:
            if _ends_sentence(words[before]):
                low = high - need
            else:
                high = low + need
    passed = 0
    for at in missing:
        start = low + (high - low) * passed // need
        passed += limits[at]
        end = low + (high - low) * passed // need
        spans[at] = _Span(start, end, end)


def _from_turns(spans: Sequence[_Span], turns: Iterable[Turn], answers: Sequence[bool], rules: Rules) -> _Evidence:
    """For each word and speaker: what part of the word lies in their turns; if in nobody's, how near theirs are."""
    sound = _sound(turns)
    labels = sorted({speaker for _, _, speaker, _ in sound})
    if not labels:
        return labels, []
    number = {label: at for at, label in enumerate(labels)}
    coming = iter([*((start, end, number[who], sure) for start, end, who, sure in sound), None])
    turn = next(coming)
    reach, short = _ms(rules.reach) or 0, _ms(rules.short_turn) or 0
    nothing = [0.0] * len(labels)
    evidence = [nothing] * len(spans)
    active: list[tuple[int, int, int, float]] = []
    for at in sorted(range(len(spans)), key=lambda at: spans[at].start):
        start, _, until = spans[at]
        length = max(until - start, 1)
        until = start + length
        while turn is not None and turn[0] < until + reach:
            active.append(turn)
            turn = next(coming)
        gone = start - reach
        own = nothing[:]
        stale = covered = False
        for first, last, who, sure in active:
            if last <= gone:
                stale = True
            elif first < until and last > start:
                whole = first <= start and last >= until
                part = own[who] + (sure if whole else sure * (min(last, until) - max(first, start)) / length)
                own[who] = part if part < 1.0 else 1.0  # noqa: FURB136  # hot
                covered = True
        if stale:
            active = [each for each in active if each[1] > gone]
        if not covered:
            _near(own, active, start, until, rules)
        elif answers[at]:
            _drawn(own, [each for each in active if each[1] - each[0] <= short], start, until, rules)
        evidence[at] = own
    return labels, evidence


def _heard(words: Sequence[Word], spans: Sequence[_Span], heard: Sequence[Turn] | Frames, rules: Rules) -> _Evidence:
    """The diarizer's labels, and for each word the evidence for each of them."""
    if isinstance(heard, Frames):
        return _from_frames(spans, heard, rules)
    return _from_turns(spans, heard, [_is_answer(word, rules) for word in words], rules)


def _sound(turns: Iterable[Turn]) -> list[tuple[int, int, str, float]]:
    """The turns that last and may be true, in ms, in one order whatever the order they came in."""
    found = []
    for turn in turns:
        start, end = _ms(turn.start), _ms(turn.end)
        if start is not None and end is not None and start < end and turn.probability > 0:
            found.append((start, end, turn.speaker, min(1.0, turn.probability)))
    return sorted(found)


def _near(
    own: list[float], active: Iterable[tuple[int, int, int, float]], start: int, until: int, rules: Rules
) -> None:
    """Evidence for a word in nobody's turn: who spoke just before, or will."""
    reach = rules.reach * 1000
    for first, last, who, sure in active:
        away = start - last if last <= start else first - until
        own[who] = max(own[who], rules.near * sure * (1 - away / reach))


def _drawn(
    own: list[float], active: Iterable[tuple[int, int, int, float]], start: int, until: int, rules: Rules
) -> None:
    """A short answer into what another says is that other's, though both are heard."""
    for first, last, who, sure in active:
        shared = min(last, until) - max(first, start)
        if shared > 0:
            own[who] += rules.short_answer * sure * shared / (max(last, until) - min(first, start))


def _from_frames(spans: Sequence[_Span], frames: Frames, rules: Rules) -> _Evidence:
    """For each word and speaker the mean probability over the word; if that is nobody's, over what is in reach."""
    begin, length = _ms(frames.start) or 0, frames.length * 1000
    sums = [
        [0.0, *accumulate(min(1.0, max(0.0, row[at])) for row in frames.rows)] for at in range(len(frames.speakers))
    ]
    count = len(frames.rows)
    reach = rules.reach * 1000

    def mean(total: Sequence[float], start: float, until: float) -> float:
        return (_up_to(total, (until - begin) / length, count) - _up_to(total, (start - begin) / length, count)) * (
            length / (until - start)
        )

    evidence = []
    for start, _, last in spans:
        until = max(last, start + 1)
        own = [mean(total, start, until) for total in sums]
        if max(own, default=0.0) < rules.least_evidence:
            own = [rules.near * mean(total, start - reach, until + reach) for total in sums]
        evidence.append(own)
    return list(frames.speakers), evidence


def _up_to(total: Sequence[float], frame: float, count: int) -> float:
    """The sum of the probabilities before a moment, told in frames."""
    if frame <= 0:
        return 0.0
    if frame >= count:
        return total[count]
    whole = int(frame)
    return total[whole] + (total[whole + 1] - total[whole]) * (frame - whole)


def _is_answer(word: Word, rules: Rules) -> bool:
    return word.text.strip(_AROUND).lower() in rules.short_answers


def _ends_sentence(word: Word) -> bool:
    return word.text.rstrip(_CLOSING)[-1:] in _ENDS


def _costs(words: Sequence[Word], spans: Sequence[_Span], rules: Rules) -> list[float]:
    """What a change of speaker costs before each word."""
    pause, spared = rules.pause * 1000, rules.change - rules.change_pause
    found = [0.0]
    for at in range(1, len(spans)):
        gap = spans[at].start - spans[at - 1].until
        cost = rules.change - spared * min(1.0, gap / pause) if gap > 0 else rules.change
        if cost > rules.change_sentence and _ends_sentence(words[at - 1]):
            cost = rules.change_sentence
        found.append(cost)
    return found


def _likeliest(evidence: _Rows, costs: Sequence[float]) -> list[int]:
    """The sequence of speakers with the most evidence, less what its changes cost (Viterbi)."""
    scores, passed = evidence[0], list[tuple[list[float], float, int]]()
    for own, cost in zip(evidence[1:], costs[1:], strict=True):
        best = max(scores)
        changed = best - cost
        passed.append((scores, changed, scores.index(best)))
        scores = [(old if old > changed else changed) + new for old, new in zip(scores, own)]  # noqa: B905, FURB136  # hot
    who = scores.index(max(scores))
    path = [who]
    for before, changed, first in reversed(passed):
        if before[who] < changed:
            who = first
        path.append(who)
    path.reverse()
    return path


def _within_evidence(
    path: Sequence[int], evidence: _Rows, words: Sequence[Word], spans: Sequence[_Span], rules: Rules
) -> list[int | None]:
    """The path where there is evidence; a word without any inherits within its sentence, else it is nobody's."""
    chosen: list[int | None] = [
        who if max(own) >= rules.least_evidence else None for who, own in zip(path, evidence, strict=True)
    ]
    if None not in chosen:
        return chosen
    gap = rules.segment_gap * 1000
    joined = [
        spans[at].start - spans[at - 1].until <= gap and not _ends_sentence(words[at - 1])
        for at in range(1, len(words))
    ]
    for at in range(1, len(chosen)):
        if chosen[at] is None and joined[at - 1]:
            chosen[at] = chosen[at - 1]
    for at in range(len(chosen) - 2, -1, -1):
        if chosen[at] is None and joined[at]:
            chosen[at] = chosen[at + 1]
    return chosen


def _sureness(own: list[float], who: int | None, rules: Rules) -> tuple[float, bool]:
    """How much more evidence there is for this speaker than for any other, and whether another speaks too."""
    if who is None:
        return 0.0, False
    mine, others = own[who], own[:]
    others[who] = 0.0
    other = max(others)
    if mine <= other:
        return 0.0, mine >= rules.overlap
    sure = (mine if mine < 1.0 else 1.0) - other  # noqa: FURB136  # hot
    return (sure if sure > 0.0 else 0.0), other >= rules.overlap  # noqa: FURB136  # hot


def _weak(evidence: _Rows, rules: Rules) -> bool:
    return sum(min(1.0, max(own)) for own in evidence) < rules.low_evidence * len(evidence)


def _labelled(word: Word, span: _Span | None, speaker: str | None, sure: float = 0.0, two: bool = False) -> Labelled:
    start, end = word.start, word.end
    if span is not None:
        start = span.start / 1000 if start is None or not isfinite(start) else start
        end = span.end / 1000 if end is None or not isfinite(end) or end < start else end
    return Labelled(word, start, end, speaker, sure, two)


def _segments(words: Sequence[Labelled], rules: Rules) -> list[Segment]:
    """Words in a row of one speaker, without a long silence and not longer than players and readers like."""
    found: list[Segment] = []
    first, start, end = 0, None, None
    for at, word in enumerate(words):
        if at > first and _breaks(words[first], word, start, end, rules):
            found.append(Segment(words[first].speaker, start, end, first, at))
            first, start, end = at, None, None
        if word.start is not None and word.end is not None:
            start = word.start if start is None else min(start, word.start)
            end = word.end if end is None else max(end, word.end)
    if words:
        found.append(Segment(words[first].speaker, start, end, first, len(words)))
    return found


def _breaks(first: Labelled, word: Labelled, start: float | None, end: float | None, rules: Rules) -> bool:
    """Whether a segment ends before this word."""
    if word.speaker != first.speaker:
        return True
    if start is None or end is None or word.start is None or word.end is None:
        return False
    return word.start - end > rules.segment_gap or word.end - start > rules.segment_longest
