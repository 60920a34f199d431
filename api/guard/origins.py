"""What pages of which origin may call, as data: one policy for each part of the address space.

The control plane (everything that no other policy names) belongs to its own pages alone. The proxies are for apps, so
pages of the origins given with `--allow-origin` may call them and read the answers (CORS, without credentials).
Browsers say where a request comes from; programs such as curl and our own command line say nothing, and are let
through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from api.folder import Unusable
from api.guard.addressed import split_host

READING: Final = frozenset({"GET", "HEAD"})
FRIENDLY_SITES: Final = frozenset({"same-origin", "none"})
ANY: Final = "*"
USUAL_PORTS: Final = {"http": "80", "https": "443"}
FIELD_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
SHOWN: Final = 64  # names of headers in a preflight's answer
REMEMBERED: Final = "600"  # seconds
JSON: Final = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)")
DOCUMENT: Final = re.compile(rf"{JSON.pattern}|application/(?:x-)?yaml")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What holds at `path` and, unless it is `alone`, below it."""

    path: str
    alone: bool = False
    shared: bool = False
    """Whether pages of allowed origins may call it."""
    open: bool = False
    """Whether it is answered without the bearer token."""
    media_types: re.Pattern[str] | None = JSON
    """What a body may be; None: anything. No form and no plain text, which any page may send unasked."""
    max_body: int = 4 * 2**20
    slashes: bool = False
    """Whether a name in the path may hold an encoded slash, such as a model's."""


CONTROL: Final = Policy(path="")
OLLAMA: Final = tuple(f"/api/{name}" for name in ("chat", "embed", "generate", "ps", "show", "tags", "version"))
"""What Ollama's programs ask for: proxies too, though they stand where the control plane does."""
RERANK: Final = ("/rerank", "/v2/rerank")
"""Where Cohere's second version and TEI's programs ask for a rerank."""
POLICIES: Final = (
    Policy(path="/v1", shared=True, slashes=True, media_types=None, max_body=512 * 2**20),
    *(
        Policy(path=path, alone=True, shared=True, media_types=None, max_body=512 * 2**20)
        for path in (*OLLAMA, *RERANK)
    ),
    Policy(path="/api/desired", alone=True, media_types=DOCUMENT),
    Policy(path="/redact", shared=True, slashes=True, media_types=None, max_body=32 * 2**20),
    *(Policy(path=path, alone=True, open=True) for path in ("/healthz", "/readyz", "/")),
    Policy(path="/ui", open=True),
)


def policy_of(path: str, policies: Sequence[Policy] = POLICIES) -> Policy:
    """The first policy that names this path or one above it."""
    found = (p for p in policies if path == p.path or (not p.alone and path.startswith(f"{p.path}/")))
    return next(found, CONTROL)


class Origins:
    """The origins whose pages may call the proxies."""

    def __init__(self, given: Iterable[str] = ()) -> None:
        """Raises Unusable for what is no origin."""
        texts = tuple(given)
        self._any = ANY in texts
        self._allowed = {_checked(text) for text in texts if text != ANY}

    def allow(self, origin: str | None) -> bool:
        """Whether a page of this origin may; None where the browser does not say which it is."""
        return self._any or (origin is not None and normal(origin) in self._allowed)

    def headers(self, origin: str) -> dict[str, str]:
        """What lets a page of an allowed origin read the answer."""
        return {
            "access-control-allow-origin": ANY if self._any else origin,
            "access-control-expose-headers": ANY,
        }


def preflight(headers: Headers) -> dict[str, str]:
    """The further headers that answer an allowed origin's question in advance."""
    wanted = (name.strip() for name in headers.get("access-control-request-headers", "").split(","))
    names = [name for name in wanted if FIELD_NAME.fullmatch(name)][:SHOWN]
    said = {"access-control-allow-methods": "GET, HEAD, POST, DELETE", "access-control-max-age": REMEMBERED}
    if names:
        said["access-control-allow-headers"] = ", ".join(names)
    if headers.get("access-control-request-private-network") == "true":
        said["access-control-allow-private-network"] = "true"
    return said


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks, on behalf of a page, if that may send something."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def is_foreign(method: str, headers: Headers) -> bool:
    """Whether a page of another origin is behind a request, as far as its browser says.

    Following a link from elsewhere is none of its doing: a navigation that reads is let through.
    """
    host = headers["host"]
    changing = method not in READING
    said = headers.getlist("origin") or (headers.getlist("referer") if changing else [])
    if any(not same(origin, host) for origin in said):
        return True
    if headers.get("sec-fetch-site", "none") in FRIENDLY_SITES:
        return False
    return changing or headers.get("sec-fetch-mode") != "navigate"


def normal(origin: str) -> tuple[str, str, str] | None:
    """Scheme, host and port of an origin, or of an address; None for what has none, such as `null`."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    usual = USUAL_PORTS.get(parts.scheme)
    host, port = split_host(parts.netloc.rpartition("@")[2])
    return (parts.scheme, host, port or usual) if usual and host else None


def same(origin: str, host: str) -> bool:
    """Whether an Origin or Referer is this very server: what Host says, whether or not TLS ends before us."""
    theirs, ours = normal(origin), split_host(host.strip())
    return theirs is not None and theirs[1:] == (ours[0], ours[1] or USUAL_PORTS[theirs[0]])


def _checked(text: str) -> tuple[str, str, str]:
    found = normal(text)
    if found is None or not re.fullmatch(r"https?://[^/?#@\s]+", text, re.IGNORECASE):
        raise Unusable(
            f"--allow-origin {text[:100]!r} is no origin: give a scheme, a name and perhaps a port, "
            "such as https://chat.lan or http://192.168.1.20:3000, or * for every page"
        )
    return found


def media_type(headers: Mapping[str, str]) -> str:
    """What a body is, without its parameters; empty where nothing is said."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()
