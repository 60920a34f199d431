"""The formats: what a model's server can say passes untouched, everything else is made of words with their times."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.audio import formats
from api.proxies.audio.merge import Word
from api.proxies.audio.words import Heard, Unreadable, has_times, heard, spread
from api.proxies.chunks import chunk
from tests.unit.api.proxies.audio import sound
from tests.unit.api.proxies.audio.sound import TEXT, VERBOSE, WORDS, asked, error, fields_of, json_reply, reply, whisper
from tests.unit.api.proxies.stage import FakeBackend, says, until_gone

laws = settings(deadline=None)

OWN = {
    "json": json_reply({"text": "own", "more": [1]}),
    "text": reply(200, b"own words\n", "text/plain"),
    "srt": reply(200, b"1\n00:00:00,000 --> 00:00:01,000\nown\n", "application/x-subrip"),
    "vtt": reply(200, b"WEBVTT\n\nown", "text/vtt"),
    "verbose_json": json_reply({"text": "own", "segments": [], "task": "transcribe"}),
}


def wanted(form: str) -> tuple[tuple[str, str], ...]:
    return ("model", "whisper"), ("response_format", form)


@pytest.mark.parametrize("form", OWN)
async def test_what_a_server_says_itself_passes_untouched(form: str) -> None:
    stt = whisper(OWN)
    async with sound.heard(stt) as p:
        answer = await asked(p, *wanted(form), ("prompt", "x"))
    assert OWN[form].endswith(b"\r\n\r\n" + answer.raw)
    assert answer.get("content-type") == re.findall(r"content-type: (.*)\r", OWN[form].decode())[0]
    assert answer.get("sparkkeep-backend") == "whisper@s1"
    [seen] = stt.seen
    assert fields_of(seen) == [
        ("model", b"served/whisper"),
        ("response_format", form.encode()),
        ("prompt", b"x"),
        ("file", b"RIFF...."),
    ]


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt"])
@pytest.mark.parametrize(
    "unable", [error("only verbose_json"), error("no", 422), error("no", 501)], ids=["400", "422", "501"]
)
async def test_what_it_can_not_say_is_made_of_its_words(form: str, unable: bytes) -> None:
    stt = whisper(unable=unable)
    async with sound.heard(stt) as p:
        first, second = await asked(p, *wanted(form)), await asked(p, *wanted(form))
    assert first.body == second.body
    assert len(stt.seen) == 3, "what it can't is remembered"
    made = {
        "json": json.dumps({"text": TEXT, "usage": {"type": "duration", "seconds": 4}}, separators=(",", ":")),
        "text": f"{TEXT}\n",
        "srt": "1\n00:00:00,000 --> 00:00:00,900\nGood morning.\n\n2\n00:00:01,200 --> 00:00:02,000\nHow are you?\n\n"
        "3\n00:00:02,400 --> 00:00:03,200\nFine, thanks.\n",
        "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:00.900\nGood morning.\n\n00:00:01.200 --> 00:00:02.000\nHow are you?\n\n"
        "00:00:02.400 --> 00:00:03.200\nFine, thanks.\n",
    }
    assert first.body.decode() == made[form]


@pytest.mark.parametrize("form", ["srt", "vtt"])
async def test_json_in_place_of_captions_is_no_caption(form: str) -> None:
    async with sound.heard(whisper({form: json_reply({"text": TEXT}), "verbose_json": json_reply(VERBOSE)})) as p:
        assert b"-->" in (await asked(p, *wanted(form))).body


@pytest.mark.parametrize(
    "name", ["timestamp_granularities[]", "timestamp_granularities", "timestamp_granularity", "timestamp_granularity[]"]
)
async def test_every_spelling_of_granularities(name: str) -> None:
    stt = whisper()
    async with sound.heard(stt) as p:
        answer = await asked(p, *wanted("verbose_json"), (name, "word"), (name, "segment"))
    assert answer.body == json.dumps(VERBOSE).encode()
    assert [value for field, value in fields_of(stt.seen[0]) if field == "timestamp_granularities[]"] == [
        b"word",
        b"segment",
    ]


async def test_words_that_stand_in_segments() -> None:
    """As faster-whisper's servers have them."""
    words = [{"word": f" {word}", "start": start, "end": end, "probability": 0.9} for word, start, end in WORDS]
    said = {
        "text": TEXT,
        "duration": 3.5,
        "language": "en",
        "segments": [{"start": 0, "end": 3.2, "text": TEXT, "words": words}],
    }
    async with sound.heard(whisper({"verbose_json": json_reply(said)})) as p:
        answer = await asked(p, *wanted("verbose_json"), ("timestamp_granularities[]", "word"))
        plain = await asked(p, *wanted("verbose_json"))
    assert answer.json["words"] == [{"word": word, "start": start, "end": end} for word, start, end in WORDS]
    assert "segments" not in answer.json
    assert (answer.json["text"], answer.json["language"], answer.json["duration"]) == (TEXT, "en", 3.5)
    assert plain.json == said, "which it can say"


