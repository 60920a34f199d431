"""The API of the redaction gateway: preview, redact and restore by hand, sessions of somebody, and the self-test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI

from api import errors
from api.context import Context
from api.proxies.calls import Refused
from api.proxies.redaction.finds import DetectorBusy, DetectorDown, Find
from api.proxies.redaction.gateway import Gateway
from api.routes import redaction
from tests.unit.api.proxies.redaction.parts import PATTERNS, Finder, gateway

WORDS = "Anna Schmidt (anna@example.com)"


class Keys:
    """Each key is a name; none is refused."""

    def who(self, key: str, address: str) -> str:
        if not key:
            raise Refused(401, "KeyNeeded", "this address asks for a key")
        return key


@asynccontextmanager
async def asked(masks: Gateway | None, keys: Keys | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False})
    app.include_router(redaction.router)
    errors.install(app)
    nothing: Any = None
    app.state.context = Context(loop=nothing, status=nothing, redaction=masks, app_keys=cast("Any", keys))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://keeper") as client:
        yield client


async def test_a_preview_of_a_text() -> None:
    async with asked(gateway(Finder())) as client:
        got = (await client.post("/api/redact/preview", json={"text": WORDS})).json()
    assert got["text"] == "[PERSON_1] ([EMAIL_1])"
    assert got["counts"] == {"EMAIL": 1, "PERSON": 1}
    assert got["spans"] == [
        {"start": 0, "end": 12, "type": "PERSON", "score": 1.0, "placeholder": "[PERSON_1]", "field": None},
        {"start": 14, "end": 30, "type": "EMAIL", "score": 1.0, "placeholder": "[EMAIL_1]", "field": None},
    ]


async def test_spans_count_code_points() -> None:
    async with asked(gateway(Finder())) as client:
        got = (await client.post("/api/redact/preview", json={"text": "👩‍🚀é Anna"})).json()
    [span] = got["spans"]
    assert "👩‍🚀é Anna"[span["start"] : span["end"]] == "Anna"


async def test_a_preview_of_a_request() -> None:
    messages = [
        {"role": "system", "content": "for Anna"},
        {"role": "user", "content": [{"type": "text", "text": WORDS}]},
    ]
    async with asked(gateway(Finder(), "m")) as client:
        body = {"model": "m", "user": "anna@example.com", "messages": messages}
        got = (await client.post("/api/redact/preview", json={"body": body})).json()
        refused = await client.post("/api/redact/preview", json={"body": {"input": [1, 2]}, "path": "/v1/embeddings"})
        nowhere = await client.post("/api/redact/preview", json={"body": body, "path": "/v1/files"})
    assert got["body"]["user"] == "[EMAIL_1]"
    assert [span["field"] for span in got["spans"]] == [
        "user", "messages[0].content", "messages[1].content[0].text", "messages[1].content[0].text",
    ]  # fmt: skip
    assert got["body"]["messages"][0]["content"].startswith("for [PERSON_1]\n\nPrivate details")
    assert (refused.status_code, refused.json()["reason"], refused.json()["field"]) == (422, "NotRedacted", "input")
    assert (nowhere.status_code, nowhere.json()["allowed"][0]) == (404, "/v1/chat/completions")


@pytest.mark.parametrize("body", [{}, {"text": "a", "body": {}}, {"text": 1}, {"text": "a", "more": 1}])
async def test_a_request_that_is_none(body: dict[str, Any]) -> None:
    async with asked(gateway(Finder())) as client:
        got = await client.post("/api/redact/preview", json=body)
    assert got.status_code == 422
    assert got.json()["reason"] == "InvalidRequest"


async def test_there_and_back_by_hand() -> None:
    async with asked(gateway(Finder())) as client:
        first = (await client.post("/api/redact", json={"text": WORDS})).json()
        text = first["text"].lower()
        back = (await client.post("/api/restore", json={"text": text, "session": first["session"]})).json()
        other = (await client.post("/api/restore", json={"text": text, "session": "another"})).json()
        gone = await client.delete(f"/api/redact/sessions/{first['session']}")
        twice = await client.delete(f"/api/redact/sessions/{first['session']}")
        after = (await client.post("/api/restore", json={"text": text, "session": first["session"]})).json()
    assert back["text"] == WORDS
    assert other["text"] == after["text"] == text
    assert gone.json() == {"session": first["session"], "removed": True}
    assert (twice.status_code, twice.json()["reason"]) == (404, "NoSuchSession")


async def test_a_session_is_its_owners() -> None:
    mine, yours = {"x-api-key": "mine"}, {"x-api-key": "yours"}
    async with asked(gateway(Finder()), Keys()) as client:
        await client.post("/api/redact", json={"text": WORDS, "session": "s"}, headers=mine)
        theirs = (await client.post("/api/restore", json={"text": "[PERSON_1]", "session": "s"}, headers=yours)).json()
        await client.delete("/api/redact/sessions/s", headers=yours)  # theirs, if they had one
        ours = (await client.post("/api/restore", json={"text": "[PERSON_1]", "session": "s"}, headers=mine)).json()
        nobody = await client.post("/api/restore", json={"text": "[PERSON_1]", "session": "s"})
    assert theirs["text"] == "[PERSON_1]"
    assert ours["text"] == "Anna Schmidt"
    assert nobody.status_code == 401


async def test_the_self_test_says_that_masking_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"IBAN": r"DE\d\d(?: ?\d{4}){4} ?\d\d", "CARD": r"4111(?: ?1111){3}"}
    with monkeypatch.context() as more:
        for kind, form in found.items():
            more.setitem(PATTERNS, kind, form)
        async with asked(gateway(Finder())) as client:
            got = await client.get("/api/redact/selftest")
    assert got.status_code == 200
    assert (got.json()["masking"], got.json()["found"]) == (True, {"CARD": 1, "EMAIL": 1, "IBAN": 1})
    async with asked(gateway(Finder())) as client:
        blind = await client.get("/api/redact/selftest")
    assert (blind.status_code, blind.json()["reason"]) == (503, "NotMasking")
    assert "CARD, IBAN" in blind.json()["message"]


async def test_without_it() -> None:
    for masks in (None, gateway(None), gateway(Finder(), enabled=False)):
        async with asked(masks) as client:
            for got in (
                await client.post("/api/redact/preview", json={"text": WORDS}),
                await client.post("/api/redact", json={"text": WORDS}),
                await client.post("/api/restore", json={"text": WORDS, "session": "s"}),
                await client.get("/api/redact/selftest"),
            ):
                assert got.status_code in {404, 503}
                assert "redact" in got.json()["message"]


@pytest.mark.parametrize(("error", "status"), [(DetectorDown("it died"), 503), (DetectorBusy(7), 429)])
async def test_where_nothing_is_detected(error: Exception, status: int) -> None:
    finder = Finder()
    finder.raises = error
    async with asked(gateway(finder)) as client:
        got = await client.post("/api/redact", json={"text": WORDS})
    assert got.status_code == status
    assert "Anna" not in got.text


async def test_what_is_found_past_the_end_of_a_text_is_cut() -> None:
    finder = Finder()

    async def find(texts: Any) -> list[list[Find]]:
        return [[Find(-3, 2, "X", 0.5), Find(1, 99, "Y", 0.7)] for _ in texts]

    finder.find = find  # type: ignore[method-assign]
    async with asked(gateway(finder)) as client:
        got = (await client.post("/api/redact/preview", json={"text": "abcd"})).json()
    assert got["text"] == "[X_1]"
    assert got["spans"] == [{"start": 0, "end": 4, "type": "X", "score": 0.7, "placeholder": "[X_1]", "field": None}]
