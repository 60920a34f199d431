"""The merge of words and speakers, against the rules that others label words with, on meetings it was not tuned on.

The words are cut from AMI's turns, and both the words' times and the diarizer's turns are made as wrong as servers make
them (tests/bench/merge_noise.py). So what is measured is the merge alone.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from api import collector
from api.proxies.audio.merge import Turn, Word, merge
from tests.bench.figures import Table, against, ms
from tests.bench.merge_noise import BESIDE, LEVELS, TUNED_ON, VARIABLE, Level, corpus, diarized, meetings, spoken
from tests.bench.merge_others import Labels, Rule, midpoint, segments, wder, whisperx, whisperx_fill

EXAMPLE = "SPARKKEEP_DIARIZATIONLM"
SEEDS, WORDS, RUNS = 2, 10_000, 15
GOAL, FAST = 0.85, 0.100
HEARD = {False: "every voice", True: "one voice at a time"}


def ours(words: Sequence[Word], turns: Sequence[Turn]) -> Labels:
    return [each.speaker for each in merge(words, turns).words]


RULES: dict[str, Rule] = {
    "segment argmax": segments,
    "whisperX": whisperx,
    "whisperX, fill_nearest": whisperx_fill,
    "midpoint": midpoint,
    "ours": ours,
}


def missing() -> str | None:
    """Why it can't be measured here."""
    path = corpus()
    return None if path.is_file() else f"no corpus to merge: {path} is not there; {VARIABLE} names another RTTM file"


def bench() -> list[Table]:
    found = meetings(corpus())
    held = {name: turns for name, turns in found.items() if not name.startswith(TUNED_ON)}
    return [_quality(held), _speed(held), *_text()]


def _quality(held: dict[str, list[Turn]]) -> Table:
    table = Table("Merge: wrong speakers", ("words heard", "diarizer's errors", *RULES, "goal"))
    for one_voice, told in HEARD.items():
        for level in LEVELS:
            for which, errors in _errors(held, level, one_voice=one_voice).items():
                others = min(error for name, error in errors.items() if name != "ours")
                gain = f"{1 - errors['ours'] / others:.1%} better than the best (goal 15 %)"
                cells = [f"{error:.1%}" for error in errors.values()]
                table.add(f"{told}{which}", level.name, *cells, against(GOAL * others, errors["ours"], gain))
    table.notes.append(
        f"WDER: the part of the words whose speaker is wrong, after the best one-to-one mapping of labels; a word without "
        f"a label is wrong (Shafey et al. 2019, with every word known; tests/bench/merge_others.py). {len(held)} meetings "
        f"({', '.join(sorted(held))}), {SEEDS} seeds; the rules were tuned on {' and '.join(TUNED_ON)} only. "
        "The words have no text of AMI's; their times, ends and punctuation are wrong as a server's are. "
        "*every voice*: the words of all, also of those who speak at the same time; *one voice at a time*: a word that "
        "half lies under one that is heard already is lost; *said alone*: only those of these words that lie in no "
        "other's turn. Where two speak at once, a word has as much evidence for one as for the other, whatever the rule."
    )
    return table


def _errors(held: dict[str, list[Turn]], level: Level, *, one_voice: bool) -> dict[str, dict[str, float]]:
    """Of each rule: over all words, and over those that were said alone."""
    wrong = {"": Counter[str](), ", said alone": Counter[str]()}
    total = Counter[str]()
    for name, turns in sorted(held.items()):
        for seed in range(SEEDS):
            dice = Random(f"{name} {level.name} {seed}")
            words, said, alone = spoken(turns, dice, one_voice=one_voice)
            heard = diarized(turns, level, dice)
            parts = {"": range(len(words)), ", said alone": [at for at, nobody in enumerate(alone) if nobody]}
            for rule, label in RULES.items():
                labels = label(words, heard)
                for which, part in parts.items():
                    share = wder([said[at] for at in part], [labels[at] for at in part])
                    wrong[which][rule] += round(share * len(part))
            total.update({which: len(part) for which, part in parts.items()})
    return {which: {rule: counts[rule] / total[which] for rule in RULES} for which, counts in wrong.items()}


def _speed(held: dict[str, list[Turn]]) -> Table:
    """An hour, made of meetings one after another, as long as it takes for so many words."""
    dice, turns, after = Random(1), list[Turn](), 0.0
    for name in sorted(held):
        turns += [turn._replace(start=turn.start + after, end=turn.end + after) for turn in held[name]]
        after = max(turn.end for turn in turns)
    words = spoken(turns, dice, one_voice=False)[0][:WORDS]
    until = max(word.start or 0.0 for word in words)
    names = {name: f"P{at % 4}" for at, name in enumerate(sorted({turn.speaker for turn in turns}))}
    told = [turn._replace(speaker=names[turn.speaker]) for turn in turns if turn.start < until]
    heard = diarized(told, LEVELS[1], dice)
    collector.settle()
    taken = []
    for _ in range(RUNS):
        began = time.process_time()
        merge(words, heard)
        taken.append(time.process_time() - began)
    table = Table("Merge: speed", ("words", "turns", "least", "median", "goal"))
    least, middle = min(taken), sorted(taken)[RUNS // 2]
    goal = against(FAST, least, "< 100 ms")
    table.add(f"{len(words):,}", f"{len(heard):,}", ms(least), ms(middle), goal)
    table.notes.append(
        f"Processor time of {RUNS} merges of as many words as an hour of talk has, four speakers; "
        "garbage collection as `serve` sets it. The goal is for the least: on cores that others use, processor time is more."
    )
    return table


def _text() -> list[Table]:
    """Google's example of DiarizationLM: words with labels of a system and right ones, but no times."""
    path = Path(os.environ.get(EXAMPLE) or BESIDE / "diarizationlm_example.json")
    if not path.is_file():
        return []
    table = Table("Merge: text without times", ("call", "words", "as the system had it", "after the merge"))
    for at, call in enumerate(json.loads(path.read_text())["utterances"], 1):
        texts, labels, right = (call[key].split() for key in ("hyp_text", "hyp_spk", "hyp_spk_oracle"))
        words = [Word(text, round(at * 0.3, 3), round(at * 0.3 + 0.3, 3)) for at, text in enumerate(texts)]
        heard = [Turn(word.start or 0.0, word.end or 0.0, who) for word, who in zip(words, labels, strict=True)]
        after = wder(right, ours(words, _joined(heard)))
        table.add(str(at), str(len(words)), f"{wder(right, labels):.2%}", f"{after:.2%}")
    table.notes.append(
        "DiarizationLM's example file (google/speaker-id): `hyp_spk` against `hyp_spk_oracle`. It has no times, pauses or "
        "punctuation, so each word is given 0.3 s, and what is measured is only that lone words inside others' are "
        "undone, except short answers. WDER is over the words of the hypothesis. "
        "Not held out: `change` was chosen with them too."
    )
    return [table]


def _joined(turns: list[Turn]) -> list[Turn]:
    """As a diarizer tells them: one turn as long as it is the same speaker."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].speaker == turn.speaker:
            found[-1] = found[-1]._replace(end=turn.end)
        else:
            found.append(turn)
    return found
