"""What pages of other sites can make a browser send: nothing of it acts, and nothing of it can be read."""

from __future__ import annotations

import itertools

import pytest

from tests.security.conftest import FRIEND
from tests.security.door import Door

CHANGES = [
    ("POST", "/api/workloads/echo/suspend", None),
    ("POST", "/api/workloads/echo/restart", None),
    ("POST", "/api/sparks/s1/drain", None),
    ("POST", "/api/sparks/s1/trust", {"fingerprint": "SHA256:first"}),
    ("PUT", "/api/secrets/planted", {"value": "theirs"}),
    ("DELETE", "/api/secrets/planted", None),
]
ORIGINS = ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", FRIEND, "http://localhost"]
READS = ["/api/status", "/api/secrets", "/api/events?follow=false", "/api/openapi.json", "/", "/nothing"]


@pytest.mark.parametrize(("change", "origin"), list(itertools.product(CHANGES, ORIGINS)))
def test_a_foreign_origin_changes_nothing(untouched: Door, change: tuple, origin: str) -> None:
    method, path, body = change
    answer = untouched.ask(method, path, json=body, headers={"origin": origin})
    assert (answer.status_code, answer.json()["reason"]) == (403, "CrossSite")


@pytest.mark.parametrize(
    "fields",
    [
        ("Origin: OWN", "Origin: http://evil.example"),
        ("Origin: http://evil.example", "Origin: OWN"),
        ("Origin: OWN", "Origin: null"),
        ("Origin: OWN http://evil.example",),
        ("Origin: OWN", "Sec-Fetch-Site: cross-site"),
        ("Referer: http://evil.example/",),
        ("Referer: OWN/", "Referer: http://evil.example/"),
    ],
)
def test_nor_does_one_that_hides_behind_ours(untouched: Door, fields: tuple[str, ...]) -> None:
    given = (field.replace("OWN", untouched.url) for field in fields)
    host = f"Host: 127.0.0.1:{untouched.port}"
    answer = untouched.raw("POST /api/workloads/echo/suspend HTTP/1.1", host, *given)
    assert (answer.status, answer.reason) == (403, "CrossSite")


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "application/json, text/plain",
        "",
    ],
)
@pytest.mark.parametrize("ours", [False, True])
def test_json_sent_as_text_or_as_a_form_is_refused_before_it_is_read(untouched: Door, kind: str, ours: bool) -> None:
    """What a page may send anywhere without being asked. Not even our own may: so no mistake elsewhere opens it."""
    headers = {"origin": untouched.url} if ours else {}
    for path, body in (
        ("/api/plan", b"{}"),
        ("/api/sparks/s1/trust", b'{"fingerprint": "SHA256:first"}'),
        ("/x", b"{"),
    ):
        answer = untouched.ask("POST", path, content=body, headers={"content-type": kind, **headers})
        assert (answer.status_code, answer.json()["reason"]) == (415, "NotJson")
        assert "application/json" in answer.json()["message"]


def test_a_body_that_does_not_say_what_it_is_is_refused(untouched: Door) -> None:
    host = f"Host: 127.0.0.1:{untouched.port}"
    counted = untouched.raw("POST /api/plan HTTP/1.1", host, "Content-Length: 2", body=b"{}")
    chunked = untouched.raw("POST /api/plan HTTP/1.1", host, "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
    assert (counted.status, counted.reason) == (chunked.status, chunked.reason) == (415, "NotJson")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
def test_json_is_read(door: Door, kind: str) -> None:
    answer = door.ask("POST", "/api/plan", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "websocket", "same-origin", ""])
@pytest.mark.parametrize("path", READS)
def test_a_cross_site_fetch_without_an_origin_reads_nothing(door: Door, site: str, mode: str, path: str) -> None:
    """Such as an image, a script or a style sheet of another site's page that is one of our addresses."""
    headers = {"sec-fetch-site": site, **({"sec-fetch-mode": mode} if mode else {})}
    answer = door.ask("GET", path, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (403, "CrossSite")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_cross_site_fetch_without_an_origin_changes_nothing(untouched: Door, site: str, change: tuple) -> None:
    """Nor does a form that is sent by a click: that is a navigation, but it does not only read."""
    method, path, body = change
    for mode in ("navigate", "no-cors", "cors"):
        answer = untouched.ask(method, path, json=body, headers={"sec-fetch-site": site, "sec-fetch-mode": mode})
        assert (answer.status_code, answer.json()["reason"]) == (403, "CrossSite")


def test_a_link_from_another_site_leads_here(door: Door) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "referer": "http://evil.example/"}
    assert door.ask("GET", "/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_no_page_of_another_origin_can_read_the_control_plane(door: Door, wide: Door, method: str, path: str) -> None:
    """Whatever is allowed of the proxies."""
    for each, origin in ((door, FRIEND), (wide, "http://evil.example")):
        asked = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
        answer = each.ask(method, path, headers={"origin": origin, **(asked if method == "OPTIONS" else {})})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("fields", [("Origin: http://evil.example",), ("Sec-Fetch-Site: cross-site",)])
@pytest.mark.parametrize("path", ["/api/events", "/", "/v1/echo"])
def test_a_websocket_of_a_foreign_page_is_refused(door: Door, path: str, fields: tuple[str, ...]) -> None:
    """There is none yet. Its handshake is a GET, which no preflight precedes."""
    handshake = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    answer = door.raw(
        f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{door.port}", "Connection: Upgrade", *handshake, *fields, keep=True
    )
    assert (answer.status, answer.reason) == (403, "CrossSite")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_may(door: Door, site: str) -> None:
    headers = {"origin": door.url, "sec-fetch-site": site, "sec-fetch-mode": "cors"}
    assert door.ask("GET", "/api/status", headers=headers).status_code == 200
    assert door.ask("POST", "/api/plan", headers=headers).status_code == 200
