"""The guard of the data path: the rules of `api.guard`, asked in full once, and for what is known good not again.

Programs send the same address and the same Host again and again, and none of the headers by which browsers say whose
page asks. For those the answer is kept; everything else goes the long way each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

from starlette.types import Scope

from api.guard.origins import OLLAMA, RERANK, policy_of
from api.guard.rules import HEADERS, Rules, Verdict
from api.proxies.dialects.names import EMBEDDINGS, Dialect, dialect_of
from api.proxies.head import Head

LOCAL: Final = frozenset({"/api/ps", "/api/show", "/api/tags", "/api/version", "/v1/models"})
"""Answered by ourselves, and by no backend."""
REDACT: Final = "/redact"
_MASKED: Final = b"/redact/v1/"
_ALONE: Final = frozenset(path.encode() for path in (*OLLAMA, *RERANK))
_TRANSLATED: Final = frozenset(
    {*("/api/chat", "/api/embed", "/api/generate", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses")}
)
_DIVIDED: Final = frozenset({EMBEDDINGS, "/v1/rerank", *RERANK})
"""Of which one request may be asked in several (`embeddings`)."""
_STREAMS_UNASKED: Final = frozenset({"/api/chat", "/api/generate"})
_BROWSERS: Final = frozenset({b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode"})
_REMEMBERED: Final = 1000
_LONGEST: Final = 200  # bytes of a target or Host that is remembered


class Place:
    """An address of the data path. `passed`: nothing is wrong with it. `whole`: not every backend takes it as it comes.

    `divided`: not at once. `model`: the one that its query names, for calls without a body. `under`: what stands before
    its path where words are masked, and nothing of a query goes on.
    """

    __slots__ = (
        *("dialect", "divided", "local", "model", "passed", "path", "policy", "streams", "target", "under", "whole"),
    )

    def __init__(self, target: bytes, raw_path: bytes) -> None:
        masked = raw_path.startswith(_MASKED)
        self.under = REDACT if masked else ""
        self.target = raw_path.removeprefix(REDACT.encode()) if masked else target
        self.path = unquote(raw_path.decode("ascii")).removeprefix(self.under)
        self.dialect: Dialect = dialect_of(self.path)
        self.local = self.path in LOCAL or self.path.startswith("/v1/models/")
        self.streams = self.path in _STREAMS_UNASKED
        self.divided = self.path in _DIVIDED
        self.whole = self.divided or self.path in _TRANSLATED
        self.policy = policy_of(self.under + self.path)
        self.passed = False
        self.model = next(
            (value for name, value in parse_qsl(target.partition(b"?")[2].decode("latin-1")) if name == "model"), ""
        )


class Turned(Exception):
    """A request that goes no further. `preflight`: it asked only whether it may."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


class Gate:
    """Of one server."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._places: dict[bytes, Place | None] = {}
        self._hosts: set[bytes] = set()
        self._plain = lines({**HEADERS, "vary": "origin"})

    def place(self, target: bytes) -> Place | None:
        """The address of the data path that this is; None: it is the API's."""
        try:
            return self._places[target]
        except KeyError:
            raw, _, _ = target.partition(b"?")
            ours = raw.startswith((b"/v1/", _MASKED)) or raw == b"/v1" or raw in _ALONE
            place = Place(target, raw) if ours else None
            if len(target) <= _LONGEST:
                if len(self._places) >= _REMEMBERED:
                    self._places.clear()
                self._places[target] = place
            return place

    def admit(self, head: Head, place: Place) -> bytes:
        """The lines that its answer carries for browsers. Raises Turned."""
        if head.admitted is self and head.length <= place.policy.max_body:
            return self._plain
        names = head.names
        if (
            place.passed
            and names.get(b"host") in self._hosts
            and _BROWSERS.isdisjoint(names)
            and head.length <= place.policy.max_body
            and (b"authorization" not in names or len(names) == len(head.fields))
            and self._rules.bearer(place.policy, _authorization(names)) is None
        ):
            head.admitted = self  # and so is every head that is the same but for its length
            return self._plain
        verdict = self._rules.judge(_scope(head, place))
        if verdict.preflight or verdict.refused is not None:
            raise Turned(verdict)
        place.passed = True
        host = names.get(b"host", b"")
        if len(host) <= _LONGEST:
            if len(self._hosts) >= _REMEMBERED:
                self._hosts.clear()
            self._hosts.add(host)
        return self._plain if _BROWSERS.isdisjoint(names) else lines(verdict.said)


def lines(said: Mapping[str, str]) -> bytes:
    """As they stand in a head."""
    return "".join(f"{name}: {value}\r\n" for name, value in said.items()).encode("latin-1")


def _authorization(names: Mapping[bytes, bytes]) -> list[str]:
    said = names.get(b"authorization")
    return [] if said is None else [said.decode("latin-1")]


def _scope(head: Head, place: Place) -> Scope:
    raw, _, query = head.target.partition(b"?")
    return {
        "type": "http",
        "method": head.method.decode(),
        "path": place.under + place.path,
        "raw_path": raw,
        "query_string": query,
        "headers": [(name.lower(), value.strip(b" \t")) for name, value in head.fields],
    }
