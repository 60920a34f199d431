"""Answers in the dialect of Responses: the events build up what comes whole, and are what the SDK's types say."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from openai.types import responses as types
from openai.types.responses import Response

from tests.unit.api.dialects.talk import (
    CUTS,
    LAW,
    SIZES,
    SSE,
    Json,
    Said,
    answers,
    chunk,
    cut,
    events,
    start,
    strictly,
    through,
)

PATH = "/v1/responses"
ASKED = {"model": "qwen", "input": "hi"}
STREAM = {**ASKED, "stream": True}
TYPES = {
    "response.created": types.ResponseCreatedEvent,
    "response.in_progress": types.ResponseInProgressEvent,
    "response.output_item.added": types.ResponseOutputItemAddedEvent,
    "response.content_part.added": types.ResponseContentPartAddedEvent,
    "response.output_text.delta": types.ResponseTextDeltaEvent,
    "response.output_text.done": types.ResponseTextDoneEvent,
    "response.refusal.delta": types.ResponseRefusalDeltaEvent,
    "response.refusal.done": types.ResponseRefusalDoneEvent,
    "response.reasoning_text.delta": types.ResponseReasoningTextDeltaEvent,
    "response.reasoning_text.done": types.ResponseReasoningTextDoneEvent,
    "response.function_call_arguments.delta": types.ResponseFunctionCallArgumentsDeltaEvent,
    "response.function_call_arguments.done": types.ResponseFunctionCallArgumentsDoneEvent,
    "response.content_part.done": types.ResponseContentPartDoneEvent,
    "response.output_item.done": types.ResponseOutputItemDoneEvent,
    "response.completed": types.ResponseCompletedEvent,
    "response.incomplete": types.ResponseIncompleteEvent,
    "response.failed": types.ResponseFailedEvent,
}


def assembled(found: list[Json]) -> list[Json]:
    """The items out of the events alone, without those that repeat what was said."""
    items: list[Json] = []
    for event in found:
        match event["type"]:
            case "response.output_item.added":
                assert event["output_index"] == len(items)
                items.append(event["item"])
            case "response.content_part.added":
                items[-1]["content"].append(event["part"])
            case "response.function_call_arguments.delta":
                items[-1]["arguments"] += event["delta"]
            case "response.output_text.delta" | "response.reasoning_text.delta":
                items[-1]["content"][event["content_index"]]["text"] += event["delta"]
            case "response.refusal.delta":
                items[-1]["content"][event["content_index"]]["refusal"] += event["delta"]
            case "response.output_item.done":
                items[-1]["status"] = event["item"]["status"]
                assert items[-1] == event["item"]
    return items


@LAW
@given(answers(), SIZES, CUTS)
def test_streamed_and_whole_say_the_same(said: Said, sizes: list[int], places: list[int]) -> None:
    stream = said.stream(sizes)
    sent = through(PATH, STREAM, [stream])
    assert through(PATH, STREAM, cut(stream, places)) == sent
    found = events(sent)
    whole = json.loads(through(PATH, ASKED, cut(said.whole(), places)))
    assert found[-1]["response"] == whole
    assert assembled(found) == whole["output"]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    ends = [event["type"] for event in found if event["type"].startswith(("response.completed", "response.incomplete"))]
    assert ends == ["response.incomplete" if said.finish == "length" else "response.completed"]


@LAW
@given(answers(), SIZES)
def test_it_is_what_the_sdks_types_say(said: Said, sizes: list[int]) -> None:
    response = strictly(Response, json.loads(through(PATH, ASKED, [said.whole()])))
    assert response.output_text == said.text
    calls = [
        (item.call_id, item.name, json.loads(item.arguments))
        for item in response.output
        if item.type == "function_call"
    ]
    assert calls == list(said.calls)
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.content or []]
    assert "".join(thoughts) == said.thoughts
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == said.usage[:2]
    assert response.usage.input_tokens_details.cached_tokens == said.usage[2]
    for event in events(through(PATH, STREAM, [said.stream(sizes)])):
        strictly(TYPES[event["type"]], event)


def test_the_answer_repeats_the_request() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}
    asked = {
        **ASKED,
        "instructions": "be brief",
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "f"},
        "text": text,
        "temperature": 0.5,
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low"},
        "parallel_tool_calls": False,
    }
    said = Said("", "{}", (), "stop", (1, 1, 0))
    response = strictly(Response, json.loads(through(PATH, asked, [said.whole()])))
    assert (response.instructions, response.temperature, response.max_output_tokens) == ("be brief", 0.5, 9)
    assert (response.metadata, response.parallel_tool_calls, response.model) == ({"a": "b"}, False, "qwen")
    assert response.tools[0].type == "function"
    assert response.reasoning is not None
    assert response.reasoning.effort == "low"
    assert response.created_at == 1_700_000_000


FIRST = chunk([{"index": 0, "delta": {"content": "Hel"}}])


def test_a_refusal() -> None:
    parts = [chunk([{"index": 0, "delta": {"refusal": word}}]) for word in ("I can", "not.")]
    stream = (
        b"".join(parts) + chunk([{"index": 0, "delta": {}, "finish_reason": "content_filter"}]) + b"data: [DONE]\n\n"
    )
    found = events(through(PATH, STREAM, [stream]))
    response = strictly(Response, found[-1]["response"])
    assert response.status == "incomplete"
    assert found[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    assert assembled(found) == found[-1]["response"]["output"]
    for event in found:
        strictly(TYPES[event["type"]], event)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"", "StreamCut"),
        (b'data: {"error": {"message": "out of memory"}}\n\n' + FIRST, "BackendError"),
        (b"data: nonsense\n\n" + FIRST, "BackendGarbled"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(rest: bytes, code: str) -> None:
    found = events(through(PATH, STREAM, [FIRST + rest]))
    assert found[-1]["type"] == "response.failed"
    response = strictly(Response, found[-1]["response"])
    assert response.status == "failed"
    assert response.error is not None
    assert response.error.message.startswith(f"{code}: ")
    assert found[-1]["response"]["output"][0]["status"] == "incomplete"


def test_a_connection_that_breaks() -> None:
    made = start(PATH, STREAM)
    made.head(200, SSE)
    made.feed(FIRST)
    found = events(made.broken("BackendLost", "the connection broke"))
    assert found[-1]["response"]["error"] == {"code": "server_error", "message": "BackendLost: the connection broke"}
    assert made.end() == b""
