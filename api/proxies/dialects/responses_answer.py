"""What a backend answers, in the dialect of OpenAI's Responses: one object, or the events that build it up."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from api.proxies.dialects import sse
from api.proxies.dialects.asked import Json
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.json_text import dumps
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
)

LARGEST: Final = 64 * 1024 * 1024
"""Characters of one answer: its last event repeats all of it, so all of it is kept until then."""


class Kind(NamedTuple):
    """How one kind of piece is said: in which item, in which part of it, by which events."""

    item: str
    prefix: str
    part: str
    events: str
    field: str


WORDS: Final = Kind("message", "msg", "output_text", "response.output_text", "text")
REFUSAL: Final = Kind("message", "msg", "refusal", "response.refusal", "refusal")
THOUGHT: Final = Kind("reasoning", "rs", "reasoning_text", "response.reasoning_text", "text")
CALL: Final = Kind("function_call", "fc", "", "response.function_call_arguments", "arguments")


class ResponseWriter:
    """One response. The object at its end and the object sent at once are built in the same way."""

    def __init__(self, echoed: Json) -> None:
        self._echoed = echoed
        self._hearing = Hearing()
        self._sequence = 0
        self._output: list[Json] = []
        self._kind: Kind | None = None  # of the item that is being said
        self._texts: list[str] = []  # of that item
        self._size = 0
        self._reason: str | None = None
        self._count: Counted | None = None

    def begin(self, hearing: Hearing) -> bytes:
        """`response.created` and `response.in_progress`."""
        self._hearing = hearing
        response = self._response("in_progress")
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def write(self, pieces: list[Piece]) -> bytes:
        """Items and parts, opened and closed as the kind of piece changes. Raises ValueError."""
        return b"".join(map(self._piece, pieces))

    def end(self) -> bytes:
        """`response.completed`, or `response.incomplete` where a limit ended it."""
        closed = self._close()
        status = self._status()
        return closed + self._event(f"response.{status}", response=self._response(status))

    def fail(self, trouble: Trouble) -> bytes:
        """`response.failed`. Its codes are a closed list, so ours stands in the message."""
        closed = self._close(status="incomplete")
        code = "rate_limit_exceeded" if trouble.status == 429 else "server_error"  # noqa: PLR2004
        error = {"code": code, "message": f"{trouble.code}: {trouble.message}"}
        return closed + self._event("response.failed", response=self._response("failed", error))

    def whole(self, hearing: Hearing, pieces: list[Piece]) -> dict[str, Any]:
        """The response as one object."""
        self._hearing = hearing
        self.write(merged(pieces))
        self._close()
        return self._response(self._status())

    def _piece(self, piece: Piece) -> bytes:
        match piece:
            case Text(text):
                return self._say(WORDS, text)
            case Declined(text):
                return self._say(REFUSAL, text)
            case Thought(text):
                return self._say(THOUGHT, text)
            case ToolCall(_, identity, name):
                return self._open(CALL, {"call_id": identity, "name": name, "arguments": ""})
            case Arguments(_, text):
                return self._delta(text)
            case Finished(reason):
                self._reason = reason
                return self._close(status="incomplete" if reason == "length" else "completed")
            case Counted():
                self._count = piece
        return b""

    def _say(self, kind: Kind, text: str) -> bytes:
        start: Json = {"content": [], "role": "assistant"} if kind.item == "message" else {"content": [], "summary": []}
        opened = b"" if self._kind is kind else self._open(kind, start)
        return opened + self._delta(text)

    def _open(self, kind: Kind, start: Json) -> bytes:
        closed = self._close()
        self._kind, self._texts = kind, []
        identity = f"{kind.prefix}_{self._identity()}_{len(self._output)}"
        item = {"id": identity, "type": kind.item, "status": "in_progress", **start}
        self._output.append(item)
        opened = self._event("response.output_item.added", output_index=len(self._output) - 1, item=item)
        if kind.part:
            opened += self._event("response.content_part.added", **self._where(), part=_part(kind, ""))
        return closed + opened

    def _delta(self, text: str) -> bytes:
        self._size += len(text)
        if self._size > LARGEST:
            raise ValueError(f"it is longer than {LARGEST} characters")
        self._texts.append(text)
        kind = self._kind or WORDS
        more: Json = {"logprobs": []} if kind is WORDS else {}
        return self._event(f"{kind.events}.delta", **self._where(), delta=text, **more)

    def _close(self, status: str = "completed") -> bytes:
        if self._kind is None:
            return b""
        kind, item, text, where = self._kind, self._output[-1], "".join(self._texts), self._where()
        self._kind = None
        item["status"] = status
        more: Json = {"logprobs": []} if kind is WORDS else {}
        found = self._event(f"{kind.events}.done", **where, **{kind.field: text}, **more)
        if kind.part:
            item["content"] = [_part(kind, text)]
            found += self._event("response.content_part.done", **where, part=_part(kind, text))
        else:
            item["arguments"] = text
        return found + self._event("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _where(self) -> Json:
        index = len(self._output) - 1
        where = {"item_id": self._output[index]["id"], "output_index": index}
        return where if self._kind is CALL else where | {"content_index": 0}

    def _event(self, kind: str, **said: Any) -> bytes:
        self._sequence += 1
        return sse.written(dumps({"type": kind, "sequence_number": self._sequence - 1, **said}), kind)

    def _identity(self) -> str:
        return self._hearing.id.removeprefix("chatcmpl-")

    def _status(self) -> str:
        return "incomplete" if self._reason in {"length", "content_filter"} else "completed"

    def _response(self, status: str, error: Json | None = None) -> Json:
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(self._reason or "")
        return {
            **self._echoed,
            "id": f"resp_{self._identity()}",
            "object": "response",
            "created_at": self._hearing.created,
            "status": status,
            "error": error,
            "incomplete_details": {"reason": why} if status == "incomplete" else None,
            "output": list(self._output),
            "usage": None if self._count is None or status == "in_progress" else _usage(self._count),
        }


def _part(kind: Kind, text: str) -> Json:
    more: Json = {"annotations": [], "logprobs": []} if kind is WORDS else {}
    return {"type": kind.part, kind.field: text, **more}


def _usage(count: Counted) -> Json:
    return {
        "input_tokens": count.prompt,
        "input_tokens_details": {"cached_tokens": count.cached, "cache_write_tokens": 0},
        "output_tokens": count.completion,
        "output_tokens_details": {"reasoning_tokens": count.reasoning},
        "total_tokens": count.prompt + count.completion,
    }
