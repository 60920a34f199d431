"""Streams and whole answers of each dialect, event by event."""

import functools
import json

import pytest

from api.proxies.dialects.names import Dialect
from api.proxies.redaction.streams import RestoringStream, restored_body
from tests.unit.api.proxies.redaction.given import ADA, MAIL, conversation, known


def event(said, name=""):
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(said).encode() + b"\n\n"


def chunk(index=0, finish=None, **delta):
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "model": "m", "choices": [choice]})


def said(data):
    return [json.loads(line[6:]) for line in data.decode().split("\n") if line.startswith("data: {")]


def deltas(data, *where):
    return [functools.reduce(lambda held, step: held[step], where, one) for one in said(data)]


def test_what_is_held_goes_out_before_the_finish_chunk():
    stream = RestoringStream(Dialect.OPENAI, known())
    first = stream.feed(chunk(content="It is PERSON_1"))
    assert deltas(first, "choices", 0, "delta") == [{"content": "It is "}]
    finish = chunk(finish="stop")
    last = stream.feed(finish + b"data: [DONE]\n\n")
    assert last.endswith(finish + b"data: [DONE]\n\n")
    assert deltas(last, "choices", 0, "delta")[0] == {"content": ADA}
    assert said(last)[0]["choices"][0]["finish_reason"] is None


def test_text_in_the_finish_chunk_itself_is_complete():
    stream = RestoringStream(Dialect.OPENAI, known())
    (only,) = said(stream.feed(chunk(content="It is PERSON_1", finish="stop")))
    assert only["choices"][0]["delta"]["content"] == f"It is {ADA}"


def test_what_is_held_goes_out_before_done_where_no_chunk_ends_the_choice():
    stream = RestoringStream(Dialect.OPENAI, known())
    stream.feed(chunk(content="[PERS"))
    last = stream.feed(b"data: [DONE]\n\n")
    assert deltas(last, "choices", 0, "delta") == [{"content": "[PERS"}]
    assert last.endswith(b"data: [DONE]\n\n")


def test_what_is_held_goes_out_where_the_stream_just_stops():
    stream = RestoringStream(Dialect.OPENAI, known())
    stream.feed(chunk(content="PERSON_1"))
    assert deltas(stream.end(), "choices", 0, "delta") == [{"content": ADA}]
    assert stream.end() == b""


def test_choices_that_take_turns_do_not_mix():
    stream = RestoringStream(Dialect.OPENAI, known())
    out = b""
    for a, b in zip("[PERSON_1]", "[PERSON_2]", strict=True):
        out += stream.feed(chunk(0, content=a) + chunk(1, content=b))
    texts = {0: "", 1: ""}
    for one in said(out + stream.end()):
        texts[one["choices"][0]["index"]] += one["choices"][0]["delta"]["content"]
    assert texts == {0: ADA, 1: known().issued["[PERSON_2]"]}


def test_calls_of_tools_that_take_turns_do_not_mix():
    stream = RestoringStream(Dialect.OPENAI, conversation(PERSON='Ada "C" L\\\n', EMAIL=MAIL))
    out = b""
    for a, b in zip('{"n":"[PERSON_1]"}', '{"m": "EMAIL_1" } ', strict=True):
        for index, piece in enumerate((a, b)):
            out += stream.feed(chunk(tool_calls=[{"index": index, "function": {"arguments": piece}}]))
    texts = ["", ""]
    for one in said(out + stream.end()):
        call = one["choices"][0]["delta"]["tool_calls"][0]
        texts[call["index"]] += call["function"]["arguments"]
    assert json.loads(texts[0]) == {"n": 'Ada "C" L\\\n'}
    assert texts[1] == f'{{"m": "{MAIL}" }} '


@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning", "refusal"])
def test_every_channel_of_a_choice(field):
    stream = RestoringStream(Dialect.OPENAI, known())
    out = b"".join(
        stream.feed(chunk(**{field: piece})) for piece in ("to [PER", "SON_1] an", "d person_", "1")
    ) + stream.feed(chunk(finish="stop"))
    assert "".join(delta.get(field, "") for delta in deltas(out, "choices", 0, "delta")) == f"to {ADA} and {ADA}"


