"""A head that was remembered says what reading it says, whatever was sent before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.guard.addressed import Hosts
from api.guard.bearer import Token
from api.guard.rules import Rules
from api.proxies import known
from api.proxies.gate import Gate, Turned
from api.proxies.head import AnswerHead, BadHead, Head

LENGTHS = ["Content-Length: 5", "content-length: 17", "Content-Length: 17", "CONTENT-LENGTH: 5", "content-length:5"]
ODD = [
    *("Content-Length: ", "Content-Length: +5", "Content-Length: 5 5", "Content-Length: 5x", "Content-Length: \x00"),
    *(
        "Content-Length: 5\n",
        "Transfer-Encoding: chunked",
        "X: Content-Length: 5",
        "Content-Length: 1234567890123456789",
    ),
]
DATES = ["Date: Mon, 23 Nov 2026 16:00:00 GMT", "date: x", "Date: ", "Date: (a)", "Date: y\nA: b", "Date: z\rA: b"]
OTHERS = ["Host: a", "Connection: close", "Connection: date", "Content-Type: text/event-stream", "x-request-id: r"]
LINES = st.lists(st.sampled_from([*LENGTHS, *ODD, *DATES, *OTHERS]), max_size=5)


def read(make: Callable[[bytes, int], Head | AnswerHead], data: bytes) -> object:
    try:
        head = make(data, data.find(b"\r\n\r\n"))
    except BadHead as bad:
        return bad.reason
    names = [name for name in type(head).__slots__ if name not in {"admitted", "sent", "raw"}]
    return [getattr(head, name) for name in names] + [head.fields]


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=6), st.booleans())
def test_a_head_is_what_reading_it_says(heads: list[list[str]], bodiless: bool) -> None:
    known._requests.clear()
    known._answers.clear()
    for lines in heads:
        rest = "\r\n".join(["", *lines, "", ""]).encode()
        asked, answered = b"POST /v1/x HTTP/1.1" + rest, b"HTTP/1.1 200 OK" + rest
        assert read(known.request_head, asked) == read(Head, asked)
        assert read(lambda data, end: known.answer_head(data, end, bodiless=bodiless), answered) == read(
            lambda data, end: AnswerHead(data, end, bodiless=bodiless), answered
        )


def test_the_next_request_of_a_program_is_known_and_so_is_the_next_answer_of_a_server() -> None:
    def request(length: int) -> Head:
        data = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length
        return known.request_head(data, data.find(b"\r\n\r\n"))

    def answer(length: int, date: bytes) -> AnswerHead:
        data = b"HTTP/1.1 200 OK\r\nDate: %b\r\nServer: s\r\nContent-Length: %d\r\n\r\n" % (date, length)
        return known.answer_head(data, data.find(b"\r\n\r\n"), bodiless=False)

    one, two = request(5), request(17)
    assert (one.length, two.length, two.names[b"content-length"]) == (5, 17, b"17")
    assert one.sent is two.sent
    first, second = answer(5, b"Mon"), answer(17, b"Tue")
    assert (first.length, second.length) == (5, 17)
    assert second.names is first.names
    assert second.passed == b"Date: Tue\r\nServer: s\r\nContent-Length: 17\r\n"


def test_only_so_many_are_remembered() -> None:
    for number in range(2000):
        for head in (
            b"GET /v1/%d HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: %d\r\ncontent-length: 3\r\n\r\n",
        ):
            data = head % number
            make = known.request_head if data[:1] == b"G" else known.answer_head
            make(data, data.find(b"\r\n\r\n"), **({} if make is known.request_head else {"bodiless": False}))
    assert len(known._requests) <= 500
    assert len(known._answers) <= 500


@pytest.mark.parametrize("evil", [b"Content-Length: \r\n", b"Content-Length: \0\r\n", b"Content-Length: \n\r\n"])
def test_what_is_no_head_is_not_taken_for_one_that_was_read_before(evil: bytes) -> None:
    good = b"POST /v1/x HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
    known.request_head(good, good.find(b"\r\n\r\n"))
    bad = b"POST /v1/x HTTP/1.1\r\n" + evil + b"\r\n"
    with pytest.raises(BadHead):
        known.request_head(bad, bad.find(b"\r\n\r\n"))


def test_who_was_let_in_is_still_held_to_the_size_of_a_body_and_others_to_the_token() -> None:
    gate = Gate(Rules(hosts=Hosts(), token=Token("0123456789abcdef")))
    place = gate.place(b"/v1/x")
    assert place is not None

    def admitted(length: int, word: bytes) -> str:
        lines = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nAuthorization: Bearer %b\r\n" % word
        data = b"POST /v1/x HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (lines, length)
        try:
            gate.admit(known.request_head(data, data.find(b"\r\n\r\n")), place)
        except Turned as turned:
            return turned.verdict.refused[1] if turned.verdict.refused else "preflight"
        return "in"

    good, most = b"0123456789abcdef", place.policy.max_body
    assert [admitted(length, good) for length in (5, 5, 5, 17, most)] == ["in"] * 5
    assert admitted(most + 1, good) == "BodyTooLarge"
    assert [admitted(5, b"fedcba9876543210") for _ in range(3)] == ["TokenNeeded"] * 3
