"""OpenAI's own Python SDK, unmodified, through the whole product: a practice model that hears, one that tells voices
apart, one that speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.audio import (
    TranscriptionDiarized,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
    TranscriptionVerbose,
)

from reconciler.canaries.sounds import tone
from tests.bad_input.served import Fleet, served

pytestmark = pytest.mark.xdist_group("sdks on practice Sparks")

DESIRED = """\
sparks:
  spark-1: {host: 127.0.0.1}
services:
  whisper:
    recipe: {image: 'ghcr.io/org/whisper:1', port: 8103, memory: 64MiB, probe: transcription}
    on: spark-1
    aliases: [whisper-1]
  sortformer:
    recipe: {image: 'ghcr.io/org/sortformer:1', port: 8104, memory: 64MiB, probe: diarization}
    on: spark-1
  kokoro:
    recipe: {image: 'ghcr.io/org/kokoro:1', port: 8105, memory: 64MiB, probe: speech}
    on: spark-1
"""
SOUND = ("call.wav", tone(5), "audio/wav")
TEXT = "of 5.0 seconds."


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """With its models ready."""
    with served(tmp_path_factory.mktemp("sounds"), DESIRED, sparks=1) as made:
        end = time.monotonic() + 50
        while not _ready(made.url):
            assert time.monotonic() < end, "the models do not become ready"
            time.sleep(0.1)
        yield made


def _ready(url: str) -> bool:
    listed = httpx2.get(f"{url}/v1/models").json()["data"]
    return bool(listed) and all(entry["sparkkeep"]["state"] == "ready" for entry in listed)


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("model", ["whisper", "whisper-1"])
async def test_json(client: AsyncOpenAI, model: str) -> None:
    said = await client.audio.transcriptions.create(model=model, file=SOUND)
    assert said.text.endswith(TEXT)


@pytest.mark.parametrize(
    ("form", "holds"), [("text", TEXT), ("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT\n\n00:00:00.000 --> ")]
)
async def test_lines(client: AsyncOpenAI, form: Any, holds: str) -> None:
    said: Any = await client.audio.transcriptions.create(model="whisper", file=SOUND, response_format=form)
    assert isinstance(said, str)
    assert holds in said
    assert said.rstrip().endswith(TEXT)


async def test_times(client: AsyncOpenAI) -> None:
    said = await client.audio.transcriptions.create(
        model="whisper", file=SOUND, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert isinstance(said, TranscriptionVerbose)
    assert said.words
    assert [word.word for word in said.words] == said.text.split()
    assert said.words[0].start == 0
    assert said.segments
    assert said.duration == 5


async def test_who_said_what(client: AsyncOpenAI) -> None:
    """The practice diarizer hears two voices take turns of two seconds."""
    said = await client.audio.transcriptions.create(
        model="whisper", file=SOUND, response_format="diarized_json", chunking_strategy="auto"
    )
    assert isinstance(said, TranscriptionDiarized)
    assert [segment.speaker for segment in said.segments] == ["A", "B", "A"]
    assert " ".join(segment.text for segment in said.segments) == said.text
    assert {segment.type for segment in said.segments} == {"transcript.text.segment"}
    assert said.usage is not None
    assert said.usage.type == "duration"


async def test_who_said_what_as_it_is_known(client: AsyncOpenAI) -> None:
    stream = await client.audio.transcriptions.create(
        model="whisper", file=SOUND, response_format="diarized_json", stream=True
    )
    events = [event async for event in stream]
    segments = [event for event in events if isinstance(event, TranscriptionTextSegmentEvent)]
    assert [segment.speaker for segment in segments] == ["A", "B", "A"]
    assert isinstance(events[-1], TranscriptionTextDoneEvent)
    assert events[-1].text.endswith(TEXT)


async def test_errors_are_the_sdks_own(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await client.audio.transcriptions.create(model="whispr", file=SOUND)
    assert "did you mean `whisper`" in str(missing.value)
    wrong: Any = "tsv"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.audio.transcriptions.create(model="whisper", file=SOUND, response_format=wrong)
    assert refused.value.param == "response_format"


async def test_speech(client: AsyncOpenAI) -> None:
    async with client.audio.speech.with_streaming_response.create(
        model="kokoro", voice="alloy", input="Good morning", response_format="wav"
    ) as answer:
        assert (await answer.read()).startswith(b"RIFF")


async def test_speech_to_a_file(client: AsyncOpenAI, tmp_path: Path) -> None:
    async with client.audio.speech.with_streaming_response.create(
        model="kokoro", voice="alloy", input="Good morning", response_format="wav"
    ) as answer:
        await answer.stream_to_file(tmp_path / "said.wav")
    with wave.open(str(tmp_path / "said.wav")) as opened:
        assert opened.getnframes() == int(16000 * 0.05 * len("Good morning"))
    pcm = await client.audio.speech.create(model="kokoro", voice="alloy", input="Good morning", response_format="pcm")
    assert (tmp_path / "said.wav").read_bytes()[44:] == pcm.content
    with pytest.raises(openai.BadRequestError, match="only support response_format"):
        await client.audio.speech.create(model="kokoro", voice="alloy", input="Good morning", response_format="opus")


async def test_voices(client: AsyncOpenAI) -> None:
    found: Any = await client.get("/audio/voices", options={"params": {"model": "kokoro"}}, cast_to=object)
    assert "alloy" in found["voices"]


async def test_a_transcript_in_events(client: AsyncOpenAI) -> None:
    """Of a server that does not stream."""
    stream = await client.audio.transcriptions.create(model="whisper", file=SOUND, response_format="json", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert isinstance(events[-1], TranscriptionTextDoneEvent)
    assert events[-1].text.endswith(TEXT)


async def test_one_that_nobody_waits_for(client: AsyncOpenAI) -> None:
    later = await client.audio.transcriptions.with_raw_response.create(
        model="whisper", file=SOUND, response_format="diarized_json", extra_headers={"Prefer": "respond-async"}
    )
    assert later.status_code == 202
    at = later.headers["location"].removeprefix("/v1")
    job: Any = await client.get(at, cast_to=object)
    while job["status"] not in {"succeeded", "failed"}:
        await asyncio.sleep(0.02)
        job = await client.get(at, cast_to=object)
    assert job["status"] == "succeeded"
    said = await client.get(f"{at}/result", cast_to=TranscriptionDiarized)
    assert [segment.speaker for segment in said.segments] == ["A", "B", "A"]
    captions = await client.get(f"{at}/result", options={"params": {"response_format": "vtt"}}, cast_to=str)
    assert captions.startswith("WEBVTT")
    await client.delete(at, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        await client.get(at, cast_to=object)


async def test_a_record_of_each(fleet: Fleet, client: AsyncOpenAI) -> None:
    await client.audio.transcriptions.create(model="whisper", file=SOUND, response_format="diarized_json")
    [last] = httpx2.get(f"{fleet.url}/api/requests?limit=1").json()["ended"]
    assert (last["workload"], last["status"], last["cause"]) == ("whisper", 200, "answered")
    assert last["bytesIn"] > len(SOUND[1])
    assert [name for name in _open_files() if "/sounds" in name and name.endswith("(deleted)")] == [], "the spool"


def _open_files() -> Iterator[str]:
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder's own, by now
            yield str(descriptor.readlink())
