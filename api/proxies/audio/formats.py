"""A transcript as it was asked for: OpenAI's formats to the letter, RTTM, and the events of a stream. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from api.proxies.audio.merge import Labelled, Segment, Transcript, merge
from api.proxies.audio.wanted import Wanted
from api.proxies.audio.words import Heard, joined
from api.proxies.dialects import sse

UNKNOWN: Final = "unknown"
"""Whose words are nobody's, in formats that want a speaker for all."""
TYPES: Final = {
    "srt": b"application/x-subrip; charset=utf-8",
    "vtt": b"text/vtt; charset=utf-8",
    "text": b"text/plain; charset=utf-8",
    "rttm": b"text/plain; charset=utf-8",
}
JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream; charset=utf-8"
LONGEST_CUE: Final = 84
"""Characters: two lines of a caption."""
LASTING_CUE: Final = 7.0
PAUSE: Final = 0.8
"""A silence that ends a caption."""
_SENTENCE: Final = re.compile(r"[.!?…。！？][\"'”’)\]]*$")  # noqa: RUF001  # as they are written


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known in the end. `names`: what speakers are called; None: nobody was asked who speaks."""

    heard: Heard
    transcript: Transcript
    names: dict[str, str] | None = None
    missing: str = ""
    """Why there are no speakers, though they were asked for."""
    more: dict[str, Any] = field(default_factory=dict)

    def who(self, speaker: str | None) -> str:
        """What a speaker is called."""
        return UNKNOWN if speaker is None or self.names is None else self.names.get(speaker, UNKNOWN)


class Cue(NamedTuple):
    """A caption."""

    start: float
    end: float
    text: str
    speaker: str | None


def plain(heard: Heard) -> Told:
    """Without speakers."""
    return Told(heard=heard, transcript=merge(heard.words, []))


def content_type(wanted: Wanted) -> bytes:
    """Of what is rendered."""
    return EVENTS if wanted.stream else TYPES.get(wanted.format, JSON)


def rendered(wanted: Wanted, told: Told) -> bytes:
    """The whole answer."""
    if wanted.stream:
        return b"".join(events(wanted, told))
    match wanted.format:
        case "text":
            return _lines_of_text(told).encode()
        case "srt":
            return srt(told).encode()
        case "vtt":
            return vtt(told).encode()
        case "rttm":
            return rttm(told, wanted.filename).encode()
        case "verbose_json":
            return _dumps(_verbose(wanted, told))
        case "diarized_json":
            return _dumps(_diarized(wanted, told))
    return _dumps({"text": told.heard.text, "usage": _usage(told.heard)})


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _usage(heard: Heard) -> Any:
    usage = heard.usage
    if usage is not None and str(usage.get("type")) in {"tokens", "duration"}:
        return usage
    return {"type": "duration", "seconds": math.ceil(heard.duration)}


def _said(told: Told, segment: Segment) -> str:
    return joined(word.word.text for word in told.transcript.words[segment.first : segment.last])


def _word(told: Told, word: Labelled) -> dict[str, Any]:
    said: dict[str, Any] = {"word": word.word.text.strip(), "start": word.start, "end": word.end}
    if told.names is not None:
        said |= {"speaker": told.who(word.speaker), "speaker_confidence": round(word.speaker_confidence, 3)}
    return said


def _diarized(wanted: Wanted, told: Told) -> dict[str, Any]:
    heard = told.heard
    said: dict[str, Any] = {
        "task": "transcribe",
        "duration": heard.duration,
        "text": heard.text,
        "segments": [segment for segment, _ in _spoken(wanted, told)],
        "usage": _usage(heard),
    }
    if told.missing:
        said |= {"diarized": False, "diarization_error": told.missing}
    return said


def _spoken(wanted: Wanted, told: Told) -> Iterator[tuple[dict[str, Any], Segment]]:
    for number, segment in enumerate(told.transcript.segments, 1):
        said: dict[str, Any] = {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03d}",
            "start": segment.start or 0.0,
            "end": segment.end or 0.0,
            "text": _said(told, segment),
            "speaker": told.who(segment.speaker),
        }
        if wanted.words:
            said["words"] = [_word(told, word) for word in told.transcript.words[segment.first : segment.last]]
        yield said, segment


def _verbose(wanted: Wanted, told: Told) -> dict[str, Any]:
    heard = told.heard
    segments = [
        {"start": cue.start, "end": cue.end, "text": cue.text, "speaker": told.who(cue.speaker)}
        if told.names is not None
        else {"start": cue.start, "end": cue.end, "text": cue.text}
        for cue in cues(told)
    ]
    said: dict[str, Any] = {
        "task": "transcribe",
        "language": heard.language,
        "duration": heard.duration,
        "text": heard.text,
    }
    if not wanted.granularities or "segment" in wanted.granularities:
        said["segments"] = [_filled(number, segment) for number, segment in enumerate(segments)]
    if "word" in wanted.granularities:
        said["words"] = [_word(told, word) for word in told.transcript.words]
    if told.missing:
        said |= {"diarized": False, "diarization_error": told.missing}
    return {**said, "usage": {"type": "duration", "seconds": math.ceil(heard.duration)}}


def _filled(number: int, segment: dict[str, Any]) -> dict[str, Any]:
    """With what OpenAI's has too and nobody told."""
    figures = {"temperature": 0.0, "avg_logprob": 0.0, "compression_ratio": 0.0, "no_speech_prob": 0.0}
    return {"id": number, "seek": 0, **segment, "tokens": [], **figures}


