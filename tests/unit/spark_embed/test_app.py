"""The pages, asked as a server asks an ASGI app."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from spark_embed.app import MAX_BODY, App
from spark_embed.lane import Lane, Row, Ticket
from spark_embed.metrics import Counts, Metrics
from spark_embed.settings import Settings, Unusable
from tests.unit.spark_embed.test_lane import Letters, held


class Vectors(Letters):
    """A text's vector is its length and its first letter."""

    name = "letters"

    def tokenise(self, inputs: Sequence[Any], limit: int | None) -> list[Row | str]:
        return super().tokenise(
            ["".join(map(chr, each)) if isinstance(each, tuple) else each for each in inputs], limit
        )

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[Any]:
        vectors = [array("f", [len(text), ord(text[0])]) for text in computed]
        return [vector[:length].tobytes() for vector, length in zip(vectors, wanted, strict=True)]


class Shared(Letters):
    """A pair's score: how many letters of the query the document has."""

    name = "shared"

    def tokenise(self, inputs: Sequence[Any], limit: int | None) -> list[Row | str]:
        return super().tokenise([f"{query}\0{document}" for query, document in inputs], limit)

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[Any]:
        parts = [text.split("\0") for text in computed]
        return [float(len(set(query) & set(document))) for query, document in parts]


@pytest.fixture
def app() -> Iterator[App]:
    metrics = Metrics()
    made = App(metrics)
    made.lanes = {
        "embed": Lane(Vectors(), Counts(metrics, "embed"), tokens=200, inputs=16, most=50),
        "rerank": Lane(Shared(), Counts(metrics, "rerank"), tokens=200, inputs=16, most=50),
    }
    made.dimensions, made.ready = 2, True
    yield made
    for lane in made.lanes.values():
        lane.model.gate.set()  # type: ignore[attr-defined]
        lane.close()


class Caller:
    """One request. `leave` is what a broken connection is."""

    def __init__(self, app: App, method: str, path: str, body: bytes, *, pieces: int = 1) -> None:
        self._app, self._scope = app, {"type": "http", "method": method, "path": path, "headers": []}
        self._parts = [body[len(body) * n // pieces : len(body) * (n + 1) // pieces] for n in range(pieces)]
        self._left = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self._left.set()

    async def run(self) -> tuple[int, dict[str, str], bytes]:
        await asyncio.wait_for(self._app(self._scope, self.receive, self.send), 30)
        if not self.sent:
            return 0, {}, b""
        start, body = self.sent
        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]


async def ask(app: App, path: str, asked: object = None, *, method: str = "POST", **more: Any) -> tuple[int, Any, Any]:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    status, headers, answer = await Caller(app, method, path, body, **more).run()
    kind = headers.get("content-type", "")
    return status, json.loads(answer) if kind == "application/json" else answer.decode(), headers


async def test_vectors_of_texts_and_of_tokens(app: App) -> None:
    status, answer, _ = await ask(
        app, "/v1/embeddings", {"input": ["ab", [99, 100, 101], "b"], "model": "any"}, pieces=3
    )
    assert status == 200
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [2.0, 97.0]},
            {"object": "embedding", "index": 1, "embedding": [3.0, 99.0]},
            {"object": "embedding", "index": 2, "embedding": [1.0, 98.0]},
        ],
        "model": "letters",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    assert (await ask(app, "/v1/embeddings", {"input": "ab"}))[1]["data"] == answer["data"][:1]
    assert (await ask(app, "/v1/embeddings", {"input": [99, 100, 101]}))[1]["data"][0]["embedding"] == [3.0, 99.0]


async def test_base64_and_fewer_dimensions(app: App) -> None:
    asked = {"input": ["ab", "c"], "encoding_format": "base64"}
    _, answer, _ = await ask(app, "/v1/embeddings", asked)
    assert [struct.unpack("<2f", base64.b64decode(each["embedding"])) for each in answer["data"]] == [(2, 97), (1, 99)]
    _, answer, _ = await ask(app, "/v1/embeddings", {"input": "ab", "dimensions": 1})
    assert answer["data"][0]["embedding"] == [2.0]


async def test_two_thousand_inputs_come_back_in_order(app: App) -> None:
    """A request larger than the queue, and long enough to be read in a thread."""
    texts = [chr(48 + n % 70) * (1 + n % 49) for n in range(2048)]
    status, answer, _ = await ask(app, "/v1/embeddings", {"input": texts})
    assert status == 200
    assert [each["embedding"] for each in answer["data"]] == [[len(text), ord(text[0])] for text in texts]
    assert [each["index"] for each in answer["data"]] == list(range(2048))


