"""Records: what is known of a request at each moment, how many are kept, and what of it is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli import main
from api.proxies.calls import Backend, Call, Decision
from api.proxies.observer import Observer
from api.proxies.records import CAPTURED, Record, Records, usage
from state.proxy import Proxy
from tests.unit.api.conftest import Stage

WHY = "the only instance that answers"


def decision(workload: str = "twice", spark: str = "s1") -> Decision:
    return Decision(
        backend=Backend(workload=workload, spark=spark, host="10.0.0.1", port=8000, model=workload), why=WHY
    )


def call(model: str = "twice", who: str = "me", *, stream: bool = False) -> Call:
    return Call(method="POST", path="/v1/chat/completions", model=model, stream=stream, who=who)


def end(record: Record, cause: str = "answered", status: int = 200, end: bytes = b"", beginning: bytes = b"") -> None:
    record.ended(cause, status=status, received=10, sent=20, beginning=beginning, end=end)


def played(records: Records, request_id: str = "r1", workload: str = "twice", **said: Any) -> Record:
    record = records.begin(call(workload), request_id)
    record.routed(decision(workload))
    record.answering(200)
    record.first()
    end(record, **said)
    return record


def test_records_are_what_the_wire_tells() -> None:
    observer: Observer = Records()
    assert observer.begin(call(), "id")


def test_a_request_from_its_head_to_its_end() -> None:
    records = Records()
    record = records.begin(call(stream=True), "r1")
    assert (record.state, records.under_way_of("me"), records.counts()) == ("waiting", 1, {"": 1})
    record.held()
    record.routed(decision())
    assert (record.state, records.counts()) == ("asked", {"twice": 1})
    record.answering(200)
    record.first()
    assert record.state == "answering"
    assert [r.id for r in records.under_way()] == ["r1"] and records.last(10) == []
    end(record, end=b'{"usage":{"prompt_tokens":7,"completion_tokens":11}}')
    assert list(records.under_way()) == [] and records.under_way_of("me") == 0
    told = record.as_dict()
    assert told | {"at": 0, "queuedSeconds": 0, "firstByteSeconds": 0, "totalSeconds": 0, "tokensPerSecond": 0} == {
        "id": "r1", "at": 0, "who": "me", "method": "POST", "path": "/v1/chat/completions", "model": "twice",
        "workload": "twice", "backend": "twice@s1", "why": WHY, "tries": 1, "stream": True, "state": "ended", "waiting": None,
        "queuedSeconds": 0, "loadSeconds": 0.0, "firstByteSeconds": 0, "totalSeconds": 0, "bytesIn": 10, "bytesOut": 20,
        "promptTokens": 7, "completionTokens": 11, "tokensPerSecond": 0, "status": 200, "cause": "answered",
        "captured": False,
    }  # fmt: skip
    assert 0 <= told["queuedSeconds"] <= told["firstByteSeconds"] <= told["totalSeconds"]
    assert told["tokensPerSecond"] == pytest.approx(11 / (record.ended_at - record.first_at), abs=0.01)


def test_a_second_end_says_nothing() -> None:
    records = Records()
    record = played(records)
    end(record, "ClientLeft", 0)
    assert (record.cause, len(records.last(10)), records.under_way_of("me")) == ("answered", 1, 0)


def test_what_waits_again_after_a_failed_try() -> None:
    record = Records().begin(call(), "r1")
    record.routed(decision())
    record.held()
    assert record.state == "waiting"
    record.routed(decision(spark="s2"))
    assert (record.state, record.tries, record.as_dict()["backend"]) == ("asked", 2, "twice@s2")


def test_how_long_a_model_was_loading_while_it_was_waited_for() -> None:
    since = {"twice": 0.0}
    records = Records(ready_since=since.get)
    record = records.begin(call(), "r1")
    since["twice"] = record.began + 3.0
    record.routed(decision())
    record.routed_at = record.began + 5.0
    end(record)
    assert record.load == pytest.approx(3.0)
    since["twice"] = 1.0
    assert played(records).load == 0.0


@given(st.lists(st.sampled_from(["begin", "end"]), max_size=80), st.integers(0, 5))
def test_no_more_are_kept_than_is_said_and_counts_come_to_nothing(steps: list[str], most: int) -> None:
    kept = Proxy.model_validate({"keepRequests": most})
    records, open_, ended = Records(lambda: kept), list[Record](), list[Record]()
    for number, step in enumerate(steps):
        if step == "begin" or not open_:
            open_.append(records.begin(call(who=f"w{number % 3}"), str(number)))
        else:
            ended.append(open_.pop(0))
            end(ended[-1])
        assert list(records.under_way()) == open_
        assert records.last(100) == ended[::-1][:most]
        for who in ("w0", "w1", "w2"):
            assert records.under_way_of(who) == sum(r.call.who == who for r in open_)
    for record in open_:
        end(record, "ClientLeft", 0)
    assert records.counts() == {} and not records._who and len(records._last) <= most


@pytest.mark.parametrize(
    ("beginning", "ending", "tokens"),
    [
        (b"", b'..."usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,"prompt_tokens_details":null}}', (9, 3)),
        (b"", b'data: {"choices":[],"usage": {"prompt_tokens" : 9, "completion_tokens" : 3}}\n\ndata: [DONE]\n\n', (9, 3)),
        (b'event: message_start\ndata: {"message":{"usage":{"input_tokens":25,"output_tokens":1}}}',
         b'data: {"type":"message_delta","usage":{"output_tokens":15}}\n\nevent: message_stop', (25, 15)),
        (b"", b'{"usage":{"input_tokens":36,"output_tokens":87,"total_tokens":123}}', (36, 87)),
        (b"", b'{"done":true,"prompt_eval_count":26,"eval_count":290,"eval_duration":1}', (26, 290)),
        (b"", b'{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}', (8, None)),
        (b"", rb'{"content":"say \"prompt_tokens\": 5"}', (None, None)),
        (b"", b'{"prompt_tokens": -1, "completion_tokens": null}', (None, None)),
        (b"", b"\x1f\x8b\x08 not text", (None, None)),
    ],
)  # fmt: skip
def test_tokens_as_servers_count_them(beginning: bytes, ending: bytes, tokens: Any) -> None:
    assert usage(beginning, ending) == tokens


def captured(**said: Any) -> Records:
    settings = Proxy.model_validate({"capture": ["twice"], **said})
    return Records(lambda: settings)


def spoken(records: Records, request_id: str, workload: str = "twice") -> Record:
    record = records.begin(call(workload), request_id)
    words = record.routed(decision(workload))
    if words is not None:
        words.asked(b"first")
        words.heard(b"wrong", chunked=False)
        words.asked(b'{"model": 1}')
        words.heard(b"5\r\nhe", chunked=True)
        words.heard(b"llo\r\n1;x\r\n!\r\n0\r\n\r\n", chunked=True)
    end(record)
    return record


def test_what_was_said_is_kept_only_where_that_was_asked_for() -> None:
    records = captured()
    kept = spoken(records, "r1").capture
    assert kept is not None
    assert kept.as_dict() == {"request": '{"model": 1}', "answer": "hello!", "whole": True}
    assert spoken(records, "r2", "echo").capture is None
    assert spoken(Records(), "r3").capture is None


def test_no_more_of_it_is_kept_than_is_said() -> None:
    records = captured(keepCaptured=2, keepRequests=3)
    for number in range(10):
        spoken(records, str(number))
    assert [(r.id, r.capture is not None) for r in records.last(9)] == [("9", True), ("8", True), ("7", False)]
    assert len(records._captures) == 2
    record = records.begin(call(), "long")
    words = record.routed(decision())
    assert words is not None
    words.asked(b"a" * (CAPTURED + 1))
    words.heard(b"b" * CAPTURED, chunked=False)
    words.heard(b"c", chunked=False)
    assert (len(words.request), words.answer, words.whole) == (CAPTURED, b"b" * CAPTURED, False)


async def test_the_api_shows_one_with_what_was_said(stage: Stage, http: httpx2.AsyncClient) -> None:
    stage.context.records = records = captured()
    spoken(records, "r1")
    played(records, "r2", workload="echo")
    found = (await http.get("/api/requests/r1")).json()
    assert (found["request"]["id"], found["request"]["captured"]) == ("r1", True)
    assert found["words"] == {"request": '{"model": 1}', "answer": "hello!", "whole": True}
    assert (await http.get("/api/requests/r2")).json()["words"] is None
    assert (await http.get("/api/requests")).json()["ended"][1]["captured"] is True
    assert "hello" not in (await http.get("/api/requests")).text
    assert (await http.get("/api/requests/none")).json()["reason"] == "NoSuchRequest"


def test_what_is_counted() -> None:
    records = Records()
    played(records, end=b'{"usage":{"prompt_tokens":7,"completion_tokens":11}}')
    played(records, cause="not a word", status=502)
    end(records.begin(call("what?"), "r3"), "NoSuchModel", 404)
    meters = records.meters
    assert dict(meters.requests.rows()) == {
        ("twice", "200", "answered"): 1, ("twice", "502", "Other"): 1, ("", "404", "NoSuchModel"): 1,
    }  # fmt: skip
    assert dict(meters.tokens.rows()) == {("twice", "prompt"): 7, ("twice", "completion"): 11}
    assert {values: sum(s.buckets) for values, s in meters.total_seconds.rows()} == {("twice",): 2, ("",): 1}
    assert {values: sum(s.buckets) for values, s in meters.queue_seconds.rows()} == {("twice",): 2, ("",): 0}
    meters.keep_only({"other"})
    assert dict(meters.requests.rows()) == {("", "404", "NoSuchModel"): 1}


async def test_the_api_shows_both_lists(stage: Stage, http: httpx2.AsyncClient) -> None:
    records = stage.context.records
    for number in range(3):
        played(records, f"r{number}")
    played(records, "e", workload="echo")
    records.begin(call(), "now").routed(decision())
    found = (await http.get("/api/requests", params={"limit": 2})).json()
    assert [r["id"] for r in found["inFlight"]] == ["now"]
    assert [r["id"] for r in found["ended"]] == ["e", "r2"]
    found = (await http.get("/api/requests", params={"workload": "twice"})).json()
    assert [r["id"] for r in found["ended"]] == ["r2", "r1", "r0"]
    assert (await http.get("/api/requests", params={"limit": -1})).status_code == 422
    text = (await http.get("/metrics")).text
    assert 'sparkkeep_requests_total{cause="answered",status="200",workload="twice"} 3.0' in text
    assert 'sparkkeep_requests_in_flight{workload="twice"} 1.0' in text


def test_the_command_line_shows_them(served: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def told() -> None:
        played(served.context.records, "r1", end=b'{"prompt_tokens":7,"completion_tokens":11}')
        end(served.context.records.begin(call("what?"), "r2"), "NoSuchModel", 404)
        served.context.records.begin(call(), "r3")

    served.call(told())
    with pytest.raises(SystemExit) as ended:
        main(["requests", "--server", served.url])
    assert ended.value.code == 0
    out = capsys.readouterr()
    lines = out.out.splitlines()
    assert lines[0].split()[:3] == ["TIME", "WHO", "MODEL"]
    assert "twice@s1" in lines[1] and "200 answered" in lines[1] and "7+11" in lines[1]
    assert "404 NoSuchModel" in lines[2] and "waiting" in lines[3]
    assert "1 under way, 2 ended" in out.err
    with pytest.raises(SystemExit):
        main(["requests", "twice", "-o", "json", "--server", served.url])
    assert [r["id"] for r in json.loads(capsys.readouterr().out)["ended"]] == ["r1"]
