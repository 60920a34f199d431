"""Who may send a sound is known before anything of it is kept, and each is recorded, whatever becomes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path as File

from tests.unit.api.proxies.audio.sound import BOUNDARY, asked, form, heard, post, whisper
from tests.unit.api.proxies.audio.test_multipart import spooled
from tests.unit.api.proxies.stage import Path
from tests.unit.api.proxies.test_keyed import A, kept


async def send(p: Path, *fields: str, kind: str = f"multipart/form-data; boundary={BOUNDARY}", length: int = 0) -> int:
    client = await p.connect()
    body = form(("model", "whisper"), ("response_format", "verbose_json"))
    head = ("POST /v1/audio/transcriptions HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {length or len(body)}")
    client.send(*head, *fields, body=body)
    return (await client.answer()).status


async def test_without_a_key_nothing_is_kept(tmp_path: File) -> None:
    async with heard(whisper(), folder=tmp_path, **kept(A)) as p:
        assert await send(p, length=400_000_000) == 401, "while most of it is still to come"
        assert await send(p, "x-api-key: sesame") == 200
        assert await send(p, "x-api-key: sesame", kind="text/plain") == 415
        await p.settled()
        assert spooled(tmp_path) == []
        records = p.wire.observer.last(9)
    assert [(record.call.who, record.status) for record in records] == [("a", 415), ("a", 200), ("127.0.0.1", 401)]


async def test_requests_at_once_count_while_they_are_sent(tmp_path: File) -> None:
    async with heard(whisper(), folder=tmp_path, **kept({**A, "concurrency": 1})) as p:
        first = await p.connect()
        head = ("POST /v1/audio/transcriptions HTTP/1.1", f"Content-Type: multipart/form-data; boundary={BOUNDARY}")
        first.send(*head, "Content-Length: 1000000", "x-api-key: sesame", body=form(("model", "whisper"))[:50])
        async with asyncio.timeout(10):
            while not p.wire.observer.under_way_of("a"):
                await asyncio.sleep(0.005)
        assert await send(p, "x-api-key: sesame") == 429
        await first.close()
        await p.settled()
        assert await send(p, "x-api-key: sesame") == 200


async def test_a_form_that_is_none_is_recorded() -> None:
    async with heard(whisper(), **kept()) as p:
        client = await p.connect()
        post(client, b"x" * 20)
        assert (await client.answer()).status == 400
        assert (await asked(p, ("model", "nobody"))).status == 404
        records = p.wire.observer.last(9)
    assert [(record.cause, record.call.model) for record in records] == [("NoSuchModel", "nobody"), ("BadForm", "")]
