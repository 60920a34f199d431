"""Heads on their way: what of a request's a backend gets to see, and what a client sees with its answer."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Final

from api.proxies.calls import Backend, Decision
from api.proxies.head import CHUNKED, GUARDED, HOP, AnswerHead, Head, named

_KEPT_BACK: Final = HOP | {
    *(b"host", b"content-length", b"transfer-encoding", b"trailer", b"expect", b"x-request-id"),
    *(b"authorization", b"cookie", b"x-api-key", b"api-key"),  # shown to us, not to whoever is behind us
    *(b"origin", b"referer"),  # judged by us
}
_HTTPS: Final = 443
_CODING: Final = frozenset({b"accept-encoding"})


def asked_of(
    head: Head, backend: Backend, *, target: bytes, length: int, request_id: bytes, plain: bool = False
) -> bytes:
    """The head of a request to a backend. `plain`: its answer has to be read by us."""
    if length == CHUNKED:
        framed = b"transfer-encoding: chunked\r\n\r\n"
    elif length or b"content-length" in head.names or head.length == CHUNKED:
        framed = b"content-length: %d\r\n\r\n" % length
    else:
        framed = b"\r\n"
    sent = head.sent.get(plain)
    if sent is None:
        sent = head.sent[plain] = _sent(head, plain=plain)
    first = (head.method, b" ", target, b" HTTP/1.1\r\nhost: ", _host(*backend.link), b"\r\nx-request-id: ", request_id)
    return b"".join((*first, b"\r\n", sent, backend.shown, framed))


def _sent(head: Head, *, plain: bool) -> bytes:
    """The lines that go on as they came."""
    hidden = _KEPT_BACK | _CODING if plain else _KEPT_BACK
    if hop := named(head.names.get(b"connection", b"")):
        hidden |= hop
    return b"".join([b"%b:%b\r\n" % field for field in head.fields if field[0].lower() not in hidden])


def told_of(decision: Decision, queued: int, request_id: bytes, said: bytes) -> bytes:
    """What an answer's head says of how it came about, and to browsers."""
    return b"".join(
        (
            said,
            _route(decision.backend.workload, decision.backend.spark, decision.why),
            b"sparkkeep-queued-ms: %d\r\nx-request-id: " % queued,
            request_id,
            b"\r\n",
        )
    )


@lru_cache(maxsize=256)
def _host(host: str, port: int, tls: ssl.SSLContext | None) -> bytes:
    named = f"[{host}]" if ":" in host else host
    return (named if tls is not None and port == _HTTPS else f"{named}:{port}").encode()


@lru_cache(maxsize=256)
def _route(workload: str, spark: str, why: str) -> bytes:
    return b"sparkkeep-backend: %b\r\nsparkkeep-route: %b\r\n" % (_line(f"{workload}@{spark}"), _line(why))


def unsaid(said: bytes, answer: AnswerHead) -> bytes:
    """The lines for browsers without those that the backend says itself."""
    if answer.plain:
        return said
    lines = said.split(b"\r\n")[:-1]
    return b"".join(line + b"\r\n" for line in lines if not _says(answer, line.partition(b":")[0]))


def reframed(answer: AnswerHead) -> bytes:
    """The lines of an answer that pass, without what says how long it is."""
    lines = answer.passed.split(b"\r\n")[:-1]
    lengths = {b"content-length", b"transfer-encoding", b"trailer"}
    return b"".join(line + b"\r\n" for line in lines if line.partition(b":")[0].lower() not in lengths)


def _says(answer: AnswerHead, name: bytes) -> bool:
    return name in GUARDED and name in answer.names


def _line(text: str) -> bytes:
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(c if c.isprintable() else " " for c in text).encode("ascii", "replace")