async def test_a_refusal_of_the_sound_is_passed_on_as_it_was_said() -> None:
    async with sound.heard(whisper({}, unable=error("Failed to load audio"))) as p:
        answer = await asked(p, *wanted("srt"))
    assert (answer.status, answer.json["error"]["message"]) == (400, "Failed to load audio")


@pytest.mark.parametrize("status", [401, 404, 413, 429])
async def test_other_errors_pass(status: int) -> None:
    stt = FakeBackend("whisper", says(error("so", status)))
    async with sound.heard(stt) as p:
        assert (await asked(p, *wanted("srt"))).status == status
    assert len(stt.seen) == 1


async def test_a_stream_passes_at_once_and_ends_with_its_client() -> None:
    """Its first event is there while the last is not."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    event = chunk(b'data: {"type": "transcript.text.delta"}\n\n')

    async def does(seen: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(head + event)
        return await until_gone(seen, reader, writer)  # type: ignore[arg-type]

    stt = FakeBackend("whisper", does)
    async with sound.heard(stt) as p:
        client = await p.connect()
        sound.post(client, sound.form(*wanted("json"), ("stream", "true")))
        _, answer = await client.head()
        assert answer.get("x-accel-buffering") == "no"
        assert await asyncio.wait_for(client.reader.readexactly(len(event)), 10) == event
        client.writer.close()
        await asyncio.wait_for(stt.gone.wait(), 10)


async def test_a_stream_that_breaks_ends_with_an_error() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    async with sound.heard(FakeBackend("whisper", says(head + chunk(b"data: {}\n\n"), close=True))) as p:
        answer = await asked(p, *wanted("json"), ("stream", "true"))
    assert b"data: {}" in answer.body
    assert b"broke off" in answer.body


async def test_an_answer_that_breaks_before_anything_was_said_is_an_error() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/x\r\ntransfer-encoding: chunked\r\n\r\n"
    async with sound.heard(FakeBackend("whisper", says(head + b"no chunk\r\n", close=True))) as p:
        answer = await asked(p, *wanted("json"))
    assert (answer.status, answer.json["error"]["code"]) == (502, "BackendFailed")


async def test_a_server_that_does_not_stream() -> None:
    async with sound.heard(whisper()) as p:
        answer = await asked(p, *wanted("json"), ("stream", "true"))
    events = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1]["text"] == TEXT


async def test_translations_pass_and_their_formats_are_made_too() -> None:
    stt = whisper({**OWN, "srt": error("no"), "verbose_json": json_reply(VERBOSE)})
    async with sound.heard(stt) as p:
        for form, end in (("json", b'{"text": "own", "more": [1]}'), ("srt", b"Fine, thanks.\n")):
            client = await p.connect()
            sound.post(client, sound.form(*wanted(form)), path="/v1/audio/translations")
            assert (await client.answer()).body.endswith(end)
        client = await p.connect()
        sound.post(client, sound.form(*wanted("diarized_json")), path="/v1/audio/translations")
        assert (await client.answer()).status == 400
    assert {seen.line for seen in stt.seen} == {b"POST /v1/audio/translations HTTP/1.1"}


async def test_speech_passes_at_once() -> None:
    """A client hears the first bytes while the rest is being made."""
    go_on = asyncio.Event()

    async def does(seen: object, _: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ntransfer-encoding: chunked\r\n\r\n4\r\nRIFF\r\n")
        await go_on.wait()
        writer.write(b"4\r\nrest\r\n0\r\n\r\n")

    tts = FakeBackend("kokoro", does)  # type: ignore[arg-type]
    async with sound.heard(tts) as p:
        client = await p.connect()
        client.post({"model": "kokoro", "input": "hi", "voice": "af"}, path="/v1/audio/speech")
        _, answer = await client.head()
        assert answer.get("content-type") == "audio/wav"
        assert await asyncio.wait_for(client.reader.readexactly(9), 10) == b"4\r\nRIFF\r\n"
        go_on.set()
        assert await asyncio.wait_for(client.reader.readexactly(14), 10) == b"4\r\nrest\r\n0\r\n\r\n"
    assert json.loads(tts.seen[0].body)["input"] == "hi"


async def test_voices_are_asked_of_whoever_has_them() -> None:
    tts = FakeBackend("kokoro", says(json_reply({"voices": ["af", "am"]})))
    async with sound.heard(tts) as p:
        client = await p.connect()
        client.send("GET /v1/audio/voices?model=kokoro HTTP/1.1")
        assert (await client.answer()).json == {"voices": ["af", "am"]}
        assert [call.model for call in p.routing.calls] == ["kokoro"]


@pytest.mark.parametrize("how", ["refused", "closed", "stale"])
async def test_another_instance_is_asked(how: str) -> None:
    first, second = FakeBackend("whisper", says(b"", close=True)), whisper(OWN)
    async with sound.heard(first, second) as p:
        second.name = "other"
        backends = {"whisper@s1": first, "other@s1": second}
        p.routing.choose = lambda call, without=(): p.routing.decision(  # type: ignore[method-assign]
            next(backend for key, backend in backends.items() if key not in without)
        )
        if how == "refused":
            first.port = 1
        elif how == "stale":
            first.does = says(OWN["json"])
            assert (await asked(p, *wanted("json"))).status == 200
            first.does = says(b"", close=True)
        answer = await asked(p, *wanted("json"))
    assert answer.status == 200
    assert answer.get("sparkkeep-backend") == "other@s1"


async def test_nobody_answers() -> None:
    stt = whisper()
    async with sound.heard(stt) as p:
        stt.port = 1
        answer = await asked(p, *wanted("json"))
        unknown = await asked(p, ("model", "whisperer"))
    assert (answer.status, answer.json["error"]["code"]) == (502, "BackendFailed")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "NoSuchModel")


# Without a server.


@pytest.mark.parametrize(
    "said",
    [
        {"words": [{"text": "a", "start": "0.5", "end": 1}]},
        {"segments": [{"words": [{"word": "a", "start_time": 0.5, "end_time": 1}]}]},
        {"timestamp": {"word": [{"word": "a", "start": 0.5, "end": 1}], "segment": []}},
        {"segments": [{"start": 0.5, "end": 1, "text": " a "}]},
        {"timestamps": {"segment": [{"segment": "a", "start": 0.5, "end": 1}]}},
    ],
    ids=str,
)
def test_the_shapes_of_servers(said: dict[str, object]) -> None:
    found = heard(said)
    assert [(word.text, word.start, word.end) for word in found.words] == [("a", 0.5, 1.0)]
    assert (found.text, found.duration) == ("a", 1.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["text", "words", "segments", "start", "end", "word", "duration", "timestamp", "usage", "x"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@laws
@given(JSON)
def test_whatever_a_server_says_is_read_or_refused(said: object) -> None:
    try:
        found = heard(said)
    except Unreadable:
        return
    told = formats.plain(found)
    assert formats.srt(told).count("-->") == formats.vtt(told).count("-->") == len(formats.cues(told))
    assert has_times(found) or not formats.cues(told)


SPOKEN = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n->."), min_size=1, max_size=30),
        st.floats(0, 3),
        st.floats(0, 3),
    ),
    max_size=40,
)


@laws
@given(SPOKEN)
def test_captions_hold_every_word_once_in_order_and_nothing_that_breaks_them(
    spoken: list[tuple[str, float, float]],
) -> None:
    at, words = 0.0, []
    for text, pause, length in spoken:
        words.append(Word(text, round(at + pause, 3), round(at + pause + length, 3)))
        at += pause + length
    told = formats.plain(Heard(text="", words=tuple(words), duration=at))
    cues = formats.cues(told)
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join("".join(word.text.split()) for word in words)
    assert all(cue.start <= cue.end for cue in cues)
    blocks = formats.srt(told).split("\n\n") if cues else []
    assert len(blocks) == len(cues)
    assert all(re.match(r"\d+\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n", block) for block in blocks)
    assert "<" not in formats.vtt(told)


@laws
@given(st.text(max_size=60), st.floats(0, 1e4), st.floats(0, 100))
def test_a_text_spread_over_its_time(text: str, start: float, length: float) -> None:
    words = spread(start, start + length, text)
    assert [word.text for word in words] == text.split()
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(start - 0.001 <= time <= start + length + 0.001 for time in times)


def test_hours() -> None:
    assert formats.clock(3725.0416, ",") == "01:02:05,042"
