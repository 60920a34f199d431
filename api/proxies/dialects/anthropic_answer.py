"""What a backend answers, in Anthropic's dialect: a message, or the events of one."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.calls import Refused
from api.proxies.dialects import errors, sse
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
)

STOPS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
PING: Final = sse.written(b'{"type":"ping"}', "ping")


class MessageWriter:
    """One message. Thoughts go out only where the app asked for them; else a ping shows that something goes on."""

    def __init__(self, model: str, *, thoughts: bool) -> None:
        self._model = model
        self._thoughts = thoughts
        self._index = -1
        self._open = ""  # the type of the block that has begun
        self._used_tools = False
        self._reason: str | None = None
        self._stop: str | None = None
        self._count = Counted()

    # A stream

    def begin(self, hearing: Hearing) -> bytes:
        """`message_start`. How many tokens it read is not known yet: `message_delta` tells at the end."""
        return _event("message_start", message=self._message(hearing, [], None, Counted()))

    def write(self, pieces: list[Piece]) -> bytes:
        """Blocks, opened and closed as the kind of piece changes."""
        return b"".join(map(self._piece, pieces))

    def end(self) -> bytes:
        """`message_delta` with the reason and the tokens, and `message_stop`."""
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": self._stop}
        return self._close() + _event("message_delta", delta=delta, usage=_usage(self._count)) + _event("message_stop")

    def fail(self, trouble: Trouble) -> bytes:
        """An error event, after which nothing comes."""
        return errors.event(Dialect.ANTHROPIC, trouble)

    def _piece(self, piece: Piece) -> bytes:
        match piece:
            case Text(text) | Declined(text):
                opened = self._block("text", {"text": ""})
                return opened + self._delta({"type": "text_delta", "text": text})
            case Thought(text):
                if not self._thoughts:
                    return PING
                opened = self._block("thinking", {"thinking": "", "signature": ""})
                return opened + self._delta({"type": "thinking_delta", "thinking": text})
            case ToolCall(_, identity, name):
                self._used_tools = True
                return self._block("tool_use", {"id": identity, "name": name, "input": {}}, new=True)
            case Arguments(_, text):
                return self._delta({"type": "input_json_delta", "partial_json": text})
            case Finished(reason, stop):
                self._reason, self._stop = reason, stop
                return self._close()
            case Counted():
                self._count = piece
        return b""

    def _block(self, kind: str, start: Json, *, new: bool = False) -> bytes:
        if self._open == kind and not new:
            return b""
        closed = self._close()
        self._index += 1
        self._open = kind
        return closed + _event("content_block_start", index=self._index, content_block={"type": kind, **start})

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return _event("content_block_stop", index=self._index)

    # At once

    def whole(self, hearing: Hearing, pieces: list[Piece]) -> dict[str, Any]:
        """A message. Raises Refused where a tool's arguments are not an object."""
        blocks: list[Json] = []
        for piece in merged(pieces):
            match piece:
                case Text(text) | Declined(text):
                    blocks.append({"type": "text", "text": text})
                case Thought(text) if self._thoughts:
                    blocks.append({"type": "thinking", "thinking": text, "signature": ""})
                case ToolCall(_, identity, name):
                    self._used_tools = True
                    blocks.append({"type": "tool_use", "id": identity, "name": name, "input": {}})
                case Arguments(_, text):
                    blocks[-1]["input"] = text
                case Finished(reason, stop):
                    self._reason, self._stop = reason, stop
                case Counted():
                    self._count = piece
        cut = self._reason == "length"
        content = [block for block in blocks if _read_input(block, cut=cut)]
        return self._message(hearing, content, self._stop_reason(), self._count)

    def _message(self, hearing: Hearing, content: list[Json], reason: str | None, count: Counted) -> Json:
        return {
            "id": f"msg_{hearing.id.removeprefix('chatcmpl-')}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": self._stop,
            "usage": _usage(count),
        }

    def _stop_reason(self) -> str:
        if self._stop is not None:
            return "stop_sequence"
        if self._used_tools and self._reason == "stop":
            return "tool_use"  # some servers say `stop` there
        return STOPS.get(self._reason or "", "end_turn")


def _event(kind: str, **said: Any) -> bytes:
    return sse.written(dumps({"type": kind, **said}), kind)


def _usage(count: Counted) -> Json:
    """Anthropic counts what came out of the cache apart from what was read."""
    return {
        "input_tokens": count.prompt - min(count.cached, count.prompt),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": count.cached,
        "output_tokens": count.completion,
    }


def _read_input(block: Json, *, cut: bool) -> bool:
    """A call's arguments, read. False: it was cut off by the limit of tokens, and half a call is none."""
    if not isinstance(text := block.get("input"), str):
        return True
    try:
        block["input"] = loads(text)
    except ValueError:
        block["input"] = None
    if isinstance(block["input"], dict):
        return True
    if cut:
        return False
    name = block["name"]
    raise Refused(502, "BadToolArguments", f"the model called {name} with arguments that are not a JSON object")
