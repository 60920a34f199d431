"""The canaries as bytes: exactly what is asked, and what is made of answers as real servers give them."""

from __future__ import annotations

import io
import json
import wave
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import probe
from reconciler.canaries import CANARIES
from reconciler.canaries.exchange import LONGEST, Exchange, Garbled, Reply, Request, headers
from reconciler.canaries.sounds import tone
from reconciler.hosts import Answer
from reconciler.model import ProbeSpec

KINDS = tuple(CANARIES)


def spec(kind: str, **more: Any) -> ProbeSpec:
    return probe.canary(ProbeSpec(kind=kind, port=8000, model="tiny", **more))


def reply(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers={"content-type": content_type, **headers}, body=data, whole=True)


def answered(kind: str, body: Any, status: int = 200, **more: Any) -> Answer:
    return probe.answer(spec(kind), reply(body, status, **more))


def read(response: bytes, request: Request | None = None, *, pieces: int = 2**16) -> Reply:
    """The reply that an exchange makes of these bytes, however they are cut."""
    exchange = Exchange(request or Request(method="GET", target="/health"), 8000)
    for at in range(0, len(response), pieces):
        found = exchange.feed(response[at : at + pieces])
        if found is not None:
            return found
    found = exchange.feed(b"")
    assert found is not None
    return found


# What is asked


def test_the_health_page_is_asked_for_as_it_always_was() -> None:
    assert Exchange(probe.request(ProbeSpec(kind="http", path="/up", port=81)), 81).sent == (
        b"GET /up HTTP/1.1\r\nHost: 127.0.0.1:81\r\nUser-Agent: sparkkeep-probe\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n"
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("GET", "POST")),
            st.sampled_from(("/health", "/metrics", "/v1/x?y=%20")),
            st.binary(max_size=3),
            st.integers(1, 3),
        ),
        max_size=8,
    )
)
def test_what_was_asked_before_is_asked_like_the_first_time(
    questions: list[tuple[str, str, bytes, int]],
) -> None:
    for method, target, body, port in questions:
        request = Request(method=method, target=target, body=body if method == "POST" else b"", content_type="a/b")
        http = h11.Connection(h11.CLIENT)
        fresh = h11.Request(method=method, target=target, headers=list(headers(request, port)))
        events = (fresh, *((h11.Data(data=request.body),) if request.body else ()), h11.EndOfMessage())
        assert Exchange(request, port).sent == b"".join(http.send(event) or b"" for event in events)


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        (
            "chat",
            "/v1/chat/completions",
            (
                '{"model": "tiny", "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1, "temperature": 0, '
                '"stream": false}'
            ),
        ),
        (
            "completion",
            "/v1/completions",
            '{"model": "tiny", "prompt": "ping", "max_tokens": 1, "temperature": 0, "stream": false}',
        ),
        ("embedding", "/v1/embeddings", '{"model": "tiny", "input": ["ping"], "encoding_format": "float"}'),
        ("rerank", "/v1/rerank", '{"model": "tiny", "query": "ping", "documents": ["ping", "pong"]}'),
        (
            "speech",
            "/v1/audio/speech",
            '{"model": "tiny", "input": "ping", "voice": "alloy", "response_format": "wav"}',
        ),
    ],
)
def test_the_json_canaries(kind: str, path: str, body: str) -> None:
    head, _, sent = Exchange(probe.request(spec(kind)), 8000).sent.partition(b"\r\n\r\n")
    assert sent.decode() == body
    assert head.decode().split("\r\n") == [
        f"POST {path} HTTP/1.1",
        *("Host: 127.0.0.1:8000", "User-Agent: sparkkeep-probe", "Accept: */*", "Connection: close"),
        *("Content-Type: application/json", f"Content-Length: {len(body)}"),
    ]


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        (
            "rerank",
            "/rerank",
            {"model": "tiny", "query": "ping", "documents": ["ping", "pong"], "texts": ["ping", "pong"]},
        ),
        (
            "rerank",
            "/v1/ranking",
            {"model": "tiny", "query": {"text": "ping"}, "passages": [{"text": "ping"}, {"text": "pong"}]},
        ),
        ("embedding", "/embed", {"inputs": ["ping"]}),
    ],
)
def test_servers_with_words_of_their_own(kind: str, path: str, body: dict[str, Any]) -> None:
    asked = probe.request(spec(kind, path=path))
    assert (asked.target, json.loads(asked.body)) == (path, body)


