"""What all sounds may take together, and that it is given back whatever becomes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path as File

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies.audio.sounds import Sounds
from api.proxies.audio.spool import Room, Spool
from api.proxies.calls import Refused
from tests.unit.api.proxies import stage
from tests.unit.api.proxies.audio.sound import BOUNDARY, TRANSCRIPTIONS, Named, asked, form, json_reply, post, whisper
from tests.unit.api.proxies.stage import FakeBackend, until_gone

MIB = 2**20


async def test_a_sound_for_which_there_is_no_room_is_refused_before_it_is_sent(tmp_path: File) -> None:
    slow, quick = FakeBackend("slow", until_gone), whisper({"json": json_reply({"text": "x"})})
    sounds = Sounds(tmp_path, dict, room=Room(lambda: 4 * MIB))
    async with stage.path(slow, quick, audio=sounds) as p:
        p.wire.routing = p.routing = Named(slow, quick)
        first = await p.connect()
        post(first, form(("model", "slow"), sound=b"s" * 3 * MIB))
        await asyncio.wait_for(slow.asked.wait(), 10)
        second = await p.connect()
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
        second.send(f"POST {TRANSCRIPTIONS} HTTP/1.1", kind, f"Content-Length: {2 * MIB}", "Expect: 100-continue")
        refused = await second.answer()
        assert (refused.status, refused.json["error"]["code"], refused.get("retry-after")) == (507, "SpoolFull", "15")
        assert "settings.proxy.spool" in refused.json["error"]["message"]
        await first.close()
        await asyncio.wait_for(slow.gone.wait(), 10)
        assert (await asked(p, ("model", "whisper"), sound=b"s" * 3 * MIB)).status == 200
        too_much = await p.connect()
        post(too_much, b"", length=5 * MIB)
        assert (await too_much.answer()).status == 413
        await p.settled()
        assert sounds.room.taken == 0


async def test_one_whose_length_nobody_knows_is_counted_as_it_comes(tmp_path: File) -> None:
    sounds = Sounds(tmp_path, dict, room=Room(lambda: 4 * MIB))
    stt = whisper({"json": json_reply({"text": "x"})})
    async with stage.path(stt, audio=sounds) as p:
        p.wire.routing = p.routing = Named(stt)
        for size, status in ((1, 200), (8, 413)):
            client = await p.connect()
            kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
            client.send(f"POST {TRANSCRIPTIONS} HTTP/1.1", kind, "Transfer-Encoding: chunked")
            body = form(("model", "whisper"), sound=b"s" * size * MIB)
            for at in range(0, len(body), 65536):
                piece = body[at : at + 65536]
                client.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            client.writer.write(b"0\r\n\r\n")
            assert (await client.answer()).status == status
        await p.settled()
        assert sounds.room.taken == 0


async def test_a_disk_that_fails_gives_its_room_back(tmp_path: File) -> None:
    sounds = Sounds(tmp_path / "not there", dict)
    stt = whisper()
    async with stage.path(stt, audio=sounds) as p:
        p.wire.routing = p.routing = Named(stt)
        assert (await asked(p, ("model", "whisper"), sound=b"s" * 3 * MIB)).status == 507
        await p.settled()
        assert sounds.room.taken == 0


@given(sizes=st.lists(st.integers(0, 3000), max_size=20), most=st.integers(0, 10_000), expected=st.integers(0, 4000))
def test_never_more_than_may_be_and_nothing_stays(sizes: list[int], most: int, expected: int) -> None:
    room = Room(lambda: most)
    spools = [Spool(None, lambda: None, room) for _ in sizes]
    for spool, size in zip(spools, sizes, strict=True):
        try:
            spool.expect(expected)
            spool.expect(size)
        except Refused as refused:
            assert refused.status in {413, 507}
            assert (refused.retry_after is None) == (refused.status == 413)
        assert room.taken <= most
    for spool in spools:
        spool.close()
        spool.close()
    assert room.taken == 0


def test_an_odd_size_is_told_whole() -> None:
    with pytest.raises(Refused, match=r"1\.5 MiB"):
        Room(lambda: 3 * MIB // 2).take(2 * MIB, whole=2 * MIB)
