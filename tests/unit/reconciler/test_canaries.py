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
from reconciler.canaries.sounds import known
from reconciler.canaries.texts import ALIKE, UNLIKE
from reconciler.canaries.trying import Question
from reconciler.engines import _probe
from reconciler.hosts import Answer
from reconciler.model import ProbeSpec
from state.recipes import Recipe

KINDS = tuple(CANARIES)
CAT, SOFA, TAXES = (*ALIKE, UNLIKE)


def spec(kind: str, **more: Any) -> ProbeSpec:
    return probe.canary(ProbeSpec(kind=kind, port=8000, model="tiny", **more))


def reply(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers={"content-type": content_type, **headers}, body=data, whole=True)


def answered(kind: str, body: Any, status: int = 200, **more: Any) -> Answer:
    return probe.answer(spec(kind), reply(body, status, **more))


def vectors(*found: list[float] | None) -> dict[str, Any]:
    return {"data": [{"embedding": vector} for vector in found]}


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
        (
            "embedding",
            "/v1/embeddings",
            (
                '{"model": "tiny", "input": ["A cat sleeps on the red sofa.", "The cat is asleep on the red sofa.", '
                '"Quarterly tax returns are due in March."], "encoding_format": "float"}'
            ),
        ),
        (
            "rerank",
            "/v1/rerank",
            (
                '{"model": "tiny", "query": "A cat sleeps on the red sofa.", "documents": '
                '["Quarterly tax returns are due in March.", "The cat is asleep on the red sofa."]}'
            ),
        ),
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
            {"model": "tiny", "query": CAT, "documents": [TAXES, SOFA], "texts": [TAXES, SOFA]},
        ),
        (
            "rerank",
            "/v1/ranking",
            {"model": "tiny", "query": {"text": CAT}, "passages": [{"text": TAXES}, {"text": SOFA}]},
        ),
        ("embedding", "/embed", {"inputs": [CAT, SOFA, TAXES]}),
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
    assert sound == known()
    with wave.open(io.BytesIO(sound)) as opened:
        assert (opened.getframerate(), opened.getnframes(), opened.getnchannels()) == (16000, 18888, 1)


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
        ("embedding", vectors([0.0, -0.5], [0.1, -0.4], [0.5, 0.0]), "vectors"),
        ("embedding", [[0.25, 0.0], [0.2, 0.1], [0.0, 0.3]], "vectors"),
        ("embedding", vectors([1e300, -1e300], [1e300, -9e299], [1e300, 1e300]), "vectors"),
        ("rerank", {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0}]}, "scores"),
        ("rerank", [{"score": 0.1}, {"score": 0.98}], "scores"),
        ("rerank", {"rankings": [{"index": 1, "logit": -3.5}, {"index": 0, "logit": -9}]}, "scores"),
        ("transcription", {"text": " One, two, three, four, five."}, "a transcript"),
        ("transcription", {"text": "1-2-3-4-5"}, "a transcript"),
        ("transcription", {"text": "won two three for five"}, "a transcript"),
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
    sound = b"RIFF" + b"\0" * 59 + b"\1"
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


# What is wrong is told from what is no answer; a recipe may say that any answer will do.
WRONG = [
    (
        "embedding",
        vectors([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]),
        "its vectors are wrong: cats are less like cats (0.000) than like taxes (0.600)",
    ),
    (
        "embedding",
        vectors([0.5, 0.5], [0.5, 0.5], [0.5, 0.5]),
        "its vectors are wrong: cats are less like cats (1.000) than like taxes (1.000)",
    ),
    ("embedding", vectors([0.0, -0.5]), "it gives 1 vectors for 3 texts"),
    ("embedding", vectors([0.1], None, [0.1]), "its vectors differ in length, or are none"),
    ("embedding", vectors([0.1, 0.2], [0.1], [0.1, 0.2]), "its vectors differ in length, or are none"),
    ("embedding", vectors([0.1, 0.2], [0.0, 0.0], [0.1, 0.2]), "its vectors differ in length, or are none"),
    ("embedding", [[0.1, 0.2], [0.1, "x"], [0.1, 0.2]], "its vectors differ in length, or are none"),
    (
        "rerank",
        {"results": [{"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.5}]},
        "its ranks are wrong: about a cat, cats are scored 0.500 and taxes 0.500",
    ),
    ("rerank", [{"index": 1, "score": 0.5}], "it ranks 1 documents of two"),
    ("rerank", [{"index": [], "score": 0.5}, {"index": 7, "score": 1}], "it ranks 2 documents of two"),
    ("transcription", {"text": ""}, "it hears '' where somebody counts from one to five"),
    ("transcription", {"text": "!!!!!!!!"}, "it hears '!!!!!!!!' where somebody counts from one to five"),
    (
        "transcription",
        {"text": "Thank you for watching."},
        "it hears 'Thank you for watching.' where somebody counts from one to five",
    ),
    ("diarization", {"segments": []}, "it hears nobody where somebody counts from one to five"),
]


@pytest.mark.parametrize(("kind", "body", "problem"), WRONG)
def test_an_answer_that_is_wrong(kind: str, body: Any, problem: str) -> None:
    told = f"POST {CANARIES[kind].path} on port 8000 answers 200, but {problem}"
    assert answered(kind, body) == Answer(ready=False, message=told)
    assert probe.answer(spec(kind, known_answer=False), reply(body)).ready


def test_a_server_of_few_inputs_is_asked_for_one_vector() -> None:
    asked = probe.request(spec("embedding", known_answer=False))
    assert json.loads(asked.body)["input"] == [CAT]
    for batch, known_answer in ((None, True), (2, False), (3, True)):
        pooling = {"batch": batch} if batch else {}
        recipe = Recipe.model_validate({"image": "a:1", "port": 1, "probe": "embedding", "pooling": pooling})
        assert _probe(recipe, "/health", "m").known_answer is known_answer


def test_speech_that_is_silence() -> None:
    silent = reply(b"RIFF" + b"\1" * 40 + b"\0" * 9000, content_type="audio/wav")
    assert not probe.answer(spec("speech"), silent).ready
    assert "its audio is silence" in probe.answer(spec("speech"), silent).message
    assert probe.answer(spec("speech"), reply(b"RIFF" + b"\1" * 40 + b"\0\1" * 900, content_type="audio/wav")).ready


def test_a_persons_own_question_has_no_known_answer() -> None:
    assert Question(kind="transcription").read(reply({"text": "Hello."}))["text"] == "Hello."
    assert Question(kind="embedding").read(reply(vectors([1.0])))["vector"] == [1.0]


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
    heard = read(head + b"x" * 400_000, probe.request(spec("speech")))
    assert (heard.whole, len(heard.body) < 340_000, probe.answer(spec("speech"), heard).ready) == (False, True, True)
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
