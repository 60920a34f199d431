"""What a practice model says: text, vectors and scores, each a function of the question and nothing else."""

from __future__ import annotations

import base64
import math
import re
import struct
from dataclasses import dataclass
from typing import Any, Final

from reconciler.practice.clock import digest
from reconciler.practice.model_tools import Call, calls, structured

DIMENSIONS: Final = 64
ECHOED: Final = 24  # words of the prompt that come back
NUMBER: Final = 10_000
MAX_MODEL_LEN: Final = 32768


@dataclass(frozen=True, slots=True)
class Reply:
    """One generated answer, to be sent whole or in parts."""

    model: str
    created: int
    identity: str
    prompt_tokens: int
    tokens: tuple[str, ...]
    finish: str
    chat: bool
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop: str | None = None

    @property
    def usage(self) -> dict[str, Any]:
        """The tokens, counted."""
        made = len(self.thoughts) + len(self.tokens) + sum(len(call.arguments.split()) + 1 for call in self.calls)
        found: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }
        if self.thoughts:
            found["completion_tokens_details"] = {"reasoning_tokens": len(self.thoughts)}
        return found

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": self.created, "model": self.model}

    def whole(self) -> dict[str, Any]:
        """A `chat.completion` or `text_completion`."""
        text = "".join(self.tokens)
        kind = "chat.completion" if self.chat else "text_completion"
        said: dict[str, Any] = {"message": self._message(text)} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": self.finish, "stop_reason": self.stop}
        return {**self._head(kind), "choices": [choice], "usage": self.usage}

    def _message(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not self.calls else None}
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.calls:
            message["tool_calls"] = [call.json() for call in self.calls]
        return message

    def parts(self, *, usage: bool) -> list[dict[str, Any]]:
        """The chunks of a stream; with `usage`, a last one without choices that counts the tokens."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        deltas: list[dict[str, Any]] = [{"delta": {"role": "assistant", "content": ""}}] if self.chat else []
        deltas += [{"delta": {"reasoning_content": thought}} for thought in self.thoughts]
        deltas += [{"delta": {"content": token}} if self.chat else {"text": token} for token in self.tokens]
        deltas += [
            {"delta": {"tool_calls": [delta]}} for index, call in enumerate(self.calls) for delta in call.deltas(index)
        ]
        last: dict[str, Any] = {"delta": {}} if self.chat else {"text": ""}
        found = [
            {**self._head(kind), "choices": [{"index": 0, **delta, "logprobs": None, "finish_reason": None}]}
            for delta in deltas
        ]
        end = {"index": 0, **last, "finish_reason": self.finish, "stop_reason": self.stop}
        found.append({**self._head(kind), "choices": [end]})
        if usage:
            found.append({**self._head(kind), "choices": [], "usage": self.usage})
        return found


def _text(content: object) -> str:
    """A message's content: a text, or a list of parts. A picture is read as its kind and its size."""
    if isinstance(content, list):
        return " ".join(_part(part) for part in content if isinstance(part, dict))
    return str(content or "")


def _part(part: dict[str, Any]) -> str:
    if part.get("type") != "image_url":
        return str(part.get("text", ""))
    url = str(part["image_url"]["url"])
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return f"[{kind}, {len(base64.b64decode(data, validate=True))} bytes]" if url.startswith("data:") else f"[{url}]"


def _thoughts(body: dict[str, Any], last: str) -> tuple[str, ...]:
    """It thinks where it is told to."""
    told = (body.get("chat_template_kwargs") or {}).get("enable_thinking", body.get("reasoning_effort"))
    if told in (None, False, "none"):
        return ()
    return tuple(re.findall(r"\S+\s*", f"Let me think about: {' '.join(last.split()[:ECHOED])}"))


def _stopped(said: str, body: dict[str, Any]) -> tuple[str, str | None]:
    """The text up to the first stop sequence in it, and which one that was."""
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    found = [(said.index(stop), stop) for stop in stops if stop in said]
    if not found:
        return said, None
    at, stop = min(found)
    return said[:at], stop


