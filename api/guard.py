"""What stands before every request, since there is no login: who may be addressed, and who may change something.

- **Host allow-list.** A web page anywhere can make its own name resolve to this machine's address (DNS rebinding)
  and then talk to it as "same origin". It can't choose the Host header: only private addresses, this machine's own
  names and names given with `--allow-host` are answered.
- **Same origin.** What changes state must not come from another site's page. Browsers say where a request comes
  from; programs such as curl and our own command line say nothing, and are let through.
- **Headers** that forbid pages of ours to run foreign script or to be framed, and **a limit on bodies**.

A plain ASGI middleware: it looks at the head of a request and adds to the head of its answer, so that streams pass
through byte for byte.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import refusal

MAX_BODY: Final = 4 * 2**20
CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
FRIENDLY_SITES: Final = frozenset({"same-origin", "none"})
SHARED: Final = ipaddress.ip_network("100.64.0.0/10")  # what Tailscale and other overlays hand out
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def split_host(text: str) -> tuple[str, str]:
    """Host and port of `name`, `name:port` or `[v6]:port`; the port is empty where none was given."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host.lower(), rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host.lower().rstrip("."), port


class Hosts:
    """The names and addresses under which this machine may be addressed."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        own = socket.gethostname().lower()
        self._names = {"localhost", own, own.partition(".")[0], *(split_host(name)[0] for name in extra)}

    def allow(self, header: str) -> bool:
        """Whether this Host header is one of ours."""
        host, port = split_host(header.strip())
        if port and not port.isdigit():
            return False
        if host in self._names or host.endswith((".localhost", ".local")):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        shared = address.version == 4 and address in SHARED  # noqa: PLR2004  # IPv4
        return address.is_private or address.is_loopback or address.is_link_local or shared


class Guard:
    """Refuses what may not come in; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._host(headers) or self._origin(scope, headers) or self._length(headers)
        if refused is not None:
            await _refuse(scope, send, *refused)
            return
        await self._app(scope, self._limited(receive), _with_headers(send))

    def _host(self, headers: Headers) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if self._hosts.allow(host):
            return None
        message = (
            f"this server does not answer to the name {host[:100]!r}; use its address, "
            f"or start it with `--allow-host {split_host(host)[0][:100]}` if the name is yours"
        )
        return 421, "HostNotAllowed", message

    def _origin(self, scope: Scope, headers: Headers) -> tuple[int, str, str] | None:
        if scope["type"] == "http" and scope["method"] not in CHANGING:
            return None
        message = "this request was made by a page of another site, and it would change something: refused"
        origin = headers.get("origin") or headers.get("referer")
        if origin is not None:
            return None if _same(origin, headers["host"]) else (403, "CrossSite", message)
        if headers.get("sec-fetch-site", "none") not in FRIENDLY_SITES:
            return 403, "CrossSite", message
        return None

    def _length(self, headers: Headers) -> tuple[int, str, str] | None:
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body:
            return 413, "BodyTooLarge", self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"a request's body may have {self._max_body // 2**20} MiB"

    def _limited(self, receive: Receive) -> Receive:
        """The same body, counted: one sent in chunks has no length beforehand."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._max_body:
                    raise HTTPException(413, self._too_large)
            return message

        return counted


def _same(origin: str, host: str) -> bool:
    """Whether an Origin or Referer is this very server; `null` never is."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    usual = {"http": "80", "https": "443"}.get(parts.scheme)
    if usual is None:
        return False
    theirs, ours = split_host(parts.netloc.rpartition("@")[2]), split_host(host.strip())
    return (theirs[0], theirs[1] or usual) == (ours[0], ours[1] or usual)


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return adding


async def _refuse(scope: Scope, send: Send, status: int, reason: str, message: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = json.dumps(refusal(reason, message, field="Host" if status == 421 else None)).encode()  # noqa: PLR2004
    head = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **HEADERS}
    raw = [(name.encode(), value.encode()) for name, value in head.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
