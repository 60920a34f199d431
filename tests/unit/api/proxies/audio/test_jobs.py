"""Transcripts that nobody waits for: taken at once, shown while they are made, fetched in any format, given up."""

from __future__ import annotations

import asyncio
from pathlib import Path as File
from typing import Any

import pytest

from api.proxies.audio.inquiry import Diarizer
from api.proxies.audio.jobs import Jobs, prefers_jobs
from api.proxies.audio.sounds import Sounds
from api.proxies.calls import Refused
from tests.unit.api.proxies import stage
from tests.unit.api.proxies.audio.sound import (
    BOUNDARY,
    TEXT,
    TRANSCRIPTIONS,
    VERBOSE,
    Named,
    diarizer,
    error,
    form,
    heard,
    json_reply,
    reply,
    whisper,
)
from tests.unit.api.proxies.stage import Answer, Client, FakeBackend, Path, Seen, until_gone

LATER = "Prefer: respond-async"


async def sent(client: Client, *fields: tuple[str, str], more: tuple[str, ...] = (LATER,), **options: Any) -> Answer:
    body = form(*fields, **options)
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    client.send(f"POST {TRANSCRIPTIONS} HTTP/1.1", kind, f"Content-Length: {len(body)}", *more, body=body)
    return await client.answer()


async def get(client: Client, target: str, method: str = "GET", *more: str) -> Answer:
    client.send(f"{method} {target} HTTP/1.1", *more)
    return await client.answer(method)