# Lines.


def cues(told: Told) -> list[Cue]:
    """Captions: they end with a sentence, at a pause or a change of speaker, and before they are too long to read."""
    heard = told.heard
    if heard.guessed and told.names is None and heard.segments:
        return [Cue(start, end, text, None) for start, end, text in heard.segments]
    found: list[Cue] = []
    held: list[Labelled] = []
    for word in told.transcript.words:
        if word.start is None or word.end is None or not word.word.text.strip():
            continue
        if held and _ends(held, word):
            found.append(_cue(held))
            held = []
        held.append(word)
    if held:
        found.append(_cue(held))
    return found


def _ends(held: Sequence[Labelled], word: Labelled) -> bool:
    first, last = held[0], held[-1]
    if word.speaker != first.speaker or _SENTENCE.search(last.word.text):
        return True
    if (word.start or 0.0) - (last.end or 0.0) > PAUSE or (word.end or 0.0) - (first.start or 0.0) > LASTING_CUE:
        return True
    return sum(len(each.word.text) + 1 for each in held) + len(word.word.text) > LONGEST_CUE


def _cue(held: Sequence[Labelled]) -> Cue:
    start, end = held[0].start or 0.0, max(each.end or 0.0 for each in held)
    return Cue(start, end, joined(each.word.text for each in held), held[0].speaker)


def _one_line(text: str) -> str:
    """A caption's text holds neither an empty line nor what looks like the line of a time."""
    return " ".join(text.split()).replace("-->", "→")


def clock(seconds: float, comma: str) -> str:
    """As 00:00:05,200."""
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{comma}{ms % 1000:03d}"


def srt(told: Told) -> str:
    """SubRip; with speakers as words before a colon."""
    blocks = []
    for number, cue in enumerate(cues(told), 1):
        text = _one_line(cue.text)
        if told.names is not None:
            text = f"{_one_line(told.who(cue.speaker))}: {text}"
        blocks.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(told: Told) -> str:
    """WebVTT; with speakers as voices."""
    blocks = ["WEBVTT\n"]
    if told.missing:
        blocks.append(f"NOTE not diarized: {_one_line(told.missing)}\n")
    for cue in cues(told):
        text = _escaped(_one_line(cue.text))
        if told.names is not None:
            text = f"<v {_escaped(_one_line(told.who(cue.speaker)))}>{text}"
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rttm(told: Told, filename: str) -> str:
    """Who spoke when, of what was said: one line for each segment."""
    name = _no_blanks(filename.rpartition("/")[2].rpartition(".")[0] or filename) or "sound"
    return "".join(
        f"SPEAKER {name} 1 {segment.start:.3f} {segment.end - segment.start:.3f} <NA> <NA> "
        f"{_no_blanks(told.who(segment.speaker))} <NA> <NA>\n"
        for segment in told.transcript.segments
        if segment.speaker is not None and segment.start is not None and segment.end is not None
    )


def _no_blanks(text: str) -> str:
    return re.sub(r"\s+", "_", text.strip())


def _lines_of_text(told: Told) -> str:
    if told.names is None:
        return f"{told.heard.text}\n"
    return "".join(f"{told.who(each.speaker)}: {_said(told, each)}\n" for each in told.transcript.segments)


# A stream.


def events(wanted: Wanted, told: Told) -> Iterator[bytes]:
    """What OpenAI's API sends, as far as it can be told once all is known."""
    if wanted.format == "diarized_json":
        for said, _ in _spoken(wanted, told):
            delta = {"type": "transcript.text.delta", "delta": said["text"], "segment_id": said["id"]}
            yield sse.written(_dumps(delta))
            yield sse.written(_dumps(said))
    elif told.heard.text:
        yield sse.written(_dumps({"type": "transcript.text.delta", "delta": told.heard.text}))
    done: dict[str, Any] = {"type": "transcript.text.done", "text": told.heard.text}
    usage = _usage(told.heard)
    if usage.get("type") == "tokens":
        done["usage"] = usage
    if told.missing:
        done |= {"diarized": False, "diarization_error": told.missing}
    yield sse.written(_dumps(done))
