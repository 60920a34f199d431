"""The smallest questions to models of sound: a second of a soft tone to hear, one word to say.

The tone is made here, as a real WAV of 16 kHz: servers that resample, detect speech or refuse silence get
something that they can work on. That it holds no words is no error: a transcript may be empty, and so may
the list of speakers.
"""

from __future__ import annotations

import io
import math
import struct
import wave
from functools import cache
from typing import Any, Final

from reconciler.canaries.exchange import Reply, Request, posted

RATE: Final = 16000
PITCH: Final = 440.0
LOUDNESS: Final = 3000  # of 32767
BOUNDARY: Final = "sparkkeep-5f1d0c7a9b3e"
SOUND_ENOUGH: Final = 4096  # bytes of speech that prove it: no need to hear it out
SMALLEST_SOUND: Final = 32  # bytes; less holds no frame of any format
BINARY: Final = "application/octet-stream"
SPANS: Final = ("segments", "diarization", "output", "speakers", "turns", "words")


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
    """What is said in the tone (nothing)."""
    return form(path, {**({"model": model} if model else {}), "response_format": "json"})


def transcription_problem(reply: Reply) -> str | None:
    """JSON with a text; an empty one is right."""
    answer = reply.json()
    return None if isinstance(answer, dict) and isinstance(answer.get("text"), str) else "its answer has no text"


def diarization_request(path: str, model: str) -> Request:
    """Who speaks in the tone (nobody)."""
    return form(path, {"model": model} if model else {})


def diarization_problem(reply: Reply) -> str | None:
    """A list of spans, in one of the shapes that such servers use; each has a start and an end."""
    answer = reply.json()
    found = answer
    for _ in range(2):  # the list may lie one level deeper
        if isinstance(found, dict):
            found = next((found[key] for key in SPANS if isinstance(found.get(key), list | dict)), None)
    if not isinstance(found, list):
        return "its answer has no list of segments"
    return None if all(_is_span(span) for span in found) else "its segments have no start and end"


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
