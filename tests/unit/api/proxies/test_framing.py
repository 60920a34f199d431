"""Heads and chunks: whatever is accepted is read as h11 reads it; whatever could be read in two ways is refused."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.chunks import LAST, BadChunk, Chunks, chunk
from api.proxies.head import CHUNKED, UNTIL_CLOSED, AnswerHead, BadHead, Head

NAMES = st.text("abcXYZ-_0", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"host", "connection", "content-length", "transfer-encoding", "expect"}
)
VALUES = st.text('abc ,;=\t"é', max_size=20).map(lambda text: text.encode("latin-1"))


def head(*lines: bytes, first: bytes = b"POST /v1/x HTTP/1.1") -> Head:
    data = b"\r\n".join((first, *lines)) + b"\r\n\r\n"
    return Head(data, data.find(b"\r\n\r\n"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NAMES.map(str.encode), VALUES), max_size=8))
def test_a_head_is_read_as_h11_reads_it(fields: list[tuple[bytes, bytes]]) -> None:
    data = b"".join([b"POST /v1/x?y HTTP/1.1\r\nHost: a\r\n", *(b"%b:%b\r\n" % field for field in fields), b"\r\n"])
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    request = other.next_event()
    assert isinstance(request, h11.Request)
    ours = Head(data, data.find(b"\r\n\r\n"))
    assert [(name.lower(), value.strip(b" \t")) for name, value in ours.fields] == list(request.headers)
    assert (ours.method, ours.target, ours.minor) == (request.method, request.target, True)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 4", b"Content-Length: 4"),
        (b"Content-Length: 4", b"content-length: 5"),
        (b"Content-Length: 4, 4",),
        (b"Content-Length: +4",),
        (b"Content-Length: 0x4",),
        (b"Content-Length:",),
        (b"Content-Length: " + b"9" * 19,),
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding:\x0bchunked",),
        (b"Transfer-Encoding : chunked",),
        (b"X: a", b" folded: b"),
        (b"X: a\nTransfer-Encoding: chunked",),
        (b"X: a\rTransfer-Encoding: chunked",),
        (b"X: a\x00b",),
        (b"X\x00: a",),
        (b": a",),
        (b"no colon",),
        (b"X Y: a",),
        (b"Host: a", b"Host: a"),
        (b"\n",),
        tuple(b"X-%d: x" % number for number in range(101)),
        (b"X: " + b"x" * 40_000,),
    ],
)
def test_a_head_that_two_could_read_in_two_ways_is_none(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(BadHead):
        head(*lines)


@pytest.mark.parametrize(
    "first",
    [
        *(
            b"POST /v1/x HTTP/2.0",
            b"POST /v1/x",
            b"POST  /v1/x HTTP/1.1",
            b"POST /v1/x HTTP/1.1 ",
            b" POST /v1/x HTTP/1.1",
        ),
        *(b"POST /v1/\xc3\xa9 HTTP/1.1", b"POST /v1/a b HTTP/1.1", b"PO ST /v1/x HTTP/1.1", b"GET /v1/x HTTP/1.1\n"),
        *(b"POST /v1/x HTTP/1.10", b"POST\t/v1/x HTTP/1.1", b"POST /v1/x\x00 HTTP/1.1", b""),
    ],
)
def test_a_first_line_that_is_none(first: bytes) -> None:
    with pytest.raises(BadHead):
        head(first=first)


@pytest.mark.parametrize(
    ("first", "lines", "closes"),
    [
        (b"GET / HTTP/1.1", (), False),
        (b"GET / HTTP/1.1", (b"Connection: close",), True),
        (b"GET / HTTP/1.1", (b"Connection: x, Close",), True),
        (b"GET / HTTP/1.1", (b"Connection: enclose",), False),
        (b"GET / HTTP/1.0", (), True),
        (b"GET / HTTP/1.0", (b"Connection: Keep-Alive",), False),
    ],
)
def test_whether_a_connection_is_kept(first: bytes, lines: tuple[bytes, ...], closes: bool) -> None:
    assert head(*lines, first=first).close is closes


def answer(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK", bodiless: bool = False) -> AnswerHead:
    data = b"\r\n".join((first, *lines)) + b"\r\n\r\n"
    return AnswerHead(data, data.find(b"\r\n\r\n"), bodiless=bodiless)


def test_how_an_answer_is_framed() -> None:
    assert answer(b"Content-Length: 3").length == 3
    assert answer(b"Transfer-Encoding: Chunked").length == CHUNKED
    assert answer().length == UNTIL_CLOSED
    assert answer(first=b"HTTP/1.1 204 No Content").length == 0
    assert answer(b"Content-Length: 3", bodiless=True).length == 0
    assert answer(first=b"HTTP/1.0 200 OK").close
    assert answer(first=b"HTTP/1.1 200").status_line == b"HTTP/1.1 200\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Content-Length: -3",),
        (b"Transfer-Encoding: gzip",),
        (b"X: a", b" b"),
    ],
)
def test_an_answer_that_can_be_read_in_two_ways_is_none(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(BadHead):
        answer(*lines)


BODIES = st.lists(st.binary(min_size=1, max_size=30), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    BODIES,
    st.lists(st.integers(1, 7), max_size=80),
    st.sampled_from([b"", b"A: 1\r\n", b"A:1\r\nB: \r\n"]),
    st.booleans(),
)
def test_a_chunked_body_ends_where_it_ends(
    bodies: list[bytes], cuts: list[int], trailers: bytes, extended: bool
) -> None:
    extension = b" ;a=b" if extended else b""
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(data), extension, data) for data in bodies)
    body += b"0%b\r\n%b\r\n" % (extension, trailers)
    data, behind = body + b"GET / HTTP/1.1", 0
    chunks, into, ended, at = Chunks(), list[bytes](), -1, 0
    left = list(cuts)
    while ended < 0 and at < len(data):
        size = left.pop() if left else len(data)
        piece = data[at : at + size]
        ended = chunks.feed(piece, 0, into)
        behind = at + ended
        at += len(piece)
    assert data[behind:] == b"GET / HTTP/1.1"
    assert b"".join(into) == b"".join(bodies)


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\nab",
            b"\r\n",
            b"1\n",
            b"g\r\n",
            b"1;\x00\r\n",
            b"f" * 16 + b"\r\n",
        ),
        *(
            b"1\r\nab\r\n",
            b"1\r\na\n\n",
            b"1\r\na\rX",
            b"0\r\n bad\r\n\r\n",
            b"0\r\nA: 1\n\r\n",
            b"0\r\nno colon\r\n\r\n",
        ),
        *(b"1" * 5000, b"0\r\n" + b"A: 1\r\n" * 5000),
    ],
)
def test_what_is_no_chunk(data: bytes) -> None:
    for size in (len(data), 1):
        chunks = Chunks()
        with pytest.raises(BadChunk):
            for at in range(0, len(data), size):
                assert chunks.feed(data[at : at + size]) == -1


def test_chunks_that_we_write() -> None:
    into: list[bytes] = []
    data = chunk(b"abc") + chunk(b"") + chunk(b"d" * 300) + LAST
    assert Chunks().feed(data, 0, into) == len(data)
    assert b"".join(into) == b"abc" + b"d" * 300
