"""Backends' answers as data: what one says, as a whole answer or as a stream cut into chunks and bytes at will."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.proxies.calls import Backend
from api.proxies.dialects import Translation, translation

Json = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)

BACKEND = Backend(workload="qwen", spark="spark-1", host="127.0.0.1", port=8000, model="served")
SSE = [(b"Content-Type", b" text/event-stream; charset=utf-8"), (b"x-request-id", b"7")]
JSON = [(b"content-type", b"application/json"), (b"content-length", b"5")]

LAW = settings(
    max_examples=1000 if os.environ.get("SPARKKEEP_LONG") else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""For a law: no test may depend on how busy the machine is."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMES = st.text("abcxyz_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)


@dataclass(frozen=True)
class Said:
    """What a model says in one answer."""

    thoughts: str
    text: str
    calls: tuple[tuple[str, str, Json], ...]  # id, name, arguments
    finish: str
    usage: tuple[int, int, int]

    @property
    def counted(self) -> Json:
        prompt, completion, cached = self.usage
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def whole(self) -> bytes:
        calls = [
            {"id": identity, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for identity, name, arguments in self.calls
        ]
        message: Json = {"role": "assistant", "content": self.text or None, "tool_calls": calls}
        message["reasoning_content"] = self.thoughts or None
        return json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": "served",
                "choices": [{"index": 0, "message": message, "finish_reason": self.finish}],
                "usage": self.counted,
            }
        ).encode()

    def deltas(self, sizes: list[int]) -> list[Json]:
        """The same in a stream, each text cut into parts of these sizes."""
        found: list[Json] = [{"role": "assistant", "content": ""}]
        found += [{"reasoning_content": part} for part in parts(self.thoughts, sizes)]
        found += [{"content": part} for part in parts(self.text, sizes)]
        for index, (identity, name, arguments) in enumerate(self.calls):
            function = {"name": name, "arguments": ""}
            found.append({"tool_calls": [{"index": index, "id": identity, "type": "function", "function": function}]})
            for part in parts(json.dumps(arguments), sizes):
                found.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        return found

    def stream(self, sizes: list[int], *, done: bool = True) -> bytes:
        chunks = [chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in self.deltas(sizes)]
        chunks.append(chunk([{"index": 0, "delta": {}, "finish_reason": self.finish}]))
        chunks.append(chunk([], usage=self.counted))
        return b"".join(chunks) + (b"data: [DONE]\n\n" if done else b"")


def chunk(choices: list[Json], **more: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "served"}
    return b"data: " + json.dumps({**head, "choices": choices, **more}).encode() + b"\n\n"


def parts(text: str, sizes: list[int]) -> list[str]:
    found, at, turn = [], 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)] if sizes else len(text)
        found.append(text[at : at + size])
        at, turn = at + size, turn + 1
    return found


@st.composite
def answers(draw: st.DrawFn) -> Said:
    calls = draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=3))
    named = tuple((f"call_{number}", name, arguments) for number, (name, arguments) in enumerate(calls))
    finish = "tool_calls" if named else draw(st.sampled_from(["stop", "length"]))
    prompt, completion = draw(st.integers(0, 100)), draw(st.integers(0, 100))
    return Said(
        draw(st.one_of(st.just(""), TEXTS)),
        draw(st.one_of(st.just(""), TEXTS)),
        named,
        finish,
        (prompt, completion, draw(st.integers(0, prompt))),
    )


SIZES = st.lists(st.integers(1, 9), max_size=5)
CUTS = st.lists(st.integers(0, 5000), max_size=30)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def start(path: str, body: Json, engine: str = "container") -> Translation:
    backend = Backend(workload="qwen", spark="spark-1", host="127.0.0.1", port=8000, model="served", engine=engine)
    made = translation(path, [], json.dumps(body).encode(), backend, clock=lambda: 1.0)
    assert made is not None
    return made


def asked(path: str, body: Json, engine: str = "container") -> Json:
    """What the backend is asked."""
    said = json.loads(start(path, body, engine).body())
    assert isinstance(said, dict)
    return said


def through(path: str, body: Json, parts_of_it: list[bytes], *, status: int = 200, fields: Any = None) -> bytes:
    """A backend's answer, seen from the other side."""
    made = start(path, body)
    made.body()
    if fields is None:
        fields = SSE if body.get("stream") else JSON
    made.head(status, fields)
    return b"".join(made.feed(part) for part in parts_of_it) + made.end()


def events(stream: bytes) -> list[Json]:
    """A stream's events, read as plainly as can be; their names must be their types."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = (line.partition(": ")[2] for line in block.split("\n"))
        found.append(json.loads(data))
        assert found[-1]["type"] == name
    return found


def strictly(model: type[Model], said: Json) -> Model:
    """It is what the SDK's type says, without any conversion, and says nothing that the type doesn't know."""
    made = model.model_validate_json(json.dumps(said), strict=True)
    _nothing_more(made)
    return made


def _nothing_more(value: object) -> None:
    if isinstance(value, BaseModel):
        assert not value.model_extra, f"{type(value).__name__} has no {set(value.model_extra or {})}"
        for name in type(value).model_fields:
            _nothing_more(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            _nothing_more(item)
