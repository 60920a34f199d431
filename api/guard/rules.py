"""The rules that stand before every request, as one function: refused, a preflight to be answered, or let in.

In this order: a head that can be read in one way only (`heads`), a Host that is ours (`addressed`), an origin that may
(`origins`), the bearer token if one is asked for (`bearer`), a body of a kind and size that fits. The API's middleware
and the data path ask the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from api.guard import heads, origins
from api.guard.addressed import Hosts, split_host
from api.guard.bearer import Token
from api.guard.heads import Answer
from api.guard.origins import POLICIES, READING, Origins, Policy, policy_of

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self'; require-trusted-types-for 'script'; "
        "img-src 'self' data:; media-src 'self' data:; "  # the tab's icon, and what a model says
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
ASKED: Final = "access-control-request-method, access-control-request-headers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a request. `said`: the headers of its answer, whatever that is."""

    policy: Policy
    said: Mapping[str, str]
    refused: Answer | None = None
    preflight: bool = False


class Rules:
    """What one server holds requests to."""

    def __init__(
        self,
        *,
        hosts: Hosts,
        origins: Origins | None = None,
        token: Token | None = None,
        policies: Sequence[Policy] = POLICIES,
    ) -> None:
        self._hosts = hosts
        self._origins = origins or Origins()
        self._token = token
        self._policies = policies

    def judge(self, scope: Scope) -> Verdict:
        """What becomes of a request with this head."""
        headers = Headers(scope=scope)
        method = scope.get("method", "WEBSOCKET")  # which opens a way in both directions: no mere reading
        policy = policy_of(scope["path"], self._policies)
        refused = heads.fault(scope, slashes=policy.slashes) or self._host(headers)
        said = dict(HEADERS) if refused else HEADERS | self._cors(policy, headers)
        refused = refused or self._origin(policy, method, headers)
        if refused is None and policy.shared and origins.is_preflight(method, headers):
            said |= origins.preflight(headers) | {"vary": f"origin, {ASKED}"}
            return Verdict(policy=policy, said=said, preflight=True)
        refused = refused or self.bearer(policy, headers.getlist("authorization")) or _body(policy, method, headers)
        return Verdict(policy=policy, said=said, refused=refused)

    def _host(self, headers: Headers) -> Answer | None:
        host = headers.get("host", "")
        if self._hosts.allow(host):
            return None
        message = (
            f"this server does not answer to the name {host[:100]!r}; use its address, "
            f"or start it with `--allow-host {split_host(host)[0][:100]}` if the name is yours"
        )
        return 421, "HostNotAllowed", message

    def _cors(self, policy: Policy, headers: Headers) -> dict[str, str]:
        """What of it depends on who asks. Without it no page of another origin can read an answer."""
        if not policy.shared:
            return {}
        said = {"vary": "origin"}
        given = headers.getlist("origin")
        return said | (self._origins.headers(given[0]) if len(given) == 1 and self._origins.allow(given[0]) else {})

    def _origin(self, policy: Policy, method: str, headers: Headers) -> Answer | None:
        if not origins.is_foreign(method, headers):
            return None
        given = headers.getlist("origin")
        if policy.shared and len(given) < 2 and self._origins.allow(given[0] if given else None):  # noqa: PLR2004  # two
            return None
        if policy.shared:
            name = given[0][:100] if given and origins.normal(given[0]) else "ORIGIN"
            message = f"a page of another site asks; if it is yours, start sparkkeep with `--allow-origin {name}`"
        elif method in READING:
            message = "this request was made by a page of another site, which may not read this: refused"
        else:
            message = "this request was made by a page of another site, and it would change something: refused"
        return 403, "CrossSite", message

    def bearer(self, policy: Policy, authorization: Sequence[str]) -> Answer | None:
        """What is wrong with these Authorization headers."""
        if self._token is None or policy.open or self._token.shown_in(authorization):
            return None
        message = (
            "this server asks for a token: send `Authorization: Bearer TOKEN`; "
            "`sparkkeep` reads it from the file named by --token-file or SPARKKEEP_TOKEN_FILE"
        )
        return 401, "TokenNeeded", message


def _body(policy: Policy, method: str, headers: Headers) -> Answer | None:
    """A page may send a form or plain text anywhere without being asked; JSON it may not. So a body is JSON."""
    if int(headers.get("content-length", "0")) > policy.max_body:
        return 413, "BodyTooLarge", too_large(policy.max_body)
    if policy.media_types is None or method in READING:
        return None
    given = origins.media_type(headers)
    if policy.media_types.fullmatch(given):
        return None
    if given or "content-type" in headers or _has_body(headers):
        shown = f"this is {given[:100]}" if given else "this does not say what it is"
        return 415, "NotJson", f"a body is JSON here, sent with `Content-Type: application/json`; {shown}"
    return None


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or int(headers.get("content-length", "0")) > 0


def too_large(most: int) -> str:
    """The sentence of a 413."""
    return f"a request's body may have {most // 2**20} MiB"
