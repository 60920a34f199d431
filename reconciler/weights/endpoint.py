"""A hub: which addresses and tokens are fit for use, and questions to its API, asked by the Spark's curl. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from reconciler import shell
from reconciler.weights.cache import assign
from reconciler.weights.program import COMMON

TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")
ENDPOINT: Final = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[A-Za-z0-9._~-]+)*")
ASK_TIMEOUT: Final = 60  # seconds for an answer of the hub's API


class SourceRefused(ValueError):
    """An endpoint or a token that can't be used. The message never has the token in it."""


def check_endpoint(endpoint: str) -> str:
    """`https://host[:port][/path]`, without a slash at its end. Raises SourceRefused."""
    text = endpoint.rstrip("/")
    if len(text) > 300 or not ENDPOINT.fullmatch(text) or ".." in urlsplit(text).path:  # noqa: PLR2004  # a bound
        raise SourceRefused(f"{endpoint!r:.100} is not an endpoint of a hub such as https://huggingface.co")
    return text


def check_token(token: str, endpoint: str) -> str:
    """A token fit for a header, and for this endpoint. Raises SourceRefused."""
    if token and not TOKEN.fullmatch(token):
        raise SourceRefused("the secret `hf` is not a token: it must be letters, digits and ._~+/=- on one line")
    host = urlsplit(endpoint).hostname or ""
    if token and not endpoint.startswith("https:") and host not in {"localhost", "127.0.0.1", "::1"}:
        raise SourceRefused(f"the token is not sent to {endpoint}: that is not encrypted. Use https, or no secret `hf`")
    return token


def origin_of(endpoint: str) -> str:
    """scheme://host:port of an address."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc}"


def header(token: str) -> str:
    """The line of curl's configuration that shows the token; nothing without one."""
    return f'header = "Authorization: Bearer {token}"' if token else ""


def preamble(origin: str, token: str, stall: float) -> list[str]:
    """The assignments and the function that every use of curl needs. `stall`: seconds without bytes."""
    return [
        assign("auth", header(token)),
        assign("origin", origin),
        assign("protocols", "https" if origin.startswith("https:") else "http,https"),
        assign("direct", "" if origin.startswith("https:") else "*"),  # a proxy would see the secret in plain text
        assign("stall", f"{stall:g}"),
        COMMON.strip(),
    ]


def ask(url: str, origin: str, token: str) -> str:
    """A script that prints an answer of the hub's API, headers first. It follows no redirect."""
    argv = ("curl_", "--include", "--suppress-connect-headers", "--max-time", str(ASK_TIMEOUT), "--url", url)
    return "\n".join([*preamble(origin, token, ASK_TIMEOUT), f"printf '%s\\n' \"$auth\" | {shell.join(argv)}"])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the hub's API. Names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


def read_reply(text: str) -> Reply | None:
    """The answer that `ask` printed; None if it is not one."""
    while True:
        head, gap, body = text.replace("\r\n", "\n", text.count("\r\n", 0, 65_536)).partition("\n\n")
        first, *rest = head.split("\n")
        match = re.fullmatch(r"HTTP/[\d.]+ (\d{3})(?: .*)?", first)
        if not match or not gap:
            return None
        if not match[1].startswith("1"):
            pairs = (line.partition(":") for line in rest)
            return Reply(int(match[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}, body)
        text = body
