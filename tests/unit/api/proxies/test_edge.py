"""Whatever of a stream has come when it breaks: what passed is whole events, and an error event can be put behind it."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.chunks import Chunks
from api.proxies.edge import Edge

EVENTS = st.lists(
    st.sampled_from([b"data: 1\n\n", b": x\n\n", b"event: a\r\ndata: 22\r\n\r\n", b"data: " + b"y" * 40 + b"\n\n"]),
    max_size=6,
)


def content(raw: bytes) -> tuple[bytes, int]:
    into: list[bytes] = []
    end = Chunks().feed(raw, 0, into)
    return b"".join(into), end


@settings(max_examples=400, deadline=None)
@given(
    EVENTS, st.lists(st.integers(1, 30), max_size=30), st.lists(st.integers(1, 30), max_size=30), st.integers(0, 400)
)
def test_only_whole_events_pass_and_an_end_fits(
    events: list[bytes], chunks: list[int], cuts: list[int], broken: int
) -> None:
    said, raw, sizes = b"".join(events), b"", list(chunks)
    while said:
        size = sizes.pop() if sizes else len(said)
        raw += b"%x;a\r\n%b\r\n" % (len(said[:size]), said[:size])
        said = said[size:]
    raw = raw[:broken]
    edge, passed, at, pieces = Edge(lines=False), b"", 0, list(cuts)
    while at < len(raw):
        size = pieces.pop() if pieces else len(raw)
        passed += edge.feed(raw[at : at + size], ended=False)
        at += size
    assert raw.startswith(passed)
    there, _ = content(passed)
    assert there == b"" or re.search(rb"\n\r?\n$", there)
    assert content(raw)[0].count(b"\n\n") == there.count(b"\n\n"), "nothing whole is held back"
    end = edge.mended(b"data: error\n\n")
    assert end is not None
    whole, ended = content(passed + end)
    assert ended == len(passed + end)
    assert whole.startswith(there)
    assert whole[len(there) :].lstrip(b"\n") == b"data: error\n\n"


def test_a_stream_that_ends_passes_as_it_came() -> None:
    edge = Edge(lines=True)
    assert edge.feed(b"5\r\nab\ncd\r\n", ended=False) == b"5\r\nab\n"
    assert not edge.clear
    assert edge.feed(b"0\r\nA: 1\r\n\r\n", ended=True) == b"cd\r\n0\r\nA: 1\r\n\r\n"


def test_an_endless_event_passes_in_the_end() -> None:
    edge, piece = Edge(lines=False), b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    passed = b"".join(edge.feed(piece, ended=False) for _ in range(10))
    assert len(passed) >= 9 * len(piece) - 2**18
    assert edge.mended(b"data: error\n\n") is None
