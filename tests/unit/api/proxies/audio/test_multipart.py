"""Forms: whatever is in one is read back, however it is cut; what is none is refused, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path as File

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.proxies.audio.multipart import LONGEST_HEAD, MOST_PARTS, BadForm, Parser, PartHead, boundary
from api.proxies.limits import Limits
from tests.unit.api.proxies.audio.sound import (
    BOUNDARY,
    TRANSCRIPTIONS,
    VERBOSE,
    asked,
    fields_of,
    form,
    heard,
    json_reply,
    post,
    whisper,
)
from tests.unit.api.proxies.stage import FakeBackend, says

laws = settings(deadline=None)

KIND = f"multipart/form-data; boundary={BOUNDARY}"


class Kept:
    def __init__(self) -> None:
        self.parts: list[tuple[PartHead, bytearray]] = []

    def begin(self, head: PartHead) -> None:
        self.parts.append((head, bytearray()))

    def data(self, data: bytes) -> None:
        assert data
        self.parts[-1][1].extend(data)


def parsed(body: bytes, cuts: list[int] | None = None, words: bytes = BOUNDARY.encode()) -> Kept:
    kept = Kept()
    parser = Parser(words, kept)
    places = sorted({min(cut, len(body)) for cut in cuts or []})
    for first, last in zip([0, *places], [*places, len(body)], strict=True):
        parser.feed(body[first:last])
    parser.finish()
    return kept


NAMES = st.text(st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
# What a delimiter begins with is in the way everywhere.
CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"\r\n--", b"--zz", b"\r\n--zz-boundar", b"x", b"\0\xff"]), max_size=30
).map(b"".join)


@laws
@given(st.lists(st.tuples(NAMES, CONTENT), max_size=8), st.lists(st.integers(0, 3000), max_size=12))
@example([("a", b""), ("b", b"")], [50, 51, 52])
@example([], [])
def test_what_is_in_a_form_is_read_back_however_it_is_cut(parts: list[tuple[str, bytes]], cuts: list[int]) -> None:
    body = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (BOUNDARY.encode(), name.encode(), value)
        for name, value in parts
    )
    kept = parsed(body + f"--{BOUNDARY}--\r\n".encode(), cuts)
    assert [(head.name, bytes(value)) for head, value in kept.parts] == parts


@laws
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes, cuts: list[int]) -> None:
    with pytest.raises(BadForm):
        parsed(noise, cuts)


@laws
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_byte_that_fell_over_changes_a_value_or_is_refused(at: int, byte: int) -> None:
    body = bytearray(form(("model", "whisper"), ("language", "en"), sound=b"s" * 100))
    body[at % len(body)] = byte
    try:
        kept = parsed(bytes(body))
    except BadForm:
        return
    assert 0 < len(kept.parts) <= 3


@pytest.mark.parametrize(
    "kind",
    [
        KIND,
        f'Multipart/Form-Data; charset=utf-8; boundary="{BOUNDARY}"',
        f"multipart/form-data;BOUNDARY={BOUNDARY};",
    ],
)
def test_boundaries(kind: str) -> None:
    assert boundary(kind.encode()) == BOUNDARY.encode()


@pytest.mark.parametrize(
    "kind", ["", "application/json", "text/plain", "multipart/mixed; boundary=x", "multipart/form-data, x"]
)
def test_what_is_no_form(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        boundary(kind.encode())


def test_an_escaped_name_of_a_file() -> None:
    body = form(sound=b"x").replace(b'filename="call 1.wav"', b'filename="a\\"b\\\\.wav"')
    assert parsed(body).parts[0][0].filename == 'a"b\\.wav'


GOOD = form(("model", "whisper"), ("response_format", "json"), sound=b"RIFF" + bytes(range(200)))
HEAD = b'Content-Disposition: form-data; name="model"'


def bad() -> Iterator[tuple[str, bytes]]:
    """Content-Type and body of forms that are none, each for another reason or at another place."""
    for end in [*range(60), *range(60, len(GOOD) - 2, 4)]:
        yield KIND, GOOD[:end]
    for first in range(1, 30):
        yield KIND, GOOD[first:]
    for head in (
        b"", b"X: y", b'Content-Disposition: attachment; name="model"', b"Content-Disposition: form-data",
        b'Content-Disposition: form-data; filename="x"', b'Content-Disposition: form-data; name="model', HEAD + b"\r\n" + HEAD,
        HEAD + b'; name="file"', HEAD + b"\r\n folded", HEAD + b"\r\nno colon", HEAD + b"\r\n: empty", HEAD + b"\nX: y",
        HEAD + b"\r\nContent-Transfer-Encoding: base64", HEAD + b"\r\nX: " + b"y" * LONGEST_HEAD, HEAD + b"\r\nX: \x00",
        b'Content-Disposition: form-data; name="\xff\xfe"', b'Content-Disposition: form-data; name="a\\b"',
        b'Content-Disposition: form-data; name="file"', HEAD + b'; filename="x"', b'content-disposition : form-data; name="model"',
    ):  # fmt: skip
        yield KIND, GOOD.replace(HEAD, head)
    mark = f"--{BOUNDARY}".encode()
    for other in (
        mark + b" ",
        mark + b"x",
        mark[:-1],
        mark + b"-",
        mark + b"\n",
        b" " + mark,
        mark + b"\0",
        mark + b"\t",
    ):
        yield KIND, GOOD.replace(mark + b"\r\n", other + b"\r\n", 1)
        yield KIND, GOOD.replace(b"\r\n" + mark + b"\r\n", b"\r\n" + mark + other[:1] + b"\r\n", 1)
    for more in (b"x", b"\r\nx", b"\n", b"\r\n\r\n", mark, GOOD):
        yield KIND, GOOD + more
    yield KIND, GOOD.replace(b"\r\n", b"\n")
    yield KIND, b"preamble\r\n" + GOOD
    yield KIND, form(("model", "whisper"), sound=None)  # without a sound
    yield KIND, form(("model", "whisper"), ("model", "whisper"))
    yield KIND, form(*(("x", "y") for _ in range(MOST_PARTS + 1)))
    yield KIND, GOOD[: -len(BOUNDARY) - 6] + form(sound=b"x")  # two sounds
    for name, value in (
        ("response_format", "tsv"), ("stream", "perhaps"), ("timestamp_granularities[]", "letter"), ("diarizer_down", "maybe"),
        ("timestamp_granularities", "word"), ("language", "\udcff"),
    ):  # fmt: skip
        body = form(("model", "whisper"), (name, "VALUE"))
        yield KIND, body.replace(b"VALUE", value.encode("utf-8", "surrogateescape"))
    for kind in (
        "multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary=""', f"{KIND}; boundary=other",
        f"multipart/form-data; boundary={'b' * 71}", "multipart/form-data; boundary=other", "application/octet-stream",
        "application/json", f"multipart/mixed; boundary={BOUNDARY}", "audio/wav", "multipart/form-data; boundary=a;b", "multipart",
    ):  # fmt: skip
        yield kind, GOOD


BAD = list(bad())


def spooled(folder: File) -> list[str]:
    """The files of a spool that some descriptor still holds: they have no name."""
    found = []
    for descriptor in File("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


async def test_two_hundred_forms_that_are_none(tmp_path: File) -> None:
    """Each has its 4xx, whoever sends it can go on, and nothing is left: not of the form, and not in the spool."""
    assert len(BAD) >= 200
    backend = FakeBackend("whisper", says(json_reply(VERBOSE)))
    async with heard(backend, folder=tmp_path) as p:
        for kind, body in BAD:
            client = await p.connect()
            post(client, body, kind=kind)
            answer = await client.answer()
            assert answer.status in {400, 413, 415, 422}, (kind, body)
            said = answer.json["error"]
            assert said["message"]
            assert said["code"][0].isupper()
            await client.close()
        assert not backend.seen
        assert (await asked(p, ("model", "whisper"))).status == 200
        await p.settled()
        assert spooled(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


async def test_the_fields_may_stand_behind_the_sound(tmp_path: File) -> None:
    parts = form(("model", "whisper"), ("language", "en"), sound=None).split(f"--{BOUNDARY}".encode())
    sound = form(sound=b"the sound")[: -len(BOUNDARY) - 6]
    body = sound + b"".join(f"--{BOUNDARY}".encode() + part for part in parts[1:])
    backend = FakeBackend("whisper", says(json_reply({"text": "x"})))
    async with heard(backend, folder=tmp_path) as p:
        client = await p.connect()
        post(client, body)
        assert (await client.answer()).status == 200
    assert fields_of(backend.seen[0]) == [("model", b"served/whisper"), ("file", b"the sound"), ("language", b"en")]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_sound_that_is_too_long(tmp_path: File, chunked: bool) -> None:
    body = form(("model", "whisper"), sound=b"s" * 3_000_000)
    async with heard(whisper(), folder=tmp_path, limits=Limits(sound=2 * 2**20)) as p:
        client = await p.connect()
        if chunked:
            framed = b"".join(
                b"%x\r\n%b\r\n" % (len(piece), piece)
                for at in range(0, len(body), 50_000)
                if (piece := body[at : at + 50_000])
            )
            client.send(
                f"POST {TRANSCRIPTIONS} HTTP/1.1", f"Content-Type: {KIND}", "Transfer-Encoding: chunked", body=framed
            )
        else:
            post(client, body)
        answer = await client.answer()
        assert answer.status == 413
        assert "2 MiB" in answer.json["error"]["message"]
        await p.settled()
        assert spooled(tmp_path) == []


async def test_fields_that_are_too_long(tmp_path: File) -> None:
    async with heard(whisper(), folder=tmp_path, limits=Limits(fields=10_000)) as p:
        answer = await asked(p, ("model", "whisper"), ("prompt", "x" * 20_000))
    assert (answer.status, answer.json["error"]["code"]) == (413, "FormTooLarge")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(tmp_path: File) -> None:
    async with heard(whisper(), folder=tmp_path) as p:
        client = await p.connect()
        post(client, form(("model", "whisper"), sound=b"s" * 5_000_000), length=50_000_000)
        async with asyncio.timeout(10):
            while not spooled(tmp_path):
                await asyncio.sleep(0.005)
            client.writer.transport.abort()
            while spooled(tmp_path):
                await asyncio.sleep(0.005)
        await p.settled()


async def test_a_spool_that_can_not_be_written(tmp_path: File) -> None:
    async with heard(whisper(), folder=tmp_path / "missing") as p:
        short = await asked(p, ("model", "whisper"))
        long = await asked(p, ("model", "whisper"), sound=b"s" * 3_000_000)
    for answer in (short, long):
        assert (answer.status, answer.json["error"]["code"]) == (507, "SpoolFailed")


async def test_a_long_sound_is_not_held_in_memory(tmp_path: File) -> None:
    """What is held while 180 MB pass is a few pieces."""
    import tracemalloc

    sound = b"\r\n--zz" * 1000
    head = form(("model", "whisper"), ("response_format", "text"), sound=b"")[: -len(BOUNDARY) - 8]
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    times = 30_000
    got = 0

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        while piece := await reader.read(65536):
            got += len(piece)
            if got >= len(sound) * times:
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
                )
                break
        await writer.drain()
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with heard(FakeBackend("whisper", says(b"")), folder=tmp_path) as p:
        p.routing.backends[0].port = server.sockets[0].getsockname()[1]
        client = await p.connect()
        length = len(head) + len(sound) * times + len(tail)
        client.send(f"POST {TRANSCRIPTIONS} HTTP/1.1", f"Content-Type: {KIND}", f"Content-Length: {length}", body=head)
        await client.writer.drain()
        tracemalloc.start()
        try:
            for _ in range(times):
                client.writer.write(sound)
                await client.writer.drain()
            client.writer.write(tail)
            assert (await client.answer()).body == b"ok"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20 * 2**20, peak
    server.close()
