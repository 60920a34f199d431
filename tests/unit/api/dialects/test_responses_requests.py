"""Requests in the dialect of Responses, field by field: passed, rewritten, dropped or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from api.proxies.calls import Refused
from api.proxies.dialects import responses_request
from tests.unit.api.dialects.talk import Json, asked

PATH = "/v1/responses"
LEAST: Json = {"model": "qwen", "input": "hi"}
SAID: Json = {"model": "served", "messages": [{"role": "user", "content": "hi"}]}


def of(**more: Any) -> Json:
    return asked(PATH, {**LEAST, **more})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {}),
        ({"temperature": 0.5, "top_p": 0.9, "user": "me"}, {"temperature": 0.5, "top_p": 0.9, "user": "me"}),
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"store": False, "background": False, "truncation": "disabled", "previous_response_id": None}, {}),
        ({"include": ["reasoning.encrypted_content"], "metadata": {"a": "b"}}, {}),
        ({"min_p": 0.1}, {"min_p": 0.1}),
        ({"reasoning": {"effort": "minimal", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "none"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": True}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": True}}},
        ),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}], "tool_choice": "required"},
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": True}}],
                "tool_choice": "required",
            },
        ),
        (
            {"tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_fields(more: Json, said: Json) -> None:
    assert of(**more) == {**SAID, **said}


@pytest.mark.parametrize("name", responses_request.DROPPED)
def test_what_is_dropped(name: str) -> None:
    assert of(**{name: "anything"}) == SAID


def test_instructions_and_roles() -> None:
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "brief"}]},
        {"role": "user", "content": "hi"},
    ]
    assert of(instructions="kind", input=items)["messages"] == [
        {"role": "system", "content": "kind"},
        {"role": "system", "content": "brief"},
        {"role": "user", "content": "hi"},
    ]


def test_turns_are_put_together() -> None:
    items = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "message", "role": "assistant", "content": "but yes"},
        {"type": "reasoning", "summary": [], "encrypted_content": "unreadable"},
    ]

    def call(identity: str, name: str) -> Json:
        return {"id": identity, "type": "function", "function": {"name": name, "arguments": "{}"}}

    assert of(input=items)["messages"] == [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [call("a", "f"), call("b", "g")],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "assistant", "content": "no"},
        {"role": "assistant", "content": "but yes"},
    ]


def item(**more: Any) -> Json:
    return {"input": [more]}


def part(**more: Any) -> Json:
    return {"input": [{"role": "user", "content": [more]}]}


@pytest.mark.parametrize(
    ("more", "reason", "field"),
    [
        *(({name: "x"}, "CannotTranslate", name) for name in responses_request.REFUSED),
        ({"store": True}, "CannotTranslate", "store"),
        ({"truncation": "auto"}, "CannotTranslate", "truncation"),
        ({"include": ["message.output_text.logprobs"]}, "CannotTranslate", "include[0]"),
        ({"input": None}, "InvalidRequest", "input"),
        ({"input": []}, "InvalidRequest", "input"),
        ({"input": 5}, "InvalidRequest", "input"),
        ({"model": None}, "InvalidRequest", "model"),
        (item(type="item_reference", id="x"), "CannotTranslate", "input[0].type"),
        (item(type="web_search_call", id="x"), "CannotTranslate", "input[0].type"),
        (item(role="robot", content="x"), "InvalidRequest", "input[0].role"),
        (item(role="user", content=5), "InvalidRequest", "input[0].content"),
        (item(role="user", content="x", odd=1), "CannotTranslate", "input[0].odd"),
        (part(type="input_file", file_id="x"), "CannotTranslate", "input[0].content[0].type"),
        (part(type="input_image", file_id="x"), "CannotTranslate", "input[0].content[0].file_id"),
        (item(role="assistant", content=[{"type": "input_image"}]), "CannotTranslate", "input[0].content[0].type"),
        ({"tools": [{"type": "web_search"}]}, "CannotTranslate", "tools[0].type"),
        (
            {"tools": [{"type": "function", "name": "f", "defer_loading": True}]},
            "CannotTranslate",
            "tools[0].defer_loading",
        ),
        ({"tool_choice": {"type": "allowed_tools"}}, "CannotTranslate", "tool_choice"),
        ({"text": {"format": {"type": "grammar"}}}, "CannotTranslate", "text.format.type"),
        ({"text": {"odd": 1}}, "CannotTranslate", "text.odd"),
        ({"reasoning": {"effort": "some"}}, "InvalidRequest", "reasoning.effort"),
        ({"reasoning": {"mode": "pro"}}, "CannotTranslate", "reasoning.mode"),
    ],
)
def test_what_is_refused_is_named(more: Json, reason: str, field: str) -> None:
    with pytest.raises(Refused) as caught:
        of(**more)
    found = caught.value
    assert (found.status, found.reason, found.field) == (400, reason, field)
    assert f"`{field}`" in found.message
