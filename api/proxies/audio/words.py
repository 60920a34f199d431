"""What a server for speech to text heard, out of the shapes in which such servers say it. Pure.

Words with times stand at the top (OpenAI, vLLM, LocalAI), in each segment (faster-whisper, whisperX, speaches) or below
`timestamp` (NeMo's parakeet). Where there are none, a segment's text is spread over its time, letter by letter: that is
a guess, and good enough for a caption or for a speaker who talks for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from api.proxies.audio.merge import Word

_TEXTS: Final = ("word", "text", "w", "char")
_STARTS: Final = ("start", "start_time", "begin")
_ENDS: Final = ("end", "end_time")
_SURE: Final = ("probability", "confidence", "score")
_SEGMENT_TEXTS: Final = ("text", "segment")
Json = Mapping[str, Any]


class Unreadable(ValueError):
    """An answer in no shape that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A transcript. `guessed`: the words' times are."""

    text: str
    words: tuple[Word, ...]
    duration: float
    language: str = ""
    segments: tuple[tuple[float, float, str], ...] = ()
    usage: Json | None = None
    guessed: bool = False


def number(said: Json, names: Iterable[str]) -> float | None:
    """The first of these that is a number, also one that is written as text."""
    for name in names:
        value = said.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            found = float(value)
        except (ValueError, OverflowError):
            continue
        if isfinite(found):
            return found
    return None


def word_of(said: Json, names: Iterable[str]) -> str | None:
    """The first of these that is a text."""
    return next((value for name in names if isinstance(value := said.get(name), str)), None)


def objects(value: object) -> list[Json]:
    """The objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def heard(said: object) -> Heard:
    """Raises Unreadable."""
    if not isinstance(said, dict):
        raise Unreadable("its answer is no JSON object")
    found, guessed = _words(said), False
    segments = tuple(_segments(said))
    if not found:
        found, guessed = [word for each in segments for word in spread(*each)], bool(segments)
    text = said.get("text")
    if not isinstance(text, str):
        if not found:
            raise Unreadable("its answer has neither a text nor words")
        text = joined(word.text for word in found)
    ends = [*(word.end for word in found if word.end is not None), *(end for _, end, _ in segments)]
    usage = said.get("usage")
    duration = number(said, ("duration",))
    if duration is None and isinstance(usage, dict):
        duration = number(usage, ("seconds",))
    language = said.get("language")
    return Heard(
        text=text.strip(),
        words=tuple(found),
        duration=max(0.0, duration if duration is not None else max(ends, default=0.0)),
        language=language if isinstance(language, str) else "",
        segments=segments,
        usage=usage if isinstance(usage, dict) else None,
        guessed=guessed,
    )


def has_times(heard: Heard) -> bool:
    """Whether anything of it has a time."""
    return any(word.start is not None or word.end is not None for word in heard.words)


def _words(said: Json) -> list[Word]:
    stamps = said.get("timestamp") or said.get("timestamps")
    below = stamps.get("word") if isinstance(stamps, dict) else None
    inside = [word for segment in objects(said.get("segments")) for word in objects(segment.get("words"))]
    for given in (objects(said.get("words")), inside, objects(below)):
        found = [
            Word(text, number(each, _STARTS), number(each, _ENDS), number(each, _SURE))
            for each in given
            if (text := word_of(each, _TEXTS)) is not None and text.strip()
        ]
        if found:
            return found
    return []


def _segments(said: Json) -> Iterator[tuple[float, float, str]]:
    stamps = said.get("timestamp") or said.get("timestamps")
    below = stamps.get("segment") if isinstance(stamps, dict) else None
    for each in objects(said.get("segments")) or objects(below):
        start, end, text = number(each, _STARTS), number(each, _ENDS), word_of(each, _SEGMENT_TEXTS)
        if start is not None and end is not None and start <= end and text is not None and text.strip():
            yield start, end, text.strip()


def spread(start: float, end: float, text: str) -> list[Word]:
    """The words of a text over its time, each as long as its letters are many."""
    words = text.split()
    whole = sum(len(word) + 1 for word in words)
    found, passed = list[Word](), 0
    for word in words:
        first = start + (end - start) * passed / whole
        passed += len(word) + 1
        found.append(Word(word, round(first, 3), round(start + (end - start) * passed / whole, 3)))
    return found


def joined(words: Iterable[str]) -> str:
    """Words as a text: those that bring their own blanks as they are, others with one between."""
    said = list(words)
    if any(word[:1].isspace() for word in said[1:]):
        return "".join(said).strip()
    return " ".join(said).strip()
