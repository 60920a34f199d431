"""The eleven positions of the harness of LiteLLM's #41265, of which two leak there: a card in each, on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.proxies.dialects import Learned, translation
from tests.unit.api.proxies.redaction.parts import Finder, gateway
from tests.unit.api.proxies.redaction.test_gateway import said
from tests.unit.api.proxies.stage import FakeBackend, path, says

CARD = "4111111111111111"
TEXT = f"pay with {CARD} please"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def call(arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": "pay", "arguments": json.dumps(arguments)}
    return {"role": "assistant", "tool_calls": [{"id": "call_12345678", "type": "function", "function": function}]}


def use(arguments: dict[str, Any]) -> dict[str, Any]:
    block = {"type": "tool_use", "id": "toolu_12345678", "name": "pay", "input": arguments}
    return {"role": "assistant", "content": [block]}


def result(content: Any) -> dict[str, Any]:
    return user([{"type": "tool_result", "tool_use_id": "toolu_12345678", "content": content}])


TOLD = {"role": "tool", "tool_call_id": "call_12345678", "content": "done"}
OPENAI = {
    "O1 user text": [user(TEXT)],
    "O2 arguments of a call in history": [user("pay"), call({"card": CARD}), TOLD, user("and?")],
    "O3 role tool": [user("pay"), call({"a": 1}), {**TOLD, "content": TEXT}],
    "O4 previous user text": [user(TEXT), {"role": "assistant", "content": "done"}, user("and?")],
    "O5 user text, an innocuous call in history": [user("pay"), call({"a": 1}), TOLD, user(TEXT)],
}
ANTHROPIC = {
    "A1 user text": [user(TEXT)],
    "A2 input of a call in history": [user("pay"), use({"card": CARD}), result("done")],
    "A3 result, a text": [user("pay"), use({"a": 1}), result(TEXT)],
    "A4 result, a list": [user("pay"), use({"a": 1}), result([{"type": "text", "text": TEXT}])],
    "A5 previous user text": [user(TEXT), {"role": "assistant", "content": "done"}, user("and?")],
    "A6 user text, an innocuous call in history": [user("pay"), use({"a": 1}), result("done"), user(TEXT)],
}
EVERY = [
    *(("/redact/v1/chat/completions", "container", name, messages) for name, messages in OPENAI.items()),
    *(
        ("/redact/v1/messages", engine, name, messages)
        for engine in ("container", "vllm")  # translated, and as it came
        for name, messages in ANTHROPIC.items()
    ),
]


@pytest.mark.parametrize(("where", "engine", "name", "messages"), EVERY, ids=[f"{n} {e}" for _, e, n, _ in EVERY])
async def test_it_is_masked(where: str, engine: str, name: str, messages: list[dict[str, Any]]) -> None:
    del name
    backend = FakeBackend("one", says(said("ok")), engine=engine)
    made = gateway(Finder(), "m")
    async with path(backend, masks=made, translate=translation, lacks=Learned().lacks) as p:
        client = await p.connect()
        client.post({"model": "m", "max_tokens": 9, "messages": messages}, path=where)
        got = await client.answer()
    assert got.get("sparkkeep-redacted") == "CREDIT_CARD=1"
    [seen] = backend.seen
    assert CARD.encode() not in seen.body
    assert seen.body.count(b"[CREDIT_CARD_1]") == 1
    assert seen.line.startswith(b"POST /v1/messages" if engine == "vllm" else b"POST /v1/chat/completions")
