"""Answers in Ollama's dialect: lines and the whole say the same, and are what the client's types say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from ollama import ChatResponse, EmbedResponse, GenerateResponse

from tests.unit.api.dialects.talk import (
    BACKEND,
    CUTS,
    JSON,
    LAW,
    SIZES,
    SSE,
    Json,
    Said,
    answers,
    chunk,
    cut,
    start,
    through,
)

CHAT, GENERATE, EMBED = "/api/chat", "/api/generate", "/api/embed"
ASKED = {"model": "qwen", "messages": [{"role": "user", "content": "hi"}]}
PROMPT = {"model": "qwen", "prompt": "hi"}


def lines(path: str, body: Json, parts: list[bytes]) -> list[Json]:
    sent = through(path, body, parts, fields=SSE)
    assert sent.endswith(b"\n")
    return [json.loads(line) for line in sent.splitlines()]


def whole(path: str, body: Json, said: bytes) -> Json:
    return dict(json.loads(through(path, {**body, "stream": False}, [said], fields=JSON)))


def assembled(found: list[Json]) -> Json:
    """A chat's answer out of its lines."""
    assert [line["done"] for line in found] == [False] * (len(found) - 1) + [True]
    message: Json = {"role": "assistant", "content": ""}
    for line in found:
        for name in ("content", "thinking"):
            if line["message"].get(name):
                message[name] = message.get(name, "") + line["message"][name]
        if calls := line["message"].get("tool_calls"):
            message.setdefault("tool_calls", []).extend(calls)
    return {**found[-1], "message": message}


@LAW
@given(answers(), SIZES, CUTS)
def test_streamed_and_whole_say_the_same(said: Said, sizes: list[int], places: list[int]) -> None:
    stream = said.stream(sizes)
    found = lines(CHAT, ASKED, [stream])
    assert lines(CHAT, ASKED, cut(stream, places)) == found
    assert assembled(found) == whole(CHAT, ASKED, said.whole())


@LAW
@given(answers(), SIZES)
def test_it_is_what_the_clients_types_say(said: Said, sizes: list[int]) -> None:
    found = ChatResponse.model_validate_json(json.dumps(whole(CHAT, ASKED, said.whole())), strict=True)
    assert found.message.content == said.text
    assert (found.message.thinking or "") == said.thoughts
    calls = found.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [call[1:] for call in said.calls]
    assert (found.prompt_eval_count, found.eval_count) == said.usage[:2]
    assert found.done_reason == ("length" if said.finish == "length" else "stop")
    for line in lines(CHAT, ASKED, [said.stream(sizes)]):
        ChatResponse.model_validate_json(json.dumps(line), strict=True)


@LAW
@given(answers(), SIZES)
def test_generate(said: Said, sizes: list[int]) -> None:
    found = GenerateResponse.model_validate_json(json.dumps(whole(GENERATE, PROMPT, said.whole())), strict=True)
    assert found.response == said.text
    streamed = [
        GenerateResponse.model_validate_json(json.dumps(line), strict=True)
        for line in lines(GENERATE, PROMPT, [said.stream(sizes)])
    ]
    assert "".join(line.response or "" for line in streamed) == said.text
    assert "".join(line.thinking or "" for line in streamed) == said.thoughts
    assert streamed[-1].done


def test_the_bare_text() -> None:
    made = start(GENERATE, {**PROMPT, "raw": True})
    assert made.path == "/v1/completions"
    assert json.loads(made.body()) == {
        "prompt": "hi",
        "stream": True,
        "stream_options": {"include_usage": True},
        "model": "served",
    }
    made.head(200, SSE)
    said = made.feed(chunk([{"index": 0, "text": "Hel", "finish_reason": None}]))
    assert json.loads(said)["response"] == "Hel"
    made.feed(chunk([{"index": 0, "text": "lo", "finish_reason": "stop"}]))
    assert json.loads(made.end())["done"]


def test_the_times() -> None:
    from api.proxies.dialects import translation

    now = [10.0]
    made = translation(CHAT, [], json.dumps(ASKED).encode(), BACKEND, clock=lambda: now[0])
    assert made is not None
    made.head(200, SSE)
    now[0] = 12.0
    made.feed(chunk([{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]))
    now[0] = 15.0
    last = json.loads(made.feed(b"data: [DONE]\n\n"))
    assert last["created_at"] == "2023-11-14T22:13:20Z"
    assert (last["total_duration"], last["prompt_eval_duration"], last["eval_duration"]) == (
        5 * 10**9,
        2 * 10**9,
        3 * 10**9,
    )


FIRST = chunk([{"index": 0, "delta": {"content": "Hel"}}])


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b"", "StreamCut"),
        (b'data: {"error": {"message": "out of memory"}}\n\n' + FIRST, "BackendError"),
        (b"data: nonsense\n\n" + FIRST, "BackendGarbled"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(rest: bytes, code: str) -> None:
    found = lines(CHAT, ASKED, [FIRST + rest])
    assert found[0]["message"]["content"] == "Hel"
    assert len(found) == 2
    assert found[1]["code"] == code


def test_comments_have_no_place_in_lines() -> None:
    made = start(CHAT, ASKED)
    assert made.head(200, SSE)[1][-1] == (b"content-type", b"application/x-ndjson")
    assert made.feed(b": waiting\n\n") == b""


def test_a_call_that_is_no_object_is_an_error() -> None:
    delta = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}
    begun = chunk([{"index": 0, "delta": delta}])
    for end, code in (("tool_calls", "BadToolArguments"), ("length", None)):
        found = lines(
            CHAT, ASKED, [begun + chunk([{"index": 0, "delta": {}, "finish_reason": end}]) + b"data: [DONE]\n\n"]
        )
        assert [line.get("code") for line in found] == [code]
    found = lines(CHAT, ASKED, [begun + b"data: [DONE]\n\n"])
    assert found[-1]["code"] == "BadToolArguments"


def test_vectors() -> None:
    made = start(EMBED, {"model": "bge", "input": ["a", "b"], "dimensions": 2, "options": {"num_ctx": 512}})
    assert made.path == "/v1/embeddings"
    assert json.loads(made.body()) == {
        "input": ["a", "b"],
        "encoding_format": "float",
        "dimensions": 2,
        "model": "served",
    }
    made.head(200, JSON)
    data: list[Any] = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
    made.feed(json.dumps({"data": data, "usage": {"prompt_tokens": 2}}).encode())
    found = EmbedResponse.model_validate_json(made.end(), strict=True)
    assert found.embeddings == [[1.0, 0.0], [0.0, 1.0]]
    assert (found.model, found.prompt_eval_count) == ("bge", 2)
    made = start(EMBED, {"model": "bge", "input": "a"})
    made.head(200, JSON)
    made.feed(b"{}")
    assert json.loads(made.end())["code"] == "BackendGarbled"
