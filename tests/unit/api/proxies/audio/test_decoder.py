"""Sounds of any kind for servers that read WAV alone: decoded in a process apart, whatever strangers send."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import random
import struct
import wave
from pathlib import Path as File
from typing import Any

import pytest

from api.proxies.audio import decoder
from api.proxies.audio.decoder import RATE, Decoder, wav_header
from api.proxies.audio.sounds import Sounds
from api.proxies.audio.spool import Room, Spool
from api.proxies.calls import Backend, Refused
from reconciler.canaries.sounds import known, tone
from tests.unit.api.proxies import stage
from tests.unit.api.proxies.audio.sound import Named, asked, fields_of, json_reply, stt
from tests.unit.api.proxies.stage import FakeBackend

HAS_AV = importlib.util.find_spec("av") is not None
needs_av = pytest.mark.skipif(not HAS_AV, reason="PyAV is not installed (sparkkeep[audio])")


class WavOnly(FakeBackend):
    @property
    def backend(self) -> Backend:
        where = {"spark": "s1", "host": "127.0.0.1", "port": self.port}
        return Backend(workload=self.name, model=self.name, wav=True, **where)  # type: ignore[arg-type]


def server() -> WavOnly:
    return WavOnly("whisper", stt({"json": json_reply({"text": "x"})}))


def wav(rate: int, channels: int, width: int, seconds: float) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as opened:
        opened.setnchannels(channels)
        opened.setsampwidth(width)
        opened.setframerate(rate)
        opened.writeframes(bytes(range(256)) * (int(rate * seconds) * channels * width // 256))
    return target.getvalue()


def encoded(container: str, codec: str, seconds: float = 2.0) -> bytes:
    """A tone in some container, as ffmpeg makes it."""
    import av

    target = io.BytesIO()
    with av.open(io.BytesIO(tone(seconds))) as source, av.open(target, "w", format=container) as made:
        stream = made.add_stream(codec, rate=48000 if codec == "libopus" else 44100)
        for frame in source.decode(audio=0):
            for packet in stream.encode(frame):
                made.mux(packet)
        for packet in stream.encode(None):
            made.mux(packet)
    return target.getvalue()


async def got(sound: bytes, folder: File, status: int = 200) -> dict[str, Any]:
    """What the server got, or what was refused."""
    sounds, whisper = Sounds(folder, dict), server()
    async with stage.path(whisper, audio=sounds) as p:
        p.wire.routing = p.routing = Named(whisper)
        answer = await asked(p, ("model", "whisper"), ("prompt", "x"), sound=sound)
        await p.settled()
        async with asyncio.timeout(5):
            while sounds.room.taken:
                await asyncio.sleep(0.005)
    assert answer.status == status, answer.body
    if status != 200:
        assert not whisper.seen
        return answer.json["error"]
    return dict(fields_of(whisper.seen[0]))


def frames(sound: bytes) -> int:
    with wave.open(io.BytesIO(sound)) as opened:
        assert (opened.getframerate(), opened.getnchannels(), opened.getsampwidth()) == (RATE, 1, 2)
        return opened.getnframes()


async def test_one_that_is_such_a_wav_passes_as_it_came(tmp_path: File) -> None:
    found = await got(known(), tmp_path)
    assert found["file"] == known()
    assert found["prompt"] == b"x"


@needs_av
@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp3", "libmp3lame"), ("ogg", "libopus"), ("flac", "flac"), ("ipod", "aac"), ("matroska", "libopus")],
)
async def test_any_container(container: str, codec: str, tmp_path: File) -> None:
    found = await got(encoded(container, codec), tmp_path)
    assert abs(frames(found["file"]) / RATE - 2.0) < 0.15
    assert found["prompt"] == b"x"
    assert max(abs(s) for (s,) in struct.iter_unpack("<h", found["file"][44:])) > 1000, "it is heard"


@needs_av
async def test_other_wavs(tmp_path: File) -> None:
    for rate, channels, width in ((44100, 2, 2), (8000, 1, 1), (16000, 1, 4)):
        found = await got(wav(rate, channels, width, 1.0), tmp_path)
        assert abs(frames(found["file"]) / RATE - 1.0) < 0.05


@needs_av
async def test_what_is_no_sound(tmp_path: File) -> None:
    (tmp_path / "secret.wav").write_bytes(tone())
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    spliced = f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n"
    for sound in (b"hello", b"\0" * 5000, playlist.encode(), spliced.encode()):
        refused = await got(sound, tmp_path, 415)
        assert refused["param"] == "file"
    assert (await got(b"RIFF....WAVEfmt " + b"\xff" * 200, tmp_path, 415))["code"] == "UnsupportedMediaType"


@needs_av
async def test_hostile_sounds_leave_nothing(tmp_path: File) -> None:
    rng = random.Random(7)
    good = [encoded("ogg", "libopus", 0.5), encoded("ipod", "aac", 0.5), wav(44100, 2, 2, 0.3)]
    room = Room()
    made = Decoder(lambda told: Spool(tmp_path, told, room))
    refused = 0
    for _ in range(12):
        broken = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 60)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        sound = Spool(tmp_path, lambda: None, room)
        sound.write(bytes(broken[: rng.randrange(1, len(broken))]))
        await sound.settled()
        try:
            found = await made.decoded(sound)
        except Refused as said:
            assert said.status in {415, 422}
            refused += 1
        else:
            if found is not None:
                found.close()
        sound.close()
        await asyncio.sleep(0)
        assert room.taken == 0
    assert refused
    assert list(tmp_path.iterdir()) == []


@needs_av
async def test_one_that_lasts_too_long(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "LONGEST", 1)
    refused = await got(wav(8000, 1, 1, 30.0), tmp_path, 422)
    assert refused["code"] == "BadSound"


@needs_av
async def test_one_that_finds_no_room(tmp_path: File) -> None:
    """Eight times as much as came."""
    source, target = Spool(tmp_path, lambda: None), Room(lambda: 2**20)
    source.write(wav(8000, 1, 1, 60.0))
    await source.settled()
    with pytest.raises(Refused) as refused:
        await Decoder(lambda told: Spool(tmp_path, told, target)).decoded(source)
    assert refused.value.status in {413, 507}
    source.close()
    assert target.taken == 0


async def test_without_pyav_it_is_said_what_to_do(tmp_path: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder.importlib.util, "find_spec", lambda _: None)
    refused = await got(wav(8000, 1, 1, 1.0), tmp_path, 415)
    assert "sparkkeep[audio]" in refused["message"]


def test_the_header_of_a_wav() -> None:
    with wave.open(io.BytesIO(wav_header(320) + bytes(320))) as opened:
        assert (opened.getnframes(), opened.getframerate(), opened.getnchannels()) == (160, RATE, 1)
    assert len(wav_header(2**33)) == 44
