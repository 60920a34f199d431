"""What an app asks of a rerank, in the words of Cohere (both versions), Jina, vLLM or TEI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from api.proxies.calls import Refused
from api.proxies.embeddings.job import invalid

RERANK: Final = "/v1/rerank"
RERANK_2: Final = "/v2/rerank"
BARE: Final = "/rerank"
PATHS: Final = frozenset({RERANK, RERANK_2, BARE})
MOST: Final = 100_000
"""Documents in one request."""

Form = Literal["common", "cohere2", "tei"]
TOP: Final = "top_n"
FIELDS: Final = {  # in what is answered, and not in what is asked of each part
    "common": (TOP, "return_documents", "rank_fields", "raw_scores", "documents", "query", "model"),
    "tei": ("return_text", "raw_scores", "texts", "query", "model"),
}


@dataclass(slots=True, kw_only=True)
class Ranking:
    """`texts`: the documents as they are scored; `documents`: as they are answered. `raw`: scores of any size."""

    form: Form
    query: str
    texts: list[str]
    documents: list[dict[str, Any]]
    top: int | None
    shown: bool
    raw: bool | None
    rest: dict[str, Any]
    plain: bool
    """Whether every document is a text."""


def ranking(path: str, said: object) -> Ranking:
    """Raises Refused for what is wrong with it."""
    if not isinstance(said, dict):
        raise invalid("body", "must be an object")
    rest = {name: value for name, value in said.items() if value is not None}
    tei = "texts" in rest and "documents" not in rest
    form: Form = "tei" if tei else "cohere2" if path == RERANK_2 else "common"
    name = "texts" if tei else "documents"
    query, given = _needed(rest, "query"), _needed(rest, name)
    if not isinstance(query, str):
        raise invalid("query", "must be a text")
    if not isinstance(given, list) or not given:
        raise invalid(name, "must be a list of texts")
    if len(given) > MOST:
        raise invalid(name, f"has {len(given)} entries; one request may have {MOST}")
    fields = _names(rest.get("rank_fields"))
    texts = [_text(one, f"{name}[{at}]", fields) for at, one in enumerate(given)]
    found = Ranking(
        form=form,
        query=query,
        texts=texts,
        documents=[one if isinstance(one, dict) else {"text": one} for one in given],
        top=_top(rest),
        shown=_flag(rest, "return_text" if tei else "return_documents") or False,
        raw=_flag(rest, "raw_scores"),
        rest={},
        plain=all(isinstance(one, str) for one in given),
    )
    ours = FIELDS["tei" if tei else "common"]
    found.rest = {field: value for field, value in rest.items() if field not in ours}
    return found


def _needed(rest: dict[str, Any], name: str) -> Any:
    if name not in rest:
        raise invalid(name, "is missing")
    return rest[name]


def _names(given: object) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise invalid("rank_fields", "must be a list of fields' names")
    return given


def _text(one: object, place: str, fields: list[str]) -> str:
    """A document as it is scored: a text, the text of an object, or those of its fields that are named."""
    if isinstance(one, str):
        return one
    if isinstance(one, dict):
        if fields and all(name in one for name in fields):
            return "\n".join(f"{name}: {one[name]}" for name in fields) if len(fields) > 1 else str(one[fields[0]])
        if not fields and isinstance(one.get("text"), str):
            return str(one["text"])
    raise Refused(400, "InvalidRequest", f"{place} must be a text, or an object with one", field=place)


def _top(rest: dict[str, Any]) -> int | None:
    top = rest.get(TOP)
    if top is not None and (type(top) is not int or top < 1):
        raise invalid(TOP, "must be a whole number, at least 1")
    return top


def _flag(rest: dict[str, Any], name: str) -> bool | None:
    found = rest.get(name)
    if found is not None and not isinstance(found, bool):
        raise invalid(name, "must be true or false")
    return found
