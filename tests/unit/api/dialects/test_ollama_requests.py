"""Requests in Ollama's dialect, field by field: passed, rewritten, dropped or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from api.proxies.calls import Refused
from api.proxies.dialects import ollama_request, streams
from tests.unit.api.dialects.talk import Json, asked

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"
LEAST: Json = {"model": "qwen", "stream": False, "messages": [{"role": "user", "content": "hi"}]}
PROMPT: Json = {"model": "qwen", "stream": False, "prompt": "hi"}
SAID: Json = {"model": "served", "messages": [{"role": "user", "content": "hi"}]}


def of(engine: str = "container", **more: Any) -> Json:
    return asked(CHAT, {**LEAST, **more}, engine)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, {}),
        ({"stream": None}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        (
            {"options": {"temperature": 0.5, "seed": 1, "stop": ["x"], "num_predict": 9, "repeat_penalty": 1.1}},
            {"temperature": 0.5, "seed": 1, "stop": ["x"], "max_tokens": 9, "repetition_penalty": 1.1},
        ),
        ({"options": {"num_predict": -1}}, {}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"format": ""}, {}),
        (
            {"format": {"type": "object"}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "format", "strict": True, "schema": {"type": "object"}},
                }
            },
        ),
        ({"think": True}, {}),
        ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"think": "high"}, {"reasoning_effort": "high"}),
        ({"logprobs": False, "min_p": 0.1}, {"min_p": 0.1}),
    ],
)
def test_fields(more: Json, said: Json) -> None:
    assert of(**more) == {**SAID, **said}


@pytest.mark.parametrize("name", ollama_request.DROPPED)
def test_what_is_dropped(name: str) -> None:
    assert of(**{name: "5m"}) == SAID


@pytest.mark.parametrize("name", ollama_request.LAUNCH_OPTIONS)
def test_options_of_a_launch_are_dropped(name: str) -> None:
    assert of(options={name: 4096}) == SAID


@pytest.mark.parametrize(("name", "theirs"), ollama_request.OPTIONS.items())
def test_options(name: str, theirs: str) -> None:
    assert of(options={name: 1}) == {**SAID, theirs: 1}


@pytest.mark.parametrize(("name", "theirs"), ollama_request.LLAMACPP_OPTIONS.items())
def test_options_of_llamacpp(name: str, theirs: str) -> None:
    assert of("llamacpp", options={name: 1}) == {**SAID, theirs: 1}
    if name not in ollama_request.OPTIONS:
        with pytest.raises(Refused) as caught:
            of("vllm", options={name: 1})
        assert caught.value.field == f"options.{name}"


def test_generate() -> None:
    more = {"system": "brief", "images": ["iVBORw0KGgo="], "options": {"temperature": 0}}
    assert asked(GENERATE, {**PROMPT, **more}) == {
        "model": "served",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "hi"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                ],
            },
        ],
    }


@pytest.mark.parametrize(("begins", "kind"), [("/9j/4AAQ", "jpeg"), ("R0lGODlh", "gif"), ("UklGRiQA", "webp")])
def test_pictures_tell_their_kind(begins: str, kind: str) -> None:
    said = of(messages=[{"role": "user", "content": "", "images": [begins]}])
    assert said["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{begins}"}}
    ]


def test_results_of_tools_find_their_calls() -> None:
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g", "f")]
    messages = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "second", "tool_name": "g"},
        {"role": "tool", "content": "first"},
        {"role": "tool", "content": "third", "tool_call_id": "call_0_2"},
    ]
    said = of(messages=messages)["messages"]
    assert [message.get("tool_call_id") for message in said[1:]] == ["call_0_1", "call_0_0", "call_0_2"]


def message(**more: Any) -> Json:
    return {"messages": [{"role": "user", "content": "hi", **more}]}


@pytest.mark.parametrize(
    ("path", "more", "reason", "field"),
    [
        (CHAT, {"messages": []}, "CannotTranslate", "messages"),
        (CHAT, {"messages": None}, "CannotTranslate", "messages"),
        (CHAT, message(role="robot"), "InvalidRequest", "messages[0].role"),
        (CHAT, message(role="tool"), "InvalidRequest", "messages[0]"),
        (CHAT, message(odd=1), "CannotTranslate", "messages[0].odd"),
        (CHAT, message(images=["?"]), "InvalidRequest", "messages[0].images[0]"),
        (CHAT, message(images=[5]), "InvalidRequest", "messages[0].images[0]"),
        (CHAT, message(role="assistant", tool_calls=[{"function": {"name": "f", "arguments": "{}"}}]), "InvalidRequest", "messages[0].tool_calls[0].function.arguments"),
        (CHAT, {"logprobs": True}, "CannotTranslate", "logprobs"),
        (CHAT, {"format": "yaml"}, "InvalidRequest", "format"),
        (CHAT, {"think": "deeply"}, "InvalidRequest", "think"),
        (CHAT, {"options": {"odd": 1}}, "CannotTranslate", "options.odd"),
        (CHAT, {"options": {"num_predict": -2}}, "CannotTranslate", "options.num_predict"),
        (CHAT, {"options": {"mirostat": 1}}, "CannotTranslate", "options.mirostat"),
        (GENERATE, {"prompt": ""}, "CannotTranslate", "prompt"),
        (GENERATE, {"suffix": "x"}, "CannotTranslate", "suffix"),
        (GENERATE, {"template": "x"}, "CannotTranslate", "template"),
        (GENERATE, {"context": [1]}, "CannotTranslate", "context"),
        (GENERATE, {"width": 9}, "CannotTranslate", "width"),
        (GENERATE, {"raw": True, "system": "x"}, "CannotTranslate", "system"),
        (EMBED, {"truncate": False, "input": "x"}, "CannotTranslate", "truncate"),
        (EMBED, {}, "InvalidRequest", "input"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(path: str, more: Json, reason: str, field: str) -> None:
    least = {CHAT: LEAST, GENERATE: PROMPT, EMBED: {"model": "bge"}}[path]
    with pytest.raises(Refused) as caught:
        asked(path, {**least, **more})
    found = caught.value
    assert (found.status, found.reason, found.field) == (400, reason, field)


def test_ollama_streams_where_nothing_is_said() -> None:
    assert streams(CHAT, None)
    assert not streams(CHAT, False)
    assert not streams("/v1/chat/completions", None)
    assert not streams(EMBED, None)
