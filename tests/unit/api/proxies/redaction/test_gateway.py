"""The gateway on the wire: what a backend gets to see, what its client gets back, and what goes nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from api.proxies.redaction.finds import DetectorBusy, DetectorDown
from tests.unit.api.proxies.redaction.parts import Finder, gateway
from tests.unit.api.proxies.stage import CHAT, OK, Does, FakeBackend, Seen, path, says, until_gone

HERE = f"/redact{CHAT}"
WORDS = "I am Anna Schmidt, anna@example.com"
PRIVATE = ("Anna", "Schmidt", "example.com", "4111")


def chat(content: Any = WORDS, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


def answer(body: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(body))
    return head + body


def said(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    return answer(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode())


def echoes() -> Does:
    """Says what was said last."""

    async def does(seen: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said(f"you said: {json.loads(seen.body)['messages'][-1]['content']}"))
        await writer.drain()

    return does


def event(**delta: Any) -> bytes:
    data = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def stream(*events: bytes) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%b\r\n" % (len(each), each) for each in events), b"0\r\n\r\n"]


def texts(raw: bytes) -> str:
    """What a stream has said."""
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith(b"data: {")]
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e.get("choices"))


async def test_there_and_back() -> None:
    backend = FakeBackend("one", echoes())
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(), path=HERE)
        got = await client.answer()
    assert got.json["choices"][0]["message"]["content"] == f"you said: {WORDS}"
    assert got.get("sparkkeep-redacted") == "EMAIL=1, PERSON=1"
    assert got.get("sparkkeep-backend") == "one@s1"
    [seen] = backend.seen
    assert seen.line == b"POST /v1/chat/completions HTTP/1.1"
    assert json.loads(seen.body)["model"] == "served/one"
    assert json.loads(seen.body)["messages"][-1]["content"] == "I am [PERSON_1], [EMAIL_1]"


async def test_of_a_head_and_a_query_only_what_can_hold_nothing_goes_on() -> None:
    backend = FakeBackend("one", says(OK))
    known = "0f8fad5b-d9cb-469f-a165-70867728950e"
    fields = [
        *("Authorization: Bearer sk-of-the-client", "X-Api-Key: sk-too", "Cookie: a=Anna", "User-Agent: Anna/1"),
        *("X-User: anna@example.com", "OpenAI-Organization: Anna", "Referer: http://127.0.0.1/Anna", "Via: Anna"),
        *("Accept: application/json, text/event-stream", "Anthropic-Version: 2023-06-01", "Accept-Language: anna"),
        *("X-Session-Id: anna@example.com", "Accept-Encoding: gzip", "Anthropic-Beta: Anna"),
    ]
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(), *fields, "X-Request-Id: anna@example.com", path=f"{HERE}?user=anna@example.com")
        got = await client.answer()
        client.post(chat(), f"X-Request-Id: {known}", path=HERE)
        second = await client.answer()
    assert {name for name, _ in backend.seen[0].fields} == {
        *(b"host", b"content-type", b"content-length", b"x-request-id", b"accept", b"anthropic-version"),
    }
    raw = b"".join((backend.seen[0].line, *(b"%b: %b" % f for f in backend.seen[0].fields), backend.seen[0].body))
    assert not any(word.encode() in raw for word in ("nna", "example", "sk-"))
    assert got.get("x-request-id") not in {None, "anna@example.com"}
    assert second.get("x-request-id") == known
    assert got.get("sparkkeep-session") == "anna@example.com"


@pytest.mark.parametrize("mangled", ["[PERSON_1]", "<person_1>", "**PERSON_1**", "[PERSON\\_1]", "&lt;PERSON_1&gt;"])
async def test_a_stream_that_is_cut_everywhere(mangled: str) -> None:
    pieces = [event(content=c) for c in f"Dear {mangled}, [see 1] of"] + [b"data: [DONE]\n\n"]
    whole = b"".join(stream(*pieces))
    backend = FakeBackend("one", says(*(whole[at : at + 37] for at in range(0, len(whole), 37)), gap=0.0005))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(stream=True), path=HERE)
        got = await client.answer()
    assert texts(got.body).replace("**", "") == "Dear Anna Schmidt, [see 1] of"
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_words_that_can_be_no_placeholder_do_not_wait() -> None:
    """The first event is there while the model is silent."""
    go = asyncio.Event()

    async def does(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events = (event(content="Hello, "), event(content="[PERS"), event(content="ON_1]"), b"data: [DONE]\n\n")
        head, hello, dear, *rest = stream(*events)
        writer.write(head + hello + dear)
        await go.wait()
        writer.write(b"".join(rest))

    backend = FakeBackend("one", does)
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(stream=True), path=HERE)
        _, got = await client.head()
        raw = b""
        while b"Hello, " not in raw:
            raw += await asyncio.wait_for(client.reader.read(1000), 10)
        assert got.get("sparkkeep-redacted") == "EMAIL=1, PERSON=1"
        go.set()
        while b"[DONE]" not in raw:
            raw += await asyncio.wait_for(client.reader.read(1000), 10)
    assert b"Anna Schmidt" in raw
    assert b"PERS" not in raw


async def test_a_client_that_goes_while_it_is_looked_through() -> None:
    finder, waits, over = Finder(), asyncio.Event(), asyncio.Event()

    async def find(texts: list[str]) -> Any:
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    finder.find = find  # type: ignore[method-assign, assignment]
    backend = FakeBackend("one", says(OK))
    async with path(backend, masks=gateway(finder, "m")) as p:
        client = await p.connect()
        client.post(chat(), path=HERE)
        await asyncio.wait_for(waits.wait(), 10)
        await client.close()
        await asyncio.wait_for(over.wait(), 10)
        await p.settled()
    assert not backend.seen


@pytest.mark.parametrize("streams", [False, True])
async def test_a_client_that_goes_ends_what_is_asked(streams: bool) -> None:
    backend = FakeBackend("one", until_gone)
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(stream=streams), path=HERE)
        await asyncio.wait_for(backend.asked.wait(), 10)
        await client.close()
        await asyncio.wait_for(backend.gone.wait(), 10)


# What goes nowhere.


@pytest.mark.parametrize("reason", ["DetectorDown", "DetectorBusy", "bug"])
async def test_nothing_is_sent_where_nothing_is_detected(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    errors = {"DetectorDown": DetectorDown("it died"), "DetectorBusy": DetectorBusy(7), "bug": KeyError(WORDS)}
    finder, backend = Finder(), FakeBackend("one", says(OK))
    finder.raises = errors[reason]
    async with path(backend, masks=gateway(finder, "m", onDetectorDown="refuse")) as p:
        client = await p.connect()
        client.post(chat(), path=HERE)
        got = await client.answer()
    assert not backend.seen
    status, code, again = {
        "DetectorDown": (503, "DetectorDown", "5"),
        "DetectorBusy": (429, "DetectorBusy", "7"),
        "bug": (500, "InternalError", None),
    }[reason]
    assert (got.status, got.json["error"]["code"], got.get("retry-after")) == (status, code, again)
    assert not any(word in caplog.text for word in PRIVATE)


async def test_one_of_our_own_may_be_asked_unmasked_where_a_person_said_so() -> None:
    finder, backend = Finder(), FakeBackend("one", echoes())
    finder.raises = DetectorDown("it died")
    async with path(backend, masks=gateway(finder, "m", onDetectorDown="pass")) as p:
        client = await p.connect()
        client.post(chat(), path=HERE)
        got = await client.answer()
    assert got.get("sparkkeep-redacted") == "off"
    assert WORDS in got.json["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("where", "status", "code"),
    [
        ("/redact/v1/audio/speech", 404, "NotRedacted"),
        ("/redact/v1/files", 404, "NotRedacted"),
        ("/redact/v1/responses/resp_1", 404, "NotRedacted"),
        ("/redact/v1/moderations", 404, "NotRedacted"),
    ],
)
async def test_a_page_that_nobody_looks_through(where: str, status: int, code: str) -> None:
    backend = FakeBackend("one", says(OK))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(), path=where)
        got = await client.answer()
    assert (got.status, got.json["error"]["code"]) == (status, code)
    assert not backend.seen


@pytest.mark.parametrize("masks", [None, gateway(None, "m"), gateway(Finder(), "m", enabled=False)])
async def test_without_a_gateway_nothing_passes(masks: Any) -> None:
    backend = FakeBackend("one", says(OK))
    async with path(backend, masks=masks) as p:
        client = await p.connect()
        for where in (HERE, "/redact/v1/messages", "/redact/v1/embeddings"):
            client.post(chat(), path=where)
            got = await client.answer()
            assert got.status in {404, 503}
            assert "redact" in got.json["error"]["message"].lower()
    assert not backend.seen


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'"Anna Schmidt"', 400),
        (b"\xff{}", 400),
        (b"[" * 100_000, 400),
        (json.dumps(chat({"a": [[[[1]]]]})).encode().replace(b"[[[[1]]]]", b"[" * 300 + b"]" * 300), 422),
        (json.dumps(chat([{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}])).encode(), 422),
        (json.dumps(chat([{"type": "image_url", "image_url": {"url": "https://example.com/anna.png"}}])).encode(), 422),
        (json.dumps(chat([{"type": "file", "file": {"file_id": "file-1"}}])).encode(), 422),
        (json.dumps({"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "sk-0123456789ab"}}]}).encode(), 422),
    ],
)  # fmt: skip
async def test_what_cannot_be_understood_is_refused(body: bytes, status: int) -> None:
    backend = FakeBackend("one", says(OK))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(body, path=HERE)
        got = await client.answer()
    assert got.status == status, got.body
    assert not backend.seen
    assert got.json["error"]["message"]


# Sessions.


async def test_a_conversation_keeps_its_placeholders_and_nobody_else_has_them() -> None:
    backend = FakeBackend("one", says(said("[PERSON_1] [PERSON_2]")))
    masks = gateway(Finder(), "m")
    async with path(backend, masks=masks, keys=Named()) as p:
        client = await p.connect()

        async def ask(words: str, session: str, key: str = "a") -> Any:
            client.post(chat(words), f"X-Session-Id: {session}", f"X-Api-Key: {key}", path=HERE)
            got = await client.answer()
            return got.json["choices"][0]["message"]["content"], json.loads(backend.seen[-1].body)["messages"][-1][
                "content"
            ]

        assert await ask("Anna Schmidt", "s1") == ("Anna Schmidt [PERSON_2]", "[PERSON_1]")
        assert await ask("Max Meier", "s1") == ("Anna Schmidt Max Meier", "[PERSON_2]")
        assert await ask("Anna Schmidt", "s1") == ("Anna Schmidt Max Meier", "[PERSON_1]")
        assert await ask("Max Meier", "s2") == ("Max Meier [PERSON_2]", "[PERSON_1]")
        assert await ask("hello", "s1", key="b") == ("[PERSON_1] [PERSON_2]", "hello")
        client.post(chat("hello"), "X-Api-Key: a", path=HERE)
        assert (await client.answer()).json["choices"][0]["message"]["content"] == "[PERSON_1] [PERSON_2]"


async def test_fifty_at_once_never_cross() -> None:
    backend = FakeBackend("one", echoes())
    async with path(backend, masks=gateway(Finder(), "m"), keys=Named()) as p:

        async def one(number: int) -> None:
            client = await p.connect()
            for turn in range(3):
                mine = f"mail-{number}-{turn}@example.com"
                session = [f"X-Session-Id: s{number % 5}"] if number % 2 else []
                client.post(chat(f"to {mine}"), f"X-Api-Key: key{number // 5}", *session, path=HERE)
                got = await client.answer()
                assert got.json["choices"][0]["message"]["content"] == f"you said: to {mine}"

        await asyncio.gather(*(one(number) for number in range(50)))
    assert not any(b"example.com" in seen.body for seen in backend.seen)


class Named:
    """Who shows a key is called so."""

    def who(self, key: str, address: str) -> str:
        return key or address


# What comes back.


@pytest.mark.parametrize("status", [b"400 Bad Request", b"429 Too Many Requests", b"500 Internal Server Error"])
@pytest.mark.parametrize("kind", [b"application/json", b"text/plain"])
async def test_an_error_repeats_what_its_asker_said(status: bytes, kind: bytes) -> None:
    body = b'{"error": {"message": "no: I am [PERSON_1]", "type": "x", "code": "y"}}'
    backend = FakeBackend("one", says(answer(body if kind.endswith(b"json") else b"no: I am [PERSON_1]", status, kind)))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(), path=HERE)
        got = await client.answer()
    assert got.status == int(status[:3])
    assert b"no: I am Anna Schmidt" in got.body


async def test_a_stream_that_breaks_says_so_and_keeps_nothing_back() -> None:
    pieces = stream(event(content="Dear [PERSON_1] [PERS"))
    backend = FakeBackend("one", says(*pieces[:-1], close=True))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post(chat(stream=True), path=HERE)
        got = await client.answer()
    assert texts(got.body) == "Dear Anna Schmidt [PERS"
    assert b'"error"' in got.body.splitlines()[-2]


async def test_what_is_refused_by_its_routing_is_said_in_its_askers_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    backend = FakeBackend("one", says(OK))
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        client.post({**chat(), "model": "unknown"}, path=HERE)
        got = await client.answer()
    assert (got.status, got.json["error"]["code"]) == (404, "NoSuchModel")


async def test_a_packed_answer_is_unpacked_or_refused() -> None:
    import gzip

    body = json.dumps({"choices": [{"index": 0, "message": {"content": "Dear [PERSON_1]"}}]}).encode()
    packed = gzip.compress(body)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    for coding, status in ((b"gzip", 200), (b"br", 502)):
        backend = FakeBackend("one", says(head % (coding, len(packed)) + packed))
        async with path(backend, masks=gateway(Finder(), "m")) as p:
            client = await p.connect()
            client.post(chat(), path=HERE)
            got = await client.answer()
        assert got.status == status
        assert got.get("content-encoding") is None
        assert (b"Dear Anna Schmidt" in got.body) is (status == 200)


async def test_a_rerank_comes_back_with_its_documents() -> None:
    result = b'{"results": [{"index": 0, "relevance_score": 1.0, "document": {"text": "[PERSON_1] writes"}}]}'
    backend = FakeBackend("one", says(answer(result)), engine="vllm")
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        client = await p.connect()
        asked = {"model": "m", "query": "who", "documents": ["Anna Schmidt writes"], "return_documents": True}
        client.post(asked, path="/redact/v1/rerank")
        got = await client.answer()
    assert b"[PERSON_1] writes" in backend.seen[0].body
    assert got.json["results"][0]["document"]["text"] == "Anna Schmidt writes"


async def test_one_that_waits_for_a_model_is_masked_already() -> None:
    backend = FakeBackend("one", echoes())
    async with path(backend, masks=gateway(Finder(), "m")) as p:
        p.routing.holding = True
        client = await p.connect()
        client.post(chat(), path=HERE)
        async with asyncio.timeout(10):
            while not p.routing.holds:
                await asyncio.sleep(0.01)
        p.routing.holds[0].decided.set_result(p.routing.decision(backend))
        got = await client.answer()
    assert got.json["choices"][0]["message"]["content"] == f"you said: {WORDS}"
    assert b"Anna" not in backend.seen[0].body
