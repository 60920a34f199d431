"""A service outside: over TLS that is looked at, with our key and not its client's, and with nothing private."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from api.proxies.dialects import Learned, translation
from api.proxies.redaction.finds import DetectorDown
from state.redaction import CloudTarget
from tests.unit.api.proxies.redaction.parts import Finder, gateway
from tests.unit.api.proxies.redaction.test_gateway import CHAT, HERE, WORDS, Named, chat, echoes, event, stream, texts
from tests.unit.api.proxies.stage import FakeBackend, path, says

KEY = "sk-of-the-house-0123"


class Certificate:
    """A certificate of 127.0.0.1 that signs itself."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cloud")])
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / f"{address}.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = folder / f"{address}.key"
        plain = serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, private)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@asynccontextmanager
async def outside(cloud: FakeBackend, certificate: Certificate) -> AsyncIterator[FakeBackend]:
    server = await asyncio.start_server(cloud._serve, "127.0.0.1", 0, ssl=certificate.context)
    cloud.port = server.sockets[0].getsockname()[1]
    try:
        yield cloud
    finally:
        server.close()


def target(cloud: FakeBackend, authority: Path | None, **more: Any) -> dict[str, Any]:
    said = {
        "name": "cloud",
        "url": f"https://127.0.0.1:{cloud.port}/api/v1",
        "secret": "cloud-key",
        "models": ["big", "m"],
    }
    return {**said, "authority": str(authority) if authority else None, **more}


def masks(cloud: FakeBackend, authority: Path | None, finder: Finder | None = None, **more: Any) -> Any:
    targets = [target(cloud, authority, **more)]
    return gateway(finder or Finder(), "m", keys={"cloud-key": KEY}, targets=targets, onDetectorDown="pass")


def spoken(made: Any) -> Any:
    return path(masks=made, translate=translation, lacks=Learned().lacks)