async def until_over(client: Client, job: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            said = (await get(client, f"/v1/audio/jobs/{job}")).json
            if said["status"] not in {"queued", "running"}:
                return said
            await asyncio.sleep(0.01)


def spooled(p: Path) -> int:
    return p.wire.audio.room.taken


async def test_it_is_taken_at_once_and_fetched_in_every_format() -> None:
    async with heard(whisper(), diarizer()) as p:
        client = await p.connect()
        answer = await sent(client, ("model", "whisper"), ("response_format", "diarized_json"))
        assert answer.status == 202
        assert answer.get("preference-applied") == "respond-async"
        job = answer.json["id"]
        assert answer.get("location") == f"/v1/audio/jobs/{job}"
        shown = await until_over(client, job)
        assert shown["status"] == "succeeded"
        assert shown["progress"] == {"words": "done", "speakers": "done"}
        found = {
            f: await get(client, f"/v1/audio/jobs/{job}/result?response_format={f}")
            for f in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json", "rttm")
        }
        usual = await get(client, shown["result"])
        words = await get(client, f"{shown['result']}?response_format=verbose_json&timestamp_granularities[]=word")
        assert spooled(p) == 0, "the sound is gone"
    assert {answer.status for answer in found.values()} == {200}
    assert found["json"].json["text"] == TEXT
    assert found["text"].body.startswith(b"A: Good morning.\nB: How are you?\nA: Fine")
    assert found["srt"].body.startswith(b"1\n00:00:00,000 --> 00:00:00,900\nA: Good")
    assert b"<v B>How are you?" in found["vtt"].body
    assert [each["speaker"] for each in found["diarized_json"].json["segments"]] == ["A", "B", "A"]
    assert found["rttm"].body.count(b"SPEAKER ") == 3
    assert usual.json == found["diarized_json"].json
    assert [word["speaker"] for word in words.json["words"]] == ["A", "A", "B", "B", "B", "A", "A"]


async def test_its_progress_is_told_while_the_servers_work() -> None:
    go_on = asyncio.Event()

    async def slow(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(json_reply(VERBOSE))

    async with heard(FakeBackend("whisper", slow)) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"))).json
        assert (job["status"], job["progress"]) == ("running", {"words": "asked"})
        early = await get(client, f"/v1/audio/jobs/{job['id']}/result")
        assert (early.status, early.json["error"]["code"], early.get("retry-after")) == (409, "JobRunning", "2")
        listed = (await get(client, "/v1/audio/jobs")).json
        assert [each["id"] for each in listed["data"]] == [job["id"]]
        assert spooled(p) > 0
        go_on.set()
        assert (await until_over(client, job["id"]))["status"] == "succeeded"


async def test_it_outlives_its_connection() -> None:
    go_on = asyncio.Event()

    async def slow(_: Seen, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(json_reply(VERBOSE))

    async with heard(FakeBackend("whisper", slow)) as p:
        first = await p.connect()
        job = (await sent(first, ("model", "whisper"))).json["id"]
        await first.close()
        go_on.set()
        second = await p.connect()
        assert (await until_over(second, job))["status"] == "succeeded"
        assert (await get(second, f"/v1/audio/jobs/{job}/result")).json["text"] == TEXT


async def test_deleting_it_takes_the_servers_work_along() -> None:
    stt = FakeBackend("whisper", until_gone)
    async with heard(stt) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"))).json["id"]
        await asyncio.wait_for(stt.asked.wait(), 10)
        gone = await get(client, f"/v1/audio/jobs/{job}", "DELETE")
        assert gone.json == {"id": job, "object": "audio.job", "status": "cancelled", "deleted": True}
        await asyncio.wait_for(stt.gone.wait(), 10)
        assert (await get(client, f"/v1/audio/jobs/{job}")).status == 404
        async with asyncio.timeout(5):
            while spooled(p):
                await asyncio.sleep(0.005)


async def test_what_can_be_known_at_once_is_told_at_once() -> None:
    async with heard(whisper()) as p:
        client = await p.connect()
        missing = await sent(client, ("model", "whispr"))
        wrong = await sent(client, ("model", "whisper"), ("response_format", "tsv"))
        nobody = await sent(client, ("model", "whisper"), ("diarizer", "x"))
        stream = await sent(client, ("model", "whisper"), ("stream", "true"))
        assert (await get(client, "/v1/audio/jobs")).json["data"] == []
    assert [missing.status, wrong.status, nobody.status, stream.status] == [404, 400, 400, 400]
    assert missing.json["error"]["code"] == "NoSuchModel"


async def test_why_it_failed() -> None:
    async with heard(whisper({}, unable=error("could not decode the file"))) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"))).json["id"]
        shown = await until_over(client, job)
        result = await get(client, f"/v1/audio/jobs/{job}/result")
    assert shown["status"] == "failed"
    assert shown["error"]["message"] == result.json["error"]["message"] == "could not decode the file"
    assert result.status == 400


async def test_a_model_that_tells_a_text_only() -> None:
    async with heard(whisper({"json": json_reply({"text": "only this"}), "verbose_json": error("no")})) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"))).json["id"]
        assert (await until_over(client, job))["status"] == "succeeded"
        own, srt = [await get(client, f"/v1/audio/jobs/{job}/result{query}") for query in ("", "?response_format=srt")]
        rttm = await get(client, f"/v1/audio/jobs/{job}/result?response_format=rttm")
        text = await get(client, f"/v1/audio/jobs/{job}/result?response_format=text")
        wrong = await get(client, f"/v1/audio/jobs/{job}/result?response_format=tsv")
    assert own.json == {"text": "only this"}
    assert text.body == b"only this\n"
    assert (srt.status, srt.json["error"]["code"]) == (422, "NoTimes")
    assert (rttm.status, rttm.json["error"]["code"]) == (422, "NotDiarized")
    assert (wrong.status, wrong.json["error"]["param"]) == (400, "response_format")


async def test_a_model_that_tells_speakers_itself() -> None:
    segments = [
        {"type": "transcript.text.segment", "id": "seg_1", "start": 0.0, "end": 1.0, "text": "Hello.", "speaker": "A"},
        {"type": "transcript.text.segment", "id": "seg_2", "start": 1.2, "end": 2.0, "text": "Hi.", "speaker": "B"},
    ]
    said = {"task": "transcribe", "duration": 2.0, "text": "Hello. Hi.", "segments": segments}
    async with heard(whisper({"diarized_json": json_reply(said)})) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"), ("response_format", "diarized_json"))).json["id"]
        assert (await until_over(client, job))["status"] == "succeeded"
        own = await get(client, f"/v1/audio/jobs/{job}/result")
        vtt = await get(client, f"/v1/audio/jobs/{job}/result?response_format=vtt")
    assert own.json == said
    assert b"<v A>Hello." in vtt.body
    assert b"<v B>Hi." in vtt.body


async def test_no_more_of_them_than_may_be(tmp_path: File) -> None:
    now = [0.0]
    jobs = Jobs(lambda: 2, lambda: 60.0, now=lambda: now[0])
    stt = whisper()
    async with stage.path(stt, audio=Sounds(tmp_path, dict, jobs=jobs)) as p:
        p.wire.routing = p.routing = Named(stt)
        client = await p.connect()
        names = [(await sent(client, ("model", "whisper"))).json["id"] for _ in range(2)]
        for name in names:
            await until_over(client, name)
        third = await sent(client, ("model", "whisper"))
        assert (third.status, third.json["error"]["code"], third.get("retry-after")) == (429, "TooManyJobs", "60")
        now[0] = 59.0
        assert (await get(client, f"/v1/audio/jobs/{names[0]}")).json["expires_in"] == 1
        await get(client, f"/v1/audio/jobs/{names[0]}", "DELETE")
        assert (await sent(client, ("model", "whisper"))).status == 202
        now[0] = 61.0
        assert (await get(client, f"/v1/audio/jobs/{names[1]}")).status == 404, "its time is over"


class Given:
    """Keys whose name is what is shown."""

    def who(self, key: str, _: str) -> str:
        if not key:
            raise Refused(401, "KeyNeeded", "a key")
        return key


async def test_it_is_its_owners_alone() -> None:
    async with heard(whisper(), keys=Given()) as p:
        client = await p.connect()
        ada, bob = "Authorization: Bearer ada", "Authorization: Bearer bob"
        job = (await sent(client, ("model", "whisper"), more=(LATER, ada))).json["id"]
        at = f"/v1/audio/jobs/{job}"
        for method in ("GET", "DELETE"):
            assert (await get(client, at, method, bob)).status == 404
        assert (await get(client, f"{at}/result", "GET", bob)).status == 404
        assert (await get(client, "/v1/audio/jobs", "GET", bob)).json["data"] == []
        assert (await get(client, at)).status == 401
        assert (await get(client, at, "GET", ada)).status == 200


async def test_other_addresses_and_methods() -> None:
    async with heard(whisper()) as p:
        client = await p.connect()
        for method, target, status in (
            ("POST", "/v1/audio/jobs", 405),
            ("DELETE", "/v1/audio/jobs", 405),
            ("PUT", "/v1/audio/jobs/x", 405),
            ("GET", "/v1/audio/jobs/x", 404),
            ("GET", "/v1/audio/jobs/x/other", 404),
            ("GET", "/v1/audio/jobs/x/result/y", 404),
        ):
            assert (await get(client, target, method)).status == status, (method, target)
        assert (await get(client, "/v1/audio/jobs", "HEAD")).status == 200


async def test_the_servers_do_not_hear_of_it() -> None:
    stt = whisper({"verbose_json": json_reply(VERBOSE)})
    async with heard(stt) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"), more=("X-Own: 1", "prefer: wait=5, respond-async"))).json["id"]
        await until_over(client, job)
    assert stt.seen[0].named(b"prefer") == []
    assert stt.seen[0].named(b"x-own") == [b"1"]


async def test_the_end_of_the_server_ends_them() -> None:
    stt = FakeBackend("whisper", until_gone)
    async with heard(stt) as p:
        client = await p.connect()
        await sent(client, ("model", "whisper"))
        await asyncio.wait_for(stt.asked.wait(), 10)
        await p.wire.audio.jobs.close()
        assert p.routing.under_way == 0
        assert spooled(p) == 0


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (b"respond-async", True),
        (b"wait=10, Respond-Async", True),
        (b"respond-async; x=1", True),
        (b"respond-asynchronously", False),
        (b"", False),
    ],
)
def test_what_prefers_it(said: bytes, found: bool) -> None:
    assert prefers_jobs(said) is found


async def test_an_answer_that_is_no_json() -> None:
    async with heard(whisper({"verbose_json": reply(200, b"<html>", "text/html")})) as p:
        client = await p.connect()
        job = (await sent(client, ("model", "whisper"))).json["id"]
        shown = await until_over(client, job)
    assert (shown["status"], shown["error"]["code"]) == ("failed", "BadAnswer")


def test_diarizers_have_a_page() -> None:
    assert Sounds(None, lambda: {"d": Diarizer("d", "/x")}).diarizer("").path == "/x"
