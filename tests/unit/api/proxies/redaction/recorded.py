"""Streams as servers write them, out of a seed: what is said, cut into events, with all that may stand between.

`heard` is a client of its own: it reads a stream as the official clients do, and tells each channel's text.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from api.proxies.dialects import sse
from api.proxies.dialects.names import Dialect
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import restore
from tests.unit.api.proxies.redaction.given import MANGLINGS, conversation

ADA = 'Ada "Countess" Lovelace'
STREET = 'Hôhe Straße 1\\2\n"Hof"'
MAIL = "ada@example.com"
PLACEHOLDERS = ["[PERSON_1]", "[STREET_ADDRESS_1]", "[EMAIL_ADDRESS_1]"]
WORDS = [
    "so",
    "the person",
    "péople",
    "p",
    "is at",
    "x[1]",
    "<b>",
    "a_b",
    "100%",
    "日本",
    "\U0001f600",
    "1.",
    "\\",
    "{",
    "\n",
]
KINDS = {
    "chat": Dialect.OPENAI,
    "completions": Dialect.OPENAI,
    "responses": Dialect.RESPONSES,
    "anthropic": Dialect.ANTHROPIC,
    "ollama chat": Dialect.OLLAMA,
    "ollama generate": Dialect.OLLAMA,
}
Channel = tuple[Any, ...]


def known() -> Conversation:
    return conversation(PERSON=ADA, STREET_ADDRESS=STREET, EMAIL_ADDRESS=MAIL)


@dataclass
class Recorded:
    """A stream, what a client should hear of it, and the blocks that say nothing."""

    dialect: Dialect
    data: bytes
    wanted: dict[Channel, Any]
    untouched: list[bytes] = field(default_factory=list)


class Scribe:
    """Writes one stream."""

    def __init__(self, kind: str, seed: int, mangling: str) -> None:
        self.kind = kind
        self.dice = random.Random(f"{kind} {seed}")
        self.spoil = MANGLINGS[mangling][0]
        self.end = self.dice.choice(["\n", "\n", "\r\n", "\r"]) if "ollama" not in kind else "\n"
        self.ascii = self.dice.random() < 0.5
        self.blocks: list[bytes] = []
        self.untouched: list[bytes] = []
        self.wanted: dict[Channel, Any] = {}
        self.known = known()
        self.number = 0

    def text(self) -> str:
        words = [self.dice.choice(WORDS) for _ in range(self.dice.randint(0, 3))]
        for _ in range(self.dice.choice([1, 1, 2])):
            words.insert(self.dice.randint(0, len(words)), self.spoil(self.dice.choice(PLACEHOLDERS)))
        return " ".join(words)

    def document(self) -> tuple[str, Any]:
        said = {"to": [self.text(), 1], "b": {"note": self.text()}}
        restored = {
            "to": [restore(said["to"][0], self.known), 1],
            "b": {"note": restore(said["b"]["note"], self.known)},
        }
        return json.dumps(said, ensure_ascii=self.dice.random() < 0.5, indent=self.dice.choice([None, 1])), restored

    def pieces(self, text: str) -> list[str]:
        found, at = [], 0
        while at < len(text):
            size = self.dice.randint(1, 20)
            found.append(text[at : at + size])
            at += size
        return found

    def event(self, said: dict[str, Any], name: str = "", *, plain: bool = False) -> None:
        data = json.dumps(said, ensure_ascii=self.ascii)
        if "ollama" in self.kind:
            self.blocks.append(data.encode() + b"\n")
        else:
            lines = [f"event: {name}"] if name else []
            if self.dice.random() < 0.1:
                lines.append(f"id: {self.number}")
            if self.dice.random() < 0.1:
                lines.append(": still here")
            lines += (
                [f"data:{line}" for line in json.dumps(said, indent=0).split("\n")]
                if self.dice.random() < 0.1
                else [f"data: {data}"]
            )
            self.blocks.append((self.end.join(lines) + self.end * 2).encode())
            if self.dice.random() < 0.1:
                self.blocks.append(f": keep-alive{self.end * 2}".encode())
                self.untouched.append(self.blocks[-1])
        if plain:
            self.untouched.append(self.blocks[-1])

    def woven(self, rows: list[list[Any]]) -> list[Any]:
        """Several rows as one, each in its order."""
        rows, found = [list(row) for row in rows if row], []
        while rows:
            row = self.dice.choice(rows)
            found.append(row.pop(0))
            rows = [row for row in rows if row]
        return found

    def done(self) -> Recorded:
        mark = sse.BYTE_ORDER_MARK if "ollama" not in self.kind and self.dice.random() < 0.2 else b""
        return Recorded(KINDS[self.kind], mark + b"".join(self.blocks), self.wanted, self.untouched)


def recorded(kind: str, seed: int, mangling: str) -> Recorded:
    scribe = Scribe(kind, seed, mangling)
    {"chat": _chat, "completions": _completions, "responses": _responses, "anthropic": _anthropic,
     "ollama chat": _ollama_chat, "ollama generate": _ollama_generate}[kind](scribe)  # fmt: skip
    return scribe.done()


def _chat(scribe: Scribe) -> None:
    head = {"id": "chatcmpl-[PERSON_1]", "object": "chat.completion.chunk", "created": 1, "model": "PERSON_1"}
    rows = []
    for choice in range(scribe.dice.randint(1, 2)):
        row: list[Any] = [{"index": choice, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
        channels = []
        for name in ("reasoning_content", "content", "refusal"):
            if name == "content" or scribe.dice.random() < 0.3:
                text = scribe.text()
                scribe.wanted[choice, name] = restore(text, scribe.known)
                channels.append([{name: piece} for piece in scribe.pieces(text)])
        for call in range(scribe.dice.randint(0, 2)):
            text, restored = scribe.document()
            scribe.wanted[choice, "call", call] = restored
            start = {
                "index": call,
                "id": "PERSON_1",
                "type": "function",
                "function": {"name": "PERSON_1", "arguments": ""},
            }
            channels.append(
                [{"tool_calls": [start]}]
                + [{"tool_calls": [{"index": call, "function": {"arguments": piece}}]} for piece in scribe.pieces(text)]
            )
        woven = (
            scribe.woven(channels)
            if scribe.dice.random() < 0.3
            else [delta for channel in channels for delta in channel]
        )
        row += [{"index": choice, "delta": delta, "finish_reason": None} for delta in woven]
        row.append({"index": choice, "delta": {}, "finish_reason": "stop"})
        rows.append(row)
    for choice in scribe.woven(rows):
        scribe.event({**head, "choices": [choice]}, plain=choice["finish_reason"] is not None)
    scribe.event({**head, "choices": [], "usage": {"prompt_tokens": 1}}, plain=True)
    scribe.blocks.append(f"data: [DONE]{scribe.end * 2}".encode())


def _completions(scribe: Scribe) -> None:
    rows = []
    for choice in range(scribe.dice.randint(1, 3)):
        text = scribe.text()
        scribe.wanted[choice, "text"] = restore(text, scribe.known)
        row = [{"index": choice, "text": piece, "finish_reason": None} for piece in scribe.pieces(text)]
        row[-1]["finish_reason"] = scribe.dice.choice(["stop", None])
        if row[-1]["finish_reason"] is None:
            row.append({"index": choice, "text": "", "finish_reason": "length"})
        rows.append(row)
    for choice in scribe.woven(rows):
        scribe.event({"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice]})
    scribe.blocks.append(f"data: [DONE]{scribe.end * 2}".encode())


def _responses(scribe: Scribe) -> None:
    def event(kind: str, **said: Any) -> None:
        scribe.event({"type": kind, "sequence_number": scribe.number, **said}, kind)
        scribe.number += 1

    event("response.created", response={"id": "resp_1", "output": []})
    output = []
    for item in range(scribe.dice.randint(1, 3)):
        if scribe.dice.random() < 0.4:
            text, restored = scribe.document()
            scribe.wanted[item, "call"] = restored
            for piece in scribe.pieces(text):
                event("response.function_call_arguments.delta", item_id=f"fc_{item}", output_index=item, delta=piece)
            event("response.function_call_arguments.done", item_id=f"fc_{item}", output_index=item, arguments=text)
            said = {
                "type": "function_call",
                "id": "PERSON_1",
                "call_id": "PERSON_1",
                "name": "PERSON_1",
                "arguments": text,
            }
        else:
            text = scribe.text()
            scribe.wanted[item, "text"] = restore(text, scribe.known)
            for piece in scribe.pieces(text):
                event(
                    "response.output_text.delta",
                    item_id="m",
                    output_index=item,
                    content_index=0,
                    delta=piece,
                    logprobs=[],
                )
            event("response.output_text.done", item_id="m", output_index=item, content_index=0, text=text)
            said = {"type": "message", "id": "PERSON_1", "content": [{"type": "output_text", "text": text}]}
        event("response.output_item.done", output_index=item, item=said)
        output.append(said)
    event("response.completed", response={"id": "resp_1", "output": output})


def _anthropic(scribe: Scribe) -> None:
    def event(kind: str, **said: Any) -> None:
        scribe.event({"type": kind, **said}, kind, plain=kind != "content_block_delta")

    event("message_start", message={"id": "msg_PERSON_1", "model": "PERSON_1", "content": []})
    for index in range(scribe.dice.randint(1, 3)):
        kind, name, delta = scribe.dice.choice(
            [
                ("text", "text", "text_delta"),
                ("thinking", "thinking", "thinking_delta"),
                ("tool_use", "partial_json", "input_json_delta"),
            ]
        )
        if kind == "tool_use":
            text, scribe.wanted[index, name] = scribe.document()
            event(
                "content_block_start",
                index=index,
                content_block={"type": kind, "id": "PERSON_1", "name": "PERSON_1", "input": {}},
            )
        else:
            text = scribe.text()
            scribe.wanted[index, name] = restore(text, scribe.known)
            event("content_block_start", index=index, content_block={"type": kind, name: ""})
        for piece in scribe.pieces(text):
            event("content_block_delta", index=index, delta={"type": delta, name: piece})
            if scribe.dice.random() < 0.1:
                event("ping")
        event("content_block_stop", index=index)
    event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    event("message_stop")


def _ollama_chat(scribe: Scribe) -> None:
    head = {"model": "PERSON_1", "created_at": "2026-01-01T00:00:00Z"}
    for name in ("thinking", "content"):
        text = scribe.text()
        scribe.wanted["message", name] = restore(text, scribe.known)
        for piece in scribe.pieces(text):
            scribe.event({**head, "message": {"role": "assistant", "content": "", name: piece}, "done": False})
    text, scribe.wanted["call",] = scribe.document()
    call = {"function": {"name": "PERSON_1", "arguments": json.loads(text)}}
    scribe.event({**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False})
    scribe.event({**head, "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 3}, plain=True)


def _ollama_generate(scribe: Scribe) -> None:
    head = {"model": "PERSON_1", "created_at": "2026-01-01T00:00:00Z"}
    text = scribe.text()
    scribe.wanted["response",] = restore(text, scribe.known)
    for piece in scribe.pieces(text):
        scribe.event({**head, "response": piece, "done": False})
    scribe.event({**head, "response": "", "done": True, "context": [1]}, plain=True)


class Heard:
    """What a client made of a stream. Text of a channel that has ended is an error."""

    def __init__(self) -> None:
        self.texts: dict[Channel, str] = {}
        self.whole: dict[Channel, Any] = {}
        self.ended: set[Any] = set()
        self.names: set[str] = set()

    def more(self, channel: Channel, text: str, under: Any) -> None:
        assert not text or under not in self.ended, f"{channel} goes on after its end"
        self.texts[channel] = self.texts.get(channel, "") + text


def heard(kind: str, data: bytes) -> dict[Channel, Any]:
    found = Heard()
    if "ollama" in kind:
        events = [(None, line) for line in data.split(b"\n") if line]
    else:
        framer = sse.Framer()
        framed = framer.feed(data) + framer.end()
        events = [(event.name, event.data) for event in framed if isinstance(event, sse.Event)]
    number = -1
    for name, payload in events:
        assert "DONE" not in found.ended, "an event behind [DONE]"
        if payload == b"[DONE]":
            found.ended.add("DONE")
            continue
        event = json.loads(payload)
        if "sequence_number" in event:
            assert event["sequence_number"] == number + 1
            number += 1
        if kind in {"responses", "anthropic"}:
            assert name == event["type"]
        READERS[kind](found, event)
    for channel, text in found.texts.items():
        document = "call" in channel or "partial_json" in channel
        value = json.loads(text) if document else text
        assert found.whole.get(channel, value) == value
        found.whole[channel] = value
    assert found.names <= {"PERSON_1"}
    return found.whole


def _hear_openai(found: Heard, event: dict[str, Any]) -> None:
    for choice in event["choices"]:
        index = choice["index"]
        if "text" in choice:
            found.more((index, "text"), choice["text"], index)
        for name, value in choice.get("delta", {}).items():
            for call in value if name == "tool_calls" else []:
                found.names |= {call.get("id", "PERSON_1"), call["function"].get("name", "PERSON_1")}
                found.more((index, "call", call["index"]), call["function"]["arguments"], index)
            if name in {"content", "reasoning_content", "refusal"}:
                found.more((index, name), value, index)
        if choice["finish_reason"]:
            found.ended.add(index)


def _hear_responses(found: Heard, event: dict[str, Any]) -> None:
    item, kind = event.get("output_index"), event["type"]
    if kind == "response.output_text.delta":
        found.more((item, "text"), event["delta"], (item, "done"))
    elif kind == "response.function_call_arguments.delta":
        found.more((item, "call"), event["delta"], (item, "done"))
    elif kind == "response.output_text.done":
        found.whole[item, "text"] = event["text"]
    elif kind == "response.function_call_arguments.done":
        found.whole[item, "call"] = json.loads(event["arguments"])
    if kind.endswith(".done"):
        found.ended.add((item, "done"))
    for index, said in enumerate(event.get("response", {}).get("output", [])):
        found.names |= {said["id"], said.get("name", "PERSON_1"), said.get("call_id", "PERSON_1")}
        if said["type"] == "message":
            assert found.whole[index, "text"] == said["content"][0]["text"]
        else:
            assert found.whole[index, "call"] == json.loads(said["arguments"])


def _hear_anthropic(found: Heard, event: dict[str, Any]) -> None:
    index = event.get("index")
    if event["type"] == "content_block_delta":
        name = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[
            event["delta"]["type"]
        ]
        found.more((index, name), event["delta"][name], index)
    elif event["type"] == "content_block_stop":
        found.ended.add(index)
    elif event["type"] == "content_block_start":
        found.names |= {event["content_block"].get("name", "PERSON_1"), event["content_block"].get("id", "PERSON_1")}


def _hear_ollama(found: Heard, event: dict[str, Any]) -> None:
    found.names.add(event["model"])
    if "response" in event:
        found.more(("response",), event["response"], "done")
    for name in ("content", "thinking"):
        if name in event.get("message", {}):
            found.more(("message", name), event["message"][name], "done")
    for call in event.get("message", {}).get("tool_calls", []):
        found.names.add(call["function"]["name"])
        found.whole["call",] = call["function"]["arguments"]
    if event["done"]:
        found.ended.add("done")


READERS = {
    "chat": _hear_openai,
    "completions": _hear_openai,
    "responses": _hear_responses,
    "anthropic": _hear_anthropic,
    "ollama chat": _hear_ollama,
    "ollama generate": _hear_ollama,
}
