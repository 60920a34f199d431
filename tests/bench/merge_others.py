"""The rules that others label words with, and how wrong a labelling is."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations

from api.proxies.audio.merge import Turn, Word

Labels = list[str | None]
Rule = Callable[[Sequence[Word], Sequence[Turn]], Labels]


class Index:
    """Finds the turns near a span; sorted by start, with the longest turn's length as the margin."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.turns = sorted(turns)
        self._starts = [turn.start for turn in self.turns]
        self._longest = max((turn.end - turn.start for turn in turns), default=0.0)

    def most(self, start: float, end: float) -> str | None:
        """Who speaks longest in it."""
        amounts: dict[str, float] = defaultdict(float)
        first = bisect_left(self._starts, start - self._longest)
        for turn in self.turns[first : bisect_left(self._starts, end)]:
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                amounts[turn.speaker] += shared
        return max(amounts, key=lambda who: amounts[who]) if amounts else None

    def nearest(self, start: float, end: float) -> str | None:
        """Whose turn's middle is nearest, at any distance (whisperX's fill_nearest)."""
        middle = (start + end) / 2
        nearest = min(self.turns, key=lambda turn: abs((turn.start + turn.end) / 2 - middle), default=None)
        return nearest and nearest.speaker


def segments(words: Sequence[Word], turns: Sequence[Turn]) -> Labels:
    """Segment argmax: the server's segments (a pause of 0.5 s, a sentence's end, 30 s) have a speaker each."""
    index, labels, piece = Index(turns), Labels(), list[Word]()

    def close() -> None:
        times = [time for word in piece for time in (word.start, word.end) if time is not None]
        labels.extend([index.most(min(times), max(times)) if times else None] * len(piece))
        piece.clear()

    for word in words:
        before = piece[-1] if piece else None
        if before and word.start is not None and before.end is not None and word.start - before.end > 0.5:
            close()
        if piece and word.start is not None and word.start - (piece[0].start or word.start) > 30:
            close()
        piece.append(word)
        if word.text.endswith("."):
            close()
    close()
    return labels


def whisperx(words: Sequence[Word], turns: Sequence[Turn]) -> Labels:
    """Most overlap per word; none without a start, or in nobody's turn (`assign_word_speakers`)."""
    index = Index(turns)
    return [None if w.start is None or w.end is None else index.most(w.start, w.end) for w in words]


def whisperx_fill(words: Sequence[Word], turns: Sequence[Turn]) -> Labels:
    """As that, with `fill_nearest`."""
    index = Index(turns)
    return [
        None if w.start is None or w.end is None else index.most(w.start, w.end) or index.nearest(w.start, w.end)
        for w in words
    ]


def midpoint(words: Sequence[Word], turns: Sequence[Turn]) -> Labels:
    """Whoever speaks in the word's middle; of two, who began first."""
    index = Index(turns)
    middles = [None if w.start is None or w.end is None else (w.start + w.end) / 2 for w in words]
    return [None if at is None else index.most(at, at + 0.001) for at in middles]


def wder(said: Sequence[str], labels: Sequence[str | None]) -> float:
    """Word diarization error rate (Shafey et al. 2019) where every word is known: the part of the words whose speaker is wrong.

    Labels are mapped one to one to speakers so that it is least. A word without a label is wrong.
    """
    both: dict[tuple[str, str], int] = defaultdict(int)
    for who, label in zip(said, labels, strict=True):
        if label is not None:
            both[who, label] += 1
    return 1 - _best(both) / max(1, len(said))


def _best(both: dict[tuple[str, str], int]) -> int:
    left, right = sorted({who for who, _ in both}), sorted({label for _, label in both})
    if len(left) > len(right):
        both, left, right = {(b, a): n for (a, b), n in both.items()}, right, left
    return max(_sum(both, zip(left, order, strict=True)) for order in permutations(right, len(left)))


def _sum(both: dict[tuple[str, str], int], pairs: Iterable[tuple[str, str]]) -> int:
    return sum(both.get(pair, 0) for pair in pairs)
