"""The framer: the same events wherever the bytes were cut, each as soon as it is complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies.dialects.sse import Comment, Event, EventTooLong, Framer, written
from tests.unit.api.dialects.talk import LAW

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
WORDS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
LINES = st.one_of(
    WORDS.map(lambda text: f"data: {text}"),
    WORDS.map(lambda text: f"data:{text}"),
    WORDS.map(lambda text: f"event: {text}"),
    WORDS.map(lambda text: f"id: {text}"),
    WORDS.map(lambda text: f": {text}"),
    st.sampled_from(["", "data", "retry: 5", "unknown: x", "nonsense"]),
)
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=20).map(lambda found: "".join(a + b for a, b in found).encode())


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def read(parts: list[bytes], **more: int) -> list[Event | Comment]:
    framer = Framer(**more)
    return [found for part in parts for found in framer.feed(part)] + framer.end()


@LAW
@given(STREAMS, st.lists(st.integers(0, 10_000), max_size=30))
def test_cuts_change_nothing(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == read([stream]) == read([bytes([byte]) for byte in stream])


@LAW
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=4)), max_size=6), ENDS)
def test_what_was_written_is_read(events: list[tuple[str, list[str]]], end: str) -> None:
    text = ""
    for name, lines in events:
        text += "".join(f"{line}{end}" for line in [f"event: {name}", *(f"data: {line}" for line in lines), ""])
    assert read([text.encode()]) == [Event(name, "\n".join(lines).encode()) for name, lines in events]


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r"])
def test_an_event_goes_out_with_its_blank_line(blank: bytes) -> None:
    framer = Framer()
    assert framer.feed(b"data: 1") == []
    assert framer.feed(blank) == [Event("", b"1")]
    assert framer.feed(b"data: 2" + blank) == [Event("", b"2")]
    assert framer.end() == []


def test_a_line_end_cut_in_two_is_one() -> None:
    framer = Framer()
    assert framer.feed(b"data: 1\r") == []
    assert framer.feed(b"\ndata: 2\r") == []
    assert framer.feed(b"\n\r") == [Event("", b"1\n2")]
    assert framer.feed(b"\n") == []
    assert framer.end() == []


def test_the_last_blank_line_may_be_missing() -> None:
    assert read([b"data: [DONE]"]) == [Event("", b"[DONE]")]
    assert read([b"data: [DONE]\n"]) == [Event("", b"[DONE]")]


def test_a_mark_at_the_beginning_counts_for_nothing() -> None:
    assert read([b"\xef\xbb", b"\xbfdata: 1\n\ndata: \xef\xbb\xbf2\n\n"]) == [
        Event("", b"1"),
        Event("", b"\xef\xbb\xbf2"),
    ]


def test_comments_and_ids() -> None:
    assert read([b": waiting\n\nid: 7\ndata: 1\n\ndata: 2\n\n"]) == [
        Comment(b"waiting"),
        Event("", b"1", "7"),
        Event("", b"2"),
    ]


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 200, b"data: x\n" * 40, b"x" * 101, b"event: " + b"x" * 99 + b"\n\n"]
)
def test_an_event_is_bounded(stream: bytes) -> None:
    with pytest.raises(EventTooLong):
        read([stream], largest=100)
    with pytest.raises(EventTooLong):
        read([bytes([byte]) for byte in stream], largest=100)


def test_many_events_and_many_comments_are_not_one_long_event() -> None:
    assert len(read([b"data: 0123456789\n\n" * 50], largest=100)) == 50
    assert len(read([b": still waiting\n" * 50 + b"data: 1\n\n"], largest=100)) == 51


def test_writing() -> None:
    assert written(b"{}") == b"data: {}\n\n"
    assert read([written(b"{}", "error")]) == [Event("error", b"{}")]
