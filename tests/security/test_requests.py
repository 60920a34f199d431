"""Requests that no honest client sends, byte for byte: refused, or harmless, and the server goes on."""

from __future__ import annotations

import posixpath
import socket
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.guard.heads import fault
from tests.security.door import Door

MIB = 2**20


def host(door: Door) -> str:
    return f"Host: 127.0.0.1:{door.port}"


@pytest.fixture(autouse=True)
def alive(untouched: Door):
    """Whatever it was: nothing was done by it, and the next is answered."""
    yield
    assert untouched.get("/healthz").status == 200


# Names


def every_operation(door: Door) -> list[tuple[str, str]]:
    paths = door.ask("GET", "/api/openapi.json").json()["paths"]
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, methods in paths.items()
        for method in methods
    ]


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:9999", "8.8.8.8", "127.0.0.1.evil.example", "evil-local"]
)
def test_a_name_that_leads_here_is_not_ours(door: Door, name: str) -> None:
    """DNS rebinding: the page's own name resolves to our address, so that it is of the same origin as we are."""
    operations = every_operation(door)
    assert len(operations) > 30
    for method, path in [*operations, ("GET", "/"), ("GET", "/ui/any/main.js"), ("POST", "/v1/echo")]:
        answer = door.raw(f"{method} {path} HTTP/1.1", f"Host: {name}", f"Origin: http://{name}")
        assert (answer.status, answer.reason) == (421, "HostNotAllowed"), (method, path)


@pytest.mark.parametrize(
    "fields",
    [
        ("Host: 127.0.0.1", "Host: evil.example"),
        ("Host: evil.example", "Host: 127.0.0.1"),
        ("Host: 127.0.0.1", "Host: 127.0.0.1"),
        ("Host: 127.0.0.1 evil.example",),
        ("Host: 127.0.0.1, evil.example",),
        ("Host : 127.0.0.1",),
        ("Host: 127.0.0.1\tx",),
        ("Host: localhost@evil.example",),
        ("Host: evil.example#@localhost",),
        ("X-Forwarded-Host: 127.0.0.1", "Host: evil.example"),
        ("Host:",),
        (),
    ],
)
def test_a_host_that_can_be_read_in_two_ways_is_refused(door: Door, fields: tuple[str, ...]) -> None:
    assert door.raw("GET /api/status HTTP/1.1", *fields).status in {400, 421}


def test_an_old_client_without_host_is_refused(door: Door) -> None:
    assert door.raw("GET /api/status HTTP/1.0").status == 421


# Targets


@pytest.mark.parametrize(
    "target",
    [
        *("//api/status", "/api//status", "/api/status//", "/./api/status", "/api/../api/status", "/x/../api/status"),
        *("/%2e%2e/api/status", "/x/%2e%2e/api/status", "/x/.%2E/api/status", "/v1/../api/status"),
        *("/v1/%2e%2e/api/status", "/v1/..%2fapi/status", "/healthz/../api/status", "/ui/any/..%2f..%2fetc/passwd"),
        *(
            "/api%2fstatus",
            "/api%2Fstatus",
            "/api%5cstatus",
            "/api\\status",
            "/api/status%00",
            "/%00",
            "/api/status%0a",
        ),
        *(
            "/api/status%0d%0aX-Injected:%20yes",
            "/api/workloads/a%2f..%2fecho/why",
            "/api/status%7f",
            "/api/status%c2%85",
        ),
        *(
            "http://evil.example/api/status",
            "http://127.0.0.1/api/status",
            "//evil.example/api/status",
            "api/status",
            "*",
        ),
        *("/ui/any/../../guard.py", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc%5cpasswd", "?", "/?x=" + "a" * 9000),
        "/" + "a" * 9000,
    ],
)
def test_a_path_that_two_could_read_in_two_ways_leads_nowhere(door: Door, target: str) -> None:
    for method in ("GET", "POST"):
        answer = door.raw(f"{method} {target} HTTP/1.1", host(door))
        assert answer.status in {400, 404, 414}, answer.data[:200]
        assert b"workloads" not in answer.body
        assert not [name for name, _ in answer.head if name == "x-injected"]


@pytest.mark.parametrize(
    "target", ["/api/status/", "/api/status;x", "/api/status%2500", "/api/%2573tatus", "/API/status"]
)
def test_a_path_that_is_merely_another_leads_nowhere(door: Door, target: str) -> None:
    assert door.get(target).status in {307, 404}


def test_connect_is_not_for_us(door: Door) -> None:
    assert door.raw("CONNECT evil.example:443 HTTP/1.1", host(door)).status in {400, 403, 404, 405}


def test_a_model_may_have_an_encoded_slash_in_its_name(door: Door) -> None:
    """It reaches what is below /v1, which has no such route here."""
    assert door.get("/v1/models/Qwen%2FQwen3-8B").status == 404


PIECES = st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2E%2e", "%2f", "%5c", "%00", "%0a", "a", "api", "v1", "%25", "\\"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), st.booleans())
def test_a_path_that_passes_is_its_own_shortest_form(target: str, slashes: bool) -> None:
    """So whoever reads it next, a proxy or a file system, goes nowhere else than the policies looked at."""
    path = unquote(target)
    scope = {"path": path, "raw_path": target.encode(), "headers": []}
    if fault(scope, slashes=slashes) is None:
        assert path.isprintable()
        assert posixpath.normpath(path) == (path.rstrip("/") or "/")


# Measure


@pytest.mark.parametrize("path", ["/api/plan", "/api/secrets/planted", "/healthz", "/nothing"])
def test_a_body_that_says_it_is_too_large_is_refused_unread(door: Door, path: str) -> None:
    for length in (4 * MIB + 1, 10**15):
        answer = door.raw(
            f"PUT {path} HTTP/1.1", host(door), "Content-Type: application/json", f"Content-Length: {length}"
        )
        assert (answer.status, answer.reason) == (413, "BodyTooLarge")


def test_a_body_that_grows_too_large_is_cut_off(door: Door) -> None:
    """One sent in chunks says no length. Nor is it kept: the server reads no further than it has to."""
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as connection:
        head = ("POST /api/plan HTTP/1.1", host(door), "Content-Type: application/json", "Transfer-Encoding: chunked")
        connection.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode() + piece * 63)
        sent = 63
        try:
            while sent < 4000:
                connection.sendall(piece)
                sent += 1
        except (ConnectionError, TimeoutError):
            pass
        else:
            raise AssertionError("all of it was taken")
    assert sent * 0x10000 < 64 * MIB


