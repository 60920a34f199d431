"""Who may be addressed, and who may change something."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.guard.addressed import Hosts
from api.guard.middleware import Guard
from api.guard.origins import Policy

OWN = socket.gethostname().lower()


async def ask(
    method: str = "GET", *, body: list[bytes] | None = None, max_body: int = 100, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """One request through a guard around an app that reads everything and answers in two parts."""
    parts = list(body or [b""])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await send({"type": "http.response.body", "body": b"k"})

    given = {"host": "127.0.0.1:9999", "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": [(k.encode(), v.encode()) for k, v in given.items() if v],
    }
    hosts = Hosts(["keep.example", "lab.example:9999"])
    await Guard(app, hosts=hosts, policies=[Policy(path="", max_body=max_body)])(scope, receive, send)
    head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    text = b"".join(message["body"] for message in sent[1:])
    assert len(sent) == (3 if sent[0]["status"] == 200 else 2), "parts pass through one by one"
    return sent[0]["status"], head, text if sent[0]["status"] == 200 else json.loads(text)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9999",
        "localhost",
        "LOCALHOST:80",
        "app.localhost",
        "[::1]:9999",
        "192.168.1.20:9999",
        "10.1.2.3",
        "172.20.0.1",
        "169.254.1.1",
        "[fe80::1]",
        "[fd00::1]:9999",
        "100.101.102.103",
        "spark-box.local:9999",
        "localhost.",
        OWN,
        f"{OWN}:9999",
        "keep.example",
        "lab.example:1234",
    ],
)
async def test_own_names_and_private_addresses_are_answered(host: str) -> None:
    assert (await ask(host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "8.8.8.8", "127.0.0.1.evil.example", "localhost.evil.example", "evil-local"),
        *("127.0.0.1:9999:1", "localhost:abc", "keep.example.evil.example", "xn--lcalhost-w4a", "[2001:db9::1]"),
        "evil.example\\@localhost",
    ],
)
async def test_other_names_are_not(host: str) -> None:
    status, head, body = await ask(host=host)
    assert status == 421
    assert body["reason"] == "HostNotAllowed"
    assert "--allow-host" in body["message"]
    assert "content-security-policy" in head


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9998"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999.evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999@evil.example"}, 403),
        ({"referer": "http://127.0.0.1:9999/page?x=1"}, 200),
        ({"referer": "http://evil.example/http://127.0.0.1:9999/"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"host": "localhost", "origin": "http://localhost:80"}, 200),
        ({"host": "keep.example", "origin": "https://keep.example"}, 200),
        ({"host": "keep.example", "origin": "http://keep.example:8080"}, 403),
        ({"host": "[::1]:9999", "origin": "http://[::1]:9999"}, 200),
    ],
)
async def test_only_the_same_origin_changes_anything(method: str, headers: dict[str, str], status: int) -> None:
    assert (await ask(method, **headers))[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://127.0.0.1:9999"}, 200),
        ({"referer": "http://evil.example/a-page-with-a-link"}, 200),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, 200),
        ({"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:9999", "sec_fetch_site": "cross-site"}, 403),
    ],
)
async def test_reading_is_for_programs_own_pages_and_links(headers: dict[str, str], status: int) -> None:
    got, head, _ = await ask(**headers)
    assert got == status
    assert head["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in head if name.startswith("access-control-")]


async def test_every_answer_has_the_strict_headers() -> None:
    _, head, _ = await ask()
    assert "default-src 'self'" in head["content-security-policy"]
    assert "frame-ancestors 'none'" in head["content-security-policy"]
    assert head["x-content-type-options"] == "nosniff"
    assert head["referrer-policy"] == "no-referrer"


async def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    status, _, body = await ask("POST", body=[b"x"], content_length="101")
    assert (status, body["reason"]) == (413, "BodyTooLarge")
    assert (await ask("POST", body=[b"x" * 100], content_length="100"))[0] == 200


async def test_a_body_in_chunks_is_counted() -> None:
    from starlette.exceptions import HTTPException

    assert (await ask("POST", body=[b"x" * 60, b"x" * 40]))[0] == 200
    with pytest.raises(HTTPException) as caught:
        await ask("POST", body=[b"x" * 60, b"x" * 41])
    assert caught.value.status_code == 413


async def test_websockets_are_guarded_too() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: object) -> AsyncIterator[None]:
        raise AssertionError("not reached")

    scope = {
        "type": "websocket",
        "path": "/",
        "headers": [(b"host", b"localhost"), (b"origin", b"http://evil.example")],
    }
    await Guard(never, hosts=Hosts())(scope, never, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "CrossSite"}]