@pytest.mark.parametrize(
    ("kind", "fields"), [("transcription", ["model", "response_format"]), ("diarization", ["model"])]
)
def test_the_sound_canaries_send_a_real_second_of_sound(kind: str, fields: list[str]) -> None:
    asked = probe.request(spec(kind))
    boundary = asked.content_type.removeprefix("multipart/form-data; boundary=").encode()
    *parts, end = asked.body.split(b"--" + boundary)
    assert (parts[0], end) == (b"", b"--\r\n")
    named = [part.split(b'name="')[1].split(b'"')[0].decode() for part in parts[1:]]
    assert named == [*fields, "file"]
    sound = parts[-1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    assert sound == tone()
    with wave.open(io.BytesIO(sound)) as opened:
        assert (opened.getframerate(), opened.getnframes(), opened.getnchannels()) == (16000, 16000, 1)


def test_other_pages_and_unknown_names() -> None:
    asked = probe.request(probe.canary(ProbeSpec(kind="transcription", path="/asr?output=json", port=9)))
    assert asked.target == "/asr?output=json"
    assert b'name="audio_file"; filename="tone.wav"' in asked.body
    assert b'name="model"' not in asked.body
    assert "model" not in json.loads(probe.request(probe.canary(ProbeSpec(kind="chat", port=9))).body)


# What a right answer is


@pytest.mark.parametrize(
    ("kind", "body", "gives"),
    [
        ("chat", {"choices": [{"message": {"content": "Pong"}, "finish_reason": "length"}]}, "a token"),
        ("chat", {"choices": [{"message": {"content": None, "reasoning_content": "We"}}]}, "a token"),
        ("chat", {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, "a token"),
        ("chat", {"choices": [{"message": {"content": ""}}], "usage": {"completion_tokens": 1}}, "a token"),
        ("completion", {"choices": [{"text": "!"}]}, "a token"),
        ("completion", {"choices": [{"text": "", "finish_reason": "stop"}]}, "a token"),
        ("embedding", {"data": [{"embedding": [0.0, -0.5]}]}, "a vector"),
        ("embedding", [[0.25, 0.0]], "a vector"),
        ("rerank", {"results": [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0}]}, "scores"),
        ("rerank", [{"index": 0, "score": 0.98}], "scores"),
        ("rerank", {"rankings": [{"index": 0, "logit": -3.5}]}, "scores"),
        ("transcription", {"text": ""}, "a transcript"),
        ("diarization", {"segments": []}, "segments"),
        ("diarization", {"segments": [{"start": 0.0, "end": 1.0, "speaker": "SPEAKER_00"}]}, "segments"),
        ("diarization", {"output": {"diarization": [{"start": 0, "end": 1, "speaker": "A"}]}}, "segments"),
        ("diarization", [{"start_time": 0.1, "end_time": 0.9}], "segments"),
        ("diarization", {"segments": ["0.00 0.96 speaker_0"]}, "segments"),
    ],
)
def test_a_right_answer(kind: str, body: Any, gives: str) -> None:
    assert answered(kind, body) == Answer(ready=True, message=f"POST {CANARIES[kind].path} on port 8000 gives {gives}")


def test_a_token_that_the_servers_own_parser_stumbles_over_is_a_token() -> None:
    """vllm-project/vllm#50690: killing gpt-oss for that would cost ten minutes and change nothing."""
    said = "Unexpected token 200002 while expecting start token 200006"
    got = answered("chat", {"error": {"message": said, "type": "InternalServerError", "code": 500}}, 500)
    where = "POST /v1/chat/completions on port 8000"
    assert got == Answer(ready=True, message=f"{where} gives a token, over which its own parser stumbles: {said}")
    assert not answered("completion", {"error": {"message": said}}, 500).ready


def test_speech_is_right_if_it_is_audio() -> None:
    sound = b"RIFF" + b"\0" * 60
    assert answered("speech", sound, content_type="audio/wav").ready
    assert answered("speech", sound, content_type="application/octet-stream").ready
    assert answered("speech", {"audio": "x" * 64}).message == (
        "POST /v1/audio/speech on port 8000 answers 200, but its answer is application/json, not audio"
    )
    assert answered("speech", b"", content_type="audio/mpeg").message.endswith("but its audio is empty")


@pytest.mark.parametrize(
    ("kind", "body", "problem"),
    [
        ("chat", {"choices": []}, "its answer has no choices"),
        (
            "chat",
            {"choices": [{"message": {"content": ""}}], "usage": {"completion_tokens": 0}},
            "its answer has no token",
        ),
        ("chat", b"<html>hello</html>", "its answer has no choices"),
        ("chat", {"object": "error", "message": "EngineCore died"}, "its answer has no choices: EngineCore died"),
        ("completion", {"choices": [{"text": ""}]}, "its answer has no token"),
        ("embedding", {"data": [{"embedding": [0.0, 0.0]}]}, "its vector is all zeros"),
        ("embedding", b'{"data": [{"embedding": [0.1, NaN]}]}', "its answer has no vector of finite numbers"),
        (
            "embedding",
            b'{"data": [{"embedding": [1%s]}]}' % (b"0" * 400),
            "its answer has no vector of finite numbers",
        ),
        ("embedding", {"data": [{"embedding": "AAAA"}]}, "its answer has no vector of finite numbers"),
        ("rerank", {"results": []}, "its answer ranks nothing"),
        ("rerank", {"results": [{"index": 0}]}, "its answer has no finite scores"),
        ("transcription", {"segments": []}, "its answer has no text"),
        ("diarization", {"speakers": 2}, "its answer has no list of segments"),
        ("diarization", {"segments": [{"speaker": "A"}]}, "its segments have no start and end"),
    ],
)
def test_a_200_that_is_not_right(kind: str, body: Any, problem: str) -> None:
    expected = f"POST {CANARIES[kind].path} on port 8000 answers 200, but {problem}"
    assert answered(kind, body) == Answer(ready=False, message=expected)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            404,
            {"error": {"message": "The model `tiny` does not exist.", "type": "NotFoundError", "code": 404}},
            "404: The model `tiny` does not exist. (asked for tiny: is that the name it is served by?)",
        ),
        (
            404,
            {"detail": "Not Found"},
            "404: Not Found (does it serve chat? `probe: {kind: chat, path: ...}` names another page)",
        ),
        (
            400,
            {"object": "error", "message": "This model does not\n support  Chat", "code": 400},
            "400: This model does not support Chat",
        ),
        (422, {"detail": [{"loc": ["body", "voice"], "msg": "Field required"}]}, "422: Field required"),
        (500, b"Internal Server Error", "500"),
        (500, {"error": "EngineCore encountered an issue."}, "500: EngineCore encountered an issue."),
        (
            401,
            {"error": "Unauthorized"},
            "401: Unauthorized (the server wants a key, which a canary has not: use `probe: http`)",
        ),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(status: int, body: Any, said: str) -> None:
    expected = f"POST /v1/chat/completions on port 8000 answers {said}"
    assert answered("chat", body, status) == Answer(ready=False, message=expected)


