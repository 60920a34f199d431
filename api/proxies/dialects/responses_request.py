"""What an app asks in the dialect of OpenAI's Responses, in that of its chats.

Nothing is stored here, so what a request must say of the past it says itself: `input` holds the whole conversation. The
list of what is passed, rewritten, dropped and refused is docs/DIALECTS.md; the tables here are it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api.proxies.calls import Backend
from api.proxies.dialects.asked import Asked, Json, invalid, set_fields, unsayable

DROPPED: Final = (
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "service_tier", "stream_options"),
    *("safety_identifier", "max_tool_calls"),
)
STORED: Final = "can't be used: responses are not stored here, send the whole conversation as `input`"
REFUSED: Final = {
    "previous_response_id": STORED,
    "conversation": STORED,
    "prompt": "names a text that is stored at OpenAI: send the text",
    "background": "can't be true: responses are not stored here, so nobody could fetch it",
    "background_options": "is for responses in the background",
    "context_management": "is done by OpenAI's servers",
    "moderation": "is done by OpenAI's servers",
    "access_programs": "is done by OpenAI's servers",
    "image": "asks for a picture",
    "top_logprobs": "is not translated: ask `/v1/chat/completions`",
}
PASSED: Final = ("temperature", "top_p", "user")
HARMLESS_INCLUDES: Final = frozenset({"reasoning.encrypted_content"})
ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
PARTS: Final = ("input_text", "input_image")
ITEMS: Final = ("message", "function_call", "function_call_output", "reasoning")
EFFORTS: Final = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
ECHOED: Final = ("instructions", "metadata", "temperature", "top_p", "max_output_tokens", "max_tool_calls", "user")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request in the backend's words, and the answer's fields that repeat it."""

    body: Json
    stream: bool
    echoed: Json


def chat(body: bytes, backend: Backend) -> Wanted:
    """A `/v1/responses` request. Raises Refused."""
    asked = Asked.body(body)
    given = asked.seen()
    asked.needed_text("model")
    stream = asked.flag("stream") or False
    for name, why in REFUSED.items():
        asked.refuse(name, why=why)
    if asked.flag("store"):
        raise unsayable("store", "can't be true: responses are not stored here")
    if (truncation := asked.text("truncation")) not in {None, "disabled"}:
        raise unsayable("truncation", f"can't be {truncation!r}: nothing is left out here", ("disabled",))
    for place, wanted in asked.items("include"):
        if not isinstance(wanted, str) or wanted not in HARMLESS_INCLUDES:
            raise unsayable(place, f"can't be {wanted!r}", tuple(HARMLESS_INCLUDES))
    asked.drop(*DROPPED, "metadata")
    said: Json = {"messages": _messages(asked)}
    said |= set_fields(max_tokens=asked.take("max_output_tokens"))
    said |= set_fields(**{name: asked.take(name) for name in PASSED})
    said |= _text(asked) | _reasoning(asked) | _tools(asked)
    if stream:
        said |= {"stream": True, "stream_options": {"include_usage": True}}
    body_said = {**asked.rest(), **said, "model": backend.model}
    return Wanted(body=body_said, stream=stream, echoed=_echoed(given))


def _echoed(given: Json) -> Json:
    """What the answer says of its request."""
    blank = {"description": None, "parameters": None, "strict": None}
    return {
        **{name: given.get(name) for name in ECHOED},
        "model": given["model"],
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "reasoning": {"effort": None, "summary": None, **given.get("reasoning", {})},
        "text": {"format": {"type": "text"}, **given.get("text", {})},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": [{**blank, **tool} for tool in given.get("tools", [])],
        "truncation": "disabled",
        "previous_response_id": None,
    }


