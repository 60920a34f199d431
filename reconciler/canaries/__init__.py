"""Canaries: for each kind of model the smallest real question, and what a right answer looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from reconciler.canaries import sounds, texts
from reconciler.canaries.exchange import Reply, Request
from reconciler.model import ProbeSpec


@dataclass(frozen=True, slots=True)
class Canary:
    """One kind. `asks` makes the request, `problem` says what is wrong with an answer, `gives` what a good one is."""

    path: str
    gives: str
    asks: Callable[[ProbeSpec, str], Request]
    problem: Callable[[Reply], str | None]


def _plain(make: Callable[[str, str], Request], spec: ProbeSpec, path: str) -> Request:
    return make(path, spec.model)


def _speech(spec: ProbeSpec, path: str) -> Request:
    return sounds.speech_request(path, spec.model, spec.voice)


CANARIES: Final[Mapping[str, Canary]] = {
    "chat": Canary("/v1/chat/completions", "a token", partial(_plain, texts.chat_request), texts.chat_problem),
    "completion": Canary(
        "/v1/completions", "a token", partial(_plain, texts.completion_request), texts.completion_problem
    ),
    "embedding": Canary(
        "/v1/embeddings", "a vector", partial(_plain, texts.embedding_request), texts.embedding_problem
    ),
    "rerank": Canary("/v1/rerank", "scores", partial(_plain, texts.rerank_request), texts.rerank_problem),
    "transcription": Canary(
        "/v1/audio/transcriptions",
        "a transcript",
        partial(_plain, sounds.transcription_request),
        sounds.transcription_problem,
    ),
    "diarization": Canary(
        "/v1/diarize", "segments", partial(_plain, sounds.diarization_request), sounds.diarization_problem
    ),
    "speech": Canary("/v1/audio/speech", "audio", _speech, sounds.speech_problem),
}