async def test_rerank(app: App) -> None:
    documents = ["xyz", {"text": "a b"}, "ab", "zb"]
    asked = {"query": "ab", "documents": documents, "top_n": 3, "return_documents": True}
    status, answer, _ = await ask(app, "/v1/rerank", asked)
    assert status == 200
    assert answer["results"] == [
        {"index": 1, "relevance_score": 2.0, "document": {"text": "a b"}},
        {"index": 2, "relevance_score": 2.0, "document": {"text": "ab"}},
        {"index": 3, "relevance_score": 1.0, "document": {"text": "zb"}},
    ]
    assert answer["usage"]["total_tokens"] == 22
    _, answer, _ = await ask(app, "/v2/rerank", {"query": "ab", "documents": ["ab"]})
    assert answer["results"] == [{"index": 0, "relevance_score": 2.0}]


@pytest.mark.parametrize(
    ("path", "asked", "status", "param"),
    [
        ("/v1/embeddings", b"{", 400, None),
        ("/v1/embeddings", b"\xff", 400, None),
        ("/v1/embeddings", b"[" * 100_000, 400, None),
        ("/v1/embeddings", [], 400, None),
        ("/v1/embeddings", {}, 400, "input"),
        ("/v1/embeddings", {"input": []}, 400, "input"),
        ("/v1/embeddings", {"input": {"a": 1}}, 400, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, 400, "input[1]"),
        ("/v1/embeddings", {"input": ["a", None]}, 400, "input[1]"),
        ("/v1/embeddings", {"input": ["a", [True]]}, 400, "input[1]"),
        ("/v1/embeddings", {"input": [[1] * (2**17 + 1)]}, 400, "input[0]"),
        ("/v1/embeddings", b'{"input": "\\ud800"}', 400, "input[0]"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, 400, "input"),
        ("/v1/embeddings", {"input": ["a", "x" * 51]}, 400, "input[1]"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "dimensions": 3}, 400, "dimensions"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, 400, "dimensions"),
        ("/v1/embeddings", {"input": "a", "dimensions": "2"}, 400, "dimensions"),
        ("/v1/embeddings", {"input": "a", "truncate_prompt_tokens": 0}, 400, "truncate_prompt_tokens"),
        ("/v1/rerank", {"documents": ["a"]}, 400, "query"),
        ("/v1/rerank", {"query": "a"}, 400, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [1]}, 400, "documents[0]"),
        ("/v1/rerank", {"query": "a", "documents": ["a"] * 2049}, 400, "documents"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, 400, "top_n"),
        ("/v1/chat/completions", {}, 404, None),
        ("/health", {}, 405, None),
    ],
)
async def test_what_is_wrong_is_said(app: App, path: str, asked: Any, status: int, param: str | None) -> None:
    found, answer, headers = await ask(app, path, asked)
    assert (found, answer["error"]["param"]) == (status, param)
    assert answer["error"]["message"]
    assert headers.get("allow") == ("GET" if status == 405 else None)


async def test_what_is_too_long_is_cut_if_asked(app: App) -> None:
    asked = {"input": "x" * 80, "truncate_prompt_tokens": -1}
    assert (await ask(app, "/v1/embeddings", asked))[1]["data"][0]["embedding"] == [50.0, 120.0]
    assert (await ask(app, "/v1/embeddings", {**asked, "truncate_prompt_tokens": 7}))[1]["usage"]["total_tokens"] == 7


async def test_a_request_that_is_too_large(app: App) -> None:
    assert (await ask(app, "/v1/embeddings", b" " * (MAX_BODY + 1), pieces=8))[0] == 413


async def test_a_full_queue_is_429_with_a_time_to_come_back(app: App) -> None:
    lane = app.lanes["embed"]
    first = held(lane.model, lane)  # type: ignore[arg-type]
    second = lane.submit(["a"] * 49)
    status, answer, headers = await ask(app, "/v1/embeddings", {"input": "b"})
    assert (status, answer["error"]["code"]) == (429, "Busy")
    assert 1 <= int(headers["retry-after"]) <= 60
    lane.model.gate.set()  # type: ignore[attr-defined]
    for ticket in (first, second):
        ticket.done.result(20)


