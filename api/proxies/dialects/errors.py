"""Errors in the dialect of whoever asked: what we refuse, what breaks in the middle of a stream, what a backend says.

One place for all three, so that an SDK raises the class that it would raise against its own service. Beside what the
dialect wants stands our reason (`code`), for people and for scripts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from api.proxies.calls import Field, Refused
from api.proxies.dialects import sse
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import Dialect

LONGEST_MESSAGE: Final = 4000
"""Characters of a backend's error that are passed on: some answer with a whole page."""

OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
BAD_REQUEST: Final = 400
INTERNAL: Final = 500
HIGHEST: Final = 599


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong, before it is said in a dialect. `param`: the field of the request that is to blame."""

    status: int
    code: str
    message: str
    param: str | None = None

    @classmethod
    def of(cls, refused: Refused) -> Trouble:
        """What was refused; what is allowed instead belongs to the sentence, since no dialect has a place for it."""
        message = refused.message
        if refused.allowed:
            message = f"{message} (allowed: {', '.join(refused.allowed)})"
        return cls(status=refused.status, code=refused.reason, message=message, param=refused.field)


def kind(dialect: Dialect, status: int) -> str:
    """The dialect's own word for a status."""
    table, other = OPENAI_TYPES, "server_error"
    if dialect is Dialect.ANTHROPIC:
        table, other = ANTHROPIC_TYPES, "api_error"
    return table.get(status, other if status >= INTERNAL else "invalid_request_error")


def shaped(dialect: Dialect, trouble: Trouble) -> dict[str, Any]:
    """The body of an error answer."""
    match dialect:
        case Dialect.OLLAMA:
            return {"error": trouble.message, "code": trouble.code}
        case Dialect.ANTHROPIC:
            said = {"type": kind(dialect, trouble.status), "message": trouble.message, "code": trouble.code}
            return {"type": "error", "error": said | ({"param": trouble.param} if trouble.param else {})}
    return {
        "error": {
            "message": trouble.message,
            "type": kind(dialect, trouble.status),
            "param": trouble.param,
            "code": trouble.code,
        }
    }


def answer(dialect: Dialect, refused: Refused) -> tuple[int, list[Field], bytes]:
    """A refusal as an answer: status, its own header fields, body."""
    body = dumps(shaped(dialect, Trouble.of(refused)))
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refused.retry_after is not None:
        fields.append((b"retry-after", b"%d" % max(1, math.ceil(refused.retry_after))))
    return refused.status, fields, body


def event(dialect: Dialect, trouble: Trouble, *, sequence: int = 0) -> bytes:
    """A stream's last word: what broke it. In Ollama's dialect a line, elsewhere a server-sent event."""
    match dialect:
        case Dialect.OLLAMA:
            return dumps(shaped(dialect, trouble)) + b"\n"
        case Dialect.ANTHROPIC:
            return sse.written(dumps(shaped(dialect, trouble)), "error")
        case Dialect.RESPONSES:
            said = {"type": "error", "code": trouble.code, "message": trouble.message, "param": trouble.param}
            return sse.written(dumps({**said, "sequence_number": sequence}), "error")
    return sse.written(dumps(shaped(dialect, trouble)))


def heard(status: int, body: bytes) -> Trouble:
    """A backend's error, out of any of the shapes that servers give it: OpenAI's, vLLM's older one, FastAPI's, text."""
    try:
        said = loads(body)
    except ValueError:
        return Trouble(status=status, code="BackendError", message=_shortened(body.decode(errors="replace"), status))
    return heard_object(status, said)


def heard_object(status: int, said: object) -> Trouble:
    """The same, from what was read already: an event of a stream."""
    inner = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(inner, dict):
        status = status if status >= BAD_REQUEST else INTERNAL
        return Trouble(status=status, code="BackendError", message=_shortened(_text(inner), status))
    code = inner.get("code")
    if status < BAD_REQUEST and isinstance(code, int) and BAD_REQUEST <= code <= HIGHEST:
        status = code  # an error inside an answer that had begun as a success
    param = inner.get("param")
    return Trouble(
        status=status if status >= BAD_REQUEST else INTERNAL,
        code=code if isinstance(code, str) and code else "BackendError",
        message=_shortened(_text(inner.get("message") or inner.get("detail") or ""), status),
        param=param if isinstance(param, str) else None,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _shortened(message: str, status: int) -> str:
    message = message.strip()
    if not message:
        return f"the model's server answered with status {status} and said nothing"
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} …"
