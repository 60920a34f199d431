"""What an app asks in Anthropic's dialect, in OpenAI's chat dialect.

The list of what is passed, rewritten, dropped and refused is docs/DIALECTS.md; `DROPPED` and `REFUSED` are it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api.proxies.calls import Backend
from api.proxies.dialects.asked import Asked, Json, invalid, set_fields, unsayable
from api.proxies.dialects.json_text import dumps

DROPPED: Final = (
    *("cache_control", "context_management", "diagnostics", "inference_geo", "service_tier", "speed"),
    *("user_profile_id", "workspace_id"),
)
REFUSED: Final = {
    "container": "runs code on Anthropic's machines",
    "mcp_servers": "is done by Anthropic's servers: let the app call them as tools",
}
PASSED: Final = ("temperature", "top_p", "top_k")
EFFORTS: Final = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
THINKING: Final = ("enabled", "adaptive", "between_tools", "disabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request in the backend's words, and what its answer's writer has to know."""

    model: str
    body: Json
    stream: bool = False
    thoughts: bool = False


def chat(body: bytes, backend: Backend) -> Wanted:
    """A `/v1/messages` request. Raises Refused."""
    asked = Asked.body(body)
    model = asked.needed_text("model")
    stream = asked.flag("stream") or False
    limit = asked.need("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise invalid("max_tokens", "must be a whole number from 1 on")
    told, thoughts = _prompt(asked)
    said = told | {"max_tokens": limit}
    said |= set_fields(**{name: asked.take(name) for name in PASSED})
    if stops := [stop for _, stop in asked.items("stop_sequences")]:
        said["stop"] = stops
    if metadata := asked.part("metadata"):
        said |= set_fields(user=metadata.text("user_id"))
        metadata.over()
    if stream:
        said |= {"stream": True, "stream_options": {"include_usage": True}}
    return Wanted(model=model, body={**asked.rest(), **said, "model": backend.model}, stream=stream, thoughts=thoughts)


def counted(body: bytes, backend: Backend) -> Wanted:
    """A `count_tokens` request, as vLLM's `/tokenize` takes it: its own tokenizer, behind the model's own template."""
    asked = Asked.body(body)
    model = asked.needed_text("model")
    said, _ = _prompt(asked)
    for name in ("tool_choice", "parallel_tool_calls", "reasoning_effort", "response_format"):
        said.pop(name, None)
    asked.over()
    return Wanted(model=model, body={**said, "model": backend.model, "add_generation_prompt": True})


def _prompt(asked: Asked) -> tuple[Json, bool]:
    """All that the model reads, and whether its thoughts are wanted."""
    asked.drop(*DROPPED)
    for name, why in REFUSED.items():
        asked.refuse(name, why=why)
    said: Json = {}
    thoughts, kwargs = _thinking(asked)
    said |= set_fields(chat_template_kwargs=kwargs)
    said |= _output(asked)
    said["messages"] = [*_system(asked), *_messages(asked)]
    said |= _tools(asked)
    return said, thoughts


def _thinking(asked: Asked) -> tuple[bool, Json | None]:
    config = asked.part("thinking")
    if config is None:
        return False, None
    kind = config.needed_text("type")
    if kind not in THINKING:
        raise invalid("thinking.type", f"can't be {kind!r}", THINKING)
    config.drop("budget_tokens")  # the model thinks as long as its template and its limit have it
    shown = config.text("display") != "omitted"
    config.over()
    if kind == "disabled":
        return False, {"enable_thinking": False}
    return shown, None


def _output(asked: Asked) -> Json:
    config, wanted = asked.part("output_config"), asked.part("output_format")
    said: Json = {}
    if config is not None:
        if (effort := config.text("effort")) is not None:
            if effort not in EFFORTS:
                raise invalid("output_config.effort", f"can't be {effort!r}", tuple(EFFORTS))
            said["reasoning_effort"] = EFFORTS[effort]
        wanted = config.part("format") or wanted
        config.over()
    if wanted is not None:
        if (kind := wanted.needed_text("type")) != "json_schema":
            raise unsayable(wanted.at("type"), f"can't be {kind!r}", ("json_schema",))
        schema = {"name": "output", "strict": True, "schema": wanted.need("schema")}
        said["response_format"] = {"type": "json_schema", "json_schema": schema}
        wanted.over()
    return said


def _system(asked: Asked) -> list[Json]:
    given = asked.take("system")
    if not given:
        return []
    return [{"role": "system", "content": _texts("system", given)}]


def _texts(place: str, given: object) -> str:
    """A text, or a list of blocks that are all texts."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise invalid(place, "must be a text or a list of blocks")
    found: list[str] = []
    for number, item in enumerate(given):
        block = Asked(item, f"{place}[{number}]")
        if (kind := block.needed_text("type")) != "text":
            raise unsayable(block.at("type"), f"can't be {kind!r} here", ("text",))
        found.append(block.needed_text("text"))
        block.drop("cache_control", "citations")
        block.over()
    return "\n".join(found)


def _messages(asked: Asked) -> list[Json]:
    asked_messages = asked.items("messages")
    if not asked_messages:
        raise invalid("messages", "must have at least one message")
    found: list[Json] = []
    for place, item in asked_messages:
        message = Asked(item, place)
        role = message.needed_text("role")
        content = message.need("content")
        message.over()
        where = message.at("content")
        match role:
            case "user":
                found += _user(where, content)
            case "assistant":
                found.append(_assistant(where, content))
            case "system":
                found.append({"role": "system", "content": _texts(where, content)})
            case _:
                raise invalid(message.at("role"), f"can't be {role!r}", ("user", "assistant", "system"))
    return found


def _blocks(place: str, content: object) -> list[Asked]:
    if not isinstance(content, list):
        raise invalid(place, "must be a text or a list of blocks")
    return [Asked(item, f"{place}[{number}]") for number, item in enumerate(content)]


def _user(place: str, content: object) -> list[Json]:
    """A user's message: results of tools are messages of their own there, and pictures in them come after those."""
    if isinstance(content, str):
        return [{"role": "user", "content": content}]
    found: list[Json] = []
    parts: list[Json] = []
    pictures: list[Json] = []
    for block in _blocks(place, content):
        kind = block.needed_text("type")
        if kind == "tool_result":
            if parts:
                found.append(_spoken(parts))
                parts = []
            found.append(_result(block, pictures))
        else:
            parts.append(_part(block, kind))
    parts = pictures + parts
    return [*found, _spoken(parts)] if parts or not found else found


def _spoken(parts: list[Json]) -> Json:
    """One text stays a text: not every chat template takes parts."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return {"role": "user", "content": parts[0]["text"]}
    return {"role": "user", "content": parts}


def _part(block: Asked, kind: str) -> Json:
    block.drop("cache_control", "citations")
    match kind:
        case "text":
            part = {"type": "text", "text": block.needed_text("text")}
        case "image":
            part = _picture(Asked(block.need("source"), block.at("source")))
        case "document":
            part = _document(block)
        case _:
            raise unsayable(block.at("type"), f"can't be {kind!r}", ("text", "image", "document", "tool_result"))
    block.over()
    return part


def _picture(source: Asked) -> Json:
    match kind := source.needed_text("type"):
        case "base64":
            media = source.needed_text("media_type")
            if media not in IMAGES:
                raise invalid(source.at("media_type"), f"can't be {media!r}", IMAGES)
            url = f"data:{media};base64,{source.needed_text('data')}"
        case "url":
            url = source.needed_text("url")
        case _:
            raise unsayable(source.at("type"), f"can't be {kind!r}: files are not kept here", ("base64", "url"))
    source.over()
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Asked) -> Json:
    """A document that is a text. What it is called stands before it, since a chat has no other place for that."""
    source = Asked(block.need("source"), block.at("source"))
    if (kind := source.needed_text("type")) != "text":
        raise unsayable(source.at("type"), f"can't be {kind!r}: the model reads texts and pictures", ("text",))
    source.drop("media_type")
    text = source.needed_text("data")
    source.over()
    heads = [found for found in (block.text("title"), block.text("context")) if found]
    return {"type": "text", "text": "\n".join([*heads, text])}


def _result(block: Asked, pictures: list[Json]) -> Json:
    """A tool's result. A chat has no mark for one that failed, so its text says so."""
    identity = block.needed_text("tool_use_id")
    failed = block.flag("is_error")
    content = block.take("content")
    block.drop("cache_control")
    block.over()
    texts: list[str] = []
    if isinstance(content, str):
        texts.append(content)
    elif content is not None:
        for item in _blocks(block.at("content"), content):
            part = _part(item, item.needed_text("type"))
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                pictures.append(part)
    said = "\n".join(texts)
    return {"role": "tool", "tool_call_id": identity, "content": f"Error: {said}" if failed else said}


def _assistant(place: str, content: object) -> Json:
    if isinstance(content, str):
        return {"role": "assistant", "content": content}
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for block in _blocks(place, content):
        block.drop("cache_control", "citations", "signature", "caller", "parsed_output")
        match kind := block.needed_text("type"):
            case "text":
                texts.append(block.needed_text("text"))
            case "thinking":
                thoughts.append(block.needed_text("thinking"))
            case "tool_use":
                calls.append(_call(block))
            case _:
                raise unsayable(block.at("type"), f"can't be {kind!r}", ("text", "thinking", "tool_use"))
        block.over()
    said: Json = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts:
        said["reasoning_content"] = "".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    return said


def _call(block: Asked) -> Json:
    identity, name, given = block.needed_text("id"), block.needed_text("name"), block.need("input")
    if not isinstance(given, dict):
        raise invalid(block.at("input"), "must be an object")
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": dumps(given).decode()}}


def _tools(asked: Asked) -> Json:
    said: Json = {}
    if tools := [_tool(place, item) for place, item in asked.items("tools")]:
        said["tools"] = tools
    choice = asked.part("tool_choice")
    if choice is None:
        return said
    kind = choice.needed_text("type")
    if kind == "tool":
        said["tool_choice"] = {"type": "function", "function": {"name": choice.needed_text("name")}}
    elif kind in CHOICES:
        said["tool_choice"] = CHOICES[kind]
    else:
        raise invalid("tool_choice.type", f"can't be {kind!r}", (*CHOICES, "tool"))
    if choice.flag("disable_parallel_tool_use"):
        said["parallel_tool_calls"] = False
    choice.over()
    return said


def _tool(place: str, item: Any) -> Json:
    tool = Asked(item, place)
    if (kind := tool.text("type")) not in {None, "custom"}:
        raise unsayable(
            tool.at("type"), f"can't be {kind!r}: Anthropic's own tools run there or in its models", ("custom",)
        )
    tool.drop("cache_control", "eager_input_streaming", "input_examples")
    tool.refuse("defer_loading", why="needs Anthropic's tool search")
    tool.refuse("allowed_callers", why="needs Anthropic's code execution")
    function = {
        "name": tool.needed_text("name"),
        **set_fields(description=tool.text("description")),
        "parameters": tool.need("input_schema"),
        **set_fields(strict=tool.flag("strict")),
    }
    tool.over()
    return {"type": "function", "function": function}
