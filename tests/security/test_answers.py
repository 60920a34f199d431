"""Every answer, whatever came before it, carries what keeps a browser from running or framing what it should not."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx2
import pytest

from api.routes.page import PAGE
from tests.security.door import Door

ANSWERS = {
    "the page": ("GET", "/", {}, 200),
    "its script": ("GET", "/ui/any/main.js", {}, 200),
    "its style": ("GET", "/ui/any/style.css", {}, 200),
    "data": ("GET", "/api/status", {}, 200),
    "a stream": ("GET", "/api/workloads/echo/logs", {}, 200),
    "a head": ("HEAD", "/", {}, 405),
    "a proxy": ("GET", "/v1/echo", {}, 200),
    "not found": ("GET", "/nothing", {}, 404),
    "no such method": ("PATCH", "/api/status", {}, 405),
    "not valid": ("GET", "/api/events?limit=x", {}, 422),
    "a bad path": ("GET", "/api//status", {}, 400),
    "another site": ("GET", "/api/status", {"origin": "http://evil.example"}, 403),
    "another name": ("GET", "/api/status", {"host": "evil.example"}, 421),
    "not JSON": ("POST", "/api/plan", {"content-type": "text/plain"}, 415),
}


def strict(headers: httpx2.Headers) -> None:
    directives = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert directives["default-src"] == directives["script-src"] == "'self'", "no inline script, nothing from elsewhere"
    assert directives["frame-ancestors"] == directives["object-src"] == directives["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_the_strict_headers(door: Door, name: str) -> None:
    method, path, headers, status = ANSWERS[name]
    answer = door.ask(method, path, headers=headers)
    assert answer.status_code == status
    strict(answer.headers)


def test_even_that_to_a_fault_of_ours(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that something failed, and nothing of what."""

    def broken() -> None:
        raise RuntimeError("s3cret in an exception")

    monkeypatch.setattr(door.stage.context.status, "build", broken)
    answer = door.ask("GET", "/api/status")
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "s3cret" not in answer.text
    strict(answer.headers)


def test_a_refusal_with_a_token_has_them_too(locked: Door) -> None:
    answer = locked.ask("GET", "/api/status")
    assert answer.status_code == 401
    strict(answer.headers)


class Page(HTMLParser):
    """What a browser would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.fetched: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = tag in {"script", "style"} and "src" not in given
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.fetched += [given[name] or "" for name in ("src", "href", "action", "data") if name in given]

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.inline.append(data)


def test_the_page_has_no_inline_script_and_fetches_nothing_from_elsewhere(door: Door) -> None:
    page = Page()
    page.feed(door.ask("GET", "/").text)
    assert page.inline == []
    assert f"/ui/{PAGE.version}/main.js" in page.fetched
    ours = ("/ui/", "#", "data:,")
    assert [where for where in page.fetched if not where.startswith(ours)] == []


@pytest.mark.parametrize("path", [path for path in PAGE.files if path.endswith(".js")])
def test_no_script_makes_markup_of_text_or_asks_anybody_else(path: str) -> None:
    script = PAGE.files[path].plain.decode().replace("http://www.w3.org/2000/svg", "")
    ways = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "http:",
        "https:",
    )
    assert [way for way in ways if way in script] == []
