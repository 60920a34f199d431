"""What stands between a request for vectors or scores and its model's server, if anything."""

from __future__ import annotations

from typing import Any, Final

from api.proxies.calls import Backend, Field, Refused
from api.proxies.dialects.names import EMBEDDINGS
from api.proxies.embeddings.asked import Wanted, wanted
from api.proxies.embeddings.job import Job, Wrong, read
from api.proxies.embeddings.rerank_asked import PATHS, ranking
from api.proxies.embeddings.scores import Scores, speaks
from api.proxies.embeddings.vectors import Vectors
from api.proxies.embeddings.way import Way, usual

LENIENT: Final = b"sparkkeep-on-error"
"""In which field an app says what becomes of the other inputs when one is wrong."""
ANSWERED: Final = (b"fail", b"skip")


def dividing(path: str, fields: list[Field], body: bytes, backend: Backend) -> Job | None:
    """How a call is asked there; None: as it came."""
    if path != EMBEDDINGS and path not in PATHS:
        return None
    way = backend.way or usual(backend.engine)
    try:
        lenient = _lenient(fields)
        if _packed(fields) or (path == EMBEDDINGS and way.plain and not lenient):
            return None
        try:
            said = read(body)
        except ValueError as error:
            raise Refused(400, "InvalidRequest", f"the body is not valid JSON: {error}") from error
        if path in PATHS:
            asked = ranking(path, said)
            return None if speaks(asked, path, way, len(body)) else Scores(asked, way, _model(said, backend))
        asks = wanted(said, way)
        if not lenient and not _changes(asks, way, len(body)):
            return None
        return Vectors(asks, way, _model(said, backend), lenient=lenient)
    except Refused as refused:
        return Wrong(refused)


def _model(said: dict[str, Any], backend: Backend) -> str:
    """As the server calls it; as the app does, where that is not known."""
    return backend.model or str(said.get("model") or "")


def _changes(asks: Wanted, way: Way, size: int) -> bool:
    """Whether something has to be done, before or behind the server. `size`: bytes of the request."""
    if asks.wrong or way.truncate or asks.prompt or asks.checked is not None:
        return True
    if asks.as_base64 and not way.family.exact:
        return True
    if way.batch is not None and len(asks.inputs) > way.batch:
        return True
    return way.size is not None and size > way.size and len(asks.inputs) > 1


def _lenient(fields: list[Field]) -> bool:
    said = next((value.lower() for name, value in fields if name.lower() == LENIENT), b"fail")
    if said not in ANSWERED:
        name = LENIENT.decode()
        raise Refused(400, "InvalidRequest", f"{name} says nothing known", field=name, allowed=["fail", "skip"])
    return said == b"skip"


def _packed(fields: list[Field]) -> bool:
    """A body that can't be read passes on as it came."""
    return any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in fields)
