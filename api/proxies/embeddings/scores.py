"""One rerank, asked in its server's words and in as many parts as that wants; joined by score, in the app's words.

A score is about the query and one document, so parts can be scored apart.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any, Final

from api.proxies.calls import Refused
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.json_text import dumps
from api.proxies.embeddings.job import WRONG, Counted, Part, read
from api.proxies.embeddings.rerank_asked import BARE, RERANK, Ranking
from api.proxies.embeddings.split import parts
from api.proxies.embeddings.way import Way

CUTTING: Final = ("truncate", "truncation_direction")
"""TEI's words."""


def speaks(asked: Ranking, path: str, way: Way, size: int) -> bool:
    """Whether its server takes this request as it came: in these words, at this page, and that much (`size` bytes)."""
    if way.truncate or not asked.plain or (way.batch is not None and len(asked.texts) > way.batch):
        return False
    if way.size is not None and size > way.size and len(asked.texts) > 1:
        return False
    match way.server:
        case "vllm":
            return asked.form != "tei"
        case "tei":
            return asked.form == "tei" and path == BARE
        case "llamacpp":
            return asked.form == "common"
        case "infinity":
            return asked.form == "common" and path == BARE
        case "other":
            return asked.form == "common" and path == RERANK
    return False


def _sizes(asked: Ranking, way: Way) -> list[int]:
    return [len(dumps(text)) + 1 for text in asked.texts] if way.size is not None else [0] * len(asked.texts)


class Scores:
    """`job.Job`. `model`: as the server calls it."""

    def __init__(self, asked: Ranking, way: Way, model: str) -> None:
        self.parallel = way.parallel
        self._asked = asked
        self._way = way
        self._model = model
        self._scores: list[float | None] = [None] * len(asked.texts)
        self._counted = Counted()

    # What is asked.

    def first(self) -> list[Part]:
        """Runs of documents that the server takes at a time."""
        way, size = self._way, self._way.size
        if self._asked.raw and way.family.style not in {"tei", "nim"} and way.server != "infinity":
            message = f"the model's server ({way.server}) has no other scores than it gives"
            raise Refused(400, "NoRawScores", message, field="raw_scores")
        if size is not None:
            size = max(1, size - len(self._body([])))
        path = way.family.page
        return [Part(path, run) for run in parts(_sizes(self._asked, way), way.batch, size)]

    def body(self, part: Part) -> bytes:
        """These documents, in the server's words."""
        return self._body([self._asked.texts[at] for at in part.inputs])

    def _body(self, texts: list[str]) -> bytes:
        asked, way = self._asked, self._way
        cut = {"truncate": True} if asked.rest.get("truncate") is True or way.truncate else {}
        match way.family.style:
            case "tei":
                raw = {} if asked.raw is None else {"raw_scores": asked.raw}
                ours = {"query": asked.query, "texts": texts, **raw, **cut}
                return dumps({**_of(asked.rest, *CUTTING), **ours})
            case "sglang":
                return dumps({"model": self._model, "query": asked.query, "documents": texts})
            case "nim":
                passages = [{"text": text} for text in texts]
                ranked = {"model": self._model, "query": {"text": asked.query}, "passages": passages}
                return dumps({**ranked, "truncate": "END"} if cut else ranked)
        rest = {name: value for name, value in asked.rest.items() if name not in CUTTING}
        if cut and way.server in {"vllm", "spark_embed"}:
            rest.setdefault("truncate_prompt_tokens", -1)
        if way.server == "infinity" and asked.raw is not None:
            rest["raw_scores"] = asked.raw
        return dumps({**rest, "model": self._model, "query": asked.query, "documents": texts})

    # What is answered.

    def answered(self, part: Part, names: Mapping[bytes, bytes], body: bytes) -> None:
        """Its scores, each in its place."""
        said = read(body)
        self._counted.add(said, names)
        seen = set[int]()
        for at, score in _scores(said, raw=self._asked.raw is True):
            if not 0 <= at < len(part.inputs) or at in seen:
                raise ValueError("its scores are not numbered as the documents were")
            seen.add(at)
            self._scores[part.inputs[at]] = score
        if len(seen) != len(part.inputs):
            raise ValueError(f"it answered {len(part.inputs)} documents with {len(seen)} scores")

    def refused(self, part: Part, trouble: Trouble) -> list[Part]:
        """Says of which documents."""
        run, name = part.inputs, "texts" if self._asked.form == "tei" else "documents"
        param, message = trouble.param, trouble.message
        if trouble.status in WRONG and len(run) < len(self._scores):
            place = f"{name}[{run.start}]" if len(run) == 1 else f"one of {name}[{run.start}] to {name}[{run.stop - 1}]"
            param, message = f"{name}[{run.start}]" if len(run) == 1 else name, f"{place}: {message}"
        raise Refused(trouble.status, trouble.code, message, field=param)

    def whole(self) -> bytes:
        """All of them by score; what is equal stays in the app's order."""
        asked = self._asked
        each = sorted((-(score or 0.0), at) for at, score in enumerate(self._scores))
        ranked = [(at, -score) for score, at in each[: asked.top]]
        if asked.form == "tei":
            return dumps([{"index": at, "score": score, **self._shown(at, tei=True)} for at, score in ranked])
        results = [{"index": at, "relevance_score": score, **self._shown(at)} for at, score in ranked]
        found: dict[str, Any] = {"id": f"rerank-{uuid.uuid4().hex}", "results": results}
        usage = {"usage": self._counted.usage} if self._counted.known else {}
        if asked.form == "cohere2":
            tokens = {"tokens": {"input_tokens": self._counted.prompt}} if usage else {}
            return dumps({**found, "meta": {"api_version": {"version": "2"}, **tokens}, **usage})
        return dumps({**found, "object": "list", "model": self._model, **usage})

    def _shown(self, at: int, *, tei: bool = False) -> dict[str, Any]:
        if not self._asked.shown:
            return {}
        return {"text": self._asked.texts[at]} if tei else {"document": self._asked.documents[at]}


def _of(rest: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: rest[name] for name in names if name in rest}


def _scores(said: Any, *, raw: bool) -> list[tuple[int, float]]:
    """An answer's, each with its place: in any of the words in which servers say them. Raises ValueError."""
    listed = said
    if isinstance(said, dict):
        listed = next((said[name] for name in ("results", "rankings", "data") if name in said), None)
    if not isinstance(listed, list):
        raise ValueError("its answer has no scores")  # noqa: TRY004  # the server's mistake, not the program's
    return [_score(entry, raw=raw) for entry in listed]


def _score(entry: Any, *, raw: bool) -> tuple[int, float]:
    if isinstance(entry, dict) and type(entry.get("index")) is int:
        logit = entry.get("logit")
        if isinstance(logit, (int, float)):
            return entry["index"], float(logit) if raw else _squashed(logit)
        score = entry.get("relevance_score", entry.get("score"))
        if isinstance(score, (int, float)):
            return entry["index"], float(score)
    raise ValueError("its answer has an entry without a place or a score")


def _squashed(logit: float) -> float:
    """Between 0 and 1, as other servers say it."""
    if logit > 0:
        return 1 / (1 + math.exp(-logit))
    power = math.exp(max(logit, -700.0))
    return power / (1 + power)
