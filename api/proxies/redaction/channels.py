"""Where an event of each dialect holds text that goes on in the next one, and which events end it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from api.proxies.dialects.names import Dialect

Json = dict[str, Any]
Index = int | str | None
Channel = tuple[Index, ...]
DELTAS: Final = {"text": "text_delta", "thinking": "thinking_delta", "partial_json": "input_json_delta"}
"""Anthropic's, by the field that holds the text."""

OPAQUE: Final = ("audio", "image")
"""Deltas of the Responses API that are no text, unless they are its transcript."""


KNOWN: Final = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "index", "delta",
     "text", "finish_reason", "stop_reason", "logprobs"}
)  # fmt: skip
"""Fields of a choice, and of what it says, that hold no text but what goes on."""


class Slot(NamedTuple):
    """A part of a channel's text: in which field of what it stands, and and how an event says more of the same."""

    channel: Channel
    holder: Json
    field: str
    shape: Callable[[str], Json]
    document: bool = False  # it is a part of a JSON document
    answer: bool = False  # it is what the model says, which is a document if the request asked for one


class Seen(NamedTuple):
    """An event's text, the channels that end with it (those that begin so), and whether it may hold other text."""

    slots: list[Slot]
    ended: list[Channel]
    more: bool = True


def see(dialect: Dialect, event: Json) -> Seen:
    """What is in it. What has another shape than it should has no text that goes on."""
    if event.get("error") and not event.get("choices"):
        return Seen([], [()])
    return SEERS[dialect](event)


def _openai(event: Json) -> Seen:
    slots: list[Slot] = []
    ended: list[Channel] = []
    more = False
    for choice in _objects(event.get("choices")):
        index = _index(choice.get("index", 0))
        if isinstance(choice.get("text"), str):
            slots.append(Slot((index, "text"), choice, "text", _in_choice(event, index, "text"), answer=True))
        delta = _object(choice.get("delta"))
        for field in ("content", "reasoning_content", "reasoning", "refusal"):
            if isinstance(delta.get(field), str):
                shape = _in_choice(event, index, "delta", field)
                slots.append(Slot((index, field), delta, field, shape, answer=field == "content"))
        slots += _called(event, index, delta)
        more |= not (delta.keys() <= KNOWN and choice.keys() <= KNOWN) or isinstance(delta.get("content"), list)
        if choice.get("finish_reason") is not None:
            ended.append((index,))
    return Seen(slots, ended, more or not slots)


def _called(event: Json, index: Index, delta: Json) -> list[Slot]:
    """The arguments of its calls; also of the one kind of call there was before."""
    slots: list[Slot] = []
    for position, call in enumerate(_objects(delta.get("tool_calls"))):
        number = _index(call.get("index", position))
        for kind, field in (("function", "arguments"), ("custom", "input")):
            function = _object(call.get(kind))
            if isinstance(function.get(field), str):
                shape = _in_choice(event, index, "delta", "tool_calls", number, kind, field)
                channel = (index, "tool_calls", number, kind)
                slots.append(Slot(channel, function, field, shape, document=kind == "function"))
    function = _object(delta.get("function_call"))
    if isinstance(function.get("arguments"), str):
        shape = _in_choice(event, index, "delta", "function_call", "arguments")
        slots.append(Slot((index, "function_call"), function, "arguments", shape, document=True))
    return slots


def _in_choice(event: Json, index: Index, *where: Index) -> Callable[[str], Json]:
    """A chunk like this one that says no more than a text, at its place in the choice. A call is found by its index."""

    def shape(text: str) -> Json:
        said: Any = text
        for step in reversed(where):
            said = {step: said} if isinstance(step, str) else [{"index": step, **said}]
        head = {key: value for key, value in event.items() if key not in {"choices", "usage"}}
        return {**head, "choices": [{"index": index, **said, "finish_reason": None}]}

    return shape


def _responses(event: Json) -> Seen:
    kind = event.get("type")
    if not isinstance(kind, str):
        return Seen([], [])
    item, part = _index(event.get("output_index")), _index(event.get("content_index"))
    base = kind.removesuffix(".delta").removesuffix(".done")
    channel = (item, part, base, _index(event.get("summary_index")))
    if kind.endswith(".delta") and isinstance(event.get("delta"), str):
        if any(word in base for word in OPAQUE) and "transcript" not in base:
            return Seen([], [])
        return Seen([_response_slot(event, channel, base)], [], more=False)
    if kind in {"response.completed", "response.incomplete", "response.failed", "error"}:
        return Seen([], [()])
    if kind == "response.output_item.done":
        return Seen([], [(item,)])
    if kind == "response.content_part.done":
        return Seen([], [(item, part)])
    return Seen([], [channel] if kind.endswith(".done") else [])


def _response_slot(event: Json, channel: Channel, base: str) -> Slot:
    return Slot(
        channel,
        event,
        "delta",
        lambda text: {key: value for key, value in event.items() if key != "logprobs"} | {"delta": text},
        document="arguments" in base,
        answer=base.endswith("output_text"),
    )


def _anthropic(event: Json) -> Seen:
    kind, index = event.get("type"), _index(event.get("index"))
    if kind in {"content_block_delta", "content_block_start"}:
        said = _object(event.get("delta" if kind == "content_block_delta" else "content_block"))
        slots = [_block_slot(index, said, field) for field in DELTAS if isinstance(said.get(field), str)]
        return Seen(slots, [], more=kind == "content_block_start" or not slots)
    if kind == "content_block_stop":
        return Seen([], [(index,)])
    return Seen([], [()] if kind in {"message_delta", "message_stop", "error"} else [])


def _block_slot(index: Index, said: Json, field: str) -> Slot:
    def shape(text: str) -> Json:
        return {"type": "content_block_delta", "index": index, "delta": {"type": DELTAS[field], field: text}}

    return Slot((index, field), said, field, shape, document=field == "partial_json", answer=field == "text")


def _ollama(event: Json) -> Seen:
    slots: list[Slot] = []
    message = _object(event.get("message"))
    head: Json = {key: event[key] for key in ("model", "created_at") if key in event}
    for field in ("content", "thinking"):
        if isinstance(message.get(field), str):

            def in_message(text: str, field: str = field) -> Json:
                said = {"role": message.get("role", "assistant"), "content": "", field: text}
                return {**head, "message": said, "done": False}

            slots.append(Slot(("message", field), message, field, in_message, answer=field == "content"))
    for field in ("response", "thinking"):
        if isinstance(event.get(field), str):

            def at_top(text: str, field: str = field) -> Json:
                return {**head, "response": "", field: text, "done": False}

            slots.append(Slot((field,), event, field, at_top, answer=field == "response"))
    return Seen(slots, [()] if event.get("done") else [], more="tool_calls" in message or not slots)


def _index(value: object) -> Index:
    return value if isinstance(value, int | str) else None


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


SEERS: Final = {
    Dialect.OPENAI: _openai,
    Dialect.RESPONSES: _responses,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.OLLAMA: _ollama,
}
