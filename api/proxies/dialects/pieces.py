"""What a backend says in OpenAI's chat dialect, as a row of small pieces.

A stream's chunks and a whole answer give the same pieces, only cut differently. Whoever writes another dialect writes
it from these, so that what is streamed and what is not can't drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api.proxies.dialects.errors import Trouble, heard_object

OK: Final = 200
END_OF_TIME: Final = 1 << 33
"""Unix seconds; what is later is no time."""


@dataclass(frozen=True, slots=True)
class Text:
    """Some of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Some of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Some of the sentence with which it declines to answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool begins."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """Some of a call's arguments: a part of a JSON text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """It says no more. `stop`: the sequence that ended it, where the server tells."""

    reason: str
    stop: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """The tokens. `cached` are among `prompt`, `reasoning` among `completion`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """It broke on its side."""

    trouble: Trouble


Piece = Text | Thought | Declined | ToolCall | Arguments | Finished | Counted | Failed


def merged(pieces: list[Piece]) -> list[Piece]:
    """The same with neighbours of one kind joined: what a whole answer would have been."""
    found: list[Piece] = []
    parts: list[str] = []
    for piece in pieces:
        last = found[-1] if found else None
        joins = isinstance(piece, Text | Thought | Declined | Arguments) and type(last) is type(piece)
        if joins and not (isinstance(piece, Arguments) and isinstance(last, Arguments) and last.index != piece.index):
            parts.append(piece.text)  # type: ignore[union-attr]  # `joins` says that it has one
            continue
        _close(found, parts)
        found.append(piece)
        parts = [piece.text] if isinstance(piece, Text | Thought | Declined | Arguments) else []
    _close(found, parts)
    return found


def _close(found: list[Piece], parts: list[str]) -> None:
    if len(parts) < 2:  # noqa: PLR2004  # nothing was joined
        return
    text = "".join(parts)
    match found[-1]:
        case Arguments(index):
            found[-1] = Arguments(index, text)
        case Text():
            found[-1] = Text(text)
        case Thought():
            found[-1] = Thought(text)
        case Declined():
            found[-1] = Declined(text)


class Hearing:
    """One answer, chunk by chunk or at once."""

    def __init__(self) -> None:
        self.id = ""
        self.created = 0
        self._calls: set[int] = set()
        self._calling: int | None = None  # the call that is being said

    def pieces(self, said: object) -> list[Piece]:
        """A chunk's or an answer's. Of several choices the first one counts: only OpenAI's dialect asks for more.

        Raises ValueError where calls of tools are said at the same time: no other dialect can take that apart.
        """
        if not isinstance(said, dict) or said.get("error") or "choices" not in said:
            return [Failed(heard_object(OK, said))]
        self._learn(said)
        found: list[Piece] = []
        for choice in _items(said["choices"]):
            if isinstance(choice, dict) and not choice.get("index"):
                found += self._choice(choice)
        if usage := _object(said.get("usage")):
            found.append(_counted(usage))
        return found

    def _learn(self, said: dict[str, Any]) -> None:
        if not self.id and isinstance(said.get("id"), str):
            self.id = said["id"]
        created = said.get("created")
        if not self.created and isinstance(created, int) and 0 <= created < END_OF_TIME:
            self.created = created

    def _choice(self, choice: dict[str, Any]) -> list[Piece]:
        said = _object(choice.get("delta")) or _object(choice.get("message"))
        found: list[Piece] = []
        if thought := _string(said, "reasoning_content", "reasoning"):
            self._calling = None
            found.append(Thought(thought))
        if text := _string(said, "content") or _string(choice, "text"):
            self._calling = None
            found.append(Text(text))
        if refusal := _string(said, "refusal"):
            found.append(Declined(refusal))
        for position, call in enumerate(_items(said.get("tool_calls"))):
            found += self._call(_object(call), position)
        if isinstance(reason := choice.get("finish_reason"), str):
            stop = choice.get("stop_reason", choice.get("matched_stop"))
            found.append(Finished(reason, stop if isinstance(stop, str) else None))
        return found

    def _call(self, call: dict[str, Any], position: int) -> list[Piece]:
        index = call.get("index")
        index = index if isinstance(index, int) else position
        function = _object(call.get("function"))
        found: list[Piece] = []
        if index not in self._calls:
            self._calls.add(index)
            self._calling = index
            identity = _string(call, "id") or f"call_{self.id}_{index}"
            found.append(ToolCall(index, identity, _string(function, "name")))
        if arguments := _string(function, "arguments"):
            if index != self._calling:
                raise ValueError("what it says of several tool calls is mixed up")
            found.append(Arguments(index, arguments))
        return found


def _string(said: dict[str, Any], *names: str) -> str:
    """The first of these fields that holds a text."""
    for name in names:
        if isinstance(found := said.get(name), str) and found:
            return found
    return ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def number(value: object) -> int:
    """A count; what is none counts nothing."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _counted(usage: dict[str, Any]) -> Counted:
    prompt = _object(usage.get("prompt_tokens_details"))
    completion = _object(usage.get("completion_tokens_details"))
    return Counted(
        number(usage.get("prompt_tokens")),
        number(usage.get("completion_tokens")),
        number(prompt.get("cached_tokens")),
        number(completion.get("reasoning_tokens")),
    )
