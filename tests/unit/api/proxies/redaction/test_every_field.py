"""A value that must not leave, in every place of a request that the official SDKs know of, and in those they don't."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaMessage
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Message
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Chat
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming as Completion
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as Response

from api.proxies.calls import Refused
from api.proxies.redaction.fields import TABLES
from api.proxies.redaction.finds import Find
from api.proxies.redaction.masking import Policy, masked, read
from tests.unit.api.proxies.redaction.parts import Finder, conversation
from tests.unit.api.proxies.redaction.shapes import places

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RESPONSES, MESSAGES, COUNT = "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"
SHAPES: dict[str, list[Any]] = {
    CHAT: [Chat],
    COMPLETIONS: [Completion],
    EMBEDDINGS: [EmbeddingCreateParams],
    RESPONSES: [Response],
    MESSAGES: [Message, BetaMessage],
    COUNT: [MessageCountTokensParams],
}
CANARIES = [
    "anna.schmidt@example.com",
    "Anna Schmidt",
    "4111111111111111",
    "+49 170 1234567",
    "sk-proj-0123456789abcdef",
]
AT_HOME = Policy(where="home", images=True, named=True)


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("path", SHAPES)
async def test_it_is_masked_or_refused(path: str, canary: str) -> None:
    told = Counter[str]()
    for shape in SHAPES[path]:
        for place, body in places(shape, canary):
            try:
                made = await masked(
                    await read(json.dumps(body).encode()), path, TABLES[path], conversation(), Finder(), AT_HOME
                )
            except Refused as refused:
                assert canary not in refused.message, place
                told[refused.reason] += 1
            else:
                assert canary not in made.body.decode(), place
                assert made.counts or '"id_' in made.body.decode(), place
                told["masked"] += 1
    assert set(told) <= {"masked", "NotRedacted"}
    assert told["masked"] > 8 * told["NotRedacted"], told  # it is not kept by refusing


@pytest.mark.parametrize("path", SHAPES)
async def test_what_holds_nothing_private_stays_as_it_is(path: str) -> None:
    """But for the order of its fields."""
    for shape in SHAPES[path]:
        for place, body in places(shape, "harmless words"):
            try:
                made = await masked(
                    await read(json.dumps(body).encode()), path, TABLES[path], conversation(), Finder(), AT_HOME
                )
            except Refused:
                continue
            assert json.loads(made.body) == body, place
            assert not made.counts


@pytest.mark.parametrize("path", TABLES)
@pytest.mark.parametrize("escape", [True, False])
async def test_a_field_that_nobody_has_heard_of(path: str, escape: bool) -> None:
    body: dict[str, Any] = {
        "model": "m",
        "new": [{"Müller, anna@example.com": {"x": "call 0170 1234567"}}],
        "anna@x.org": 1,
    }
    raw = json.dumps(body, ensure_ascii=escape).encode()
    made = await masked(await read(raw), path, TABLES[path], conversation(), Finder(), AT_HOME)
    assert not re.search(r"@|1234567", made.body.decode())
    assert made.counts == {"EMAIL": 2, "PHONE": 1}


@pytest.mark.parametrize("ident", ["call_4111111111111111", "call_0170-1234567", "toolu_01705551234abcdef"])
async def test_a_number_behind_the_beginning_of_an_id_is_looked_at_too(ident: str) -> None:
    call = {"id": ident, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    told = {"role": "tool", "tool_call_id": ident, "content": "done"}
    body = {"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}, told]}

    async def numbers(texts: list[str]) -> list[list[Find]]:
        return [[Find(m.start(), m.end(), "CARD", 1.0) for m in re.finditer(r"[0-9-]{7,}", text)] for text in texts]

    asked = await read(json.dumps(body).encode())
    made = await masked(asked, CHAT, TABLES[CHAT], conversation(), numbers, AT_HOME)
    said = json.loads(made.body)["messages"]
    assert ident not in made.body.decode()
    assert said[0]["tool_calls"][0]["id"] == said[1]["tool_call_id"]