async def test_it_gets_our_key_and_no_private_word(certificate: Certificate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    cloud, own = FakeBackend("cloud", echoes()), FakeBackend("one", echoes())
    async with outside(cloud, certificate), path(own, masks=masks(cloud, certificate.file), keys=Named()) as p:
        client = await p.connect()
        mine = ("Authorization: Bearer key-of-the-client", "X-Api-Key: another-of-mine", "Cookie: c=1")
        client.post({**chat(), "model": "big"}, *mine, path=f"{HERE}?key=anna")
        got = await client.answer()
        client.post({**chat(), "model": "m"}, path=HERE)  # ours has that name too: it stays at home
        await client.answer()
        client.post({**chat(), "model": "cloud/m"}, path=HERE)
        await client.answer()
        client.post({**chat(), "model": "big"}, path=CHAT)  # nothing is masked there, so nothing goes outside
        await client.answer()
    assert got.json["choices"][0]["message"]["content"] == f"you said: {WORDS}"
    assert got.get("sparkkeep-backend") == "cloud@outside"
    assert len(cloud.seen) == 2
    assert len(own.seen) == 2
    first, second = cloud.seen
    assert first.line == b"POST /api/v1/chat/completions HTTP/1.1"
    assert first.named(b"authorization") == [b"Bearer " + KEY.encode()]
    assert first.named(b"host") == [f"127.0.0.1:{cloud.port}".encode()]
    assert [json.loads(seen.body)["model"] for seen in (first, second)] == ["big", "m"]
    raw = b"".join(b"%b: %b" % field for field in first.fields) + first.line + first.body
    assert not any(word in raw for word in (b"mine", b"client", b"anna", b"Anna", b"cookie"))
    assert KEY not in caplog.text


async def test_a_stream(certificate: Certificate) -> None:
    cloud = FakeBackend(
        "cloud", says(*stream(event(content="Dear [PER"), event(content="SON_1]"), b"data: [DONE]\n\n"))
    )
    async with outside(cloud, certificate), path(masks=masks(cloud, certificate.file)) as p:
        client = await p.connect()
        client.post({**chat(stream=True), "model": "big"}, path=HERE)
        got = await client.answer()
    assert texts(got.body) == "Dear Anna Schmidt"


@pytest.mark.parametrize("trusted", ["nobody", "another", "another name"])
async def test_a_certificate_that_is_not_right(trusted: str, certificate: Certificate, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    cloud = FakeBackend("cloud", echoes())
    shown = Certificate(other, "127.0.0.9") if trusted == "another name" else certificate
    authority = {"nobody": None, "another": Certificate(other).file, "another name": shown.file}[trusted]
    async with outside(cloud, shown), path(masks=masks(cloud, authority)) as p:
        client = await p.connect()
        client.post({**chat(), "model": "big"}, path=HERE)
        got = await client.answer()
    assert got.status == 502
    assert "certificate" in got.json["error"]["message"].lower()
    assert not cloud.seen


async def test_one_that_is_no_server_of_tls_gets_nothing(tmp_path: Path, certificate: Certificate) -> None:
    cloud = FakeBackend("cloud", echoes())
    async with cloud.running(), path(masks=masks(cloud, certificate.file)) as p:
        client = await p.connect()
        client.post({**chat(), "model": "big"}, path=HERE)
        got = await client.answer()
    assert got.status in {502, 504}
    assert not cloud.seen


async def test_nothing_leaves_where_nothing_is_detected(certificate: Certificate) -> None:
    """Also where a model of ours would be asked: no setting lets anything out."""
    finder, cloud = Finder(), FakeBackend("cloud", echoes())
    finder.raises = DetectorDown("it died")
    async with outside(cloud, certificate), path(masks=masks(cloud, certificate.file, finder)) as p:
        client = await p.connect()
        client.post({**chat(), "model": "big"}, path=HERE)
        got = await client.answer()
    assert (got.status, got.json["error"]["code"]) == (503, "DetectorDown")
    assert not cloud.seen


PIXEL = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"},
}


@pytest.mark.parametrize(("images", "status"), [("refuse", 422), ("pass", 200)])
async def test_pictures_stay_unless_a_person_said_so(images: str, status: int, certificate: Certificate) -> None:
    cloud = FakeBackend(
        "cloud", says(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    )
    async with outside(cloud, certificate), path(masks=masks(cloud, certificate.file, images=images)) as p:
        client = await p.connect()
        client.post({**chat([PIXEL]), "model": "big"}, path=HERE)
        got = await client.answer()
    assert got.status == status
    assert len(cloud.seen) == (status == 200)


async def test_without_its_key_it_is_not_asked(certificate: Certificate) -> None:
    cloud = FakeBackend("cloud", echoes())
    async with (
        outside(cloud, certificate),
        path(masks=gateway(Finder(), targets=[target(cloud, certificate.file)])) as p,
    ):
        client = await p.connect()
        client.post({**chat(), "model": "big"}, path=HERE)
        got = await client.answer()
    assert (got.status, got.json["error"]["code"]) == (503, "KeyMissing")
    assert "sparkkeep secret set cloud-key" in got.json["error"]["message"]
    assert not cloud.seen


async def test_anthropics_dialect(certificate: Certificate) -> None:
    body = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Dear [PERSON_1]"}]}
    raw = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: c=1\r\ncontent-length: %d\r\n\r\n%b"
    cloud = FakeBackend("cloud", says(head % (len(raw), raw)))
    async with outside(cloud, certificate), spoken(masks(cloud, certificate.file, speaks="anthropic")) as p:
        client = await p.connect()
        asked = {**chat(), "model": "big", "max_tokens": 5}
        client.post(asked, "Anthropic-Version: 2023-06-01", path="/redact/v1/messages?beta=true")
        got = await client.answer()
        client.post(asked, path=HERE)
        other = await client.answer()
    assert "content" in got.json, got.body
    assert got.json["content"][0]["text"] == "Dear Anna Schmidt"
    assert got.get("set-cookie") is None
    [seen] = cloud.seen
    assert seen.line == b"POST /api/v1/messages HTTP/1.1"
    assert seen.named(b"x-api-key") == [KEY.encode()]
    assert not seen.named(b"authorization")
    assert (other.status, other.json["error"]["code"]) == (400, "CannotTranslate")


async def test_a_client_of_anthropic_before_a_cloud_of_openai(certificate: Certificate) -> None:
    cloud = FakeBackend("cloud", echoes())
    async with outside(cloud, certificate), spoken(masks(cloud, certificate.file)) as p:
        client = await p.connect()
        client.post({**chat(), "model": "big", "max_tokens": 5}, path="/redact/v1/messages")
        got = await client.answer()
    assert "content" in got.json, got.body
    assert got.json["content"][0]["text"] == f"you said: {WORDS}"
    assert cloud.seen[0].line == b"POST /api/v1/chat/completions HTTP/1.1"


async def test_who_goes_ends_what_is_asked_outside(certificate: Certificate) -> None:
    gone = asyncio.Event()

    async def waits(_: Any, reader: asyncio.StreamReader, __: Any) -> str:
        with suppress(ConnectionError, ssl.SSLError):
            await reader.read()
        gone.set()
        return "close"

    cloud = FakeBackend("cloud", waits)
    async with outside(cloud, certificate), path(masks=masks(cloud, certificate.file)) as p:
        client = await p.connect()
        client.post({**chat(stream=True), "model": "big"}, path=HERE)
        await asyncio.wait_for(cloud.asked.wait(), 20)
        await client.close()
        await asyncio.wait_for(gone.wait(), 20)


@pytest.mark.parametrize(
    "url",
    ["http://api.example.com/v1", "https://me:key@api.example.com/v1", "https://api.example.com/v1/", "ftp://x/v1",
     "https://api.example.com/v1?key=1", "http://8.8.8.8/v1"],
)  # fmt: skip
def test_an_address_that_would_let_words_out(url: str) -> None:
    with pytest.raises(ValidationError):
        CloudTarget(name="c", url=url, models=["m"])
    assert CloudTarget(name="c", url="http://192.168.1.4:4000/v1", models=["m"]).speaks == "openai"
