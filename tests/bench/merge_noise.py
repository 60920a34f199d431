"""Meetings as a server for speech to text and a diarizer would tell them: words and turns with the errors that these make.

The truth is a corpus of turns (RTTM). Words are cut from them; none of the corpus is kept here.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from api.proxies.audio.merge import Turn, Word

VARIABLE = "SPARKKEEP_AMI_RTTM"
BESIDE = Path(__file__).parents[3] / "shared/data"
TUNED_ON = ("ES2004", "IS1009")
SHORT = ("yeah", "okay", "mm-hm", "right", "no", "hm")


@dataclass(frozen=True)
class Level:
    """How wrong a diarizer is: parts of all speech, and seconds."""

    name: str
    missed: float = 0.05
    false_alarm: float = 0.03
    confused: float = 0.04
    jitter: float = 0.12
    dropped: bool = False  # the quietest speaker is heard as another


LEVELS = (
    Level("half", 0.025, 0.015, 0.02, 0.06),
    Level("as published"),
    Level("twice", 0.10, 0.06, 0.08, 0.24),
    Level("as published, one speaker lost", dropped=True),
)


def corpus() -> Path:
    return Path(os.environ.get(VARIABLE) or BESIDE / "ami_test_words.rttm")


def meetings(path: Path) -> dict[str, list[Turn]]:
    found = defaultdict(list)
    for line in path.read_text().splitlines():
        _, meeting, _, start, length, _, _, speaker, *_ = line.split()
        found[meeting].append(Turn(float(start), float(start) + float(length), speaker))
    return dict(found)


def spoken(turns: Sequence[Turn], dice: Random, *, one_voice: bool) -> tuple[list[Word], list[str], list[bool]]:
    """The words that a server hears in these turns, who said each, and whether nobody else spoke then.

    `one_voice`: of two at once it hears the first.
    """
    said = sorted((word for turn in turns for word in _cut(turn, dice)), key=lambda each: each[0])
    words, speakers, alone, until = [], [], [], 0.0
    for (start, end, text, pause, speaker), nobody in zip(said, _alone(said, turns), strict=True):
        if one_voice and until - start > (end - start) / 2:
            continue
        until = max(until, end)
        words.append((start + dice.gauss(0, 0.08), end + dice.gauss(0, 0.08) + _stretch(pause, dice), text))
        speakers.append(speaker)
        alone.append(nobody)
    order = sorted(range(len(words)), key=lambda at: words[at][0])
    told = []
    for at in order:
        start, end, text = words[at]
        start = max(0.0, start)
        times = (None, None) if dice.random() < 0.02 else (round(start, 2), round(max(end, start + 0.02), 2))
        told.append(Word(text, *times))
    return told, [speakers[at] for at in order], [alone[at] for at in order]


def _alone(said: Sequence[tuple[float, float, str, float, str]], turns: Sequence[Turn]) -> list[bool]:
    """Of each word, whether it lies in no other's turn."""
    coming, active, found = sorted(turns, reverse=True), list[Turn](), []
    for start, end, _, _, speaker in said:
        while coming and coming[-1].start < end:
            active.append(coming.pop())
        active = [turn for turn in active if turn.end > start]
        found.append(all(turn.speaker == speaker or turn.start >= end for turn in active))
    return found


def _cut(turn: Turn, dice: Random) -> list[tuple[float, float, str, float, str]]:
    """The words of a turn: start, end, text, the pause after it, who."""
    found: list[tuple[float, float, str, float, str]] = []
    at = turn.start
    while turn.end - at > 0.03 or not found:
        end = min(turn.end, at + max(0.06, dice.gammavariate(3.0, 0.1)))
        if turn.end - end < 0.06:
            end = turn.end
        pause = dice.expovariate(1 / 0.25) if dice.random() < 0.12 else 0.0
        last = end + pause >= turn.end - 0.03
        stops = dice.random() < (0.8 if last else 0.35 if pause > 0.2 else 0.02)
        if not found and last and dice.random() < 0.7:
            text = dice.choice(SHORT)
        else:
            text = "x" * max(1, min(12, round((end - at) * dice.uniform(9, 18))))
        marked = dice.random() < (0.8 if stops else 0.05)
        found.append((at, end, text + ("." if marked else ""), 1.0 if last else pause, turn.speaker))
        at = end + pause
    return found


def _stretch(pause: float, dice: Random) -> float:
    """Now and then an end is stretched over the silence that follows, or over what the server did not understand."""
    return dice.expovariate(1 / 1.5) if dice.random() < (0.15 if pause >= 0.5 else 0.02) else 0.0


def diarized(turns: Sequence[Turn], level: Level, dice: Random) -> list[Turn]:
    """The turns as a diarizer of that level tells them, with labels of its own."""
    speakers = sorted({turn.speaker for turn in turns})
    names = dict(zip(dice.sample(speakers, len(speakers)), (f"S{n}" for n in range(9)), strict=False))
    if level.dropped:
        amounts: dict[str, float] = defaultdict(float)
        for turn in turns:
            amounts[turn.speaker] += turn.end - turn.start
        quiet, other, *_ = sorted(amounts, key=lambda name: amounts[name])
        names[quiet] = names[other]
    total = sum(turn.end - turn.start for turn in turns)
    labels = sorted(set(names.values()))
    heard = [turn._replace(speaker=names[turn.speaker]) for turn in turns]
    heard = _pieces(heard, level.confused * total, dice, labels)
    heard = _pieces(heard, level.missed * total, dice, [])
    longest, wrong = max(turn.end for turn in turns), 0.0
    while wrong < level.false_alarm * total:
        start, length = dice.uniform(0, longest), dice.expovariate(1 / 0.6)
        heard.append(Turn(start, start + length, dice.choice(labels)))
        wrong += length
    moved = [(t.start + dice.gauss(0, level.jitter), t.end + dice.gauss(0, level.jitter), t.speaker) for t in heard]
    return sorted(
        Turn(round(max(0.0, start), 2), round(end, 2), who) for start, end, who in moved if end - start > 0.05
    )


def _pieces(turns: list[Turn], amount: float, dice: Random, labels: Sequence[str]) -> list[Turn]:
    """Pieces of the turns given to another of `labels`, or to nobody: half of them whole turns, if these are short."""
    left = list(turns)
    while amount > 0 and left:
        at = dice.randrange(len(left))
        turn = left.pop(at)
        length = turn.end - turn.start
        piece = length if length < 2 and dice.random() < 0.5 else min(length, dice.expovariate(1 / 1.0))
        start = dice.uniform(turn.start, turn.end - piece)
        others = [label for label in labels if label != turn.speaker]
        left += [t for t in (turn._replace(end=start), turn._replace(start=start + piece)) if t.end - t.start > 0.05]
        if others:
            left.append(Turn(start, start + piece, dice.choice(others)))
        amount -= piece
    return left
