"""The Spark's curl, for asking its own servers where ports can't be forwarded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from reconciler.practice.engine_texts import ANYWHERE
from reconciler.practice.http_server import Answer, Request

if TYPE_CHECKING:
    from reconciler.practice.shell_io import Io
    from reconciler.practice.shell_run import Shell

VALUED: Final = {
    "--max-time": "-m",
    "--output": "-o",
    "--request": "-X",
    "--header": "-H",
    "--data": "-d",
    "--data-binary": "--data-binary",
    "--noproxy": "--noproxy",
}
SWITCHES: Final = {"--silent": "-s", "--show-error": "-S", "--include": "-i", "--fail": "-f", "--location": "-L"}
WITHOUT_EFFECT: Final = frozenset({"--raw", "--http1.1"})  # what is printed here is never chunked
LETTERS: Final = {switch[1] for switch in SWITCHES.values()}
OWN: Final = frozenset({"127.0.0.1", "localhost", ANYWHERE})
BAD_OPTION, BAD_HOST, REFUSED, FAILED, TOO_LATE = 2, 6, 7, 22, 28


class Serving(Protocol):
    """Whatever listens on a port."""

    async def handle(self, request: Request) -> Answer:
        """Answer a request."""


class Curl:
    """A tool of the Spark's shell."""

    def __init__(self, servers: Mapping[int, Serving], address: str) -> None:
        self._servers = servers
        self._own = OWN | {address}

    async def __call__(self, _shell: Shell, argv: list[str], io: Io) -> int:
        """Fetch one URL."""
        switches: set[str] = set()
        values: dict[str, list[str]] = {}
        urls: list[str] = []
        words = iter(argv[1:])
        for word in words:
            if (short := VALUED.get(word, word)) in VALUED.values():
                values.setdefault(short, []).append(next(words, ""))
            elif set((short := SWITCHES.get(word, word))[1:]) <= LETTERS and short.startswith("-"):
                switches.update("-" + letter for letter in short[1:])
            elif word in WITHOUT_EFFECT:
                continue
            elif word.startswith("-"):
                io.error(f"curl: option {word}: is unknown\ncurl: try 'curl --help' for more information\n")
                return BAD_OPTION
            else:
                urls.append(word)
        seconds = float(values.get("-m", ["600"])[-1])
        try:
            async with asyncio.timeout(seconds):
                status, text = await self._fetch(urls[-1] if urls else "", switches, values, io)
        except TimeoutError:
            status, text = (
                TOO_LATE,
                f"Operation timed out after {seconds * 1000:.0f} milliseconds with 0 bytes received",
            )
        if status and ("-s" not in switches or "-S" in switches):
            io.error(f"curl: ({status}) {text}\n")
        return status

    async def _fetch(self, url: str, switches: set[str], values: Mapping[str, list[str]], io: Io) -> tuple[int, str]:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or 80
        if host not in self._own:
            return BAD_HOST, f"Could not resolve host: {host}"
        server = self._servers.get(port)
        if server is None:
            return REFUSED, f"Failed to connect to {host} port {port} after 0 ms: Couldn't connect to server"
        given = values.get("--data-binary", values.get("-d", [""]))[-1]
        body = await io.stdin.read() if given == "@-" else given.encode()
        method = values.get("-X", ["POST" if {"-d", "--data-binary"} & values.keys() else "GET"])[-1]
        headers = {k.strip().lower(): v.strip() for k, _, v in (h.partition(":") for h in values.get("-H", []))}
        asked = Request(method, parts.path or "/", dict(parse_qsl(parts.query)), headers, body)
        answer = await server.handle(asked)
        if "-f" in switches and answer.status >= HTTPStatus.BAD_REQUEST:
            return FAILED, f"The requested URL returned error: {answer.status}"
        if "-i" in switches:
            shown = {"content-type": answer.content_type, **answer.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
            io.out(f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n{lines}\r\n")
        if isinstance(answer.body, bytes):
            io.stdout.write(answer.body)
        else:
            async for part in answer.body:
                io.stdout.write(part)
        return 0, ""
