"""Whatever comes, from an app or from a server: a refusal or an error in the app's dialect, never an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies.calls import Refused
from api.proxies.dialects import translation
from api.proxies.dialects.factory import MAKERS
from tests.unit.api.dialects.talk import BACKEND, CUTS, JSON, LAW, SSE, cut

REQUESTS = {
    "/v1/messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages/count_tokens": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/api/chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/api/generate": {"model": "m", "prompt": "hi"},
    "/api/embed": {"model": "m", "input": "hi"},
}
WORDS = st.sampled_from(
    [
        *(
            "choices",
            "delta",
            "message",
            "content",
            "reasoning_content",
            "tool_calls",
            "function",
            "arguments",
            "index",
        ),
        *("finish_reason", "stop_reason", "usage", "prompt_tokens", "prompt_tokens_details", "error", "code", "id"),
        *("created", "data", "embedding", "text", "refusal", "name", "matched_stop", "model", "count"),
    ]
)
ASKED = st.sampled_from(
    [
        *("model", "messages", "role", "content", "type", "text", "source", "tools", "tool_choice", "name", "input"),
        *("system", "thinking", "output_config", "format", "schema", "reasoning", "options", "images", "metadata"),
        *("tool_calls", "function", "arguments", "id", "tool_use_id", "call_id", "output", "effort", "stream", "stop"),
        *("max_tokens", "prompt", "raw", "think", "include", "instructions", "summary", "media_type", "data", "url"),
    ]
)
SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        [
            *("user", "assistant", "tool", "text", "image", "base64", "tool_use", "tool_result", "function", "message"),
            *("stop", "length", "tool_calls", "{}", "input_text", "function_call", "reasoning", "json_schema", "auto"),
        ]
    ),
)


def values(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        SIMPLE,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=5)),
        max_leaves=25,
    )


ANSWERS = st.one_of(
    values(WORDS),
    values(WORDS).map(lambda value: {"choices": [{"index": 0, "delta": value}]}),
    values(WORDS).map(lambda value: {"choices": [{"message": value, "finish_reason": "stop"}], "usage": value}),
    values(WORDS).map(lambda value: {"choices": [{"delta": {"tool_calls": [value]}}]}),
    values(WORDS).map(lambda value: {"data": value, "usage": value}),
)


@pytest.mark.parametrize("path", MAKERS)
@LAW
@given(
    said=st.lists(ANSWERS, max_size=4), stream=st.booleans(), events=st.booleans(), status=st.sampled_from([200, 404])
)
def test_a_server_that_says_anything(path: str, said: list[Any], stream: bool, events: bool, status: int) -> None:
    made = translation(path, [], json.dumps({**REQUESTS[path], "stream": stream}).encode(), BACKEND, clock=lambda: 1.0)
    if path.endswith("count_tokens"):
        return
    assert made is not None
    made.body()
    made.head(status, SSE if events else JSON)
    for value in said if events else said[:1]:
        text = json.dumps(value).encode()
        _utf8(made.feed(b"data: " + text + b"\n\n" if events else text))
    _utf8(made.end())


@pytest.mark.parametrize("path", [path for path in MAKERS if not path.endswith("count_tokens")])
@LAW
@given(data=st.binary(max_size=200), places=CUTS, stream=st.booleans(), events=st.booleans())
def test_a_server_that_sends_any_bytes(path: str, data: bytes, places: list[int], stream: bool, events: bool) -> None:
    sent = []
    for parts in ([data], cut(data, places)):
        made = translation(
            path, [], json.dumps({**REQUESTS[path], "stream": stream}).encode(), BACKEND, clock=lambda: 1.0
        )
        assert made is not None
        made.head(200, SSE if events else JSON)
        sent.append(b"".join(made.feed(part) for part in parts) + made.end())
    assert sent[0] == sent[1]
    _utf8(sent[0])


@pytest.mark.parametrize("path", MAKERS)
@LAW
@given(
    body=values(ASKED),
    more=st.dictionaries(ASKED, values(ASKED), max_size=4),
    engine=st.sampled_from(["container", "vllm"]),
)
def test_an_app_that_asks_anything(path: str, body: Any, more: dict[str, Any], engine: str) -> None:
    for asked in (body, {**REQUESTS[path], **more}):
        backend = BACKEND if engine == "container" else _vllm()
        made = translation(path, [], json.dumps(asked).encode(), backend, clock=lambda: 1.0)
        if made is None:
            continue
        try:
            said = json.loads(made.body())
        except Refused as refused:
            assert refused.status in {400, 404}
            continue
        assert said["model"] == "served"


def _vllm() -> Any:
    from dataclasses import replace

    return replace(BACKEND, engine="vllm")


def _utf8(sent: bytes) -> None:
    sent.decode()
