"""What a backend answers, in Ollama's dialect: one object, or a line of one each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from api.proxies.calls import Refused
from api.proxies.dialects import errors
from api.proxies.dialects.asked import Json
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import Dialect
from api.proxies.dialects.pieces import (
    Arguments,
    Counted,
    Declined,
    Finished,
    Hearing,
    Piece,
    Text,
    Thought,
    ToolCall,
    merged,
    number,
)

NANOSECONDS: Final = 1_000_000_000
Clock = Callable[[], float]


class LineWriter:
    """A chat's or a text's answer. A call of a tool goes out whole: here its arguments are an object, not a text."""

    def __init__(self, model: str, *, chat: bool, thoughts: bool, clock: Clock) -> None:
        self._model = model
        self._chat = chat
        self._thoughts = thoughts
        self._clock = clock
        self._asked_at = clock()
        self._first_at: float | None = None
        self._created = ""
        self._call: tuple[str, str, int] | None = None  # id, name and index of the one that is being said
        self._arguments: list[str] = []
        self._reason: str | None = None
        self._count = Counted()

    def begin(self, hearing: Hearing) -> bytes:
        """Ollama begins with what it says."""
        self._created = _stamp(hearing.created)
        return b""

    def write(self, pieces: list[Piece]) -> bytes:
        """A line for each."""
        return b"".join(map(self._piece, pieces))

    def end(self) -> bytes:
        """The last line, with the reason, the tokens and the times. Raises Refused."""
        calls = b"".join(self._line({"tool_calls": [call]}) for call in self._complete())
        return calls + self._last()

    def fail(self, trouble: Trouble) -> bytes:
        """An error's line, after which nothing comes."""
        return errors.event(Dialect.OLLAMA, trouble)

    def whole(self, hearing: Hearing, pieces: list[Piece]) -> dict[str, Any]:
        """The answer as one object. Raises Refused."""
        self._created = _stamp(hearing.created)
        said: Json = {}
        calls: list[Json] = []
        for piece in merged(pieces):
            match piece:
                case Text(text) | Declined(text):
                    said["content"] = said.get("content", "") + text
                case Thought(text) if self._thoughts:
                    said["thinking"] = said.get("thinking", "") + text
                case _:
                    calls += self._kept(piece)
        calls += self._complete()
        if calls:
            said["tool_calls"] = calls
        return {**self._head(), **self._said(said), **self._closing()}

    def _piece(self, piece: Piece) -> bytes:
        if self._first_at is None:
            self._first_at = self._clock()
        match piece:
            case Text(text) | Declined(text):
                return self._line({"content": text})
            case Thought(text):
                return self._line({"thinking": text}) if self._thoughts else b""
        return b"".join(self._line({"tool_calls": [call]}) for call in self._kept(piece))

    def _kept(self, piece: Piece) -> list[Json]:
        """The calls of tools that this completes."""
        match piece:
            case ToolCall(index, identity, name):
                complete = self._complete()
                self._call = (identity, name, index)
                return complete
            case Arguments(_, text):
                self._arguments.append(text)
            case Finished(reason):
                self._reason = reason
                return self._complete()
            case Counted():
                self._count = piece
        return []

    def _complete(self) -> list[Json]:
        if self._call is None:
            return []
        (identity, name, index), self._call = self._call, None
        text, self._arguments = "".join(self._arguments), []
        try:
            arguments = loads(text or "{}")
        except ValueError:
            arguments = None
        if isinstance(arguments, dict):
            return [{"id": identity, "function": {"index": index, "name": name, "arguments": arguments}}]
        if self._reason == "length":
            return []  # cut off by the limit of tokens, and half a call is none
        raise Refused(502, "BadToolArguments", f"the model called {name} with arguments that are not a JSON object")

    def _head(self) -> Json:
        return {"model": self._model, "created_at": self._created}

    def _said(self, said: Json) -> Json:
        if self._chat:
            return {"message": {"role": "assistant", "content": "", **said}}
        return {"response": said.pop("content", ""), **said}

    def _line(self, said: Json) -> bytes:
        return dumps({**self._head(), **self._said(said), "done": False}) + b"\n"

    def _last(self) -> bytes:
        return dumps({**self._head(), **self._said({}), **self._closing()}) + b"\n"

    def _closing(self) -> Json:
        now = self._clock()
        first = self._first_at if self._first_at is not None else now
        return {
            "done": True,
            "done_reason": "length" if self._reason == "length" else "stop",
            "total_duration": _nanoseconds(now - self._asked_at),
            "load_duration": 0,
            "prompt_eval_count": self._count.prompt,
            "prompt_eval_duration": _nanoseconds(first - self._asked_at),
            "eval_count": self._count.completion,
            "eval_duration": _nanoseconds(now - first),
        }


def vectors(model: str, said: Any, seconds: float) -> dict[str, Any]:
    """`/api/embed`'s answer out of `/v1/embeddings`'. Raises ValueError."""
    data = said.get("data") if isinstance(said, dict) else None
    if not isinstance(data, list) or not all(isinstance(item, dict) and "embedding" in item for item in data):
        raise ValueError("its answer has no vectors")
    usage = said.get("usage")
    return {
        "model": model,
        "embeddings": [item["embedding"] for item in sorted(data, key=lambda item: number(item.get("index")))],
        "total_duration": _nanoseconds(seconds),
        "load_duration": 0,
        "prompt_eval_count": number(usage.get("prompt_tokens")) if isinstance(usage, dict) else 0,
    }


def _nanoseconds(seconds: float) -> int:
    return int(seconds * NANOSECONDS)


def _stamp(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