def _messages(asked: Asked) -> list[Json]:
    instructions, given = asked.text("instructions"), asked.need("input")
    found: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*found, {"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise invalid("input", "must be a text or a list with at least one item")
    conversation = Conversation(found)
    for number, item in enumerate(given):
        conversation.add(Asked(item, f"input[{number}]"))
    return conversation.messages


class Conversation:
    """Items, put together to messages: thoughts, words and calls of one turn are one message of a chat."""

    def __init__(self, messages: list[Json]) -> None:
        self.messages = messages
        self._turn: Json | None = None

    def add(self, item: Asked) -> None:
        """The next item. Raises Refused."""
        kind = item.text("type") or "message"
        item.drop("id", "status", "phase")
        match kind:
            case "message":
                self._message(item)
            case "reasoning":
                self._thought(item)
            case "function_call":
                self._call(item)
            case "function_call_output":
                self._output(item)
            case "item_reference":
                raise unsayable(item.at("type"), f"can't be {kind!r}: items are not stored here", ITEMS)
            case _:
                raise unsayable(item.at("type"), f"can't be {kind!r}", ITEMS)
        item.over()

    def _message(self, item: Asked) -> None:
        role = item.needed_text("role")
        if role not in ROLES:
            raise invalid(item.at("role"), f"can't be {role!r}", tuple(ROLES))
        content = item.need("content")
        if role == "assistant":
            text = _flat(item.at("content"), content)
            turn = self._assistant(free="content")
            turn["content"] = text
            return
        self._turn = None
        role = ROLES[role]
        said = _parts(item.at("content"), content) if role == "user" else _flat(item.at("content"), content)
        self.messages.append({"role": role, "content": said})

    def _thought(self, item: Asked) -> None:
        """What nobody but OpenAI can read is left out: a model here has never thought it."""
        item.drop("encrypted_content")
        texts = [_reasoning_text(*part) for part in item.items("content")]
        summary = [_reasoning_text(*part) for part in item.items("summary")]
        if texts or summary:
            self._assistant(free="reasoning_content")["reasoning_content"] = "\n".join(texts or summary)

    def _call(self, item: Asked) -> None:
        item.drop("caller", "namespace", "parsed_arguments")
        function = {"name": item.needed_text("name"), "arguments": item.needed_text("arguments")}
        call = {"id": item.needed_text("call_id"), "type": "function", "function": function}
        self._assistant().setdefault("tool_calls", []).append(call)

    def _output(self, item: Asked) -> None:
        self._turn = None
        content = _flat(item.at("output"), item.need("output"))
        item.drop("caller")
        self.messages.append({"role": "tool", "tool_call_id": item.needed_text("call_id"), "content": content})

    def _assistant(self, free: str = "") -> Json:
        """The turn that is being put together; another one, where it has that already or has begun to call."""
        turn = self._turn
        if turn is None or (free and (turn.get(free) is not None or "tool_calls" in turn)):
            turn = self._turn = {"role": "assistant", "content": None}
            self.messages.append(turn)
        return turn


def _reasoning_text(place: str, item: Any) -> str:
    part = Asked(item, place)
    part.drop("type")
    text = part.needed_text("text")
    part.over()
    return text


def _parts(place: str, content: object) -> str | list[Json]:
    """A user's message: a text, or texts and pictures."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(place, "must be a text or a list of parts")
    found = [_part(Asked(item, f"{place}[{number}]")) for number, item in enumerate(content)]
    if len(found) == 1 and found[0]["type"] == "text":
        text: str = found[0]["text"]
        return text
    return found


def _part(part: Asked) -> Json:
    kind = part.needed_text("type")
    part.drop("prompt_cache_breakpoint")
    match kind:
        case "input_text":
            said: Json = {"type": "text", "text": part.needed_text("text")}
        case "input_image":
            if part.take("file_id"):
                raise unsayable(part.at("file_id"), "can't be used: files are not kept here, send `image_url`")
            url = {"url": part.needed_text("image_url"), **set_fields(detail=part.text("detail"))}
            said = {"type": "image_url", "image_url": url}
        case _:
            raise unsayable(part.at("type"), f"can't be {kind!r}", PARTS)
    part.over()
    return said


def _flat(place: str, content: object) -> str:
    """What can only be a text: an assistant's words, a system's, a tool's."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(place, "must be a text or a list of parts")
    texts: list[str] = []
    for number, item in enumerate(content):
        part = Asked(item, f"{place}[{number}]")
        kind = part.needed_text("type")
        if kind not in {"input_text", "output_text", "refusal"}:
            raise unsayable(part.at("type"), f"can't be {kind!r} here", ("input_text", "output_text"))
        texts.append(part.needed_text("refusal" if kind == "refusal" else "text"))
        part.drop("annotations", "logprobs", "parsed", "prompt_cache_breakpoint")
        part.over()
    return "".join(texts)


def _text(asked: Asked) -> Json:
    config = asked.part("text")
    if config is None:
        return {}
    said = set_fields(verbosity=config.text("verbosity"))
    wanted = config.part("format")
    config.over()
    if wanted is None:
        return said
    match kind := wanted.needed_text("type"):
        case "text":
            pass
        case "json_object":
            said["response_format"] = {"type": "json_object"}
        case "json_schema":
            schema = {"name": wanted.needed_text("name"), "schema": wanted.need("schema")}
            schema |= set_fields(strict=wanted.flag("strict"), description=wanted.text("description"))
            said["response_format"] = {"type": "json_schema", "json_schema": schema}
        case _:
            raise unsayable(wanted.at("type"), f"can't be {kind!r}", ("text", "json_object", "json_schema"))
    wanted.over()
    return said


def _reasoning(asked: Asked) -> Json:
    config = asked.part("reasoning")
    if config is None:
        return {}
    config.drop("summary", "generate_summary")  # the thoughts themselves come
    for name, only in (("context", "auto"), ("mode", "standard")):
        if (found := config.text(name)) not in {None, only}:
            raise unsayable(config.at(name), f"can't be {found!r}", (only,))
    effort = config.text("effort")
    config.over()
    if effort is None:
        return {}
    if effort not in EFFORTS:
        raise invalid("reasoning.effort", f"can't be {effort!r}", tuple(EFFORTS))
    if effort == "none":
        return {"chat_template_kwargs": {"enable_thinking": False}}
    return {"reasoning_effort": EFFORTS[effort]}


def _tools(asked: Asked) -> Json:
    said = set_fields(parallel_tool_calls=asked.flag("parallel_tool_calls"))
    if tools := [_tool(Asked(item, place)) for place, item in asked.items("tools")]:
        said["tools"] = tools
    match choice := asked.take("tool_choice"):
        case None:
            pass
        case "auto" | "none" | "required":
            said["tool_choice"] = choice
        case {"type": "function", "name": str(name)}:
            said["tool_choice"] = {"type": "function", "function": {"name": name}}
        case _:
            raise unsayable("tool_choice", "can only be a word or name a function", ("auto", "none", "required"))
    return said


def _tool(tool: Asked) -> Json:
    if (kind := tool.needed_text("type")) != "function":
        raise unsayable(tool.at("type"), f"can't be {kind!r}: OpenAI's own tools run there", ("function",))
    function = {"name": tool.needed_text("name")}
    function |= set_fields(
        description=tool.text("description"), parameters=tool.take("parameters"), strict=tool.flag("strict")
    )
    tool.refuse("defer_loading", why="needs OpenAI's tool search")
    tool.over()
    return {"type": "function", "function": function}