def test_ids_and_names_stay():
    stream = RestoringStream(Dialect.OPENAI, known())
    call = {"index": 0, "id": "[PERSON_1]", "type": "function", "function": {"name": "PERSON_1", "arguments": ""}}
    given = event({"id": "[PERSON_1]", "model": "PERSON_1", "system_fingerprint": "[PERSON_1]",
                   "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})  # fmt: skip
    assert stream.feed(given) == given


def test_probabilities_of_tokens_stay_what_the_model_said():
    given = json.loads(chunk(content="[PERSON_1]")[6:])
    given["choices"][0]["logprobs"] = {"content": [{"token": "[PERSON_1]", "logprob": -0.1, "bytes": [91]}]}
    (only,) = said(RestoringStream(Dialect.OPENAI, known()).feed(event(given)))
    assert only["choices"][0]["delta"]["content"] == ADA
    assert only["choices"][0]["logprobs"] == given["choices"][0]["logprobs"]


def test_events_without_text_go_through_byte_for_byte():
    stream = RestoringStream(Dialect.OPENAI, known())
    for given in (
        b": keep-alive\r\n\r\n", b"retry: 3000\n\n", b"\n\n", b"id: 7\ndata:\n\n", b"data: not json [PERSON_1]\n\n", b"data: 12\n\n",
        b'data: {"choices" :[], "usage": {"total_tokens":3}}\r\r', b"event: ping\ndata: {}\n\n", b'data: {"choices": 4}\n\n',
        b'data: {"choices": [{"index": {}, "delta": [], "finish_reason": null}]}\n\n', b'data: {"x": 1e400, "y": NaN}\n\n',
    ):  # fmt: skip
        assert stream.feed(given) == given


def test_an_unchanged_event_keeps_its_bytes():
    given = (
        b'id: 1\r\nevent: x\r\n: hello\r\ndata:  {"choices":[{"index":0 ,"delta":{"content":"Hi \\u00e9."}}]}\r\n\r\n'
    )
    assert RestoringStream(Dialect.OPENAI, known()).feed(given) == given


def test_a_changed_event_keeps_its_other_lines():
    given = b'\xef\xbb\xbfid: 1\r\n: hello\r\ndata: {"choices":[{"index":0,\r\ndata: "delta":{"content":"[PERSON_1]"}}]}\r\nretry: 5\r\n\r\n'
    assert RestoringStream(Dialect.OPENAI, known()).feed(given) == (
        b'\xef\xbb\xbfid: 1\r\n: hello\r\ndata: {"choices":[{"index":0,"delta":{"content":"Ada Lovelace"}}]}\r\nretry: 5\r\n\r\n'
    )


def test_a_stream_that_ends_without_its_blank_line():
    stream = RestoringStream(Dialect.OPENAI, known())
    assert stream.feed(chunk(content="[PERSON_1]")[:-2]) == b""
    assert deltas(stream.end() + b"\n", "choices", 0, "delta", "content") == [ADA]


def test_an_event_without_end_goes_through_and_is_not_kept():
    stream = RestoringStream(Dialect.OPENAI, known())
    stream.feed(chunk(content="[PERS"))
    part = b"x" * 1_000_000
    out = b"".join(stream.feed(part) for _ in range(9))
    assert out.endswith(part * 9)
    assert deltas(out[: -len(part) * 9], "choices", 0, "delta", "content") == ["[PERS"]
    assert stream.feed(b"more") == b"more"


def test_an_error_in_a_stream_is_restored_after_what_was_held():
    stream = RestoringStream(Dialect.OPENAI, known())
    stream.feed(chunk(content="[PERS"))
    out = said(stream.feed(event({"error": {"message": "no such user: [PERSON_1]"}})))
    assert out[0]["choices"][0]["delta"] == {"content": "[PERS"}
    assert out[1] == {"error": {"message": f"no such user: {ADA}"}}


def test_a_structured_answer_stays_json():
    known = conversation(STREET='5 "Elm"\nRoad')
    stream = RestoringStream(Dialect.OPENAI, known, structured=True)
    out = b"".join(stream.feed(chunk(content=c)) for c in '{"street": "[STREET_1]"}') + stream.end()
    assert json.loads("".join(deltas(out, "choices", 0, "delta", "content"))) == {"street": '5 "Elm"\nRoad'}
    body = json.dumps({"choices": [{"message": {"content": '{"street": "[STREET_1]"}'}}]}).encode()
    restored = json.loads(restored_body(Dialect.OPENAI, known, body, structured=True))
    assert json.loads(restored["choices"][0]["message"]["content"]) == {"street": '5 "Elm"\nRoad'}


def test_a_message_of_anthropic_is_flushed_before_its_block_ends():
    stream = RestoringStream(Dialect.ANTHROPIC, known())
    held = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is PERSON_1"}}
    stop = event({"type": "content_block_stop", "index": 0}, "content_block_stop")
    stream.feed(event(held, "content_block_delta"))
    out = stream.feed(stop)
    assert out.endswith(stop)
    assert out.startswith(b"event: content_block_delta\n")
    assert said(out)[0] == {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ADA}}


def test_numbers_of_responses_go_on_when_an_event_of_ours_comes_between():
    stream = RestoringStream(Dialect.RESPONSES, known())
    delta = {"type": "response.output_text.delta", "sequence_number": 4, "item_id": "m", "output_index": 0, "content_index": 0,
             "delta": "It is PERSON_1", "logprobs": []}  # fmt: skip
    done = {"type": "response.output_text.done", "sequence_number": 5, "item_id": "m", "output_index": 0, "content_index": 0,
            "text": "It is PERSON_1"}  # fmt: skip
    last = {"type": "response.completed", "sequence_number": 6, "response": {"instructions": "Help [PERSON_1]"}}
    out = said(b"".join(stream.feed(event(one, one["type"])) for one in (delta, done, last)))
    assert [one["sequence_number"] for one in out] == [4, 5, 6, 7]
    assert [one.get("delta", one.get("text")) for one in out[:3]] == ["It is ", ADA, f"It is {ADA}"]
    assert out[3]["response"]["instructions"] == f"Help {ADA}"


def test_a_line_of_ollama_is_flushed_before_the_last():
    stream = RestoringStream(Dialect.OLLAMA, known())
    line = b'{"model":"m","message":{"role":"assistant","content":"It is PERSON_1"},"done":false}\n'
    last = b'{"model":"m","message":{"role":"assistant","content":""},"done":true}\n'
    out = [json.loads(one) for one in (stream.feed(line) + stream.feed(last)).split(b"\n") if one]
    assert [one["message"]["content"] for one in out] == ["It is ", ADA, ""]
    assert [one["done"] for one in out] == [False, False, True]


BODY = {
    "id": "[PERSON_1]",
    "model": "PERSON_1",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Dear [PERSON_1],",
                "reasoning_content": "person_1?",
                "refusal": "not <PERSON_1>",
                "annotations": [{"type": "url_citation", "url_citation": {"title": "[PERSON_1]"}}],
                "tool_calls": [
                    {
                        "id": "PERSON_1",
                        "function": {"name": "PERSON_1", "arguments": '{"to": "PERSON\\u005f1", "n": 1.0}'},
                    }
                ],
            },
            "logprobs": {"content": [{"token": "[PERSON_1]"}]},
        },
        {"index": 1, "text": "[PERSON_1]"},
    ],
    "content": [
        {"type": "text", "text": "[PERSON_1]"},
        {
            "type": "tool_use",
            "id": "PERSON_1",
            "name": "PERSON_1",
            "input": {"[PERSON_1]": ["PERSON_1"], "name": "[PERSON_1]"},
        },
        {"type": "thinking", "thinking": "[PERSON_1]", "signature": "[PERSON_1]"},
    ],
    "message": {
        "content": "[PERSON_1]",
        "tool_calls": [{"function": {"name": "PERSON_1", "arguments": {"id": "PERSON_1"}}}],
    },
}


