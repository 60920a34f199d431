"""What takes long: streams that are kept alive, answers that come before all was sent, the end of the server, restarts."""

from __future__ import annotations

import asyncio
import json

import pytest

from api.proxies.limits import Limits
from tests.unit.api.proxies.audio.sound import (
    TURNS,
    VERBOSE,
    asked,
    error,
    form,
    heard,
    json_reply,
    post,
    reply,
    whisper,
)
from tests.unit.api.proxies.stage import FakeBackend, Seen, until_gone

DIARIZED = (("model", "whisper"), ("response_format", "diarized_json"))


async def test_a_stream_is_kept_alive_while_it_is_worked_on() -> None:
    go_on = asyncio.Event()

    async def slow(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(json_reply(TURNS))

    async with heard(whisper(), FakeBackend("dia", slow), limits=Limits(grace=0.05, beat=0.05)) as p:
        client = await p.connect()
        post(client, form(*DIARIZED, ("stream", "true")))
        _, answer = await client.head()
        assert answer.status == 200
        assert b": waiting for the transcript" in await asyncio.wait_for(client.reader.readuntil(b"\n\n\r\n"), 10)
        go_on.set()
        await asyncio.wait_for(client._chunks(answer), 10)
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert [event["speaker"] for event in events if event["type"].endswith("segment")] == ["A", "B", "A"]


async def test_a_stream_that_was_begun_ends_with_an_error() -> None:
    fail = asyncio.Event()

    async def slow(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await fail.wait()
        writer.write(error("out of memory", 500))

    async with heard(whisper(), FakeBackend("dia", slow), limits=Limits(grace=0.05, beat=0.05)) as p:
        client = await p.connect()
        post(client, form(*DIARIZED, ("stream", "true")))
        _, answer = await client.head()
        fail.set()
        await asyncio.wait_for(client._chunks(answer), 10)
    [last] = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert last["error"]["code"] == "DiarizerDown"


async def test_a_server_that_refuses_before_it_has_read_all() -> None:
    async def impatient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(error("too long for me", 413))
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(impatient, "127.0.0.1", 0)
    async with heard(whisper()) as p:
        p.routing.backends[0].port = server.sockets[0].getsockname()[1]
        answer = await asked(p, ("model", "whisper"), sound=b"s" * 20_000_000)
        again = await asked(p, ("model", "whisper"), sound=b"s" * 20_000_000)
    server.close()
    assert answer.status == again.status == 413
    assert answer.json["error"]["message"] == "too long for me"


async def test_the_end_of_the_server_is_told() -> None:
    stt = FakeBackend("whisper", until_gone)
    async with heard(stt, limits=Limits(drain=0.05)) as p:
        client = await p.connect()
        post(client, form(("model", "whisper")))
        await asyncio.wait_for(stt.asked.wait(), 10)
        p.server.stop()
        answer = await client.answer()
        assert (answer.status, answer.json["error"]["code"]) == (503, "Restarting")
        await asyncio.wait_for(stt.gone.wait(), 10)


async def test_a_model_that_has_to_be_waited_for() -> None:
    stt = whisper({"json": json_reply({"text": "x"})})
    async with heard(stt) as p:
        p.routing.waits.add("whisper")
        client = await p.connect()
        post(client, form(("model", "whisper")))
        async with asyncio.timeout(10):
            while not p.routing.holds:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        p.routing.holds[0].decided.set_result(p.routing.decision(stt))
        answer = await client.answer()
    assert answer.status == 200
    assert int(answer.get("sparkkeep-queued-ms") or 0) > 0


async def test_a_client_that_sends_two_at_once_gets_two_answers() -> None:
    async with heard(whisper({"text": json_reply({"text": "x"}), "verbose_json": json_reply({"text": "y"})})) as p:
        client = await p.connect()
        post(client, form(("model", "whisper"), ("response_format", "text")))
        post(client, form(("model", "whisper"), ("response_format", "verbose_json")))
        assert [(await client.answer()).json["text"], (await client.answer()).json["text"]] == ["x", "y"]


SOON = Limits(grace=0.05, beat=0.05, silence=0.05)


def slowly(go_on: asyncio.Event, answer: bytes) -> FakeBackend:
    async def slow(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(answer)

    return FakeBackend("whisper", slow)


async def test_an_answer_in_json_is_begun_with_blanks_and_is_json() -> None:
    for form_of in ("json", "verbose_json"):
        go_on = asyncio.Event()
        async with heard(slowly(go_on, json_reply(VERBOSE)), limits=SOON) as p:
            client = await p.connect()
            post(client, form(("model", "whisper"), ("response_format", form_of)))
            _, answer = await client.head()
            assert (answer.status, answer.get("content-type")) == (200, "application/json")
            assert await asyncio.wait_for(client.reader.readexactly(6), 10) == b"1\r\n \r\n"
            go_on.set()
            await asyncio.wait_for(client._chunks(answer), 10)
            assert answer.json == VERBOSE
            post(client, form(("model", "whisper"), ("response_format", form_of)))
            assert (await client.answer()).json == VERBOSE, "the connection goes on"


async def test_an_error_behind_blanks_does_not_look_like_an_answer() -> None:
    go_on = asyncio.Event()
    async with heard(slowly(go_on, error("out of memory", 500)), limits=SOON) as p:
        client = await p.connect()
        post(client, form(("model", "whisper")))
        _, answer = await client.head()
        assert answer.status == 200
        go_on.set()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await asyncio.wait_for(client._chunks(answer), 10)


async def test_captions_have_no_blanks_before_them() -> None:
    go_on = asyncio.Event()
    async with heard(slowly(go_on, reply(200, b"WEBVTT\n", "text/vtt")), limits=SOON) as p:
        client = await p.connect()
        post(client, form(("model", "whisper"), ("response_format", "vtt")))
        await asyncio.sleep(0.3)
        go_on.set()
        assert (await client.answer()).raw == b"WEBVTT\n"


async def test_a_stream_of_a_server_that_does_not_stream() -> None:
    go_on = asyncio.Event()
    async with heard(slowly(go_on, json_reply({"text": "Good morning."})), limits=SOON) as p:
        client = await p.connect()
        post(client, form(("model", "whisper"), ("stream", "true")))
        _, answer = await client.head()
        assert b": waiting for the transcript" in await asyncio.wait_for(client.reader.readuntil(b"\n\n\r\n"), 10)
        go_on.set()
        await asyncio.wait_for(client._chunks(answer), 10)
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1]["text"] == "Good morning."


async def test_a_stream_of_a_server_that_streams_late() -> None:
    go_on = asyncio.Event()
    said = b'data: {"type":"transcript.text.delta","delta":"x"}\n\n'
    head = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(said), said)
    async with heard(slowly(go_on, chunked), limits=SOON) as p:
        client = await p.connect()
        post(client, form(("model", "whisper"), ("stream", "true")))
        _, answer = await client.head()
        await asyncio.wait_for(client.reader.readuntil(b"\n\n\r\n"), 10)
        go_on.set()
        await asyncio.wait_for(client._chunks(answer), 10)
    assert answer.body.endswith(said)
