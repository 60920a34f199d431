"""Configuration for other proxies, made of what answers now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import PlainTextResponse, Response

from api.context import Context, Ctx
from api.errors import Refused, answers
from api.proxies.render.haproxy import haproxy
from api.proxies.render.nginx import nginx
from api.proxies.render.ready_site import site
from api.proxies.render.site import ADDRESS, LISTEN, Site
from api.proxies.routing.ready import Ready
from state.fields import text

router = APIRouter(prefix="/api/render", tags=["models"])

ProxyName = Literal["haproxy", "nginx"]
RENDERERS: Final[Mapping[ProxyName, Callable[[Site], str]]] = {"haproxy": haproxy, "nginx": nginx}
DIGITS: Final = 16
LONGEST_WAIT: Final = 60.0
LOOK: Final = 1.0  # seconds: settings ring no bell
KEYS: Final = "Keys are asked for, and only sparkkeep knows them."
TOKEN: Final = "A token is asked for, and only sparkkeep knows it."  # noqa: S105  # no token, a sentence about one
EXAMPLE: Final = "# The way to sparkkeep's models, for haproxy. Made by `sparkkeep render haproxy`, ..."

Address = Annotated[
    str, text(ADDRESS, "HOST:PORT, :PORT or [V6]:PORT, such as 127.0.0.1:8080: letters, digits and .-:", longest=300)
]


@router.get(
    "/{proxy}",
    summary="A configuration for HAProxy or nginx",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": EXAMPLE}}},
        204: {"description": "It is still the text of `unless`"},
        **answers(503),
    },
)
async def render(
    context: Ctx,
    request: Request,
    proxy: Annotated[ProxyName, Path(description="for which")],
    listen: Annotated[Address, Query(description="where the proxy listens")] = LISTEN,
    keeper: Annotated[
        Address | None, Query(description="where it finds sparkkeep; left out: where this call found it")
    ] = None,
    by_body: Annotated[
        bool, Query(alias="byBody", description="HAProxy also reads the model's name in the body, at /v1")
    ] = False,
    unless: Annotated[
        str | None,
        Query(pattern=f"^[0-9a-f]{{{DIGITS}}}$", description="the first 16 digits of the SHA-256 of a text one has"),
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False, description="seconds to wait for another text")
    ] = 0,
) -> Response:
    """The way to sparkkeep and, past it, to the instances that answer now of models that always run. With `unless` and
    `wait` it answers as soon as there is another text, or 204.
    """  # noqa: D205
    if context.fleet is None:
        raise Refused(503, "NoProxies", "this server has no address for apps")
    ready, found = context.fleet.ready, keeper or _found_at(request)

    def now() -> str:
        closed = _closed(context, token=request.app.state.token_asked)
        target = context.loop.target().instances
        asked = site(ready.offers, target, keeper=found, listen=listen, by_body=by_body, closed=closed)
        return RENDERERS[proxy](asked)

    made = await _other(context, ready, now, unless, monotonic() + wait)
    return Response(status_code=204) if made is None else PlainTextResponse(made)


async def _other(
    context: Context, ready: Ready, now: Callable[[], str], unless: str | None, until: float
) -> str | None:
    """The text as soon as it is another one; None if it is not by then."""
    with ready.bell.subscribe() as bell:
        while digest(made := now()) == unless:
            left = until - monotonic()
            if left <= 0 or context.closing.is_set():
                return None
            await bell.wait(min(left, LOOK))
    return made


def digest(text: str) -> str:
    """By which a text is told from another."""
    return sha256(text.encode()).hexdigest()[:DIGITS]


def _closed(context: Context, *, token: bool) -> str:
    if context.app_keys is not None and context.app_keys.wanted:
        return KEYS
    return TOKEN if token else ""


def _found_at(request: Request) -> str:
    """As this call addressed us, which the guard has let pass."""
    host = request.url.hostname or "127.0.0.1"
    return f"{f'[{host}]' if ':' in host else host}:{request.url.port or 80}"
