"""Servers of vectors and scores, in the words of each family. A vector says what it is of, so that order can be seen."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

from tests.unit.api.proxies.stage import Does, Seen

Json = dict[str, Any]
BAD = "BAD"


def vector(one: str | list[int]) -> list[float]:
    """Of six numbers that float32 holds exactly."""
    mark = zlib.crc32(json.dumps(one).encode())
    return [float((mark >> shift) % 64 - 32) / 64 + 1 / 128 for shift in range(0, 18, 3)]


def as_base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def said(status: int, value: Any, *fields: str) -> bytes:
    body = json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(status: int, message: str) -> bytes:
    return said(status, {"error": {"message": message, "type": "BadRequest", "code": status}})


Answers = Callable[[str, Json], bytes]


def server(answers: Answers, *, delay: Callable[[Json], float] = lambda _: 0.0) -> Does:
    async def does(seen: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(seen.body)
        if wait := delay(asked):
            await asyncio.sleep(wait)
        writer.write(answers(seen.line.split(b" ")[1].decode(), asked))

    return does


def openai(*, batch: int = 10**9, floats_only: bool = False, usage: bool = True, size: int = 10**9) -> Answers:
    """`floats_only`: it knows no base64. `usage`: it counts, a token for each input."""

    def answers(path: str, asked: Json) -> bytes:
        assert path == "/v1/embeddings"
        given = asked["input"]
        each = [given] if isinstance(given, str) or isinstance(given[0], int) else given
        if len(each) > batch or len(json.dumps(asked, ensure_ascii=False).encode()) > size:
            return refusal(413, f"{len(each)} are more than {batch}")
        if any(BAD in str(one) for one in each):
            return refusal(400, "an input is too long")
        packs = asked.get("encoding_format") == "base64" and not floats_only
        data = [
            {"object": "embedding", "index": at, "embedding": as_base64(vector(one)) if packs else vector(one)}
            for at, one in enumerate(each)
        ]
        found: Json = {"object": "list", "data": data[::-1], "model": asked["model"]}
        return said(200, found | ({"usage": {"prompt_tokens": len(each), "total_tokens": len(each)}} if usage else {}))

    return answers


def tei(*, batch: int = 32) -> Answers:
    """Its own pages."""

    def answers(path: str, asked: Json) -> bytes:
        if path == "/embed":
            assert asked["truncate"] is True
            each = asked["inputs"] if isinstance(asked["inputs"], list) else [asked["inputs"]]
            found: Any = [vector(one) for one in each]
        else:
            assert path == "/rerank"
            each = asked["texts"]
            found = [{"index": at, "score": score(asked["query"], one)} for at, one in enumerate(each)]
            found.sort(key=lambda rank: -rank["score"])
        if len(each) > batch:
            return said(422, {"error": f"batch size {len(each)} > maximum allowed batch size {batch}"})
        return said(200, found, f"x-compute-tokens: {2 * len(each)}")

    return answers


def score(query: str, document: str) -> float:
    return zlib.crc32(f"{query} {document}".encode()) % 1000 / 1000


def cohere(path: str, asked: Json) -> bytes:
    """vLLM's, Jina's, llama.cpp's: whoever reads `documents`."""
    assert path == "/v1/rerank"
    ranks = [{"index": at, "relevance_score": score(asked["query"], one)} for at, one in enumerate(asked["documents"])]
    ranks.sort(key=lambda rank: -rank["relevance_score"])
    return said(200, {"id": "r", "results": ranks, "usage": {"total_tokens": len(ranks)}})


def sglang(path: str, asked: Json) -> bytes:
    assert path == "/v1/rerank"
    return said(
        200,
        [
            {"score": score(asked["query"], one), "document": one, "index": at}
            for at, one in enumerate(asked["documents"])
        ],
    )


def nim(path: str, asked: Json) -> bytes:
    assert path == "/v1/ranking"
    query, passages = asked["query"]["text"], [passage["text"] for passage in asked["passages"]]
    return said(
        200, {"rankings": [{"index": at, "logit": score(query, one) * 8 - 4} for at, one in enumerate(passages)]}
    )
