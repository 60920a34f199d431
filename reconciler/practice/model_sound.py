"""What a practice model hears and says: transcripts and speakers by the sound's length, speech as a tone."""

from __future__ import annotations

import io
import math
import struct
import wave
from email import message_from_bytes
from typing import Any, Final

from reconciler.canaries.sounds import known
from reconciler.practice.clock import digest
from reconciler.practice.http_server import Answer, Request, json_answer

RATE: Final = 16000
LONGEST: Final = 3.0
SECONDS_PER_LETTER: Final = 0.05
TURN: Final = 2.0  # seconds until the other speaker has the word
UNKNOWN_LENGTH: Final = 1.0
KNOWN: Final = "One, two, three, four, five."
"""The one sound whose words a practice model knows: the canary's."""


def parts(request: Request) -> list[tuple[str, bytes]]:
    """The parts of multipart/form-data, in order. Raises ValueError."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise ValueError("send multipart/form-data with a `file`")
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.body)
    found: list[tuple[str, bytes]] = []
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(data, bytes):
            found.append((name, data))
    return found


def form(request: Request) -> dict[str, bytes]:
    """Its fields; of several with one name the last. Raises ValueError."""
    found = dict(parts(request))
    if "file" not in found:
        raise ValueError("the form has no `file`")
    return found


def seconds(sound: bytes) -> float:
    """The length of a WAV; for anything else a guess."""
    try:
        with wave.open(io.BytesIO(sound)) as opened:
            return float(opened.getnframes() / opened.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return UNKNOWN_LENGTH


def transcription(request: Request) -> Answer:
    """`/v1/audio/transcriptions`: json, text or verbose_json, in vLLM's words no other. Raises ValueError."""
    fields = form(request)
    length = seconds(fields["file"])
    text = (
        KNOWN
        if fields["file"] == known()
        else f"This is practice transcript {digest(fields['file'].hex())[:4]} of {length:.1f} seconds."
    )
    wanted = fields.get("response_format", b"json").decode()
    if wanted == "text":
        return Answer(body=f"{text}\n".encode(), content_type="text/plain; charset=utf-8")
    if wanted == "verbose_json":
        segment = {"id": 0, "start": 0.0, "end": round(length, 3), "text": text}
        whole: dict[str, Any] = {"task": "transcribe", "language": "english", "duration": round(length, 3)}
        said = {**whole, "text": text, "segments": [segment]}
        return json_answer(said | {"words": _timed(text, length)} if b"word" in granularities(request) else said)
    if wanted != "json":
        raise ValueError("Currently only support response_format: `text`, `json` or `verbose_json`")
    return json_answer({"text": text})


def granularities(request: Request) -> list[bytes]:
    """What times are wanted of. Raises ValueError."""
    return [data for name, data in parts(request) if name == "timestamp_granularities[]"]


def _timed(text: str, length: float) -> list[dict[str, Any]]:
    """Each word as long as every other, and silence behind the last."""
    words = text.split()
    each = length / (len(words) + 1)
    return [
        {"word": word, "start": round(at * each, 3), "end": round((at + 1) * each, 3)} for at, word in enumerate(words)
    ]


def diarization(request: Request) -> Answer:
    """`/v1/diarize`: two speakers who take turns. Raises ValueError."""
    length = seconds(form(request)["file"])
    count = max(1, math.ceil(length / TURN))
    segments = [
        {
            "start": turn * TURN,
            "end": round(min(length, (turn + 1) * TURN), 3),
            "speaker": f"SPEAKER_{turn % 2:02d}",
        }
        for turn in range(count)
    ]
    return json_answer({"duration": round(length, 3), "segments": segments})


def speech(body: dict[str, Any]) -> Answer:
    """`/v1/audio/speech`: a sound whose length follows the text and whose pitch follows the voice; WAV or PCM.

    Raises KeyError or ValueError.
    """
    text, voice = str(body["input"]), str(body.get("voice", "practice"))
    wanted = str(body.get("response_format", "wav"))
    if wanted not in {"wav", "pcm"}:
        raise ValueError("Currently only support response_format: `wav` or `pcm`")
    length = min(LONGEST, max(0.2, len(text) * SECONDS_PER_LETTER))
    pitch = 180 + int(digest(voice)[:2], 16)
    frames = int(RATE * length)
    samples = (int(9000 * math.sin(2 * math.pi * pitch * at / RATE)) for at in range(frames))
    sound = struct.pack(f"<{frames}h", *samples)
    if wanted == "pcm":
        return Answer(body=sound, content_type="audio/pcm")
    target = io.BytesIO()
    with wave.open(target, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes(sound)
    return Answer(body=target.getvalue(), content_type="audio/wav")


def voices() -> Answer:
    """`/v1/audio/voices`, in Kokoro's words: any name is a voice here, these are a few."""
    return json_answer({"voices": ["alloy", "echo", "practice"]})
