"""Keys, and what becomes of a request in records, over the wire: who is let in, who is told to come later, who is known."""

from __future__ import annotations

from typing import Any

from api.guard.bearer import Token
from api.proxies.records import Records
from api.proxies.routing.keys import Keys
from state.proxy import Proxy
from tests.unit.api.proxies.stage import OK, FakeBackend, path, says

WORD = "0123456789abcdef0123456789abcdef"
PIECES = (b'data: {"usage":{"prompt_tokens":3,"completi', b'on_tokens":40}}\n\n')
CHUNKED = b"".join((
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in PIECES),
    b"0\r\n\r\n",
))  # fmt: skip


def kept(*keys: dict[str, Any], **said: Any) -> dict[str, Any]:
    settings = Proxy.model_validate({"keys": list(keys), **said})
    records = Records(lambda: settings)
    made = Keys(lambda: settings.keys, {"one": "sesame", "two": "open"}.__getitem__, records.under_way_of)
    records.heard.append(made.heard)
    return {"observer": records, "keys": made}


A = {"name": "a", "secret": "one"}


async def test_who_shows_a_key_is_known_by_its_name_and_nobody_behind_us_sees_it() -> None:
    backend, parts = FakeBackend("m", says(OK)), kept(A)
    async with path(backend, **parts) as p:
        client = await p.connect()
        for field in ("Authorization: Bearer sesame", "x-api-key: sesame"):
            client.post({"model": "m"}, field)
            assert (await client.answer()).status == 200
        for field in ("Authorization: Bearer wrong", "x-api-key: wrong", "Accept: */*"):
            client.post({"model": "m"}, field)
            answer = await client.answer()
            assert (answer.status, answer.json["error"]["code"]) == (401, "KeyNeeded")
            assert answer.get("www-authenticate")
    assert b"sesame" not in b"".join(value for seen in backend.seen for _, value in seen.fields)
    told = [(r.call.who, r.status, r.cause) for r in reversed(parts["observer"].last(9))]
    assert told == [("a", 200, "answered")] * 2 + [("127.0.0.1", 401, "KeyNeeded")] * 3


async def test_beside_the_servers_own_token_a_key_has_a_field_of_its_own() -> None:
    backend = FakeBackend("m", says(OK))
    async with path(backend, token=Token(WORD), **kept(A)) as p:
        client = await p.connect()
        for status, *fields in (
            (200, f"Authorization: Bearer {WORD}", "x-api-key: sesame"),
            (401, f"Authorization: Bearer {WORD}"),
            (401, "x-api-key: sesame"),
        ):
            client.post({"model": "m"}, *fields)
            assert (await client.answer()).status == status, fields


async def test_limits_of_a_key_are_told_in_the_dialect_of_the_call() -> None:
    async with path(FakeBackend("m", says(OK)), **kept({**A, "requestsPerMinute": 2})) as p:
        client = await p.connect()
        for status in (200, 200, 429):
            client.post({"model": "m"}, "x-api-key: sesame", path="/v1/messages")
            answer = await client.answer()
            assert answer.status == status
        assert answer.json["error"]["type"] == "rate_limit_error"
        assert 25 <= int(answer.get("retry-after") or 0) <= 31


async def test_tokens_of_a_stream_are_counted_wherever_it_was_cut() -> None:
    parts = kept({**A, "tokensPerMinute": 40})
    async with path(FakeBackend("m", says(CHUNKED[:150], CHUNKED[150:], gap=0.01)), **parts) as p:
        client = await p.connect()
        client.post({"model": "m", "stream": True}, "x-api-key: sesame")
        assert (await client.answer()).status == 200
        await p.settled()
        [record] = parts["observer"].last(9)
        assert (record.tokens, record.call.stream, record.cause) == ((3, 40), True, "answered")
        client.post({"model": "m", "stream": True}, "x-api-key: sesame")
        assert (await client.answer()).json["error"]["code"] == "TokensUsed"


async def test_what_is_said_is_kept_where_that_was_switched_on_and_without_its_frames() -> None:
    parts = kept(capture=["m"])
    async with path(FakeBackend("m", says(CHUNKED)), FakeBackend("n", says(OK)), **parts) as p:
        client = await p.connect()
        client.post(b'{"model": "m", "stream": true}')
        await client.answer()
    [record] = parts["observer"].last(9)
    assert record.capture is not None
    assert record.capture.as_dict() == {
        "request": '{"model": "m", "stream": true}',
        "answer": b"".join(PIECES).decode(),
        "whole": True,
    }
