"""Requests about transcripts that nobody waits for: how far they are, what they gave, and that they are not wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from api.proxies.audio.jobs import PATH, Jobs
from api.proxies.audio.wanted import GRANULARITIES
from api.proxies.calls import Call, Field, Refused
from api.proxies.exchange import Client, Exchange
from api.proxies.gate import Place
from api.proxies.head import Head
from api.proxies.wire import Whole, Wire

JSON: Final = b"application/json"
_RESULT: Final = "result"
_PER_JOB: Final = 2  # parts of an address below the list: its name, and `result`


class AskedJobs(Exchange):
    """One of them, in the place of an `Exchange`."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Jobs, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> None:
        super().__init__(client, wire, head, place, said)
        self._jobs = jobs

    def route(self) -> None:
        """All of it has come."""
        address, path = self.client.address, self.place.path
        self._call = call = Call(method=self.head.method.decode(), path=path, who=address)
        refused: Refused | None = None
        try:
            if self.wire.keys is not None:
                call.who = self.wire.keys.who(self.head.key, address)
        except Refused as turned:
            refused = turned
        self.record = self.wire.observer.begin(call, self.reply.request_id.decode())
        try:
            if refused is not None:
                raise refused
            status, fields, body = self._answered(call)
        except Refused as turned:
            self.refuse(turned)
        else:
            self._own(status, fields, body, "answered")

    def _answered(self, call: Call) -> Whole:
        parts = [part for part in call.path.removeprefix(PATH).split("/") if part]
        if len(parts) > _PER_JOB or parts[1:] not in ([], [_RESULT]):
            raise Refused(404, "NotFound", f"no page {call.path[:200]} here")
        method = "GET" if call.method == "HEAD" else call.method
        ways: dict[str, Callable[[], Whole]] = {"GET": lambda: self._said(call.who, parts)}
        if len(parts) == 1:
            ways["DELETE"] = lambda: _json(dict(self._jobs.delete(self._jobs.named(parts[0], call.who))))
        if method not in ways:
            raise Refused(405, "MethodNotAllowed", f"{call.path} is not asked so", allowed=tuple(ways))
        return ways[method]()

    def _said(self, owner: str, parts: list[str]) -> Whole:
        if not parts:
            return _json({"object": "list", "data": [job.shown() for job in self._jobs.of(owner)]})
        job = self._jobs.named(parts[0], owner)
        if len(parts) == 1:
            return _json(job.shown(), [] if job.over else [(b"retry-after", b"2")])
        kind, body = job.result(*_wanted(self.place.target))
        return 200, [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body


def _json(said: dict[str, Any], more: list[Field] | None = None) -> Whole:
    body = json.dumps(said).encode()
    return 200, [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *(more or [])], body


def _wanted(target: bytes) -> tuple[str, list[str]]:
    """The format, and of what the times are wanted. Raises Refused."""
    asked = parse_qsl(target.partition(b"?")[2].decode("latin-1"))
    form = next((value for name, value in asked if name == "response_format"), "")
    times = [value for name, value in asked if name.removesuffix("[]") == "timestamp_granularities"]
    if bad := next((value for value in times if value not in GRANULARITIES), None):
        name = "timestamp_granularities[]"
        raise Refused(400, "BadValue", f"a granularity is not `{bad[:200]}`", field=name, allowed=GRANULARITIES)
    return form, times
