"""The smallest questions to models of sound: a second of known speech to hear, one word to say.

The speech is a real WAV of 16 kHz in which somebody counts from one to five (espeak-ng made it): of all words those
that even the smallest models hear right, and that nobody makes up where there is silence. So it is known what has to be
heard, and that somebody speaks. A person who asks without a sound of their own has a soft tone heard.
"""

from __future__ import annotations

import io
import math
import re
import struct
import wave
from functools import cache
from pathlib import Path
from typing import Any, Final

from reconciler.canaries.exchange import Reply, Request, posted

RATE: Final = 16000
PITCH: Final = 440.0
LOUDNESS: Final = 3000  # of 32767
BOUNDARY: Final = "sparkkeep-5f1d0c7a9b3e"
SOUND_ENOUGH: Final = 2**18  # bytes of speech: a word has less
SMALLEST_SOUND: Final = 32  # bytes; less holds no frame of any format
BINARY: Final = "application/octet-stream"
SPANS: Final = ("segments", "diarization", "output", "speakers", "turns", "words")


COUNTED: Final = ("one", "two", "three", "four", "five")
ENOUGH_HEARD: Final = 3
"""Of the five."""
_KNOWN: Final = Path(__file__).with_name("one_to_five.wav")
_HEADER: Final = 44


@cache
def known() -> bytes:
    """A mono WAV, 16 bits, 16 kHz: "One two three four five."."""
    return _KNOWN.read_bytes()


@cache
def tone(seconds: float = 1.0) -> bytes:
    """A mono WAV, 16 bits, 16 kHz."""
    count = int(RATE * seconds)
    samples = (int(LOUDNESS * math.sin(2 * math.pi * PITCH * at / RATE)) for at in range(count))
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{count}h", *samples))
    return target.getvalue()


def form(path: str, fields: dict[str, str], sound: bytes = b"") -> Request:
    """multipart/form-data with the tone, or another sound, as its file; whisper-asr-webservice's `/asr` has its own
    name for it.
    """  # noqa: D205
    name = "audio_file" if path.partition("?")[0].endswith("/asr") else "file"
    parts = [_part(f'name="{field}"', value.encode()) for field, value in fields.items()]
    parts.append(_part(f'name="{name}"; filename="tone.wav"\r\nContent-Type: audio/wav', sound or tone()))
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return Request(method="POST", target=path, body=body, content_type=f"multipart/form-data; boundary={BOUNDARY}")


def _part(disposition: str, value: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + value + b"\r\n"


def transcription_request(path: str, model: str) -> Request:
    """What is said."""
    return form(path, {**({"model": model} if model else {}), "response_format": "json"}, known())


def transcription_problem(reply: Reply) -> str | None:
    """JSON with a text; an empty one is one."""
    answer = reply.json()
    return None if isinstance(answer, dict) and isinstance(answer.get("text"), str) else "its answer has no text"


def transcription_wrong(reply: Reply) -> str | None:
    """Whether it is what was said, in words or in figures."""
    text = str(reply.json()["text"])
    heard = set(re.findall(r"[a-z]+|[1-5]", text.lower()))
    count = sum(word in heard or str(number) in heard for number, word in enumerate(COUNTED, 1))
    if count >= ENOUGH_HEARD:
        return None
    return f"it hears {text.strip()[:80]!r} where somebody counts from one to five"


def diarization_request(path: str, model: str) -> Request:
    """Who speaks."""
    return form(path, {"model": model} if model else {}, known())


def diarization_problem(reply: Reply) -> str | None:
    """A list of spans, in one of the shapes that such servers use; each has a start and an end."""
    found = _spans(reply)
    if not isinstance(found, list):
        return "its answer has no list of segments"
    return None if all(_is_span(span) for span in found) else "its segments have no start and end"


def diarization_wrong(reply: Reply) -> str | None:
    """Somebody speaks, and how many they are a second can't tell."""
    return None if _spans(reply) else "it hears nobody where somebody counts from one to five"


def _spans(reply: Reply) -> Any:
    found = reply.json()
    for _ in range(2):  # the list may lie one level deeper
        if isinstance(found, dict):
            found = next((found[key] for key in SPANS if isinstance(found.get(key), list | dict)), None)
    return found


def _is_span(span: object) -> bool:
    if not isinstance(span, dict):
        return isinstance(span, str | list)  # NeMo: "0.00 1.20 speaker_0"
    keys = (("start", "end"), ("start_time", "end_time"), ("start", "duration"))
    return any(isinstance(span.get(first), int | float) and second in span for first, second in keys)


def speech_request(path: str, model: str, voice: str) -> Request:
    """One word."""
    said: dict[str, Any] = {"model": model} if model else {}
    asked = posted(path, {**said, "input": "ping", "voice": voice, "response_format": "wav"})
    return Request(
        method=asked.method, target=path, body=asked.body, content_type=asked.content_type, enough=SOUND_ENOUGH
    )


def speech_problem(reply: Reply) -> str | None:
    """Bytes that are called audio, or look like it."""
    kind = reply.content_type
    if not (kind.startswith("audio/") or (kind == BINARY and not reply.body.lstrip().startswith((b"{", b"<")))):
        return f"its answer is {kind or 'of no kind'}, not audio"
    return None if len(reply.body) >= SMALLEST_SOUND else "its audio is empty"


def speech_wrong(reply: Reply) -> str | None:
    """All that has come of a WAV must not be one and the same: a broken model says silence, or a constant.

    A model may begin with some silence, so that only a word which came whole is judged.
    """
    if not reply.whole or not reply.body.startswith(b"RIFF") or len(reply.body) <= _HEADER:
        return None
    return "its audio is silence" if len(set(reply.body[_HEADER:])) == 1 else None
