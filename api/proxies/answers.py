"""Answers that we give ourselves: refusals, what needs no backend, and the beginning of a stream that has to wait."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from api.errors import refusal
from api.guard.bearer import CHALLENGE
from api.guard.heads import Answer
from api.proxies.calls import Field, Refused
from api.proxies.dialects import errors
from api.proxies.dialects.names import Dialect

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
UNAUTHORIZED: Final = 401
NO_CONTENT: Final = 204
STREAM: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-accel-buffering: no\r\ntransfer-encoding: chunked\r\n"
)
JSON: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n"
)
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b""))


def fields_lines(fields: list[Field]) -> bytes:
    """As they stand in a head."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def control(answer: Answer) -> tuple[int, list[Field], bytes]:
    """A refusal as the API says it."""
    status, reason, message = answer
    body = json.dumps(refusal(reason, message)).encode()
    return status, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body


def refused(dialect: Dialect, why: Refused) -> tuple[int, list[Field], bytes]:
    """A refusal in the dialect of whoever asked."""
    status, fields, body = errors.answer(dialect, why)
    if status == UNAUTHORIZED:
        fields.append((b"www-authenticate", CHALLENGE.encode()))
    return status, fields, body


def comment(text: str) -> bytes:
    """A line of an event stream that no program takes for an event."""
    return b": %b\n\n" % " ".join(text.split()).encode()
