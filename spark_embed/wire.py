"""What is asked and what is answered, in OpenAI's words for vectors and in Cohere's and Jina's for rerank. Pure."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_INPUTS: Final = 2048  # of one request, as OpenAI has it
MOST_TOKENS: Final = 2**17  # of one input that comes in tokens


class Refused(Exception):
    """A request that is not answered: `status`, what is wrong, and with which field."""

    def __init__(self, status: int, message: str, *, param: str = "", code: str = "InvalidRequest") -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> bytes:
        """OpenAI's shape of an error."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"  # noqa: PLR2004
        said = {"message": str(self), "type": kind, "param": self.param or None, "code": self.code}
        return json.dumps({"error": said}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """A request for vectors. `limit`: cut to so many tokens, -1 to the model's length, None: refuse what is longer."""

    inputs: tuple[str | tuple[int, ...], ...]
    base64: bool
    dimensions: int | None
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A request to rerank."""

    query: str
    documents: tuple[str, ...]
    top: int | None
    returned: bool
    limit: int | None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What the model reads."""
        return [(self.query, document) for document in self.documents]


def read_vectors(body: bytes, most_dimensions: int) -> Vectors:
    """Raises Refused."""
    asked = _object(body)
    given = asked.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and all(_is_token(each) for each in given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise Refused(400, "input must be a text, a list of tokens, or a list of some of either", param="input")
    if len(given) > MOST_INPUTS:
        raise Refused(400, f"input holds {len(given)} inputs; {MOST_INPUTS} are allowed", param="input")
    form = asked.get("encoding_format") or "float"
    if form not in {"float", "base64"}:
        raise Refused(400, "encoding_format must be float or base64", param="encoding_format")
    return Vectors(
        inputs=tuple(_input(each, at) for at, each in enumerate(given)),
        base64=form == "base64",
        dimensions=_number(asked, "dimensions", 1, most_dimensions),
        limit=_limit(asked),
    )


def read_scores(body: bytes) -> Scores:
    """Raises Refused."""
    asked = _object(body)
    query, documents = asked.get("query"), asked.get("documents")
    if not isinstance(query, str):
        raise Refused(400, "query must be a text", param="query")
    if not isinstance(documents, list) or not documents:
        raise Refused(400, "documents must be a list of texts", param="documents")
    if len(documents) > MOST_INPUTS:
        raise Refused(400, f"documents holds {len(documents)}; {MOST_INPUTS} are allowed", param="documents")
    return Scores(
        query=_text(query, "query"),
        documents=tuple(_document(each, at) for at, each in enumerate(documents)),
        top=_number(asked, "top_n", 1, sys.maxsize),
        returned=asked.get("return_documents") is True,
        limit=_limit(asked),
    )


def write_vectors(asked: Vectors, model: str, vectors: Sequence[bytes], tokens: int) -> bytes:
    """The answer; `vectors` are little-endian float32."""
    form = _base64 if asked.base64 else _floats
    data = [{"object": "embedding", "index": at, "embedding": form(vector)} for at, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "model": model, "usage": usage}, separators=(",", ":")).encode()


def write_scores(asked: Scores, model: str, scores: Sequence[float], tokens: int) -> bytes:
    """The answer: the best first, and what is equal as it was sent."""
    order = sorted(range(len(scores)), key=lambda at: -scores[at])[: asked.top]
    results = [
        {"index": at, "relevance_score": scores[at]}
        | ({"document": {"text": asked.documents[at]}} if asked.returned else {})
        for at in order
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    said = {"id": f"rerank-{secrets.token_hex(12)}", "model": model, "results": results, "usage": usage}
    return json.dumps(said, separators=(",", ":")).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the request is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused(400, "the request must be a JSON object")
    return found


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _input(value: object, at: int) -> str | tuple[int, ...]:
    where = f"input[{at}]"
    if isinstance(value, str):
        if not value:
            raise Refused(400, f"{where} is empty", param=where)
        return _text(value, where)
    if isinstance(value, list) and value and all(_is_token(each) for each in value):
        if len(value) > MOST_TOKENS:
            raise Refused(400, f"{where} has {len(value)} tokens; no model takes as many", param=where)
        return tuple(value)
    raise Refused(400, f"{where} must be a text or a list of tokens, which are whole numbers", param=where)


def _document(value: object, at: int) -> str:
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise Refused(400, f"documents[{at}] must be a text, or an object with one", param=f"documents[{at}]")
    return _text(text, f"documents[{at}]")


def _text(value: str, where: str) -> str:
    """JSON can hold halves of characters, which no tokeniser reads."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refused(400, f"{where} is no Unicode text: it holds half a character", param=where) from error
    return value


def _number(asked: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    if not _is_token(value) or not least <= value <= most:
        limit = f" to {most}" if most < sys.maxsize else " on"
        raise Refused(400, f"{name} must be a whole number from {least}{limit}", param=name)
    return int(value)


def _limit(asked: dict[str, Any]) -> int | None:
    value = _number(asked, "truncate_prompt_tokens", -1, sys.maxsize)
    if value == 0:
        raise Refused(400, "truncate_prompt_tokens must be -1, or at least 1", param="truncate_prompt_tokens")
    return value


def _base64(vector: bytes) -> str:
    return base64.b64encode(vector).decode()


def _floats(vector: bytes) -> list[float]:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
