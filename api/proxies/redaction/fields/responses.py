"""OpenAI's responses: items of a conversation, each of its own kind."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.redaction.fields.chat import FILE, SETTINGS, choice, content
from api.proxies.redaction.fields.walk import (
    Rule,
    Visitor,
    data,
    each,
    elsewhere,
    file_data,
    ident,
    json_text,
    kinds,
    name,
    not_redacted,
    obj,
    opaque,
    picture,
    remembered,
    schema,
    sound,
    text,
    word,
)

_FRAME: Final[dict[str, Rule]] = {
    "type": word,
    "id": ident,
    "call_id": ident,
    "approval_request_id": ident,
    "status": word,
    "role": word,
    "phase": word,
    "name": name,
    "namespace": name,
    "server_label": name,
    "encrypted_content": opaque,
    "image_url": picture,
    "input_audio": sound,
    "file_id": elsewhere,
    "file_url": elsewhere,
    "file_data": file_data,
}
PART: Final = kinds(
    {
        "input_image": obj({"type": word, "image_url": picture, "file_id": elsewhere, "detail": word}),
        "computer_screenshot": obj({"type": word, "image_url": picture, "file_id": elsewhere, "detail": word}),
        "input_file": obj({"type": word, "file_data": file_data, "file_id": elsewhere, "file_url": elsewhere}),
        "input_audio": obj({"type": word, "input_audio": sound}),
    },
    obj({**_FRAME, "text": text, "file": FILE}),
)
_CALL: Final = obj({**_FRAME, "arguments": json_text})
ITEM: Final = kinds(
    {
        "function_call": _CALL,
        "mcp_call": obj({**_FRAME, "arguments": json_text, "output": content(PART, json_text)}),
        "mcp_approval_request": _CALL,
        "function_call_output": obj({**_FRAME, "output": content(PART, json_text)}),
        "custom_tool_call_output": obj({**_FRAME, "output": content(PART, json_text)}),
        "computer_call_output": obj({**_FRAME, "output": PART}),
        "image_generation_call": obj({**_FRAME, "result": picture}),
        "item_reference": obj({"type": word, "id": remembered}),
    },
    obj({**_FRAME, "content": content(PART), "summary": each(PART), "output": content(PART)}),
)
_TOOL_FRAME: Final[dict[str, Rule]] = {
    "type": word,
    "name": name,
    "server_label": name,
    "parameters": schema,
    "format": obj({"type": word, "syntax": word}),
    "vector_store_ids": each(ident),
    "search_context_size": word,
    "environment": word,
    "require_approval": lambda value, place, visitor: (word if isinstance(value, str) else data)(value, place, visitor),
}
_TOOL: Final = obj(_TOOL_FRAME)
TOOL: Final = obj({**_TOOL_FRAME, "tools": each(_TOOL)})


def _background(value: Any, place: str, visitor: Visitor) -> Any:
    """An answer that is fetched later would come past the gateway."""
    del visitor
    if value:
        raise not_redacted(place, "asks for an answer that is fetched later, which can't be put right then")
    return value


RESPONSE: Final = obj(
    {
        **SETTINGS,
        "input": content(ITEM),
        "instructions": content(ITEM),
        "tools": each(TOOL),
        "tool_choice": choice,
        "text": obj({"format": obj({"type": word, "name": name, "schema": schema}), "verbosity": word}),
        "reasoning": obj({"effort": word, "summary": word, "generate_summary": word}),
        "include": each(word),
        "previous_response_id": remembered,
        "conversation": remembered,
        "background": _background,
        "prompt": obj({"id": remembered}),
    },
    last="input",
)
