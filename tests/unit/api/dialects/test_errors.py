"""Errors in the caller's dialect: the shapes that the SDKs read, and what backends say put into them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.proxies.calls import Refused
from api.proxies.dialects import errors
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.names import Dialect, dialect_of
from api.proxies.dialects.sse import Event, Framer

BUSY = Refused(429, "QueueFull", "16 calls wait for qwen already", field="model", allowed=["a", "b"], retry_after=0.2)
SAID = "16 calls wait for qwen already (allowed: a, b)"


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", Dialect.OPENAI),
        ("/v1/models", Dialect.OPENAI),
        ("/v1/responses", Dialect.RESPONSES),
        ("/v1/responses/resp_1/cancel", Dialect.RESPONSES),
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/v1/messages/count_tokens", Dialect.ANTHROPIC),
        ("/v1/messagesque", Dialect.OPENAI),
        ("/api/chat", Dialect.OLLAMA),
    ],
)
def test_a_path_has_a_dialect(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) is dialect


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            Dialect.OPENAI,
            {"error": {"message": SAID, "type": "rate_limit_error", "param": "model", "code": "QueueFull"}},
        ),
        (
            Dialect.ANTHROPIC,
            {
                "type": "error",
                "error": {"type": "rate_limit_error", "message": SAID, "code": "QueueFull", "param": "model"},
            },
        ),
        (Dialect.OLLAMA, {"error": SAID, "code": "QueueFull"}),
    ],
)
def test_a_refusal(dialect: Dialect, body: dict[str, Any]) -> None:
    status, fields, sent = errors.answer(dialect, BUSY)
    assert status == 429
    assert json.loads(sent) == body
    assert dict(fields) == {
        b"content-type": b"application/json",
        b"content-length": str(len(sent)).encode(),
        b"retry-after": b"1",
    }


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "authentication_error", "authentication_error"),
        (403, "permission_error", "permission_error"),
        (404, "not_found_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (429, "rate_limit_error", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (503, "server_error", "api_error"),
        (504, "server_error", "timeout_error"),
    ],
)
def test_the_words_for_a_status(status: int, openai: str, anthropic: str) -> None:
    assert errors.kind(Dialect.OPENAI, status) == openai
    assert errors.kind(Dialect.RESPONSES, status) == openai
    assert errors.kind(Dialect.ANTHROPIC, status) == anthropic


def test_the_last_event_of_a_broken_stream() -> None:
    trouble = Trouble(status=502, code="BackendLost", message="the connection\nbroke")
    [openai] = Framer().feed(errors.event(Dialect.OPENAI, trouble))
    assert isinstance(openai, Event)
    assert json.loads(openai.data)["error"]["code"] == "BackendLost"
    [anthropic] = Framer().feed(errors.event(Dialect.ANTHROPIC, trouble))
    assert isinstance(anthropic, Event)
    assert anthropic.name == "error"
    assert json.loads(anthropic.data)["error"]["type"] == "api_error"
    [responses] = Framer().feed(errors.event(Dialect.RESPONSES, trouble, sequence=7))
    assert isinstance(responses, Event)
    assert json.loads(responses.data) == {
        "type": "error",
        "code": "BackendLost",
        "message": "the connection\nbroke",
        "param": None,
        "sequence_number": 7,
    }
    line = errors.event(Dialect.OLLAMA, trouble)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]


@pytest.mark.parametrize(
    ("body", "code", "message", "param"),
    [
        (b'{"error":{"message":"no","type":"x","param":"top_p","code":"bad"}}', "bad", "no", "top_p"),
        (b'{"error":{"message":"no","code":404}}', "BackendError", "no", None),
        (b'{"object":"error","message":"too long","code":400}', "BackendError", "too long", None),
        (b'{"detail":"Not Found"}', "BackendError", "Not Found", None),
        (b'{"detail":[{"loc":["body"],"msg":"no"}]}', "BackendError", '[{"loc":["body"],"msg":"no"}]', None),
        (b'{"error":"model failed"}', "BackendError", "model failed", None),
        (b"upstream\n", "BackendError", "upstream", None),
        (b"", "BackendError", "the model's server answered with status 418 and said nothing", None),
        (b"\xff", "BackendError", "�", None),
        (b"[1]", "BackendError", "[1]", None),
    ],
)
def test_what_a_backend_says(body: bytes, code: str, message: str, param: str | None) -> None:
    assert errors.heard(418, body) == Trouble(status=418, code=code, message=message, param=param)


def test_a_whole_page_is_shortened() -> None:
    assert len(errors.heard(500, b"x" * 100_000).message) < 4100


def test_an_error_inside_a_success_has_its_own_status() -> None:
    assert errors.heard_object(200, {"error": {"message": "full", "code": 429}}).status == 429
    assert errors.heard_object(200, {"error": {"message": "full", "code": 200}}).status == 500
    assert errors.heard_object(200, {"error": "boom"}).status == 500