def reply(model: str, body: dict[str, Any], *, chat: bool, now: int) -> Reply:
    """Raises KeyError or ValueError for a body that asks nothing."""
    if chat:
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise ValueError("messages must be a list with at least one message")
        prompt = "\n".join(_text(message.get("content")) for message in messages)
        last = _text(messages[-1].get("content"))
    else:
        given = body["prompt"]
        prompt = last = given if isinstance(given, str) else " ".join(map(str, given))
    number = int(digest(f"{model}\n{prompt}")[:8], 16) % NUMBER
    words = last.split()[:ECHOED]
    said = f"Practice answer {number:04d} to: {' '.join(words)}" if words else f"Practice answer {number:04d}."
    made = calls(body, last) if chat else ()
    said = "" if made else structured(body, last, said) or said
    said, stop = _stopped(said, body)
    tokens = re.findall(r"\S+\s*", said)
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    finish = "tool_calls" if made else "stop"
    if isinstance(most, int) and most < len(tokens):
        tokens, finish, stop = tokens[:most], "length", None
    identity = f"{'chatcmpl' if chat else 'cmpl'}-{digest(prompt)[:24]}"
    thoughts = _thoughts(body, last) if chat else ()
    read = max(1, len(prompt.split()))
    return Reply(model, now, identity, read, tuple(tokens), finish, chat, thoughts, made, stop)


def tokenized(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """`/tokenize`, of a chat or a text: as many as an answer's usage counts. Raises KeyError or ValueError."""
    count = reply(model, body, chat="messages" in body, now=0).prompt_tokens
    return {"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": list(range(count)), "token_strs": None}


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector: texts that share words point in similar directions."""
    found = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [""]:
        for number in range(4):
            mark = digest(f"{number} {word}")
            found[int(mark[:8], 16) % dimensions] += 1.0 if int(mark[8], 16) % 2 else -1.0
    length = math.sqrt(sum(value * value for value in found))
    if length == 0:
        found[0] = length = 1.0
    return [value / length for value in found]


def _input(given: object) -> str:
    """A text, or tokens, which are words here."""
    if isinstance(given, list) and given and all(isinstance(token, int) for token in given):
        return " ".join(map(str, given))
    if not isinstance(given, str):
        raise ValueError("an input must be a text or a list of tokens")  # noqa: TRY004  # the client's mistake
    return given


def embeddings(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """`/v1/embeddings`: floats or base64, `dimensions` as asked. Raises KeyError or ValueError."""
    given = body["input"]
    single = isinstance(given, str) or (isinstance(given, list) and bool(given) and isinstance(given[0], int))
    texts = [_input(each) for each in ([given] if single else given)]
    if not texts:
        raise ValueError("input must be a text, tokens, or a list of either")
    dimensions = int(body.get("dimensions") or DIMENSIONS)
    data: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        values: list[float] | str = vector(text, dimensions)
        if body.get("encoding_format") == "base64":
            values = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": values})
    tokens = sum(max(1, len(text.split())) for text in texts)
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def ranks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """`/rerank` as TEI has it: `texts` in, a list out. Raises KeyError."""
    found = rerank("", {"query": body["query"], "documents": body["texts"]})["results"]
    return [{"index": result["index"], "score": result["relevance_score"]} for result in found]


def ranking(body: dict[str, Any]) -> dict[str, Any]:
    """`/v1/ranking` as NIM has it: passages in, logits out. Raises KeyError."""
    texts = [passage["text"] for passage in body["passages"]]
    found = rerank("", {"query": body["query"]["text"], "documents": texts})["results"]
    logits = [(result["index"], result["relevance_score"]) for result in found]
    return {"rankings": [{"index": index, "logit": math.log(score / (1 - score))} for index, score in logits]}


def rerank(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """`/v1/rerank`: documents by how many of the query's words they share. Raises KeyError."""
    asked = vector(str(body["query"]), DIMENSIONS)
    results: list[dict[str, Any]] = []
    for index, document in enumerate(body["documents"]):
        text = _text([document]) if isinstance(document, dict) else str(document)
        likeness = sum(one * two for one, two in zip(asked, vector(text, DIMENSIONS), strict=True))
        score = 1 / (1 + math.exp(-6 * (likeness - 0.3)))
        results.append({"index": index, "document": {"text": text}, "relevance_score": round(score, 6)})
    results.sort(key=lambda result: (-result["relevance_score"], result["index"]))
    tokens = len(str(body["query"]).split())
    top = int(body.get("top_n") or len(results))
    identity = f"rerank-{digest(str(body['query']))[:24]}"
    return {"id": identity, "model": model, "results": results[:top], "usage": {"total_tokens": tokens}}
