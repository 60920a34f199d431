"""The smallest questions to models of text: one token, three vectors, two scores.

Each question has a reading, which gives None for a good answer and says otherwise what is wrong with it. Vectors and
scores are asked for of texts whose likeness is known, so that a wrong answer is told from a right one too. The texts
share words where they are alike: a model that knows no English finds that out as well.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeGuard

from reconciler.canaries.exchange import Reply, Request, posted

WORD: Final = "ping"
ALIKE: Final = ("A cat sleeps on the red sofa.", "The cat is asleep on the red sofa.")
UNLIKE: Final = "Quarterly tax returns are due in March."
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


def embedding_request(path: str, model: str, *, known: bool = True) -> Request:
    """Three vectors, two of which are alike, or one if nothing is `known`; `/embed` is TEI's page, in its own words."""
    texts = [*ALIKE, UNLIKE] if known else [ALIKE[0]]
    if path.endswith("/embed"):
        return posted(path, {"inputs": texts})
    return posted(path, {**_named(model), "input": texts, "encoding_format": "float"})


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


def embedding_wrong(reply: Reply) -> str | None:
    """Whether texts that are alike have vectors that are."""
    answer = reply.json()
    entries = answer if isinstance(answer, list) else answer["data"]
    found: list[Any] = [entry.get("embedding") if isinstance(entry, dict) else entry for entry in entries]
    if len(found) != len(ALIKE) + 1:
        return f"it gives {len(found)} vectors for {len(ALIKE) + 1} texts"
    sizes = {len(vector) if isinstance(vector, list) else 0 for vector in found}
    if len(sizes) != 1 or not all(is_number(value) for vector in found for value in vector) or not all(map(any, found)):
        return "its vectors differ in length, or are none"
    like, unlike = _likeness(found[0], found[1]), _likeness(found[0], found[2])
    if like > unlike:
        return None
    return f"its vectors are wrong: cats are less like cats ({like:.3f}) than like taxes ({unlike:.3f})"


def _likeness(one: list[float], two: list[float]) -> float:
    """The cosine of the angle between them; of numbers without measure none."""
    scale = max(map(abs, (*one, *two)))
    first, second = [value / scale for value in one], [value / scale for value in two]
    length = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / length if length else 0.0


def rerank_request(path: str, model: str) -> Request:
    """Two documents. NIM's `/ranking` and TEI's `/rerank` ask in their own words; the latter reads `texts`."""
    documents = [UNLIKE, ALIKE[1]]
    if path.endswith("/ranking"):
        passages = [{"text": document} for document in documents]
        return posted(path, {**_named(model), "query": {"text": ALIKE[0]}, "passages": passages})
    own = {"texts": documents} if path == "/rerank" else {}
    return posted(path, {**_named(model), "query": ALIKE[0], "documents": documents, **own})


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


def rerank_wrong(reply: Reply) -> str | None:
    """Whether the document that is about the same thing is the better one."""
    answer = reply.json()
    ranked = answer
    if isinstance(answer, dict):
        ranked = next(answer[key] for key in ("results", "rankings", "data") if isinstance(answer.get(key), list))
    scores: dict[int, float] = {}
    for place, entry in enumerate(ranked):
        index = entry.get("index", place)
        scores[index if isinstance(index, int) else place] = next(
            entry[key] for key in SCORES if is_number(entry.get(key))
        )
    if set(scores) != {0, 1}:
        return f"it ranks {len(scores)} documents of two"
    if scores[1] > scores[0]:
        return None
    return f"its ranks are wrong: about a cat, cats are scored {scores[1]:.3f} and taxes {scores[0]:.3f}"


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
