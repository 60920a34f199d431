"""What stands before every request, since there is no login: who may be addressed, and who may change something.

The rules themselves stand in `rules`.
Every answer gets the headers that forbid pages of ours to run foreign script or to be framed.

A plain ASGI middleware: it looks at the head of a request and adds to the head of its answer, so that streams pass
through byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import refusal
from api.guard.addressed import Hosts
from api.guard.bearer import CHALLENGE, Token
from api.guard.heads import Answer
from api.guard.origins import POLICIES, Origins, Policy
from api.guard.rules import Rules, too_large

FIELDS: Final = {421: "Host", 401: "Authorization", 415: "Content-Type"}


class Guard:
    """Refuses what may not come in; everything else goes on to `app`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        origins: Origins | None = None,
        token: Token | None = None,
        policies: Sequence[Policy] = POLICIES,
    ) -> None:
        self._app = app
        self._rules = Rules(hosts=hosts, origins=origins, token=token, policies=policies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        verdict = self._rules.judge(scope)
        if verdict.preflight:
            await _answer(send, 204, verdict.said)
        elif verdict.refused is not None:
            await _refuse(scope, send, verdict.refused, verdict.said)
        else:
            await self._app(scope, _limited(receive, verdict.policy.max_body), _with_headers(send, verdict.said))


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, counted: one sent in chunks has no length beforehand."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > most:
                raise HTTPException(413, too_large(most))
        return message

    return counted


def _with_headers(send: Send, said: Mapping[str, str]) -> Send:
    """Who may read an answer is decided here alone, whatever the app or an engine behind it says."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.lower().startswith("access-control-")]:
                del headers[name]
            for name, value in said.items():
                if name == "vary":
                    headers.add_vary_header(value)
                elif name.startswith("access-control-"):
                    headers[name] = value
                else:
                    headers.setdefault(name, value)
        await send(message)

    return adding


async def _refuse(scope: Scope, send: Send, refused: Answer, said: Mapping[str, str]) -> None:
    status, reason, message = refused
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = json.dumps(refusal(reason, message, field=FIELDS.get(status))).encode()
    head = {"content-type": "application/json", "connection": "close", **said}
    if status == 401:  # noqa: PLR2004  # Unauthorized
        head["www-authenticate"] = CHALLENGE
    await _answer(send, status, head, body)


async def _answer(send: Send, status: int, head: Mapping[str, str], body: bytes = b"") -> None:
    given = dict(head) if status == 204 else {**head, "content-length": str(len(body))}  # noqa: PLR2004  # No Content
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
