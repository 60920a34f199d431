"""Vectors and scores over real sockets: what passes untouched, what is split, and how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api.proxies.calls import Backend
from api.proxies.embeddings.factory import dividing
from api.proxies.embeddings.numbers import unpacked
from api.proxies.embeddings.way import Way, usual
from api.proxies.limits import Limits
from api.proxies.records import Records
from tests.unit.api.proxies.embeddings import servers
from tests.unit.api.proxies.embeddings.servers import BAD, score, server, vector
from tests.unit.api.proxies.stage import Answer, Does, FakeBackend, Path, path, says, until_gone

EMBEDDINGS = "/v1/embeddings"
SKIP = "Sparkkeep-On-Error: skip"


@asynccontextmanager
async def asking(does: Does, way: Way | None = None, **options: Any) -> AsyncIterator[tuple[Path, FakeBackend]]:
    backend = FakeBackend("m", does, way=way)
    async with path(backend, divide=dividing, **options) as p:
        yield p, backend


async def post(p: Path, asked: bytes | dict[str, Any], *fields: str, to: str = EMBEDDINGS) -> Answer:
    client = await p.connect()
    client.post(asked, *fields, path=to)
    return await client.answer()


def vectors(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    data = sorted(answer.json["data"], key=lambda item: item["index"])
    assert [item["index"] for item in data] == list(range(len(data)))
    return [unpacked(item["embedding"]) if isinstance(item["embedding"], str) else item["embedding"] for item in data]


# What passes.


@pytest.mark.parametrize(
    "asked",
    [
        b'{ "model":"m","input" : ["\\u0061", "b"] }',
        b'{"input":"x","dimensions":2,"encoding_format":"base64","model":"m"}',
    ],
)
async def test_nothing_is_touched_where_nothing_has_to_be(asked: bytes) -> None:
    odd = b'{ "data" :[],  "odd": 1.50 }'
    framed = b"HTTP/1.1 200 OK\r\nx-own: 1\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n"
    body = framed % (odd[:5], len(odd) - 5, odd[5:])
    async with asking(says(body), usual("vllm")) as (p, backend):
        answer = await post(p, asked, "Accept-Encoding: gzip")
    seen = backend.seen[0]
    assert seen.body == asked.replace(b'"m"', b'"served/m"')
    assert seen.named(b"accept-encoding") == [b"gzip"]
    assert answer.raw == body.partition(b"\r\n\r\n")[2]
    assert answer.get("x-own") == "1"


async def test_floats_of_any_server_pass_and_a_packed_body_too() -> None:
    async with asking(server(servers.openai())) as (p, backend):
        asked = b'{"input": ["a",  "b"], "model": "m"}'
        assert vectors(await post(p, asked)) == [vector("a"), vector("b")]
        assert backend.seen[0].body == asked.replace(b'"m"', b'"served/m"')
        backend.does = says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        packed = b"\x1f\x8b of some kind"
        assert (await post(p, packed, "Content-Encoding: gzip")).body == b"{}"
        assert backend.seen[1].body == packed


# What is done.


async def test_base64_of_a_server_that_has_it_comes_as_it_was_said() -> None:
    async with asking(server(servers.openai())) as (p, _):
        answer = await post(p, {"model": "m", "input": ["a", "b"], "encoding_format": "base64"})
    assert (
        answer.body
        == servers.openai()(
            EMBEDDINGS, {"model": "served/m", "input": ["a", "b"], "encoding_format": "base64"}
        ).partition(b"\r\n\r\n")[2]
    )
    assert answer.get("sparkkeep-backend") == "m@s1"


@pytest.mark.parametrize("given", ["one", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
async def test_base64_of_a_server_without_it(given: Any) -> None:
    async with asking(server(servers.openai(floats_only=True))) as (p, _):
        answer = await post(p, {"model": "m", "input": given, "encoding_format": "base64"})
    assert all(isinstance(item["embedding"], str) for item in answer.json["data"])
    each = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    assert vectors(answer) == [vector(one) for one in each]


async def test_many_are_split_side_by_side_and_joined_in_order() -> None:
    under_way = most = 0
    answers = servers.openai(batch=32)

    async def does(seen: Any, reader: Any, writer: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.03 if b'"0"' in seen.body else 0.005)  # the first comes last
        under_way -= 1
        await server(answers)(seen, reader, writer)

    records = Records()
    async with asking(does, Way(batch=32, parallel=3), observer=records) as (p, backend):
        texts = [str(number) for number in range(2048)]
        answer = await post(p, {"model": "m", "input": texts, "user": "me"})
        assert vectors(answer) == [vector(text) for text in texts]
        await p.settled()
    assert answer.json["usage"] == {"prompt_tokens": 2048, "total_tokens": 2048}
    assert answer.json["model"] == "served/m"
    assert len(backend.seen) == 64
    assert all(json.loads(seen.body)["user"] == "me" for seen in backend.seen)
    assert most == 3
    assert backend.connections <= 3
    assert records.last(1)[0].tokens[0] == 2048


async def test_a_request_is_split_by_its_size_too() -> None:
    async with asking(server(servers.openai(size=2000)), Way(size=2000)) as (p, backend):
        texts = ["ä" * length for length in (10, 900, 10, 600, 20, 30)]
        assert vectors(await post(p, {"model": "m", "input": texts})) == [vector(text) for text in texts]
    assert 2 <= len(backend.seen) <= 4


async def test_prompts_by_name_and_by_kind() -> None:
    way = Way(prompts=(("query", "query: "), ("passage", "passage: ")))
    async with asking(server(servers.openai()), way) as (p, backend):
        assert vectors(await post(p, {"model": "m@query", "input": ["a"]})) == [vector("query: a")]
        assert vectors(await post(p, {"model": "m", "input": "a", "input_type": "document"})) == [vector("passage: a")]
        assert vectors(await post(p, {"model": "m", "input": "a"})) == [vector("a")]
        assert [json.loads(seen.body)["model"] for seen in backend.seen] == ["served/m"] * 3
        answer = await post(p, {"model": "m", "input": "a", "input_type": "other"})
        assert (answer.status, answer.json["error"]["param"]) == (400, "input_type")
        assert "query, passage" in answer.json["error"]["message"]
        answer = await post(p, {"model": "m@query", "input": [[1, 2]]})
        assert answer.json["error"]["param"] == "input[0]"


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_dimensions_of_a_matryoshka_model(form: str) -> None:
    async with asking(server(servers.openai()), Way(matryoshka=True)) as (p, backend):
        asked = {"model": "m", "input": ["a", "b"], "encoding_format": form, "dimensions": 2}
        for found, text in zip(vectors(await post(p, asked)), "ab", strict=True):
            first, second = vector(text)[:2]
            size = (first**2 + second**2) ** 0.5
            assert found == pytest.approx([first / size, second / size])
        assert "dimensions" not in json.loads(backend.seen[0].body)
        answer = await post(p, {**asked, "dimensions": 7})
        assert (answer.status, answer.json["error"]["param"]) == (400, "dimensions")


async def test_a_server_that_takes_no_notice_of_dimensions_is_found_out() -> None:
    async with asking(server(servers.openai())) as (p, _):
        answer = await post(p, {"model": "m", "input": "a", "dimensions": 3})
        assert (answer.status, answer.json["error"]["code"]) == (400, "CannotCut")
        assert vectors(await post(p, {"model": "m", "input": "a", "dimensions": 6})) == [vector("a")]


async def test_truncation_in_each_servers_words() -> None:
    async with asking(server(servers.tei()), Way(server="tei", batch=2, truncate=True)) as (p, backend):
        answer = await post(p, {"model": "m", "input": ["a", "b", "c"], "encoding_format": "base64"})
        assert vectors(answer) == [vector(text) for text in "abc"]
        assert answer.json["usage"]["total_tokens"] == 6, "as its header says"
        backend.does, backend.way = server(servers.openai()), Way(server="vllm", truncate=True)
        await post(p, {"model": "m", "input": "a"})
        assert json.loads(backend.seen[-1].body)["truncate_prompt_tokens"] == -1
        backend.way = Way(server="nim", truncate=True)
        await post(p, {"model": "m", "input": "a", "input_type": "query"})
        assert json.loads(backend.seen[-1].body) == {
            "model": "served/m",
            "input": "a",
            "input_type": "query",
            "truncate": "END",
        }


# What is wrong.


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": ["a", 1.5]}, "input[1]"),
        ({"input": ["a", [1, "b"]]}, "input[1]"),
        ({"input": {"a": 1}}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
    ],
)
async def test_what_is_wrong_is_named(asked: dict[str, Any], param: str) -> None:
    async with asking(server(servers.openai())) as (p, backend):
        answer = await post(p, {"model": "m", **asked})
        assert (answer.status, answer.json["error"]["param"]) == (400, param)
        assert answer.json["error"]["type"] == "invalid_request_error"
        assert backend.seen == []


async def test_no_json_and_an_unknown_wish() -> None:
    async with asking(server(servers.openai())) as (p, _):
        assert (await post(p, b'{"model": "m", ')).status == 400
        answer = await post(p, {"model": "m", "input": "a"}, "Sparkkeep-On-Error: perhaps")
        assert (answer.status, answer.json["error"]["param"]) == (400, "sparkkeep-on-error")


async def test_tokens_for_a_server_that_takes_texts() -> None:
    async with asking(server(servers.openai()), Way(server="infinity")) as (p, _):
        answer = await post(p, {"model": "m", "input": ["a", [1, 2]]})
        assert (answer.json["error"]["code"], answer.json["error"]["param"]) == ("CannotTakeTokens", "input[1]")


async def test_which_input_a_server_refused() -> None:
    texts = [BAD if number == 5 else str(number) for number in range(9)]
    async with asking(server(servers.openai()), Way(batch=3)) as (p, backend):
        answer = await post(p, {"model": "m", "input": texts})
        assert (answer.status, answer.json["error"]["param"]) == (400, "input")
        assert "input[3] to input[5]: an input is too long" in answer.json["error"]["message"]
        backend.way = Way(batch=1)
        answer = await post(p, {"model": "m", "input": texts})
        assert answer.json["error"]["param"] == "input[5]"


async def test_the_others_all_the_same() -> None:
    texts: list[Any] = [BAD if number in {5, 6} else str(number) for number in range(9)]
    texts[2] = None
    async with asking(server(servers.openai()), Way(batch=4)) as (p, backend):
        answer = await post(p, {"model": "m", "input": texts, "encoding_format": "base64"}, SKIP)
        assert answer.status == 200
        wrong = {item["index"]: item["error"] for item in answer.json["data"] if "error" in item}
        assert sorted(wrong) == [2, 5, 6]
        assert [wrong[at]["param"] for at in (2, 5, 6)] == ["input[2]", "input[5]", "input[6]"]
        for item in answer.json["data"]:
            at = item["index"]
            assert item["embedding"] is None if at in wrong else unpacked(item["embedding"]) == vector(texts[at])
        backend.does = says(servers.refusal(401, "no"))
        assert (await post(p, {"model": "m", "input": texts}, SKIP)).status == 401, "which is about no input"
        backend.does = server(servers.openai())
        assert (await post(p, {"model": "m", "input": [BAD, BAD]}, SKIP)).status == 400, "with nothing to answer"


@pytest.mark.parametrize(
    "garbled",
    [
        {"data": []},
        {"data": [{"embedding": [1], "index": 0}, {"embedding": [1], "index": 0}]},
        {"data": [{"embedding": "?", "index": 0}, {"embedding": "?", "index": 1}]},
        {"data": [{"embedding": 5, "index": 0}, {"embedding": 5, "index": 1}]},
        {"data": [{"embedding": ["x"], "index": 0}, {"embedding": [1], "index": 1}]},
        [],
        "no",
    ],
)
async def test_an_answer_that_makes_no_sense(garbled: Any) -> None:
    async with asking(says(servers.said(200, garbled)), Way(batch=2)) as (p, _):
        answer = await post(p, {"model": "m", "input": ["a", "b", "c"], "encoding_format": "float"})
        assert (answer.status, answer.json["error"]["code"]) == (502, "BackendGarbled")


# How it ends.


async def test_when_the_app_leaves_all_parts_end() -> None:
    async with asking(until_gone, Way(batch=1, parallel=4)) as (p, backend):
        client = await p.connect()
        client.post({"model": "m", "input": list("abcdefgh")}, path=EMBEDDINGS)
        async with asyncio.timeout(5):
            while len(backend.seen) < 4:
                await asyncio.sleep(0.002)
        since = time.monotonic()
        await client.close()
        async with asyncio.timeout(5):
            while backend.open:
                await asyncio.sleep(0.002)
        assert backend.gone_at - since < 1
        await p.settled()
        assert len(backend.seen) == 4, "no further part was asked"
        assert p.routing.told == [("m@s1", True)]


async def test_an_error_ends_the_other_parts() -> None:
    async def does(seen: Any, reader: Any, writer: Any) -> Any:
        if BAD.encode() in seen.body:
            return await server(servers.openai())(seen, reader, writer)
        return await until_gone(seen, reader, writer)

    async with asking(does, Way(batch=1, parallel=3)) as (p, backend):
        assert (await post(p, {"model": "m", "input": ["a", "b", BAD, "c"]})).status == 400
        async with asyncio.timeout(5):
            while backend.open > 1:
                await asyncio.sleep(0.002)


@pytest.mark.parametrize("how", ["500", "closed", "refused"])
async def test_another_one_is_asked_instead(how: str) -> None:
    bad = servers.refusal(500, "no") if how == "500" else b""
    first = FakeBackend("m", says(bad, close=True), way=Way(batch=2))
    second = FakeBackend("n", server(servers.openai()), way=Way(batch=3))
    async with path(first, second, divide=dividing) as p:
        if how == "refused":
            first.port = 1
        answer = await post(p, {"model": "m", "input": list("abcdefg")})
        assert vectors(answer) == [vector(text) for text in "abcdefg"]
        assert answer.get("sparkkeep-backend") == "n@s1"
    assert len(second.seen) == 3


async def test_nobody_else_is_there() -> None:
    async with asking(says(b"", close=True), Way(batch=1)) as (p, backend):
        answer = await post(p, {"model": "m", "input": ["a", "b"]})
        assert (answer.status, answer.json["error"]["code"]) == (502, "BackendFailed")
        backend.does = says(servers.refusal(503, "busy"))
        assert (await post(p, {"model": "m", "input": ["a", "b"]})).status == 503


async def test_a_server_that_says_nothing() -> None:
    async with asking(until_gone, Way(batch=1), limits=Limits(first_byte=0.1)) as (p, _):
        answer = await post(p, {"model": "m", "input": ["a", "b"]})
        assert (answer.status, answer.json["error"]["code"]) == (504, "BackendTimeout")


async def test_a_bug_ends_one_request() -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    async with path(FakeBackend("m", says(b"")), divide=broken) as p:
        answer = await post(p, {"model": "m", "input": "a"})
        assert (answer.status, answer.json["error"]["code"]) == (500, "InternalError")


# Rerank.

DOCUMENTS = [f"document {number}" for number in range(70)]


def ranked(documents: list[str], top: int | None = None) -> list[tuple[int, float]]:
    each = sorted((-score("q", text), at) for at, text in enumerate(documents))
    return [(at, -found) for found, at in each[:top]]


@pytest.mark.parametrize("to", ["/v1/rerank", "/v2/rerank", "/rerank"])
@pytest.mark.parametrize("family", ["tei", "other", "sglang", "nim"])
async def test_every_shape_from_every_server(to: str, family: str) -> None:
    answers = {"tei": servers.tei(), "other": servers.cohere, "sglang": servers.sglang, "nim": servers.nim}[family]
    way = Way(server=family, batch=32)  # type: ignore[arg-type]  # one of them
    async with asking(server(answers), way) as (p, backend):
        asked = {"model": "m", "query": "q", "documents": DOCUMENTS, "top_n": 5, "return_documents": True}
        answer = await post(p, asked, to=to)
        assert answer.status == 200, answer.body
        results = answer.json["results"]
        assert [result["index"] for result in results] == [at for at, _ in ranked(DOCUMENTS, 5)]
        assert results[0]["document"] == {"text": DOCUMENTS[results[0]["index"]]}
        assert all(0 <= result["relevance_score"] <= 1 for result in results)
        assert ("meta" in answer.json) is (to == "/v2/rerank")
        answer = await post(p, {"model": "m", "query": "q", "texts": DOCUMENTS, "return_text": True}, to=to)
        assert [rank["index"] for rank in answer.json] == [at for at, _ in ranked(DOCUMENTS)]
        assert answer.json[0]["text"] == DOCUMENTS[answer.json[0]["index"]]
    assert len(backend.seen) == 6


async def test_a_server_is_asked_in_its_own_words_as_it_came() -> None:
    async with asking(server(servers.tei()), Way(server="tei", batch=32)) as (p, backend):
        asked = b'{"query":  "q", "texts": ["a","b"]}'
        assert {rank["index"] for rank in (await post(p, asked, to="/rerank")).json} == {0, 1}
        assert backend.seen[0].body == asked
        backend.does, backend.way = server(servers.cohere), None
        asked = b'{"model": "m", "query":  "q", "documents": ["a","b"]}'
        assert (await post(p, asked, to="/v1/rerank")).json["id"] == "r"
        assert backend.seen[1].body == asked.replace(b'"m"', b'"served/m"')


async def test_documents_that_are_objects() -> None:
    async with asking(server(servers.cohere)) as (p, backend):
        documents: list[Any] = [{"text": "a", "id": 7}, "b"]
        asked = {"model": "m", "query": "q", "documents": documents, "return_documents": True}
        answer = await post(p, asked, to="/v1/rerank")
        shown = {result["index"]: result["document"] for result in answer.json["results"]}
        assert shown == {0: {"text": "a", "id": 7}, 1: {"text": "b"}}
        assert json.loads(backend.seen[0].body)["documents"] == ["a", "b"]
        await post(p, {**asked, "documents": [{"a": 1, "b": 2}], "rank_fields": ["a", "b"]}, to="/v1/rerank")
        assert json.loads(backend.seen[1].body)["documents"] == ["a: 1\nb: 2"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": ["a", 5]}, "documents[1]"),
        ({"query": "q", "texts": ["a", {"no": "text"}]}, "texts[1]"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "q", "texts": ["a"], "raw_scores": True}, "raw_scores"),
    ],
)
async def test_what_is_wrong_with_a_rerank_is_named(asked: dict[str, Any], param: str) -> None:
    async with asking(server(servers.cohere)) as (p, _):
        answer = await post(p, {"model": "m", **asked}, to="/v1/rerank")
        assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_a_server_without_a_name_for_its_model_hears_the_apps() -> None:
    class Unnamed(FakeBackend):
        @property
        def backend(self) -> Backend:
            return replace(super().backend, model="")

    unnamed = Unnamed("m", server(servers.openai()), way=Way(batch=1))
    async with path(unnamed, divide=dividing) as p:
        answer = await post(p, {"model": "m", "input": ["a", "b"]})
        assert vectors(answer) == [vector("a"), vector("b")]
    assert {json.loads(seen.body)["model"] for seen in unnamed.seen} == {"m"}
