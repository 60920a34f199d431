"""Who spoke when, out of the shapes in which diarizers say it: lists of objects, of rows, of lines, and RTTM. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite
from typing import Final

from api.proxies.audio.merge import Turn
from api.proxies.audio.words import Json, Unreadable, number
from reconciler.canaries.sounds import SPANS

_EXCLUSIVE: Final = ("exclusiveDiarization", "exclusive_diarization")
_SPEAKERS: Final = ("speaker", "label", "speaker_id", "speaker_label", "cluster")
_SURE: Final = ("probability", "confidence", "score")
_ROW: Final = 3  # start, end, speaker
_RTTM: Final = 8  # up to the speaker
_DEEP: Final = 3


def turns(body: bytes) -> list[Turn]:
    """Raises Unreadable. Nobody spoke: an empty list."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return _lines(body)
    if isinstance(said, str):
        return _lines(said.encode())
    found = said
    for _ in range(_DEEP):  # the list may lie deeper
        if isinstance(found, dict):
            names = (*_EXCLUSIVE, *SPANS)
            found = next((found[name] for name in names if isinstance(found.get(name), list | dict)), None)
    if not isinstance(found, list):
        raise Unreadable("its answer has no list of segments")
    if len(found) == 1 and isinstance(found[0], list) and all(isinstance(each, str) for each in found[0]):
        found = found[0]  # NeMo: a list for each file
    return [_turn(each) for each in found]


def _turn(said: object) -> Turn:
    if isinstance(said, str):
        return _row(said.split())
    if isinstance(said, list):
        return _row(said)
    if isinstance(said, dict):
        start, end = number(said, ("start", "start_time")), number(said, ("end", "end_time"))
        lasts = number(said, ("duration",))
        if start is not None and end is None and lasts is not None:
            end = start + lasts
        sure = number(said, _SURE)
        if start is not None and end is not None:
            return Turn(start, end, _speaker(said), 1.0 if sure is None else sure)
    raise Unreadable("a segment of its answer has no start and end")


def _speaker(said: Json) -> str:
    for name in _SPEAKERS:
        value = said.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int):
            return f"speaker_{value}"
    raise Unreadable("a segment of its answer has no speaker")


def _row(said: list[object] | list[str]) -> Turn:
    if len(said) >= _ROW and isinstance(said[2], str | int):
        found = number({"start": said[0]}, ("start",)), number({"end": said[1]}, ("end",))
        if found[0] is not None and found[1] is not None:
            return Turn(found[0], found[1], str(said[2]))
    raise Unreadable("a segment of its answer is not `start end speaker`")


def _lines(body: bytes) -> list[Turn]:
    """RTTM, or `start end speaker` on each line."""
    lines = [line.split() for line in body.decode(errors="replace").splitlines() if line.strip()]
    if lines and all(line[0] == "SPEAKER" and len(line) >= _RTTM for line in lines):
        return [_spoken(line) for line in lines]
    if not lines:
        raise Unreadable("its answer is empty")
    return [_row(line) for line in lines]


def _spoken(line: list[str]) -> Turn:
    try:
        start, lasts = float(line[3]), float(line[4])
    except ValueError:
        raise Unreadable("a line of its RTTM has no times") from None
    if not isfinite(start + lasts):
        raise Unreadable("a line of its RTTM has no times")
    return Turn(start, start + lasts, line[7])


def letters(speakers: Iterable[str | None], known: Iterable[str] = ()) -> dict[str, str]:
    """What each speaker is called, in order of appearance: A, B, …, or the name that the caller gave."""
    names = set(known)
    found: dict[str, str] = {}
    count = 0
    for speaker in speakers:
        if speaker is None or speaker in found:
            continue
        if speaker in names:
            found[speaker] = speaker
            continue
        while (letter := _letter(count)) in names:
            count += 1
        found[speaker] = letter
        count += 1
    return found


def _letter(count: int) -> str:
    """A to Z, then AA."""
    said = ""
    count += 1
    while count:
        count, at = divmod(count - 1, 26)
        said = chr(ord("A") + at) + said
    return said
