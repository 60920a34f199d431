"""The command line's side of the HTTP API. The only module that knows the HTTP library.

What goes wrong becomes one of two exceptions, each with a sentence: nobody answers, or the server refuses.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

import httpx2

from api.version import VERSION

DEFAULT: Final = "http://127.0.0.1:9999"
QUIET: Final = 40.0  # seconds without a heartbeat after which a stream counts as dead
RETRY: Final = 2.0  # seconds
HTTP_ERROR: Final = 400


class NoServer(Exception):
    """Nothing that speaks our language answers there."""


class ServerRefused(Exception):
    """The server said no; `body` is its refusal."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("message") or f"the server answered {status}"))
        self.status = status
        self.body = body


class Client:
    """One server. Use as a context manager."""

    def __init__(self, server: str, *, transport: httpx2.BaseTransport | None = None) -> None:
        self.server = server if "://" in server else f"http://{server}"
        with self._reaching():
            self._http = self._client(transport)

    def _client(self, transport: httpx2.BaseTransport | None) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.server,
            timeout=httpx2.Timeout(30.0, connect=5.0),
            headers={"user-agent": f"sparkkeep/{VERSION}", "sparkkeep-actor": _who()},
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
        there = said = False
        while True:
            headers = {"accept": "text/event-stream", "last-event-id": str(after)}
            try:
                with self._stream("/api/events", query, headers=headers, quiet=QUIET) as answer:
                    there, said = True, False
                    for event in _messages(answer.iter_lines()):
                        after = event.get("seq", after)
                        if "reason" in event:
                            yield event
            except ServerRefused as refused:
                if refused.body.get("reason") != "EventsGone":
                    raise
                after = refused.body["latestSeq"]
            except NoServer as error:
                if lost is None or not there:
                    raise
                if not said:
                    lost(str(error))
                said = True
                time.sleep(RETRY)

    def _ask(self, method: str, path: str, *, query: dict[str, Any], body: Any = None) -> Any:
        with self._reaching():
            answer = self._http.request(method, path, params=_given(query), json=body)
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
    """The JSON of each message of an event stream."""
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            message = json.loads("\n".join(data))
            data = []
            if isinstance(message, dict):
                yield message


def _who() -> str:
    """Who asks, for the server's record: user@machine, in ASCII."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}".encode("ascii", "replace").decode()
