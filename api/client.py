"""The command line's side of the HTTP API. Beside `api.notify` the only one that knows the HTTP library.

What goes wrong becomes one of two exceptions, each with a sentence: nobody answers, or the server refuses.
"""

from __future__ import annotations

import getpass
import json
import random
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from api.guard.bearer import read_token
from api.version import VERSION
from api.watch.patches import NotApplicable, apply

DEFAULT: Final = "http://127.0.0.1:9999"
PATIENCE: Final = 30.0  # seconds
QUIET: Final = 40.0  # seconds without a heartbeat after which a stream counts as dead
RETRY: Final = 2.0  # seconds
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
HTTP_ERROR: Final = 400
TOKEN_FILE: Final = ContextVar[Path | None]("TOKEN_FILE", default=None)  # named once, before the verb


class NoServer(Exception):
    """Nothing that speaks our language answers there."""


class ServerRefused(Exception):
    """The server said no; `body` is its refusal."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("message") or f"the server answered {status}"))
        self.status = status
        self.body = body


class Client:
    """One server. Use as a context manager. `patience`: seconds to wait for an answer.

    What it is asked with is the token in TOKEN_FILE, if one is named. Raises Unusable if that file can't be used.
    """

    def __init__(self, server: str, *, transport: httpx2.BaseTransport | None = None) -> None:
        self.patience = PATIENCE
        self.server = server if "://" in server else f"http://{server}"
        token_file = TOKEN_FILE.get()
        shown = {"authorization": f"Bearer {read_token(token_file)}"} if token_file else {}
        with self._reaching():
            self._http = self._client(transport, shown)

    def _client(self, transport: httpx2.BaseTransport | None, shown: dict[str, str]) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.server,
            timeout=httpx2.Timeout(PATIENCE, connect=5.0),
            headers={"user-agent": f"sparkkeep/{VERSION}", "sparkkeep-actor": _who(), **shown},
            transport=transport,
            trust_env=False,  # a proxy of the internet is no way to a machine in this room
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path. Raises NoServer, ServerRefused."""
        return self._ask("GET", path, query=query)

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Ask for something to be done. Raises NoServer, ServerRefused."""
        return self._ask("POST", path, query=query, body=body)

    def patch(self, path: str, body: Any, **query: Any) -> Any:
        """Ask for a change. Raises NoServer, ServerRefused."""
        return self._ask("PATCH", path, query=query, body=body)

    def delete(self, path: str) -> Any:
        """Ask for something to be ended. Raises NoServer, ServerRefused."""
        return self._ask("DELETE", path, query={})

    def text(self, path: str, **query: Any) -> str:
        """A text, whole. Raises NoServer, ServerRefused."""
        timeout = httpx2.Timeout(self.patience, connect=5.0)
        with self._reaching():
            answer = self._http.get(path, params=_given(query), headers={"accept": "text/plain"}, timeout=timeout)
        _check(answer)
        return answer.text

    def lines(self, path: str, **query: Any) -> Generator[str, None, None]:
        """The lines of a text, as they come. Raises NoServer, ServerRefused."""
        with self._stream(path, query, headers={"accept": "text/plain"}, quiet=None) as answer:
            yield from answer.iter_lines()

    def events(
        self, after: int, *, lost: Callable[[str], None] | None = None, **query: Any
    ) -> Generator[dict[str, Any], None, None]:
        """Every event after `after`, taken up again where a connection broke. Never ends.

        `lost` is told when the server went away; without it that raises NoServer, as it does if it never was there.
        """
        outage = _Outage(lost)
        while True:
            headers = {"accept": "text/event-stream", "last-event-id": str(after)}
            try:
                with self._stream("/api/events", query, headers=headers, quiet=QUIET) as answer:
                    outage.over()
                    for event in _messages(answer.iter_lines()):
                        after = event.get("seq", after)
                        if "reason" in event:
                            yield event
            except ServerRefused as refused:
                if refused.body.get("reason") != "EventsGone":
                    raise
                after = refused.body["latestSeq"]
            except NoServer as error:
                outage.met(error)
                time.sleep(RETRY)

    def watch(self, *, lost: Callable[[str], None] | None = None) -> Generator[dict[str, Any], None, None]:
        """The status, and again whenever it is another one. Never ends; what `lost` is told is as for `events`.

        A connection that broke is taken up where it was, with pauses that grow while nobody answers.
        """
        mark, status, pause, outage = "", None, FIRST_PAUSE, _Outage(lost)
        while True:
            seen = {"last-event-id": mark} if mark else {}
            headers = {"accept": "text/event-stream", **seen}
            try:
                with self._stream("/api/watch", {"events": False}, headers=headers, quiet=QUIET) as answer:
                    outage.over()
                    for kind, at, data in _frames(answer.iter_lines()):
                        mark, pause = at, FIRST_PAUSE
                        if kind in {"status", "patch"}:
                            status = data if kind == "status" else apply(status, data)
                            yield status
            except NotApplicable:
                mark = ""  # from the beginning
            except NoServer as error:
                outage.met(error)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # so that not all come back at once
            pause = min(2 * pause, LONGEST_PAUSE)

    def _ask(self, method: str, path: str, *, query: dict[str, Any], body: Any = None) -> Any:
        timeout = httpx2.Timeout(self.patience, connect=5.0)
        with self._reaching():
            answer = self._http.request(method, path, params=_given(query), json=body, timeout=timeout)
        _check(answer)
        try:
            return answer.json()
        except ValueError as error:
            raise NoServer(f"what answers at {self.server} is not sparkkeep") from error

    @contextmanager
    def _stream(
        self, path: str, query: dict[str, Any], *, headers: dict[str, str], quiet: float | None
    ) -> Iterator[httpx2.Response]:
        timeout = httpx2.Timeout(30.0, connect=5.0, read=quiet)
        with (
            self._reaching(),
            self._http.stream("GET", path, params=_given(query), headers=headers, timeout=timeout) as answer,
        ):
            if answer.status_code >= HTTP_ERROR:
                answer.read()
            _check(answer)
            yield answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            what = (
                f"no sparkkeep answers at {self.server}: start one with `sparkkeep serve`, "
                "or say where it is with --server or SPARKKEEP_SERVER"
            )
            raise NoServer(what) from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise NoServer(f"{self.server} is not an address of a server, such as {DEFAULT}") from error
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            raise NoServer(f"the connection to {self.server} broke: {why}") from error


class _Outage:
    """What is said of a server that went away: once for each time, and only if it was there before."""

    def __init__(self, lost: Callable[[str], None] | None) -> None:
        self._lost = lost
        self._was_there = self._said = False

    def over(self) -> None:
        """It answers."""
        self._was_there, self._said = True, False

    def met(self, error: NoServer) -> None:
        """It does not. Raises that where nobody is to be told, or where it never was there."""
        if self._lost is None or not self._was_there:
            raise error
        if not self._said:
            self._lost(str(error))
        self._said = True


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }


def _check(answer: httpx2.Response) -> None:
    if answer.status_code < HTTP_ERROR:
        return
    body: Any = None
    with suppress(ValueError):
        body = answer.json()
    raise ServerRefused(answer.status_code, body if isinstance(body, dict) else {})


def _messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The objects of an event stream."""
    for _, _, data in _frames(lines):
        if isinstance(data, dict):
            yield data


def _frames(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Name, id and JSON of each message of an event stream; the id is the last one that was said."""
    name, mark, data = "", "", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            mark = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield name, mark, json.loads("\n".join(data))
            name, data = "", []


def _who() -> str:
    """Who asks, for the server's record: user@machine, in ASCII."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}".encode("ascii", "replace").decode()
