"""The smallest questions to models of text: one token, one vector, two scores.

Each question has a reading, which gives None for a good answer and says otherwise what is wrong with it.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeGuard

from reconciler.canaries.exchange import Reply, Request, posted

WORD: Final = "ping"
SCORES: Final = ("relevance_score", "score", "logit")
SPOKEN: Final = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")


def _named(model: str) -> dict[str, Any]:
    """The model's served name; where it is not known, the server takes the only one it has."""
    return {"model": model} if model else {}


def chat_request(path: str, model: str) -> Request:
    """One token, greedily."""
    said = {"messages": [{"role": "user", "content": WORD}], "max_tokens": 1, "temperature": 0, "stream": False}
    return posted(path, {**_named(model), **said})


def chat_problem(reply: Reply) -> str | None:
    """A token counts wherever it went: into the answer, the reasoning, or only into the count."""
    choice = _first(reply.json(), "choices")
    if choice is None:
        return "its answer has no choices"
    message = choice.get("message")
    spoken = isinstance(message, dict) and any(message.get(part) for part in SPOKEN)
    return None if spoken or _counted(reply.json(), choice) else "its answer has no token"


def completion_request(path: str, model: str) -> Request:
    """One token, greedily."""
    return posted(path, {**_named(model), "prompt": WORD, "max_tokens": 1, "temperature": 0, "stream": False})


def completion_problem(reply: Reply) -> str | None:
    """As with chat: the token may be blank."""
    choice = _first(reply.json(), "choices")
    if choice is None:
        return "its answer has no choices"
    return None if choice.get("text") or _counted(reply.json(), choice) else "its answer has no token"


def embedding_request(path: str, model: str) -> Request:
    """The vector of one word; `/embed` is TEI's own page, which asks in its own words."""
    if path.endswith("/embed"):
        return posted(path, {"inputs": [WORD]})
    return posted(path, {**_named(model), "input": [WORD], "encoding_format": "float"})


def embedding_problem(reply: Reply) -> str | None:
    """The numbers must be finite, and not all zero: a broken kernel answers with such."""
    answer = reply.json()
    entry = _first(answer, "data")
    vector = entry.get("embedding") if entry is not None else None
    if isinstance(answer, list) and answer:
        vector = answer[0]
    if not isinstance(vector, list) or not vector or not all(is_number(value) for value in vector):
        return "its answer has no vector of finite numbers"
    return None if any(vector) else "its vector is all zeros"


def rerank_request(path: str, model: str) -> Request:
    """Two documents. NIM's `/ranking` and TEI's `/rerank` ask in their own words; the latter reads `texts`."""
    documents = [WORD, "pong"]
    if path.endswith("/ranking"):
        passages = [{"text": document} for document in documents]
        return posted(path, {**_named(model), "query": {"text": WORD}, "passages": passages})
    own = {"texts": documents} if path == "/rerank" else {}
    return posted(path, {**_named(model), "query": WORD, "documents": documents, **own})


def rerank_problem(reply: Reply) -> str | None:
    """A finite score for each document that it ranks."""
    answer = reply.json()
    ranked = answer
    if isinstance(answer, dict):
        ranked = next(
            (answer[key] for key in ("results", "rankings", "data") if isinstance(answer.get(key), list)), None
        )
    if not isinstance(ranked, list) or not ranked:
        return "its answer ranks nothing"
    return None if all(_score(entry) for entry in ranked) else "its answer has no finite scores"


def _score(entry: object) -> bool:
    return isinstance(entry, dict) and any(is_number(entry.get(key)) for key in SCORES)


def _first(answer: object, key: str) -> dict[str, Any] | None:
    entries = answer.get(key) if isinstance(answer, dict) else None
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else None


def _counted(answer: Any, choice: dict[str, Any]) -> bool:
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return bool(choice.get("finish_reason")) or (is_number(tokens) and tokens > 0)


def is_number(value: object) -> TypeGuard[float]:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