@pytest.mark.parametrize(
    ("status", "body", "retry", "expected"),
    [
        (503, {"error": {"message": "Loading model", "code": 503}}, "2", ("503: Loading model", 2.0)),
        (503, b"", "", ("503: it is still loading", 0.0)),
        (429, {"error": "Model is overloaded", "error_type": "overloaded"}, "3600", ("429: Model is overloaded", 60.0)),
        (429, b"", "Fri, 31 Dec 2027 23:59:59 GMT", ("429: it is busy", 0.0)),
        (503, b"", "nan", ("503: it is still loading", 0.0)),
        (503, b"", "-5", ("503: it is still loading", 0.0)),
    ],
)
def test_loading_and_overload_are_not_a_no(status: int, body: Any, retry: str, expected: tuple[str, float]) -> None:
    got = answered("chat", body, status, **{"retry-after": retry})
    said = f"POST /v1/chat/completions on port 8000 answers {expected[0]}"
    assert got == Answer(ready=False, message=said, busy=True, retry_after=expected[1])


# The lower tier, and the count of work


def test_the_health_page_of_a_model_and_of_a_service() -> None:
    model, service = (
        ProbeSpec(kind="chat", port=1, health="/v1/health/ready"),
        ProbeSpec(kind="http", port=1, path="/up"),
    )
    assert probe.health(service) == service
    asked = probe.health(model)
    assert probe.request(asked) == Request(method="GET", target="/v1/health/ready")
    assert probe.answer(asked, reply(b"", 200)).ready
    assert probe.answer(asked, reply(b"", 404)) == Answer(
        ready=True, message="GET /v1/health/ready on port 1 answers 404: it has no such page, so its canary decides"
    )
    assert not probe.answer(asked, reply(b"", 500)).ready
    assert not probe.answer(service, reply(b"", 404)).ready
    assert probe.answer(service, reply(b"", 302)) == Answer(ready=True, message="GET /up on port 1 answers 302")


