"""Who said what: a transcript with speakers out of two servers, asked at once from one spooled sound."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.api.proxies.audio.sound import (
    TEXT,
    TURNS,
    VERBOSE,
    asked,
    diarizer,
    error,
    fields_of,
    form,
    heard,
    json_reply,
    post,
    reply,
    whisper,
)
from tests.unit.api.proxies.stage import FakeBackend, Seen, says, until_gone

DIARIZED = (("model", "whisper"), ("response_format", "diarized_json"))


async def test_openais_shape() -> None:
    async with heard(whisper(), diarizer()) as p:
        answer = await asked(p, *DIARIZED)
    assert answer.status == 200
    assert answer.get("content-type") == "application/json"
    assert answer.get("sparkkeep-diarized") == "yes"
    assert answer.json == {
        "task": "transcribe",
        "duration": 3.5,
        "text": TEXT,
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": "seg_001",
                "start": 0.0,
                "end": 0.9,
                "text": "Good morning.",
                "speaker": "A",
            },
            {
                "type": "transcript.text.segment",
                "id": "seg_002",
                "start": 1.2,
                "end": 2.0,
                "text": "How are you?",
                "speaker": "B",
            },
            {
                "type": "transcript.text.segment",
                "id": "seg_003",
                "start": 2.4,
                "end": 3.2,
                "text": "Fine, thanks.",
                "speaker": "A",
            },
        ],
        "usage": {"type": "duration", "seconds": 4},
    }


async def test_both_get_the_same_sound_and_each_its_own_fields() -> None:
    stt, dia = whisper(), diarizer()
    sound = bytes(range(256)) * 4000 + b"\r\n--zz-boundar"
    async with heard(stt, dia) as p:
        more = [("language", "en"), ("known_speaker_names[]", "Ada"), ("num_speakers", "2"), ("diarizer", "dia")]
        assert (await asked(p, *DIARIZED, *more, sound=sound)).status == 200
        first, second = fields_of(stt.seen[-1]), fields_of(dia.seen[-1])
    assert first == [
        ("model", b"served/whisper"),
        ("response_format", b"verbose_json"),
        ("timestamp_granularities[]", b"word"),
        ("timestamp_granularities[]", b"segment"),
        ("language", b"en"),
        ("file", sound),
    ]
    assert second == [
        ("model", b"served/dia"),
        ("known_speaker_names[]", b"Ada"),
        ("num_speakers", b"2"),
        ("file", sound),
    ]
    assert stt.seen[-1].line == b"POST /v1/audio/transcriptions HTTP/1.1"
    assert dia.seen[-1].line == b"POST /v1/diarize HTTP/1.1"


async def test_they_work_at_the_same_time() -> None:
    """Neither answers before the other was asked."""
    both = asyncio.Barrier(2)

    def together(answer: bytes):
        async def does(seen: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with asyncio.timeout(10):
                await both.wait()
            writer.write(answer)

        return does

    stt, dia = FakeBackend("whisper", together(json_reply(VERBOSE))), FakeBackend("dia", together(json_reply(TURNS)))
    async with heard(stt, dia) as p:
        p.wire.audio.found_unable("/v1/audio/transcriptions", "whisper", "diarized_json")
        assert (await asked(p, *DIARIZED)).status == 200


async def test_a_model_that_can_say_it_itself_is_left_alone() -> None:
    own = {"task": "transcribe", "duration": 1, "text": "x", "segments": [{"speaker": "Q", "text": "x"}], "extra": [1]}
    stt, dia = whisper({"diarized_json": json_reply(own)}), diarizer()
    async with heard(stt, dia) as p:
        answer = await asked(p, *DIARIZED)
    assert answer.body == json.dumps(own).encode()
    assert not dia.seen


async def test_what_a_model_can_not_say_is_asked_once() -> None:
    stt = whisper()
    async with heard(stt, diarizer()) as p:
        for _ in range(3):
            assert (await asked(p, *DIARIZED)).status == 200
    wanted = [dict(fields_of(seen))["response_format"] for seen in stt.seen]
    assert wanted == [b"diarized_json", b"verbose_json", b"verbose_json", b"verbose_json"]


@pytest.mark.parametrize(
    "other", [json_reply({"text": TEXT}), error("not implemented", 500), error("no", 422)], ids=str
)
async def test_however_it_says_that_it_can_not(other: bytes) -> None:
    stt = whisper({"verbose_json": json_reply(VERBOSE), "diarized_json": other})
    async with heard(stt, diarizer()) as p:
        assert (await asked(p, *DIARIZED)).json["segments"][1]["speaker"] == "B"


@pytest.mark.parametrize("down", ["refuses", "routing", "broken", "500", "nonsense"])
async def test_a_diarizer_that_is_down(down: str) -> None:
    does = {
        "broken": says(b"", close=True),
        "500": says(error("out of memory", 500)),
        "nonsense": says(json_reply([1])),
    }
    dia = FakeBackend("dia", does.get(down, says(json_reply(TURNS))))
    async with heard(whisper(), dia) as p:
        if down == "routing":
            p.routing.down.add("dia")
        if down == "refuses":
            dia.port = 1
        failed = await asked(p, *DIARIZED)
        answer = await asked(p, *DIARIZED, ("diarizer_down", "plain"))
        text = await asked(
            p, ("model", "whisper"), ("response_format", "vtt"), ("diarizer", "dia"), ("diarizer_down", "plain")
        )
    assert failed.status in {502, 503}
    assert failed.json["error"]["code"] == "DiarizerDown"
    assert failed.json["error"]["param"] == "diarizer_down"
    assert answer.status == 200
    assert answer.get("sparkkeep-diarized") == "no"
    assert answer.json["diarized"] is False
    assert answer.json["diarization_error"].startswith("dia can't say who speaks: ")
    assert {segment["speaker"] for segment in answer.json["segments"]} == {"unknown"}
    assert answer.json["text"] == TEXT
    assert b"NOTE not diarized: dia can't" in text.body


async def test_what_the_model_says_to_a_bad_sound_is_passed_on() -> None:
    refusal = error("Failed to load audio", 400)
    async with heard(whisper({}, unable=refusal), diarizer()) as p:
        answer = await asked(p, *DIARIZED)
    assert answer.status == 400
    assert answer.json["error"]["message"] == "Failed to load audio"


async def test_rttm() -> None:
    async with heard(whisper(), diarizer()) as p:
        answer = await asked(p, ("model", "whisper"), ("response_format", "rttm"))
    assert answer.get("content-type") == "text/plain; charset=utf-8"
    assert answer.body.decode().splitlines() == [
        "SPEAKER call_1 1 0.000 0.900 <NA> <NA> A <NA> <NA>",
        "SPEAKER call_1 1 1.200 0.800 <NA> <NA> B <NA> <NA>",
        "SPEAKER call_1 1 2.400 0.800 <NA> <NA> A <NA> <NA>",
    ]


async def test_captions_with_voices() -> None:
    fields = (("model", "whisper"), ("diarizer", "dia"))
    async with heard(whisper(), diarizer()) as p:
        vtt = await asked(p, *fields, ("response_format", "vtt"))
        srt = await asked(p, *fields, ("response_format", "srt"))
        text = await asked(p, *fields, ("response_format", "text"))
        words = await asked(p, *fields, ("response_format", "verbose_json"), ("timestamp_granularities", "word"))
    assert b"\n00:00:01.200 --> 00:00:02.000\n<v B>How are you?\n" in vtt.body
    assert srt.body.startswith(b"1\n00:00:00,000 --> 00:00:00,900\nA: Good morning.\n\n2\n")
    assert text.body == b"A: Good morning.\nB: How are you?\nA: Fine, thanks.\n"
    assert [word["speaker"] for word in words.json["words"]] == list("AABBBAA")


async def test_words_of_segments_on_request() -> None:
    async with heard(whisper(), diarizer()) as p:
        answer = await asked(p, *DIARIZED, ("include[]", "words"))
    [word, _] = answer.json["segments"][0]["words"]
    assert word == {"word": "Good", "start": 0.0, "end": 0.4, "speaker": "A", "speaker_confidence": 1.0}


async def test_known_speakers_keep_their_names() -> None:
    turns = {"segments": [{"start": 0, "end": 1, "speaker": "Ada"}, {"start": 1, "end": 4, "speaker": "s2"}]}
    async with heard(whisper(), diarizer(turns)) as p:
        answer = await asked(p, *DIARIZED, ("known_speaker_names[]", "Ada"), ("known_speaker_names[]", "A"))
    assert [segment["speaker"] for segment in answer.json["segments"]] == ["Ada", "B"]


async def test_a_stream_of_segments() -> None:
    async with heard(whisper(), diarizer()) as p:
        answer = await asked(p, *DIARIZED, ("stream", "true"))
    assert (answer.get("content-type") or "").startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert [event["type"].rpartition(".")[2] for event in events] == ["delta", "segment"] * 3 + ["done"]
    assert events[0] == {"type": "transcript.text.delta", "delta": "Good morning.", "segment_id": "seg_001"}
    assert events[-1]["text"] == TEXT


async def test_which_diarizer() -> None:
    one, two = diarizer(), FakeBackend("dia-2", says(json_reply(TURNS)))
    async with heard(whisper(), one, two) as p:
        several = await asked(p, *DIARIZED)
        named = await asked(p, *DIARIZED, ("diarizer", "dia-2"))
        unknown = await asked(p, *DIARIZED, ("diarizer", "nobody"))
        p.wire.audio._usual = lambda: "dia"
        usual = await asked(p, *DIARIZED)
    assert (several.status, several.json["error"]["code"]) == (400, "DiarizerMissing")
    assert "(allowed: dia, dia-2)" in several.json["error"]["message"]
    assert (unknown.status, unknown.json["error"]["code"]) == (400, "NoSuchDiarizer")
    assert named.status == usual.status == 200
    assert (len(one.seen), len(two.seen)) == (1, 1)


async def test_no_diarizer_at_all() -> None:
    async with heard(whisper()) as p:
        answer = await asked(p, *DIARIZED)
    assert (answer.status, answer.json["error"]["code"]) == (400, "NoDiarizer")


@pytest.mark.parametrize("who", ["whisper", "dia"])
@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_who_leaves_takes_both_along(who: str, how: str) -> None:
    stt, dia = FakeBackend("whisper", until_gone), FakeBackend("dia", until_gone)
    async with heard(stt, dia) as p:
        p.wire.audio.found_unable("/v1/audio/transcriptions", "whisper", "diarized_json")
        client = await p.connect()
        post(client, form(*DIARIZED))
        async with asyncio.timeout(10):
            await stt.asked.wait()
            await dia.asked.wait()
            if how == "closed":
                client.writer.close()
            else:
                client.writer.transport.abort()
            await stt.gone.wait()
            await dia.gone.wait()
        await p.settled()
        assert sorted(p.routing.told) == [("dia@s1", True), ("whisper@s1", True)], "which is no fault of theirs"


async def test_who_leaves_while_one_waits_for_its_turn() -> None:
    stt, dia = FakeBackend("whisper", until_gone), diarizer()
    async with heard(stt, dia) as p:
        p.wire.audio.found_unable("/v1/audio/transcriptions", "whisper", "diarized_json")
        p.routing.waits.add("dia")
        client = await p.connect()
        post(client, form(*DIARIZED))
        async with asyncio.timeout(10):
            await stt.asked.wait()
            client.writer.close()
            await stt.gone.wait()
            while not p.routing.holds[0].left:
                await asyncio.sleep(0.005)
    assert not dia.seen


async def test_when_one_fails_the_other_is_given_up() -> None:
    stt, dia = FakeBackend("whisper", until_gone), diarizer({"detail": "no"}, 500)
    async with heard(stt, dia) as p:
        p.wire.audio.found_unable("/v1/audio/transcriptions", "whisper", "diarized_json")
        answer = await asked(p, *DIARIZED)
        assert answer.json["error"]["code"] == "DiarizerDown"
        await asyncio.wait_for(stt.gone.wait(), 10)


async def test_a_model_without_times() -> None:
    async with heard(whisper({"verbose_json": json_reply({"text": TEXT})}), diarizer()) as p:
        answer = await asked(p, *DIARIZED)
    assert (answer.status, answer.json["error"]["code"]) == (422, "NoTimes")


async def test_an_answer_that_can_not_be_read() -> None:
    async with heard(whisper({"verbose_json": reply(200, b"oops")}), diarizer()) as p:
        answer = await asked(p, *DIARIZED)
    assert (answer.status, answer.json["error"]["code"]) == (502, "BadAnswer")