def test_a_whole_answer():
    assert json.loads(restored_body(Dialect.OPENAI, known(), json.dumps(BODY).encode())) == {
        "id": "[PERSON_1]",
        "model": "PERSON_1",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": f"Dear {ADA},",
                    "reasoning_content": f"{ADA}?",
                    "refusal": f"not {ADA}",
                    "annotations": [{"type": "url_citation", "url_citation": {"title": ADA}}],
                    "tool_calls": [
                        {
                            "id": "PERSON_1",
                            "function": {"name": "PERSON_1", "arguments": f'{{"to": "{ADA}", "n": 1.0}}'},
                        }
                    ],
                },
                "logprobs": {"content": [{"token": "[PERSON_1]"}]},
            },
            {"index": 1, "text": ADA},
        ],
        "content": [
            {"type": "text", "text": ADA},
            {"type": "tool_use", "id": "PERSON_1", "name": "PERSON_1", "input": {ADA: [ADA], "name": ADA}},
            {"type": "thinking", "thinking": ADA, "signature": "[PERSON_1]"},
        ],
        "message": {"content": ADA, "tool_calls": [{"function": {"name": "PERSON_1", "arguments": {"id": ADA}}}]},
    }


@pytest.mark.parametrize(
    ("body", "restored"),
    [(b"", b""), (b"no user [PERSON_1]", b"no user Ada Lovelace"), (b"\xff[PERSON_1]", b"\xff[PERSON_1]"), (b"[1, 2", b"[1, 2"),
     (b'{"a" : "b [PERSON_99]"}', b'{"a" : "b [PERSON_99]"}'), (b'"[PERSON_1]"', b'"Ada Lovelace"'),
     (b"[" * 100_000, b"[" * 100_000), (b'{"error":{"message":"[PERSON_1]?"}}', b'{"error":{"message":"Ada Lovelace?"}}')],
)  # fmt: skip
def test_other_bodies(body, restored):
    assert restored_body(Dialect.OPENAI, known(), body) == restored