@pytest.mark.parametrize(
    ("metrics", "count"),
    [
        (
            (
                '# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total{engine="0",model_name="q"} 120.0\n'
                'vllm:prompt_tokens_total{engine="0",model_name="q"} 1.5e+03\nvllm:num_requests_running{engine="0"} 3.0\n'
            ),
            1620.0,
        ),
        ('sglang:generation_tokens_total{model_name="q"} 7.0\n', 7.0),
        ("llamacpp:prompt_tokens_total 10\nllamacpp:tokens_predicted_total 4\n", 14.0),
        ("process_cpu_seconds_total 10\n", None),
        ("vllm:generation_tokens_total{} .e.\n", None),
        ("", None),
    ],
)
def test_a_server_counts_its_work(metrics: str, count: float | None) -> None:
    asked = probe.work(ProbeSpec(kind="chat", port=1))
    assert probe.request(asked).target == "/metrics"
    assert probe.answer(asked, reply(metrics.encode(), content_type="text/plain")).work == count
    assert probe.answer(asked, reply(metrics.encode(), 404)).work is None


# HTTP


@pytest.mark.parametrize("pieces", [1, 7, 2**16])
def test_bodies_of_every_kind_are_read_whole(pieces: int) -> None:
    counted = (
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 13\r\n\r\n{"text": "a"}'
    )
    chunked = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        b'5\r\n{"tex\r\n8\r\nt": "a"}\r\n0\r\n\r\n'
    )
    closed = b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"text": "a"}'
    for response in (counted, chunked, closed, b"HTTP/1.1 100 Continue\r\n\r\n" + counted):
        got = read(response, pieces=pieces)
        assert (got.status, got.content_type, got.json(), got.whole) == (200, "application/json", {"text": "a"}, True)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "the answer broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "the answer broke off in the middle"),
        (b"HTTP/1.1 200", "the answer is not HTTP"),
    ],
)
def test_garbage_is_told_as_such(response: bytes, why: str) -> None:
    with pytest.raises(Garbled, match=f"^{why}$"):
        read(response)


def test_an_endless_answer_is_left_when_enough_is_known() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n"
    heard = read(head + b"x" * 8000, probe.request(spec("speech")))
    assert (heard.whole, len(heard.body) < 9000, probe.answer(spec("speech"), heard).ready) == (False, True, True)
    flood = read(head + b"{" * (LONGEST + 1), probe.request(spec("chat")))
    assert not flood.whole
    assert not probe.answer(spec("chat"), flood).ready


@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_law_no_bytes_can_break_the_reading(noise: bytes, kind: str) -> None:
    for response in (noise, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(noise) + noise):
        try:
            got = read(response, probe.request(spec(kind)))
        except Garbled:
            continue
        assert isinstance(probe.answer(spec(kind), got).message, str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "data", "embedding", "results", "segments", "usage", "error", "text"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(KINDS), st.sampled_from([200, 400, 404, 500, 503]))
def test_law_no_json_can_break_the_reading(body: Any, kind: str, status: int) -> None:
    got = answered(kind, body, status)
    assert got.message.startswith(f"POST {CANARIES[kind].path} on port 8000 ")
    assert not got.ready or status == 200