def test_a_body_at_the_limit_is_read(door: Door) -> None:
    body = b'{"file": "' + b"x" * (4 * MIB - 12) + b'"}'
    answer = door.ask("POST", "/api/plan", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, "read, and too long a name for a file"
    assert b"xxxx" not in answer.content


def test_a_deep_body_is_refused_in_words(door: Door) -> None:
    answer = door.ask("POST", "/api/plan", content=b"[" * 200_000, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "fields",
    [
        tuple(f"X-{number}: x" for number in range(101)),
        ("X: " + "x" * 40_000,),
        tuple(f"X-{number}: {'x' * 1000}" for number in range(40)),
    ],
)
def test_a_head_without_measure_is_refused(door: Door, fields: tuple[str, ...]) -> None:
    answer = door.get("/api/status", *fields)
    assert (answer.status, answer.reason) == (431, "HeadTooLarge")
    assert len(answer.data) < 2000


def test_a_head_that_never_ends_is_cut_off(door: Door) -> None:
    answer = door.raw("GET / HTTP/1.1", host(door), "X: " + "x" * 200_000)
    assert answer.status in {0, 400}


@pytest.mark.parametrize("length", ["-1", "+1", "1, 2", "0x10", "1e3", "9" * 19, "9" * 5000, "1 1"])
def test_a_length_that_is_none_is_refused(door: Door, length: str) -> None:
    answer = door.raw("POST /api/plan HTTP/1.1", host(door), f"Content-Length: {length}")
    assert answer.status in {0, 400, 413}


# Two readers


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 4", "Content-Length: 5"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: identity",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding : chunked",),
        (" Folded: yes",),
        ("X: a\rb",),
        (b"X: a\x00b",),
        (b"X\x00: a",),
        ("no colon",),
        ("X Y: a",),
    ],
)
def test_a_head_that_two_could_read_in_two_ways_is_refused(door: Door, fields: tuple[str, ...]) -> None:
    answer = door.raw("POST /api/workloads/echo/suspend HTTP/1.1", host(door), *fields, body=b"0\r\n\r\n")
    assert answer.status in {400, 421, 501}


def test_no_second_request_hides_in_the_first(door: Door) -> None:
    """With both a length and chunks, what follows the last chunk is either a request of its own or nothing."""
    hidden = b"POST /api/workloads/echo/suspend HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    answer = door.raw(
        *("POST /api/plan HTTP/1.1", host(door), "Content-Type: application/json"),
        *("Content-Length: 6", "Transfer-Encoding: chunked"),
        body=b"0\r\n\r\n" + hidden,
    )
    assert answer.data.count(b"HTTP/1.1 ") == 1


# What we repeat


@pytest.mark.parametrize(
    "target", ["/api/workloads/{}/why", "/api/sparks/{}/hostkey", "/api/events?since=0&workload={}", "/{}"]
)
@pytest.mark.parametrize(
    "name",
    [
        "a%0d%0aX-Injected:%20yes",
        "a%0aX-Injected:%20yes",
        "%E5%98%8A%E5%98%8DX-Injected:%20yes",
        "<script>",
        "%3Cscript%3E",
    ],
)
def test_a_name_that_we_repeat_adds_no_header_and_no_line(door: Door, target: str, name: str) -> None:
    before = len(door.heard.lines)
    answer = door.get(target.format(name))
    assert answer.status in {200, 400, 404}
    assert not [field for field, _ in answer.head if field == "x-injected"]
    kinds = [value for field, value in answer.head if field == "content-type"]
    assert kinds == ["application/json"], "which no browser takes for a page"
    assert not [line for line in door.heard.lines[before:] if line.startswith("X-Injected")]


@pytest.mark.parametrize("said", ["ann\x1b[2J", "ann\x07", "ann\x85x", "a" * 201, "<img src=x>"])
def test_who_asks_may_say_anything_of_itself(door: Door, said: str) -> None:
    """It is kept for the record, without what moves a cursor; nothing is decided by it."""
    answer = door.raw("DELETE /api/secrets/none HTTP/1.1", host(door), f"Sparkkeep-Actor: {said}".encode())
    assert answer.status in {400, 404, 422}
    assert not [line for line in door.heard.lines if "\x1b" in line or "\x07" in line]


def test_an_origin_that_we_repeat_is_one_that_is_allowed(door: Door) -> None:
    odd = "Origin: http://chat.lan:3000/\tX-Injected: yes"
    answer = door.get("/v1/echo", odd)
    assert not [field for field, _ in answer.head if field == "x-injected"]
