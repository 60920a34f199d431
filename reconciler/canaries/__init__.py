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
    """One kind. `asks` makes the request, `gives` says what a good answer is.

    `problem` says why an answer is none of this kind, to whatever question. `wrong` says of one that is why it is not
    the right one to ours; None: any will do.
    """

    path: str
    gives: str
    asks: Callable[[ProbeSpec, str], Request]
    problem: Callable[[Reply], str | None]
    wrong: Callable[[Reply], str | None] | None = None


def _plain(make: Callable[[str, str], Request], spec: ProbeSpec, path: str) -> Request:
    return make(path, spec.model)


def _embedding(spec: ProbeSpec, path: str) -> Request:
    return texts.embedding_request(path, spec.model, known=spec.known_answer)


def _speech(spec: ProbeSpec, path: str) -> Request:
    return sounds.speech_request(path, spec.model, spec.voice)


CANARIES: Final[Mapping[str, Canary]] = {
    "chat": Canary("/v1/chat/completions", "a token", partial(_plain, texts.chat_request), texts.chat_problem),
    "completion": Canary(
        "/v1/completions", "a token", partial(_plain, texts.completion_request), texts.completion_problem
    ),
    "embedding": Canary(
        "/v1/embeddings",
        "vectors",
        _embedding,
        texts.embedding_problem,
        texts.embedding_wrong,
    ),
    "rerank": Canary(
        "/v1/rerank", "scores", partial(_plain, texts.rerank_request), texts.rerank_problem, texts.rerank_wrong
    ),
    "transcription": Canary(
        "/v1/audio/transcriptions",
        "a transcript",
        partial(_plain, sounds.transcription_request),
        sounds.transcription_problem,
        sounds.transcription_wrong,
    ),
    "diarization": Canary(
        "/v1/diarize",
        "segments",
        partial(_plain, sounds.diarization_request),
        sounds.diarization_problem,
        sounds.diarization_wrong,
    ),
    "speech": Canary("/v1/audio/speech", "audio", _speech, sounds.speech_problem, sounds.speech_wrong),
}
