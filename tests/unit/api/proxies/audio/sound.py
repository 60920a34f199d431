"""Servers of sound to stand behind the stage, and forms to send: what tests of requests with a sound are made of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from email import message_from_bytes
from pathlib import Path as File
from typing import Any

from api.proxies.audio.inquiry import Diarizer
from api.proxies.audio.sounds import Sounds
from api.proxies.calls import Call, Decision, Hold, Refused
from tests.unit.api.proxies import stage
from tests.unit.api.proxies.stage import Answer, Client, Does, FakeBackend, Path, Seen, Static

TRANSCRIPTIONS = "/v1/audio/transcriptions"
BOUNDARY = "zz-boundary"
WORDS = [
    ("Good", 0.0, 0.4),
    ("morning.", 0.4, 0.9),
    ("How", 1.2, 1.4),
    ("are", 1.4, 1.6),
    ("you?", 1.6, 2.0),
    ("Fine,", 2.4, 2.8),
    ("thanks.", 2.8, 3.2),
]
TEXT = " ".join(word for word, _, _ in WORDS)
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 3.5,
    "text": TEXT,
    "words": [{"word": word, "start": start, "end": end} for word, start, end in WORDS],
    "segments": [{"id": 0, "start": 0.0, "end": 3.2, "text": TEXT}],
}
TURNS = {
    "segments": [
        {"start": 0.0, "end": 1.0, "speaker": "SPEAKER_07"},
        {"start": 1.1, "end": 2.1, "speaker": "SPEAKER_03"},
        {"start": 2.3, "end": 3.3, "speaker": "SPEAKER_07"},
    ]
}


def form(*fields: tuple[str, str], sound: bytes | None = b"RIFF....", boundary: str = BOUNDARY) -> bytes:
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields]
    if sound is not None:
        head = 'Content-Disposition: form-data; name="file"; filename="call 1.wav"\r\nContent-Type: audio/wav'
        parts.append(f"--{boundary}\r\n{head}\r\n\r\n".encode() + sound + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def post(client: Client, body: bytes, *, path: str = TRANSCRIPTIONS, kind: str | None = None, length: int = 0) -> None:
    kind = kind or f"multipart/form-data; boundary={BOUNDARY}"
    client.send(f"POST {path} HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {length or len(body)}", body=body)


async def asked(p: Path, *fields: tuple[str, str], **options: Any) -> Answer:
    client = await p.connect()
    post(client, form(*fields, **options))
    return await client.answer()


def fields_of(seen: Seen) -> list[tuple[str, bytes]]:
    [kind] = seen.named(b"content-type")
    message = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + seen.body)
    return [
        (str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True))
        for part in message.get_payload()
    ]


def reply(status: int, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def json_reply(value: object, status: int = 200) -> bytes:
    return reply(status, json.dumps(value).encode())


def error(message: str, status: int = 400) -> bytes:
    return json_reply({"error": {"message": message, "type": "BadRequestError", "param": None, "code": status}}, status)


def stt(formats: dict[str, bytes], *, unable: bytes = error("Unknown response_format")) -> Does:
    """A server that answers in these formats."""

    async def does(seen: Seen, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted = dict(fields_of(seen)).get("response_format", b"json").decode()
        writer.write(formats.get(wanted, unable))

    return does


class Named(Static):
    """`Routing` by the model's name, some of which wait or are down."""

    def __init__(self, *backends: FakeBackend) -> None:
        super().__init__(*backends)
        self.down: set[str] = set()
        self.waits: set[str] = set()

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision | Hold:
        self.calls.append(call)
        for backend in self.backends:
            if call.model not in {backend.name, ""} or backend.backend.key in without:
                continue
            if call.model in self.down:
                raise Refused(503, "RunNever", f"{call.model} does not answer: it never runs", field="model")
            if call.model in self.waits:
                self.holds.append(stage.FakeHold())
                return self.holds[-1]
            return self.decision(backend)
        raise Refused(404, "NoSuchModel", f"no model is named `{call.model}`", field="model", allowed=["whisper"])


@asynccontextmanager
async def heard(*backends: FakeBackend, folder: File | None = None, **options: Any) -> AsyncIterator[Path]:
    """`stage.path` with sounds; a backend named `dia...` is a diarizer."""
    names = [backend.name for backend in backends if backend.name.startswith("dia")]
    sounds = Sounds(folder, lambda: {name: Diarizer(name, "/v1/diarize") for name in names})
    async with stage.path(*backends, audio=sounds, **options) as p:
        p.wire.routing = p.routing = Named(*backends)
        yield p
        await p.settled()
    assert p.routing.under_way == 0


def diarizer(turns: object = TURNS, status: int = 200) -> FakeBackend:
    return FakeBackend("dia", stage.says(json_reply(turns, status)))


def whisper(formats: dict[str, bytes] | None = None, **options: Any) -> FakeBackend:
    return FakeBackend("whisper", stt({"verbose_json": json_reply(VERBOSE)} if formats is None else formats, **options))


Served = Callable[..., FakeBackend]
