"""Pages of allowed origins may call the proxies and read what they say; pages of others may not."""

from __future__ import annotations

import pytest

from api.folder import Unusable
from api.guard.origins import Origins
from tests.security.conftest import FRIEND, WORD
from tests.security.door import Door

ASKED = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


def vary(answer) -> set[str]:
    return {word.strip().lower() for word in answer.headers.get("vary", "").split(",")}


def test_a_page_of_an_allowed_origin_asks_first_and_may(door: Door) -> None:
    answer = door.ask("OPTIONS", "/v1/echo", headers={"origin": FRIEND, **ASKED})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-lang"
    assert "access-control-allow-credentials" not in answer.headers
    assert "access-control-allow-private-network" not in answer.headers
    assert vary(answer) >= {"origin", "access-control-request-method", "access-control-request-headers"}
    near = door.ask(
        "OPTIONS", "/v1/echo", headers={"origin": FRIEND, "access-control-request-private-network": "true", **ASKED}
    )
    assert near.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_then_it_sends_and_reads(door: Door, method: str) -> None:
    headers = {"origin": FRIEND, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    answer = door.ask(method, "/v1/echo", headers=headers)
    assert (answer.status_code, answer.json()["origin"]) == (200, FRIEND)
    assert answer.headers["access-control-allow-origin"] == FRIEND
    assert "access-control-allow-credentials" not in answer.headers, "whatever an engine behind it claims"
    assert "origin" in vary(answer)


def test_a_refusal_can_be_read_too(door: Door) -> None:
    answer = door.ask("GET", "/v1/nothing", headers={"origin": FRIEND})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, FRIEND)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "null", "https://chat.lan:3000", "http://chat.lan", "http://chat.lan:30000", ""),
        *("http://chat.lan:3000.evil.example", "http://chat.lan:3000@evil.example", "http://x.chat.lan:3000"),
    ],
)
def test_a_page_of_another_origin_may_not(door: Door, origin: str) -> None:
    for method, asked in (("OPTIONS", ASKED), ("GET", {}), ("POST", {})):
        answer = door.ask(method, "/v1/echo", headers={"origin": origin, **asked})
        assert (answer.status_code, answer.json()["reason"]) == (403, "CrossSite"), method
        assert "--allow-origin" in answer.json()["message"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "origin" in vary(answer), "so that no cache gives one page what another may read"


def test_the_claims_of_an_engine_are_not_passed_on(door: Door) -> None:
    answer = door.ask("GET", "/v1/echo")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_with_a_star_every_page_may_but_without_credentials(wide: Door) -> None:
    for origin in ("http://evil.example", "null", FRIEND):
        answer = wide.ask("POST", "/v1/echo", content=b"audio", headers={"origin": origin, "content-type": "audio/wav"})
        assert (answer.status_code, answer.json()["body"]) == (200, "audio")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert wide.ask("OPTIONS", "/v1/echo", headers={"origin": origin, **ASKED}).status_code == 204


def test_names_that_only_begin_like_a_proxy_are_control(wide: Door) -> None:
    for path in ("/v1x/echo", "/V1/echo", "/api/v1/echo", "/%76%31x"):
        answer = wide.ask("POST", path, headers={"origin": "http://evil.example"})
        assert answer.status_code == 403


def test_with_a_token_the_preflight_is_answered_and_the_call_needs_it(locked: Door) -> None:
    assert locked.ask("OPTIONS", "/v1/echo", headers={"origin": FRIEND, **ASKED}).status_code == 204
    without = locked.ask("POST", "/v1/echo", headers={"origin": FRIEND})
    assert (without.status_code, without.headers["access-control-allow-origin"]) == (401, FRIEND)
    shown = locked.ask("POST", "/v1/echo", headers={"origin": FRIEND, "authorization": f"Bearer {WORD}"})
    assert shown.status_code == 200
    assert locked.ask("POST", "/v1/echo", headers={"origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "given", ["chat.lan", "null", "http://", "http://a/b", "ftp://a", "", "http://a b", "http://u@a"]
)
def test_what_is_no_origin_is_refused_at_the_start_in_words(given: str) -> None:
    with pytest.raises(Unusable, match=r"--allow-origin .* is no origin"):
        Origins([given])


def test_an_origin_is_compared_as_browsers_write_it() -> None:
    allowed = Origins(["HTTPS://Chat.Lan:443", "http://[FD00::1]:80"])
    assert allowed.allow("https://chat.lan")
    assert allowed.allow("http://[fd00::1]")
    assert not allowed.allow("http://chat.lan")
    assert not allowed.allow(None)
