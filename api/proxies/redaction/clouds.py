"""Services outside that redacted requests may go to: which one a model's name means, and how it is asked.

Its key is read from the secrets when it is needed, and stands in nothing but the request's head. What our clients show
us of theirs goes nowhere.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

from api.proxies.calls import Backend, Call, Decision, Refused
from api.proxies.dialects.names import COUNT_TOKENS, MESSAGES
from state.redaction import CloudTarget
from state.secrets import SecretRefused

OUTSIDE: Final = "outside"
_PORTS: Final = {"https": 443, "http": 80}
_ANTHROPIC: Final = frozenset({MESSAGES, COUNT_TOKENS})


class Clouds:
    """All that are declared."""

    def __init__(self, targets: Callable[[], Sequence[CloudTarget]], secret: Callable[[str], str]) -> None:
        self._targets = targets
        self._secret = secret
        self._trusted: dict[str | None, ssl.SSLContext] = {}

    def named(self, model: str) -> tuple[CloudTarget, str] | None:
        """Who is meant by a model's name, and the name there. One target may be said: `openai/gpt-5.2`."""
        targets = self._targets()
        where, _, named = model.partition("/")
        for target in targets:
            if target.name == where and named in target.models:
                return target, named
        return next(((target, model) for target in targets if model in target.models), None)

    def models(self) -> list[tuple[str, str]]:
        """Every name that may be asked for, with its target's."""
        return [(model, target.name) for target in self._targets() for model in target.models]

    def asked(self, target: CloudTarget, model: str, path: str) -> Outside:
        """The way there. Raises Refused."""
        if target.speaks == "anthropic" and path not in _ANTHROPIC:
            message = f"{target.name} speaks Anthropic's dialect only: ask /redact/v1/messages"
            raise Refused(400, "CannotTranslate", message, field="model")
        parts = urlsplit(target.url)
        backend = Backend(
            workload=target.name,
            spark=OUTSIDE,
            host=parts.hostname or "",
            port=parts.port or _PORTS[parts.scheme],
            model=model,
            engine=target.speaks,
            base=parts.path,
            tls=self._context(target) if parts.scheme == "https" else None,
            shown=self._key(target),
        )
        return Outside(Decision(backend, f"{target.name} is asked, without what is private"))

    def _key(self, target: CloudTarget) -> bytes:
        if target.secret is None:
            return b""
        try:
            key = self._secret(target.secret).encode("ascii")
        except (SecretRefused, UnicodeEncodeError) as error:
            why = str(error) if isinstance(error, SecretRefused) else f"the secret {target.secret} is no key"
            raise Refused(503, "KeyMissing", f"{target.name} can't be asked: {why}", retry_after=30) from None
        if target.speaks == "anthropic":
            return b"x-api-key: %b\r\n" % key
        return b"authorization: Bearer %b\r\n" % key

    def _context(self, target: CloudTarget) -> ssl.SSLContext:
        """Certificates are always looked at; made once, as reading all authorities takes its time."""
        found = self._trusted.get(target.authority)
        if found is None:
            try:
                found = ssl.create_default_context(cafile=target.authority)
            except OSError as error:
                message = f"the authority of {target.name} can't be read: {error.strerror or 'it is no certificate'}"
                raise Refused(503, "NoAuthority", message) from None
            found.minimum_version = ssl.TLSVersion.TLSv1_2
            self._trusted[target.authority] = found
        return found


class Outside:
    """The way of one request to one of them (`calls.Routing`)."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision:
        """There; nobody else may be asked instead."""
        del call
        if without:
            raise Refused(502, "BackendFailed", f"{self._decision.backend.workload} did not answer", retry_after=2)
        return self._decision

    def began(self, decision: Decision) -> None:
        """Nobody counts there."""

    def ended(self, decision: Decision, *, answered: bool) -> None:
        """As above."""
