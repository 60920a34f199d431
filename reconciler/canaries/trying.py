"""A person's own question to a model, and the model's own answer: what a try-it box and `sparkkeep try` need.

Beside the canaries, which only want to know whether there is an answer. Pure: bytes out, bytes in. Everything is
bounded: what is asked by whoever takes the question, what comes back here.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, Literal, get_args

from reconciler.canaries import CANARIES
from reconciler.canaries.exchange import Reply, Request, posted
from reconciler.canaries.sounds import form
from reconciler.canaries.texts import SCORES, is_number

Kind = Literal["chat", "completion", "embedding", "rerank", "transcription", "speech"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Json = dict[str, Any]

DEFAULT_TEXT: Final = "Say hello in one short sentence."
OTHERWISE: Final = "The tide comes in twice a day."  # a document that hardly answers anything
MOST_TOKENS: Final = 512
MOST_TEXT: Final = 16_384  # characters of an answer
MOST_SOUND: Final = 4 * 2**20  # bytes
SHOWN_NUMBERS: Final = 8


class BadAnswer(Exception):
    """The server answered, but not with what such a model gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person asks. `sound` is a WAV; without it a transcription hears a soft tone."""

    kind: Kind
    text: str = DEFAULT_TEXT
    sound: bytes = b""

    def request(self, path: str, model: str, voice: str) -> Request:
        """What to send. Left at its default, `path` is the kind's own page."""
        named: Json = {"model": model} if model else {}
        text = {"max_tokens": MOST_TOKENS, "stream": False}
        match self.kind:
            case "chat":
                return posted(path, {**named, "messages": [{"role": "user", "content": self.text}], **text})
            case "completion":
                return posted(path, {**named, "prompt": self.text, **text})
            case "embedding":
                own = {"inputs": [self.text]} if path.endswith("/embed") else {"input": [self.text]}
                return posted(path, {**named, **own, "encoding_format": "float"})
            case "rerank":
                return self._rerank(path, named)
            case "transcription":
                return form(path, {**named, "response_format": "json"}, self.sound)
            case "speech":
                asked = posted(path, {**named, "input": self.text, "voice": voice, "response_format": "wav"})
                return replace(asked, enough=MOST_SOUND)

    @property
    def documents(self) -> list[str]:
        """For a rerank: the lines after the first, or two that differ."""
        _, *rest = self.text.splitlines() or [""]
        return [line for line in rest if line.strip()] or [self.text, OTHERWISE]

    def _rerank(self, path: str, named: Json) -> Request:
        query = (self.text.splitlines() or [""])[0]
        if path.endswith("/ranking"):
            passages = [{"text": document} for document in self.documents]
            return posted(path, {**named, "query": {"text": query}, "passages": passages})
        own = {"texts": self.documents} if path == "/rerank" else {}
        return posted(path, {**named, "query": query, "documents": self.documents, **own})

    def read(self, reply: Reply) -> Json:
        """What the model gives: the keys that its kind has. Raises BadAnswer."""
        if reply.status != HTTPStatus.OK:
            raise BadAnswer(f"it answers {reply.status}")
        if problem := CANARIES[self.kind].problem(reply):
            raise BadAnswer(problem)
        if self.kind == "speech":
            sound = base64.b64encode(reply.body).decode()
            return {"audio": sound, "contentType": reply.content_type, "truncated": not reply.whole}
        answer = reply.json()
        tokens = _tokens(answer)
        match self.kind:
            case "embedding":
                vector = answer[0] if isinstance(answer, list) else answer["data"][0]["embedding"]
                return {"vector": vector[:SHOWN_NUMBERS], "dimensions": len(vector), "tokens": tokens}
            case "rerank":
                return {"scores": self._scores(answer), "tokens": tokens}
            case "transcription":
                said = str(answer["text"])
            case _:
                said = _said(answer["choices"][0])
        return {"text": _whole(said[:MOST_TEXT]), "truncated": len(said) > MOST_TEXT, "tokens": tokens}

    def _scores(self, answer: Any) -> list[Json]:
        ranked = answer
        if isinstance(answer, dict):
            ranked = next(answer[key] for key in ("results", "rankings", "data") if isinstance(answer.get(key), list))
        found = []
        for place, entry in enumerate(ranked[: len(self.documents)]):
            index = entry.get("index", place)
            known = isinstance(index, int) and 0 <= index < len(self.documents)
            score = next(entry[key] for key in SCORES if is_number(entry.get(key)))
            found.append({"text": _whole(self.documents[index]) if known else "", "score": score})
        return found


def _whole(text: str) -> str:
    """Without halves of characters, which no answer could carry on."""
    return text.encode("utf-8", "replace").decode()


def _said(choice: Json) -> str:
    """What was said aloud, or else what was thought."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return str(choice.get("text") or "")
    spoken = (message.get(part) for part in ("content", "reasoning_content", "reasoning", "refusal"))
    return next((word for word in spoken if isinstance(word, str) and word), "")


def _tokens(answer: Any) -> int | None:
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return None
    counted = usage.get("completion_tokens") or usage.get("total_tokens")
    return counted if isinstance(counted, int) and not isinstance(counted, bool) else None
