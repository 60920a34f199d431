"""Which servers are asked as they are, and what is learned when one has no such page."""

from __future__ import annotations

from typing import Any

import pytest

from api.proxies.calls import Backend
from api.proxies.dialects import Learned, native, translation
from api.proxies.dialects.names import CHAT, COMPLETIONS, COUNT_TOKENS, MESSAGES, OLLAMA_CHAT, RESPONSES

BODY = b'{"model": "qwen", "max_tokens": 9, "input": "hi", "messages": [{"role": "user", "content": "hi"}]}'


def backend(engine: str, port: int = 8000) -> Backend:
    return Backend(workload="qwen", spark="spark-1", host="10.0.0.1", port=port, model="served", engine=engine)


@pytest.mark.parametrize(
    ("engine", "passed"),
    [
        ("vllm", {MESSAGES, RESPONSES}),
        ("llamacpp", {MESSAGES, COUNT_TOKENS}),
        ("sglang", {MESSAGES, COUNT_TOKENS}),
        ("trtllm", set()),
        ("nim", {MESSAGES, COUNT_TOKENS}),
        ("container", set()),
    ],
)
def test_what_is_passed_on(engine: str, passed: set[str]) -> None:
    for path in (MESSAGES, COUNT_TOKENS, RESPONSES, OLLAMA_CHAT):
        assert (translation(path, [], BODY, backend(engine)) is None) == (path in passed)
    for path in (CHAT, COMPLETIONS, "/v1/embeddings", "/v1/rerank", "/v1/audio/speech", "/api/tags"):
        assert translation(path, [], BODY, backend(engine)) is None


def test_each_entry_has_a_source() -> None:
    assert {(engine, path) for engine, paths in native.NATIVE.items() for path in paths} == set(native.SOURCES)


@pytest.mark.parametrize(
    ("status", "body", "missing"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', True),
        (404, b'{"error":{"message":"no page /v1/messages here"}}', True),
        (405, b'{"detail":"Method Not Allowed"}', True),
        (404, b"", True),
        (404, b"<html>404 page not found</html>", True),
        (404, b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError"}}', False),
        (404, b'{"type":"error","error":{"type":"not_found_error","message":"The model `x` does not exist."}}', False),
        (404, b"no such model", False),
        (404, b"[1]", False),
        (400, b'{"detail":"Not Found"}', False),
        (200, b"{}", False),
    ],
)
def test_a_page_that_is_missing(status: int, body: bytes, missing: bool) -> None:
    assert native.no_such_page(MESSAGES, status, body) == missing


def test_what_is_learned() -> None:
    learned = Learned()

    def made(port: int, path: str = MESSAGES) -> Any:
        return translation(path, [], BODY, backend("vllm", port), spoken=learned)

    assert made(1) is None
    assert not learned.lacks(backend("vllm", 1), MESSAGES, 404, b"no such model")
    assert made(1) is None
    assert learned.lacks(backend("vllm", 1), MESSAGES, 404, b'{"detail":"Not Found"}')
    assert made(1) is not None
    assert made(1, RESPONSES) is None
    assert made(2) is None
    assert not learned.lacks(backend("vllm", 2), CHAT, 404, b'{"detail":"Not Found"}')
    for port in range(10, 10 + native.REMEMBERED):
        learned.lacks(backend("vllm", port), MESSAGES, 405, b"")
    assert made(1) is None
    assert made(9 + native.REMEMBERED) is not None
