"""One question and its answer over HTTP/1.1, as bytes: nothing here opens a connection.

Whatever carries the bytes (a forwarded port, the output of curl) feeds them in as they come. The answer is
done at its end, or as soon as enough of it is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import h11

LONGEST: Final = 2**20  # bytes of an answer's body; the vector of a large embedding model takes about 100 kB
JSON: Final = "application/json"


class Garbled(Exception):
    """What came back is not a whole HTTP answer."""


class NoReply(Exception):
    """A request got no answer that can be read, and the message says how. `late`: there was none in time."""

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class NobodyListens(NoReply):
    """Nothing listens at that port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to send. `enough`: bytes of the answer's body that suffice."""

    method: str
    target: str
    body: bytes = b""
    content_type: str = ""
    enough: int = LONGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back. `whole`: the body is all there; names of headers are small."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body, read as JSON; None if it is none."""
        try:
            return json.loads(self.body) if self.whole else None
        except (ValueError, RecursionError):
            return None


def posted(target: str, body: dict[str, Any]) -> Request:
    """A POST of JSON."""
    return Request(method="POST", target=target, body=json.dumps(body).encode(), content_type=JSON)


def headers(request: Request, port: int) -> tuple[tuple[str, str], ...]:
    """The headers of a request to a port of the Spark itself; the server closes the connection afterwards."""
    always = (
        ("Host", f"127.0.0.1:{port}"),
        ("User-Agent", "sparkkeep-probe"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    )
    if request.method == "GET":
        return always
    return (*always, ("Content-Type", request.content_type), ("Content-Length", str(len(request.body))))


@lru_cache(maxsize=4096)
def _head(method: str, target: str, named: tuple[tuple[str, str], ...]) -> h11.Request:
    """The same few questions are asked for ever, and h11 would examine every header of every one of them."""
    return h11.Request(method=method, target=target, headers=list(named))


class Exchange:
    """Send `sent`; then `feed` what comes back until it gives a reply."""

    def __init__(self, request: Request, port: int) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._enough = request.enough
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._heard = False
        parts = [self._http.send(_head(request.method, request.target, headers(request, port)))]
        if request.body:
            parts.append(self._http.send(h11.Data(data=request.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self.sent: Final = b"".join(part for part in parts if part)

    def feed(self, data: bytes) -> Reply | None:
        """Some bytes, none at the end of the stream. The reply when it is done. Raises Garbled."""
        self._heard = self._heard or bool(data)
        try:
            self._http.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            if not self._heard:
                raise Garbled("the connection was closed without an answer") from error
            if self._head is None:
                raise Garbled("the answer is not HTTP") from error
            raise Garbled("the answer broke off in the middle") from error

    def _read(self) -> Reply | None:
        while True:
            event = self._http.next_event()
            match event:
                case h11.Response():
                    self._head = event
                case h11.Data():
                    self._body += event.data
                    if len(self._body) >= self._enough:
                        return self._reply(whole=False)
                case h11.EndOfMessage():
                    return self._reply(whole=True)
                case h11.ConnectionClosed():
                    raise Garbled("the connection was closed without an answer")
                case h11.NEED_DATA | h11.PAUSED:
                    return None

    def _reply(self, *, whole: bool) -> Reply:
        head = self._head
        if head is None:
            raise Garbled("the answer is not HTTP")
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
        return Reply(status=head.status_code, headers=named, body=bytes(self._body), whole=whole)
