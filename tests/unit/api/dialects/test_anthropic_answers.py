"""Answers in Anthropic's dialect: streamed and whole say the same, and are what the SDK's types say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import (
    Message,
    RawContentBlockDeltaEvent,
    RawContentBlockStartEvent,
    RawContentBlockStopEvent,
    RawMessageDeltaEvent,
    RawMessageStartEvent,
    RawMessageStopEvent,
)
from hypothesis import given

from tests.unit.api.dialects.talk import CUTS, LAW, SIZES, Json, Said, answers, chunk, cut, events, strictly, through

PATH = "/v1/messages"
ASKED = {
    "model": "qwen",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hi"}],
    "thinking": {"type": "adaptive"},
}
TYPES = {
    "message_start": RawMessageStartEvent,
    "content_block_start": RawContentBlockStartEvent,
    "content_block_delta": RawContentBlockDeltaEvent,
    "content_block_stop": RawContentBlockStopEvent,
    "message_delta": RawMessageDeltaEvent,
    "message_stop": RawMessageStopEvent,
}
FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def assembled(found: list[Json]) -> Json:
    """A message out of its events, which must come in the order that the dialect wants."""
    assert found[0]["type"] == "message_start"
    assert [event["type"] for event in found[-2:]] == ["message_delta", "message_stop"]
    message: Json = found[0]["message"]
    arguments: dict[int, str] = {}
    is_open = False
    for event in found[1:-2]:
        blocks = message["content"]
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks)
                blocks.append(event["content_block"])
                is_open = True
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(blocks) - 1
                delta = event["delta"]
                if delta["type"] == "input_json_delta":
                    arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
                else:
                    blocks[-1][FIELDS[delta["type"]]] += delta[FIELDS[delta["type"]]]
            case "content_block_stop":
                assert is_open
                is_open = False
    assert not is_open
    for index, text in arguments.items():
        message["content"][index]["input"] = json.loads(text)
    return {**message, **found[-2]["delta"], "usage": found[-2]["usage"]}


def streamed(parts: list[bytes], **more: Any) -> list[Json]:
    return events(through(PATH, {**ASKED, "stream": True, **more}, parts))


@LAW
@given(answers(), SIZES, CUTS)
def test_streamed_and_whole_say_the_same(said: Said, sizes: list[int], places: list[int]) -> None:
    whole = json.loads(through(PATH, ASKED, cut(said.whole(), places)))
    stream = said.stream(sizes)
    sent = through(PATH, {**ASKED, "stream": True}, [stream])
    assert through(PATH, {**ASKED, "stream": True}, cut(stream, places)) == sent
    assert assembled(events(sent)) == whole


@LAW
@given(answers(), SIZES)
def test_it_is_what_the_sdks_types_say(said: Said, sizes: list[int]) -> None:
    message = strictly(Message, json.loads(through(PATH, ASKED, [said.whole()])))
    assert "".join(block.text for block in message.content if block.type == "text") == said.text
    assert "".join(block.thinking for block in message.content if block.type == "thinking") == said.thoughts
    calls = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
    assert calls == list(said.calls)
    prompt, completion, cached = said.usage
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) == prompt
    assert message.usage.cache_read_input_tokens == cached
    assert message.usage.output_tokens == completion
    for event in streamed([said.stream(sizes)]):
        strictly(TYPES[event["type"]], event)


@LAW
@given(answers(), SIZES)
def test_a_missing_last_word_changes_nothing(said: Said, sizes: list[int]) -> None:
    assert streamed([said.stream(sizes, done=False)]) == streamed([said.stream(sizes)])


@LAW
@given(answers(), SIZES)
def test_what_came_whole_is_streamed_and_what_was_streamed_is_put_together(said: Said, sizes: list[int]) -> None:
    whole = json.loads(through(PATH, ASKED, [said.whole()]))
    as_stream = through(
        PATH, {**ASKED, "stream": True}, [said.whole()], fields=[(b"content-type", b"application/json")]
    )
    assert assembled(events(as_stream)) == whole
    as_whole = through(PATH, ASKED, [said.stream(sizes)], fields=[(b"content-type", b"text/event-stream")])
    assert json.loads(as_whole) == whole


SAID = Said("hm", "Hello", (), "stop", (3, 2, 0))


def test_each_word_goes_out_with_the_bytes_that_complete_it() -> None:
    from tests.unit.api.dialects.talk import SSE, start

    made = start(PATH, {**ASKED, "stream": True})
    assert made.head(200, SSE) == (
        200,
        [(b"x-request-id", b"7"), (b"content-type", b"text/event-stream; charset=utf-8")],
    )
    first = chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}}])
    assert [event["type"] for event in events(made.feed(first))] == ["message_start"]
    word = chunk([{"index": 0, "delta": {"content": "Hel"}}])
    assert made.feed(word[:-1]) == b""
    assert [event["type"] for event in events(made.feed(word[-1:]))] == ["content_block_start", "content_block_delta"]
    assert made.feed(b": still there\n") == b": still there\n\n"


def test_thoughts_that_nobody_asked_for_are_pings() -> None:
    quiet = {"thinking": None}
    found = streamed([SAID.stream([1])], **quiet)
    assert [event["type"] for event in found].count("ping") == 2
    assert assembled([event for event in found if event["type"] != "ping"])["content"] == [
        {"type": "text", "text": "Hello"}
    ]
    whole = json.loads(through(PATH, {**ASKED, **quiet}, [SAID.whole()]))
    assert [block["type"] for block in whole["content"]] == ["text"]


@pytest.mark.parametrize(
    ("finish", "stop", "calls", "reason", "sequence"),
    [
        ("stop", None, False, "end_turn", None),
        ("stop", "END", False, "stop_sequence", "END"),
        ("stop", 151645, False, "end_turn", None),
        ("stop", None, True, "tool_use", None),
        ("length", None, False, "max_tokens", None),
        ("content_filter", None, False, "refusal", None),
        ("eos_token", None, False, "end_turn", None),
    ],
)
def test_why_it_stopped(finish: str, stop: object, calls: bool, reason: str, sequence: str | None) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": "x", "tool_calls": [call] if calls else []}
    said = {"id": "chatcmpl-1", "choices": [{"message": message, "finish_reason": finish, "stop_reason": stop}]}
    found = json.loads(through(PATH, ASKED, [json.dumps(said).encode()]))
    assert (found["stop_reason"], found["stop_sequence"]) == (reason, sequence)


def test_half_a_call_is_none_and_a_wrong_one_is_an_error() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": '}}
    choice = {"message": {"content": "x", "tool_calls": [call]}, "finish_reason": "length"}
    found = json.loads(through(PATH, ASKED, [json.dumps({"choices": [choice]}).encode()]))
    assert [block["type"] for block in found["content"]] == ["text"]
    choice["finish_reason"] = "tool_calls"
    found = json.loads(through(PATH, ASKED, [json.dumps({"choices": [choice]}).encode()]))
    assert found["type"] == "error"
    assert found["error"]["code"] == "BadToolArguments"


FIRST = chunk([{"index": 0, "delta": {"content": "Hel"}}])


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"", "StreamCut"),
        (b'data: {"error": {"message": "out of memory", "code": 500}}\n\n' + FIRST, "BackendError"),
        (b"data: nonsense\n\n" + FIRST, "BackendGarbled"),
        (b"data: [1]\n\n" + FIRST, "BackendError"),
        (chunk([{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}}])
         + chunk([{"index": 0, "delta": {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "f"}}]}}])
         + chunk([{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]),
         "BackendGarbled"),
    ],
)  # fmt: skip
def test_a_stream_that_breaks_ends_with_an_error(rest: bytes, code: str) -> None:
    found = streamed([FIRST + rest])
    assert [event["type"] for event in found[:3]] == ["message_start", "content_block_start", "content_block_delta"]
    assert [event["type"] for event in found].count("error") == 1
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["code"] == code
    answer = json.loads(through(PATH, ASKED, [FIRST + rest], fields=[(b"content-type", b"text/event-stream")]))
    assert answer["error"]["code"] == code


def test_a_connection_that_breaks() -> None:
    from tests.unit.api.dialects.talk import JSON, SSE, start

    made = start(PATH, {**ASKED, "stream": True})
    made.head(200, SSE)
    made.feed(FIRST)
    [event] = events(made.broken("BackendLost", "the connection broke"))
    assert event["error"] == {"type": "api_error", "message": "the connection broke", "code": "BackendLost"}
    assert made.broken("BackendLost", "again") == b""
    over = start(PATH, {**ASKED, "stream": True})
    over.head(200, SSE)
    over.feed(SAID.stream([]))
    assert over.broken("BackendLost", "too late") == b""
    whole = start(PATH, ASKED)
    whole.head(200, JSON)
    whole.feed(b'{"id"')
    assert whole.broken("BackendLost", "nothing went out") == b""


@pytest.mark.parametrize("stream", [True, False])
def test_a_backends_refusal(stream: bool) -> None:
    body = b'{"error": {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}}'
    from tests.unit.api.dialects.talk import JSON, start

    made = start(PATH, {**ASKED, "stream": stream})
    assert made.head(400, [*JSON, (b"retry-after", b"3")]) == (
        400,
        [(b"retry-after", b"3"), (b"content-type", b"application/json")],
    )
    assert made.feed(body) == b""
    assert json.loads(made.end()) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "too long",
            "code": "BackendError",
            "param": "messages",
        },
    }
    assert made.status == 400


def test_a_whole_answer_that_is_none_has_another_status() -> None:
    from tests.unit.api.dialects.talk import JSON, start

    for said in (b"nonsense", b"{}", b'{"error": "boom"}'):
        made = start(PATH, ASKED)
        made.head(200, JSON)
        made.feed(said)
        assert json.loads(made.end())["type"] == "error"
        assert made.status >= 500


def test_a_packed_answer_is_unpacked() -> None:
    import gzip

    from tests.unit.api.dialects.talk import SSE

    fields = [*SSE, (b"content-encoding", b"gzip")]
    packed = gzip.compress(SAID.stream([2]))
    sent = through(PATH, {**ASKED, "stream": True}, cut(packed, list(range(0, 900, 7))), fields=fields)
    assert events(sent) == streamed([SAID.stream([2])])
    found = events(through(PATH, {**ASKED, "stream": True}, [b"no gzip"], fields=fields))
    assert found[-1]["error"]["code"] == "BackendGarbled"