async def test_a_caller_that_leaves_is_not_computed_for(app: App) -> None:
    lane = app.lanes["embed"]
    first = held(lane.model, lane)  # type: ignore[arg-type]
    caller = Caller(app, "POST", "/v1/embeddings", b'{"input": ["a", "b"]}')
    asking = asyncio.create_task(caller.run())
    while lane.depth < 3:
        await asyncio.sleep(0.002)
    caller.leave()
    assert (await asking)[0] == 0, "nobody is there to be answered"
    assert lane.depth == 1
    lane.model.gate.set()  # type: ignore[attr-defined]
    await asyncio.wrap_future(first.done)
    assert (await ask(app, "/v1/embeddings", {"input": "c"}))[0] == 200
    assert [1, 1] not in lane.model.batches  # type: ignore[attr-defined]
    _, page, _ = await ask(app, "/metrics", method="GET")
    assert 'spark_embed_requests_total{page="/v1/embeddings",status="499"} 1.0' in page
    assert 'spark_embed_dropped_total{kind="embed"} 2.0' in page


async def test_a_caller_that_left_before_its_words_were_tokens_is_counted_too(app: App) -> None:
    lane = app.lanes["embed"]
    with lane._lock:  # nothing is made into tokens meanwhile
        ticket = Ticket(["a", "b"], None, None)
        lane.cancel(ticket)
        lane._arrived.append(ticket)
        lane._lock.notify_all()
    assert (await ask(app, "/v1/embeddings", {"input": "c"}))[0] == 200
    _, page, _ = await ask(app, "/metrics", method="GET")
    assert 'spark_embed_dropped_total{kind="embed"} 2.0' in page


async def test_it_is_healthy_when_it_is_warm_and_as_long_as_its_device_works(app: App) -> None:
    app.ready = False
    assert (await ask(app, "/health", method="GET"))[0] == 503
    assert (await ask(app, "/v1/embeddings", {"input": "a"}))[0] == 503
    app.ready = True
    status, answer, _ = await ask(app, "/health", method="GET")
    assert (status, answer["models"]) == (200, {"embed": "letters", "rerank": "shared"})
    assert [each["id"] for each in (await ask(app, "/v1/models", method="GET"))[1]["data"]] == ["letters", "shared"]
    app.lanes["rerank"].broken = "3 batches in a row failed"
    status, answer, _ = await ask(app, "/health", method="GET")
    assert (status, answer["error"]["message"]) == (503, "3 batches in a row failed")


async def test_only_what_is_loaded_is_served(app: App) -> None:
    kept = app.lanes
    app.lanes = {"rerank": kept["rerank"]}
    status, answer, _ = await ask(app, "/v1/embeddings", {"input": "a"})
    assert (status, answer["error"]["code"]) == (404, "NoSuchModel")
    app.lanes = kept


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "SPARK_EMBED_MODEL or SPARK_EMBED_RERANKER must name a model"),
        ({"MODEL": "m", "DEVICE": "gpu"}, "SPARK_EMBED_DEVICE must be one of cuda, cpu"),
        ({"MODEL": "m", "DTYPE": "int8"}, "SPARK_EMBED_DTYPE must be one of auto, bfloat16, float16, float32"),
        ({"MODEL": "m", "PORT": "x"}, "SPARK_EMBED_PORT must be a whole number from 1 on"),
        ({"MODEL": "m", "TRUST_REMOTE_CODE": "maybe"}, "SPARK_EMBED_TRUST_REMOTE_CODE must be true or false"),
        ({"MODEL": "m", "BATCH": "3"}, "SPARK_EMBED_BATCH: there is no such setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(environ: dict[str, str], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        Settings.of({f"SPARK_EMBED_{name}": text for name, text in environ.items()})


def test_settings_are_read_as_they_are_meant() -> None:
    told = {"MODEL": " BAAI/bge-m3 ", "PORT": "8020", "TRUST_REMOTE_CODE": "True", "DEVICE": "cpu", "MAX_LENGTH": "0"}
    found = Settings.of({"HOME": "/root", **{f"SPARK_EMBED_{name}": text for name, text in told.items()}})
    assert found == Settings(model="BAAI/bge-m3", port=8020, trust_remote_code=True, device="cpu")
    assert Settings(model="m").device == "cuda", "a CPU is never taken by accident"
