"""A conversation said in another dialect and translated back is the same conversation."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.dialects.talk import LAW, NAMES, OBJECTS, TEXTS, Json, asked

PNG = b"\x89PNG\r\n\x1a\n"
PICTURES = st.binary(max_size=9).map(lambda data: base64.b64encode(PNG + data).decode())


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """Turns in OpenAI's chat dialect: what all of the dialects can say."""
    found: list[Json] = []
    if draw(st.booleans()):
        found.append({"role": "system", "content": draw(TEXTS)})
    for turn in range(draw(st.integers(1, 3))):
        found.append({"role": "user", "content": draw(st.one_of(TEXTS, parts()))})
        names = draw(st.lists(NAMES, max_size=2, unique=True))
        calls = [
            {
                "id": f"call_{turn}_{number}",
                "type": "function",
                "function": {"name": name, "arguments": _compact(draw(OBJECTS))},
            }
            for number, name in enumerate(names)
        ]
        said: Json = {"role": "assistant", "content": draw(TEXTS)}
        if draw(st.booleans()):
            said["reasoning_content"] = draw(TEXTS)
        if calls:
            found.append({**said, "tool_calls": calls})
            found += [{"role": "tool", "tool_call_id": call["id"], "content": draw(TEXTS)} for call in calls]
        elif draw(st.booleans()):
            found.append(said)
    return found


@st.composite
def parts(draw: st.DrawFn) -> list[Json]:
    """A text and at least one picture."""
    url = {"url": f"data:image/png;base64,{draw(PICTURES)}"}
    return [{"type": "text", "text": draw(TEXTS)}, {"type": "image_url", "image_url": url}]


TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "description": TEXTS, "parameters": st.just({"type": "object", "properties": {}})}
    ),
    max_size=2,
    unique_by=lambda tool: tool["name"],
)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# Into Anthropic's


def as_anthropic(messages: list[Json]) -> Json:
    found: list[Json] = []
    body: Json = {"model": "qwen", "max_tokens": 9, "messages": found}
    for message in messages:
        match message["role"]:
            case "system":
                body["system"] = message["content"]
            case "user":
                found.append({"role": "user", "content": _anthropic_parts(message["content"])})
            case "tool":
                block = {"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": message["content"]}
                found.append({"role": "user", "content": [block]})
            case "assistant":
                found.append({"role": "assistant", "content": _anthropic_blocks(message)})
    return body


def _anthropic_parts(content: str | list[Json]) -> str | list[Json]:
    if isinstance(content, str):
        return content
    text, picture = content
    data = picture["image_url"]["url"].partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return [text, {"type": "image", "source": source}]


def _anthropic_blocks(message: Json) -> list[Json]:
    blocks: list[Json] = []
    if thoughts := message.get("reasoning_content"):
        blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
    if message["content"]:
        blocks.append({"type": "text", "text": message["content"]})
    for call in message.get("tool_calls", []):
        function = call["function"]
        given = json.loads(function["arguments"])
        blocks.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": given})
    return blocks


@LAW
@given(conversations(), TOOLS)
def test_anthropic(messages: list[Json], tools: list[Json]) -> None:
    body = as_anthropic(messages)
    body["tools"] = [
        {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]} for tool in tools
    ]
    said = asked("/v1/messages", body)
    assert said["messages"] == messages
    assert [tool["function"] for tool in said.get("tools", [])] == tools
    counted = asked("/v1/messages/count_tokens", {name: body[name] for name in body if name != "max_tokens"}, "vllm")
    assert counted["messages"] == messages


# Into Responses'


def as_responses(messages: list[Json]) -> list[Json]:
    items: list[Json] = []
    for message in messages:
        role = message["role"]
        if role == "tool":
            output = {"type": "function_call_output", "call_id": message["tool_call_id"], "output": message["content"]}
            items.append(output)
            continue
        if role == "assistant":
            items += _response_turn(message)
            continue
        content = message["content"]
        if not isinstance(content, str):
            text, picture = content
            content = [
                {"type": "input_text", "text": text["text"]},
                {"type": "input_image", "image_url": picture["image_url"]["url"]},
            ]
        items.append({"role": role, "content": content})
    return items


def _response_turn(message: Json) -> list[Json]:
    items: list[Json] = []
    if thoughts := message.get("reasoning_content"):
        content = [{"type": "reasoning_text", "text": thoughts}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": [], "content": content})
    if message["content"]:
        text = {"type": "output_text", "text": message["content"], "annotations": []}
        said = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}
        items.append(said)
    items += [
        {"type": "function_call", "id": "fc_1", "call_id": call["id"], **call["function"]}
        for call in message.get("tool_calls", [])
    ]
    return items


@LAW
@given(conversations(), TOOLS)
def test_responses(messages: list[Json], tools: list[Json]) -> None:
    body = {"model": "qwen", "input": as_responses(messages), "tools": [{"type": "function", **tool} for tool in tools]}
    said = asked("/v1/responses", body)
    assert said["messages"] == messages
    assert [tool["function"] for tool in said.get("tools", [])] == tools


# Into Ollama's: its calls have no ids, so those are made


def as_ollama(messages: list[Json]) -> list[Json]:
    found: list[Json] = []
    named: dict[str, str] = {}
    for message in messages:
        said: Json = {"role": message["role"]}
        if isinstance(message["content"], str):
            said["content"] = message["content"]
        else:
            text, picture = message["content"]
            said |= {"content": text["text"], "images": [picture["image_url"]["url"].partition(",")[2]]}
        if thoughts := message.get("reasoning_content"):
            said["thinking"] = thoughts
        if calls := message.get("tool_calls"):
            functions = [call["function"] for call in calls]
            said["tool_calls"] = [
                {"function": {"name": each["name"], "arguments": json.loads(each["arguments"])}} for each in functions
            ]
            named |= {call["id"]: call["function"]["name"] for call in calls}
        if role_id := message.get("tool_call_id"):
            said["tool_name"] = named[role_id]
        found.append(said)
    return found


def numbered(messages: list[Json]) -> list[Json]:
    """With each id in place of which call it is, so that ids of any make compare."""
    ids: dict[str, str] = {}
    text = json.dumps(messages)
    for message in messages:
        for call in message.get("tool_calls", []):
            ids[call["id"]] = f"#{len(ids)}"
    for each, number in ids.items():
        text = text.replace(f'"{each}"', f'"{number}"')
    return list(json.loads(text))


@LAW
@given(conversations(), TOOLS)
def test_ollama(messages: list[Json], tools: list[Json]) -> None:
    declared = [{"type": "function", "function": tool} for tool in tools]
    said = asked("/api/chat", {"model": "qwen", "messages": as_ollama(messages), "tools": declared})
    assert numbered(said["messages"]) == numbered(messages)
    assert said.get("tools", []) == declared
