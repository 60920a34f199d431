"""OpenAI's chat completions, completions and embeddings, and rerank."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.redaction.fields.walk import (
    Rule,
    Visitor,
    amount,
    data,
    each,
    elsewhere,
    file_data,
    ident,
    json_text,
    kinds,
    model,
    name,
    obj,
    picture,
    remembered,
    schema,
    sound,
    text,
    tokens,
    word,
)

SETTINGS: Final[dict[str, Rule]] = {
    "model": model,
    **dict.fromkeys(
        ("seed", "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "temperature", "top_p"),
        amount,
    ),
    **dict.fromkeys(("top_k", "min_p", "n", "best_of", "logprobs", "top_logprobs", "presence_penalty"), amount),
    **dict.fromkeys(("frequency_penalty", "repetition_penalty", "min_tokens", "dimensions", "top_n"), amount),
    **dict.fromkeys(("service_tier", "reasoning_effort", "verbosity", "truncation", "encoding_format"), word),
    **dict.fromkeys(("prompt_cache_retention", "input_type", "truncate"), word),
}
"""Of every dialect: what steers a model, and says nothing."""

FILE: Final = obj({"file_data": file_data, "file_id": elsewhere, "file_url": elsewhere, "filename": text})
PART: Final = kinds(
    {
        "image_url": obj({"type": word, "image_url": picture}),
        "input_audio": obj({"type": word, "input_audio": sound}),
        "audio_url": obj({"type": word, "audio_url": sound}),
        "video_url": obj({"type": word, "video_url": sound}),
        "file": obj({"type": word, "file": FILE}),
    },
    obj({"type": word, "text": text, "image_url": picture, "input_audio": sound, "file": FILE}),
)
FUNCTION: Final = obj({"name": name, "parameters": schema})
TOOL: Final = kinds(
    {
        "custom": obj(
            {
                "type": word,
                "custom": obj({"name": name, "format": obj({"type": word, "grammar": obj({"syntax": word})})}),
            }
        )
    },
    obj({"type": word, "function": FUNCTION}),
)
CALLED: Final = obj({"name": name, "arguments": json_text})
CALL: Final = obj({"id": ident, "type": word, "function": CALLED, "custom": obj({"name": name}), "index": amount})
NAMED: Final = obj({"type": word, "function": obj({"name": name}), "custom": obj({"name": name}), "name": name})


def choice(value: Any, place: str, visitor: Visitor) -> Any:
    """Which tool is to be called."""
    return (word if isinstance(value, str) else CHOICE)(value, place, visitor)


CHOICE: Final = kinds(
    {
        "allowed_tools": obj(
            {
                "type": word,
                "allowed_tools": obj({"mode": word, "tools": each(NAMED)}),
                "mode": word,
                "tools": each(NAMED),
            }
        )
    },
    NAMED,
)


def content(parts: Rule, alone: Rule = text) -> Rule:
    """A text, or parts."""

    def rule(value: Any, place: str, visitor: Visitor) -> Any:
        return each(parts)(value, place, visitor) if isinstance(value, list) else alone(value, place, visitor)

    return rule


_SPOKEN: Final[dict[str, Rule]] = {
    "role": word,
    "content": content(PART),
    "name": text,
    "tool_call_id": ident,
    "tool_calls": each(CALL),
    "function_call": CALLED,
    "audio": remembered,
}
_TOOL_RESULT: Final = obj({**_SPOKEN, "content": content(PART, json_text)})
SAID: Final = kinds({"tool": _TOOL_RESULT, "function": _TOOL_RESULT}, obj(_SPOKEN), field="role")
FORMAT: Final = obj({"type": word, "json_schema": obj({"name": name, "schema": schema})})

CHAT: Final = obj(
    {
        **SETTINGS,
        "messages": each(SAID),
        "tools": each(TOOL),
        "tool_choice": choice,
        "functions": each(FUNCTION),
        "function_call": choice,
        "response_format": FORMAT,
        "modalities": each(word),
        "audio": obj({"voice": word, "format": word}),
        "prediction": obj({"type": word, "content": content(PART)}),
        "guided_json": schema,
    },
    last="messages",
)
COMPLETION: Final = obj({**SETTINGS, "prompt": tokens, "response_format": FORMAT})
EMBEDDING: Final = obj({**SETTINGS, "input": tokens})
RERANK: Final = obj({**SETTINGS, "query": text, "documents": data, "texts": data})
