"""How the API says no: one shape for every refusal, and always a sentence that helps.

`{"reason": CamelCase, "message": sentence, "field": dotted path or null, "allowed": [...]}`, sometimes with more keys
(the new plan of a 409, the problems of a 422). Whoever wrote the request should be able to put it right from that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from reconciler.linkdown import LinkDown
from state.problems import Invalid, dotted

log = logging.getLogger("sparkkeep.api")

SHOWN_NAMES: Final = 100
WHERE: Final = frozenset({"body", "query", "path", "header"})


class Refusal(BaseModel):
    """Why a request was refused."""

    reason: str = Field(examples=["NoSuchWorkload"])
    message: str = Field(examples=["no workload is named `qwem`; did you mean `qwen`?"])
    field: str | None
    allowed: list[str] = Field(examples=[["embeddings", "qwen"]])


class ProblemShape(BaseModel):
    """One thing that is wrong with a desired state; line and column count from 1, 0 is the file as a whole."""

    file: str
    line: int
    column: int
    field: str
    message: str
    allowed: list[str]
    text: str = Field(description="all of it as one sentence")


class InvalidDocument(Refusal):
    """A request that is not valid, or all that is wrong with the desired state in it."""

    problems: list[ProblemShape] = []


class Refused(Exception):
    """The request can't be done; `extra` stands beside the usual keys of the answer."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        field: str | None = None,
        allowed: Iterable[str] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = refusal(reason, message, field=field, allowed=allowed) | dict(extra or {})


def refusal(reason: str, message: str, *, field: str | None = None, allowed: Iterable[str] = ()) -> dict[str, Any]:
    """The body of a refusal."""
    return {"reason": reason, "message": message, "field": field, "allowed": list(allowed)[:SHOWN_NAMES]}


def no_such(kind: str, name: str, names: Iterable[str]) -> Refused:
    """404 for a name that is not there, with those that are."""
    known = sorted(names)
    close = get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(f'`{found}`' for found in close)}?" if close else ""
    shown = name if len(name) <= 64 else f"{name[:63]}…"  # noqa: PLR2004  # longer than any name may be
    reason = f"NoSuch{''.join(word.capitalize() for word in kind.split())}"
    return Refused(404, reason, f"no {kind} is named `{shown}`{hint}", field="name", allowed=known)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the refusals of a route."""
    return {status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in statuses}


def install(app: FastAPI) -> None:
    """Let every error of the app leave it in the one shape."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(Invalid, _invalid)
    app.add_exception_handler(LinkDown, _link_down)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)  # noqa: S101  # what it was registered for
    return JSONResponse(error.body, error.status)


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Invalid)  # noqa: S101  # what it was registered for
    first = error.problems[0]
    count = len(error.problems)
    message = str(first) if count == 1 else f"{count} problems; the first: {first}"
    body = refusal("Invalid", message, field=first.field or None, allowed=first.allowed)
    return JSONResponse(body | {"problems": [problem.as_dict() for problem in error.problems]}, 422)


def _link_down(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LinkDown)  # noqa: S101  # what it was registered for
    return JSONResponse(refusal(error.reason, error.message), 503)


def _not_valid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what it was registered for
    found = [(dotted(part for part in e["loc"] if part not in WHERE), e) for e in error.errors()]
    field, first = found[0]
    allowed = [str(first["ctx"]["expected"])] if "expected" in first.get("ctx", {}) else []
    message = "; ".join(f"{where}: {e['msg']}" if where else str(e["msg"]) for where, e in found[:20])
    return JSONResponse(refusal("InvalidRequest", message, field=field or None, allowed=allowed), 422)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # what it was registered for
    phrase = HTTPStatus(error.status_code).phrase
    message = str(error.detail) if error.detail != phrase else f"{phrase}: {request.method} {request.url.path}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = f"there is nothing at {request.url.path}; GET /api/openapi.json lists what there is"
    return JSONResponse(refusal(phrase.title().replace(" ", ""), message), error.status_code, error.headers)


def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse(refusal("InternalError", "sparkkeep failed on this request; its log says how"), 500)
