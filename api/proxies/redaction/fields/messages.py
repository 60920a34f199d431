"""Anthropic's messages: blocks, and tools with a schema."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.redaction.fields.chat import SETTINGS, content
from api.proxies.redaction.fields.walk import (
    Rule,
    Visitor,
    each,
    elsewhere,
    file_data,
    ident,
    json_text,
    kinds,
    media_type,
    name,
    not_redacted,
    obj,
    opaque,
    picture,
    schema,
    text,
    word,
)

_CACHE: Final = obj({"type": word})


def _packed(value: Any, place: str, visitor: Visitor) -> Any:
    """A file in base64, whose kind stands beside it."""
    said = value.get("data") if isinstance(value, dict) else None
    kind = value.get("media_type") if isinstance(value, dict) else None
    if not isinstance(said, str) or not isinstance(kind, str):
        raise not_redacted(place, "says neither its media_type nor its data")
    found = file_data(said, f"{place}.data", visitor, kind)
    return obj({"type": word, "media_type": media_type, "data": lambda *_: found})(value, place, visitor)


_FRAME: Final[dict[str, Rule]] = {
    "type": word,
    "text": text,
    "thinking": text,
    "id": ident,
    "tool_use_id": ident,
    "name": name,
    "server_name": name,
    "cache_control": _CACHE,
    "file_id": elsewhere,
    "encrypted_content": opaque,
    "encrypted_index": opaque,
    "encrypted_stdout": opaque,
    "signature": opaque,
    "error_code": word,
    "return_code": lambda value, *_: value if isinstance(value, int) else text(value, *_),
}
BLOCKS: Final[dict[str, Rule]] = {}
BLOCK: Final = kinds(BLOCKS, obj(_FRAME))
_SOURCE: Final = kinds(
    {
        "text": obj({"type": word, "media_type": media_type, "data": text}),
        "base64": _packed,
        "content": obj({"type": word, "content": content(BLOCK)}),
    },
    elsewhere,
)
_RESULT: Final = obj({**_FRAME, "content": content(BLOCK, json_text)})
BLOCKS.update(
    {
        "image": obj({"type": word, "source": picture, "cache_control": _CACHE}),
        "document": obj({**_FRAME, "source": _SOURCE}),
        "search_result": obj({**_FRAME, "content": content(BLOCK)}),
        "redacted_thinking": obj({"type": word, "data": opaque}),
        "tool_result": _RESULT,
        "mcp_tool_result": _RESULT,
        "web_search_tool_result": _RESULT,
        "web_fetch_tool_result": obj({**_FRAME, "content": obj({**_FRAME, "content": BLOCK})}),
    }
)
_FORMAT: Final = obj({"type": word, "schema": schema})

MESSAGE: Final = obj(
    {
        **SETTINGS,
        "system": content(BLOCK),
        "messages": each(obj({"role": word, "content": content(BLOCK)})),
        "tools": each(obj({"type": word, "name": name, "input_schema": schema, "cache_control": _CACHE})),
        "tool_choice": obj({"type": word, "name": name}),
        "thinking": obj({"type": word, "display": word}),
        "output_config": obj({"effort": word, "format": _FORMAT}),
        "output_format": _FORMAT,
        "container": elsewhere,
        "inference_geo": word,
        "cache_control": _CACHE,
        "context_management": obj({"edits": each(obj({"type": word}))}),
    },
    last="messages",
)
