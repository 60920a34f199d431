"""Requests in Anthropic's dialect, field by field: passed, rewritten, dropped or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from api.proxies.calls import Refused
from api.proxies.dialects import anthropic_request, translation
from tests.unit.api.dialects.talk import BACKEND, Json, asked, start

PATH, COUNT = "/v1/messages", "/v1/messages/count_tokens"
LEAST: Json = {"model": "qwen", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
SAID: Json = {"model": "served", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def of(**more: Any) -> Json:
    return asked(PATH, {**LEAST, **more})


def refused(path: str = PATH, engine: str = "container", **more: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        asked(path, {**LEAST, **more}, engine)
    return caught.value


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {}),
        ({"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "top_p": 0.9, "top_k": 5}),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"stop_sequences": []}, {}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": False, "temperature": None}, {}),
        ({"metadata": {"user_id": "me"}}, {"user": "me"}),
        ({"min_p": 0.1, "chat_template_kwargs": {"x": 1}}, {"min_p": 0.1, "chat_template_kwargs": {"x": 1}}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {}),
        ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"output_config": {"effort": "xhigh"}}, {"reasoning_effort": "high"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "output", "strict": True, "schema": {"type": "object"}},
                }
            },
        ),
        (
            {"tools": [{**TOOL, "description": "d", "type": "custom", "cache_control": {"type": "ephemeral"}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]},
        ),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
    ],
)  # fmt: skip
def test_fields(more: Json, said: Json) -> None:
    assert of(**more) == {**SAID, **said}


def test_system() -> None:
    blocks = [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "two"}]
    for given in ("one\ntwo", blocks):
        assert of(system=given)["messages"] == [{"role": "system", "content": "one\ntwo"}, *SAID["messages"]]
    inside = [*LEAST["messages"], {"role": "system", "content": "now"}]
    assert of(messages=inside)["messages"] == inside


@pytest.mark.parametrize("name", anthropic_request.DROPPED)
def test_what_is_dropped(name: str) -> None:
    assert of(**{name: {"anything": 1}}) == SAID


def test_results_of_tools_come_first_and_their_pictures_after_them() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1]}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "is_error": True,
        "content": [{"type": "text", "text": "no"}, PICTURE],
    }
    empty = {"type": "tool_result", "tool_use_id": "t2"}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "look", "citations": None}, PICTURE]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, empty, {"type": "text", "text": "and?"}]},
    ]
    function = {"name": "f", "arguments": '{"a":[1]}'}
    assert of(messages=messages)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "look"}, URL]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: no"},
        {"role": "tool", "tool_call_id": "t2", "content": ""},
        {"role": "user", "content": [URL, {"type": "text", "text": "and?"}]},
    ]


def test_a_document_is_its_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Once upon a time"}
    block = {"type": "document", "source": source, "title": "A tale", "context": "for children"}
    said = of(messages=[{"role": "user", "content": [block]}])
    assert said["messages"] == [{"role": "user", "content": "A tale\nfor children\nOnce upon a time"}]


def one(block: Json, role: str = "user") -> Json:
    return {"messages": [{"role": role, "content": [block]}]}


@pytest.mark.parametrize(
    ("more", "reason", "field"),
    [
        *(({name: {"x": 1}}, "CannotTranslate", name) for name in anthropic_request.REFUSED),
        ({"max_tokens": None}, "InvalidRequest", "max_tokens"),
        ({"max_tokens": 0}, "InvalidRequest", "max_tokens"),
        ({"model": 5}, "InvalidRequest", "model"),
        ({"messages": []}, "InvalidRequest", "messages"),
        ({"messages": "hi"}, "InvalidRequest", "messages"),
        ({"messages": ["hi"]}, "InvalidRequest", "messages[0]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "InvalidRequest", "messages[0].role"),
        ({"messages": [{"role": "user", "content": "hi", "name": "x"}]}, "CannotTranslate", "messages[0].name"),
        ({"messages": [{"role": "user", "content": 5}]}, "InvalidRequest", "messages[0].content"),
        (one({"type": "search_result"}), "CannotTranslate", "messages[0].content[0].type"),
        (one({"type": "text", "text": "x", "odd": 1}), "CannotTranslate", "messages[0].content[0].odd"),
        (one({"type": "text"}), "InvalidRequest", "messages[0].content[0].text"),
        (
            one({"type": "image", "source": {"type": "file", "file_id": "f"}}),
            "CannotTranslate",
            "messages[0].content[0].source.type",
        ),
        (
            one({"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": ""}}),
            "InvalidRequest",
            "messages[0].content[0].source.media_type",
        ),
        (
            one({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": ""}}),
            "CannotTranslate",
            "messages[0].content[0].source.type",
        ),
        (one({"type": "redacted_thinking", "data": "x"}, "assistant"), "CannotTranslate", "messages[0].content[0].type"),
        (one({"type": "tool_use", "id": "a", "name": "f", "input": "x"}, "assistant"), "InvalidRequest", "messages[0].content[0].input"),
        ({"system": [PICTURE]}, "CannotTranslate", "system[0].type"),
        ({"system": 5}, "InvalidRequest", "system"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "CannotTranslate", "tools[0].type"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "CannotTranslate", "tools[0].defer_loading"),
        ({"tools": [{"name": "f"}]}, "InvalidRequest", "tools[0].input_schema"),
        ({"tool_choice": {"type": "perhaps"}}, "InvalidRequest", "tool_choice.type"),
        ({"thinking": {"type": "deep"}}, "InvalidRequest", "thinking.type"),
        ({"thinking": {"type": "enabled", "odd": 1}}, "CannotTranslate", "thinking.odd"),
        ({"output_config": {"effort": "some"}}, "InvalidRequest", "output_config.effort"),
        ({"output_config": {"task_budget": {"x": 1}}}, "CannotTranslate", "output_config.task_budget"),
        ({"output_format": {"type": "yaml"}}, "CannotTranslate", "output_format.type"),
        ({"stream": "yes"}, "InvalidRequest", "stream"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(more: Json, reason: str, field: str) -> None:
    found = refused(**more)
    assert (found.status, found.reason, found.field) == (400, reason, field)
    assert f"`{field}`" in found.message


def test_counting() -> None:
    body = {name: value for name, value in LEAST.items() if name != "max_tokens"}
    tools = {"tools": [TOOL], "tool_choice": {"type": "any"}, "system": "s", "thinking": {"type": "disabled"}}
    made = start(COUNT, {**body, **tools}, "vllm")
    assert made.path == "/tokenize"
    said = asked(COUNT, {**body, **tools}, "vllm")
    assert said == {
        "messages": [{"role": "system", "content": "s"}, *LEAST["messages"]],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "chat_template_kwargs": {"enable_thinking": False},
        "model": "served",
        "add_generation_prompt": True,
    }
    made.head(200, [])
    made.feed(b'{"count": 12, "max_model_len": 100, "tokens": []}')
    assert made.end() == b'{"input_tokens":12}'
    found = refused(COUNT)
    assert (found.status, found.reason) == (404, "CannotCount")
    assert "qwen" in found.message


def test_what_is_no_json() -> None:
    for body in (b"", b"nonsense", b"[]", b'{"a": NaN}', b"\xff", b"[" * 100_000):
        made = translation(PATH, [], body, BACKEND)
        assert made is not None
        with pytest.raises(Refused) as caught:
            made.body()
        assert caught.value.status == 400


def test_a_packed_body() -> None:
    made = translation(PATH, [(b"Content-Encoding", b"gzip")], b"", BACKEND)
    assert made is not None
    with pytest.raises(Refused) as caught:
        made.body()
    assert caught.value.status == 415


def test_half_a_surrogate_pair_is_passed_on() -> None:
    assert of(messages=[{"role": "user", "content": "\ud83d"}])["messages"][0]["content"] == "\ud83d"
