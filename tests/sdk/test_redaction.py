"""The redaction gateway under the official SDKs: what they say is masked where the model hears it, and whole where they do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from reconciler.practice.http_server import Answer, Request
from reconciler.practice.models import ModelServer
from tests.sdk.front import NAME, Front
from tests.sdk.test_openai_sdk import CITY, user
from tests.unit.api.proxies.redaction.parts import Finder, gateway

PRIVATE = ("Anna", "Schmidt", "example.com", "1234567", "411111")
WORDS = "write to Anna Schmidt, anna@example.com or +49 170 1234567, as Anna asked"
MASKED = "write to [PERSON_1], [EMAIL_1] or [PHONE_1], as [PERSON_1_FIRST] asked"
TOOL: Any = {"type": "function", "function": {"name": "send", "description": "to anna@example.com", "parameters": CITY}}


class Heard:
    """What the model was asked."""

    def __init__(self, model: ModelServer) -> None:
        self.bodies: list[Any] = []
        self.raw: list[str] = []
        self._handle = model.handle

    async def __call__(self, request: Request) -> Answer:
        if request.body:
            self.raw.append(request.body.decode())
            self.bodies.append(json.loads(request.body))
        return await self._handle(request)


@pytest.fixture
def heard(model: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Heard:
    made = Heard(model)
    monkeypatch.setattr(model, "handle", made)
    return made


@pytest.fixture
async def front(model: ModelServer, heard: Heard, request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    made = Front(model, getattr(request, "param", "container"), gateway(Finder(), NAME))
    await made.open()
    yield made
    await made.close()
    assert heard.raw
    assert not any(word in raw for raw in heard.raw for word in PRIVATE)


@pytest.fixture
async def by_openai(front: Front) -> AsyncIterator[AsyncOpenAI]:
    url = f"http://127.0.0.1:{front.port}/redact/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def by_anthropic(front: Front) -> AsyncIterator[AsyncAnthropic]:
    url = f"http://127.0.0.1:{front.port}/redact"
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
        yield client


async def test_a_chat_whole_and_streamed(by_openai: AsyncOpenAI, heard: Heard) -> None:
    raw = await by_openai.chat.completions.with_raw_response.create(model=NAME, messages=user(WORDS))
    assert raw.headers["sparkkeep-redacted"] == "EMAIL=1, PERSON=2, PHONE=1"
    assert "sparkkeep-session" not in raw.headers
    whole = raw.parse().choices[0].message.content or ""
    assert whole.endswith(f"to: {WORDS}")
    assert heard.bodies[0]["messages"][-1]["content"] == MASKED
    assert len(heard.bodies[0]["messages"]) == 1  # nobody said anything for the system, so nobody does
    stream = await by_openai.chat.completions.create(model=NAME, messages=user(WORDS), stream=True)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(parts) == whole
    assert len(parts) > 5
    assert heard.bodies[1]["messages"] == heard.bodies[0]["messages"]


async def test_tools_whole_and_streamed(by_openai: AsyncOpenAI, heard: Heard) -> None:
    asked: Any = {"model": NAME, "messages": user("send Anna Schmidt"), "tools": [TOOL]}
    whole = await by_openai.chat.completions.create(**asked)
    [call] = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert "Anna Schmidt" in json.dumps(json.loads(call.function.arguments))
    async with by_openai.chat.completions.stream(**asked) as stream:
        final = await stream.get_final_completion()
    [streamed] = final.choices[0].message.tool_calls or []
    assert streamed.function.arguments == call.function.arguments
    said: Any = {"role": "assistant", "tool_calls": [call.model_dump()]}
    result = {
        "role": "tool",
        "tool_call_id": call.id,
        "content": '{"to": "anna@example.com", "n\\u00e4me": "Anna Schmidt"}',
    }
    done = await by_openai.chat.completions.create(
        model=NAME, messages=[*asked["messages"], said, result], tools=[TOOL]
    )
    assert "anna@example.com" in (done.choices[0].message.content or "")
    last = heard.bodies[-1]["messages"]
    assert json.loads(last[-1]["content"]) == {"to": "[EMAIL_1]", "näme": "[PERSON_1]"}
    assert "[PERSON_1]" in last[-2]["tool_calls"][0]["function"]["arguments"]


async def test_responses(by_openai: AsyncOpenAI, heard: Heard) -> None:
    whole = await by_openai.responses.create(model=NAME, input=WORDS, instructions="you are Anna")
    assert whole.output_text.endswith(f"to: {WORDS}")
    assert whole.instructions == "you are Anna" or "Anna" in str(whole.instructions)
    async with by_openai.responses.stream(model=NAME, input=WORDS, instructions="you are Anna") as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    assert final.output_text == whole.output_text
    assert heard.bodies[0]["messages"][0]["content"].startswith("you are [PERSON_1")


async def test_completions_and_vectors(by_openai: AsyncOpenAI, heard: Heard) -> None:
    done = await by_openai.completions.create(model=NAME, prompt=WORDS)
    assert done.choices[0].text.endswith(f"to: {WORDS}")
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await by_openai.embeddings.create(model=NAME, input=[1, 2, 3])
    assert refused.value.param == "input"


@pytest.mark.parametrize("front", ["container", "vllm"], indirect=True)
async def test_messages(by_anthropic: AsyncAnthropic, heard: Heard) -> None:
    """Also of a server that lacks the page which its engine has: it is asked again, and nothing of that shows."""
    asked: Any = {"model": NAME, "max_tokens": 99, "system": "for Max Meier", "messages": user(WORDS)}
    whole = await by_anthropic.messages.create(**asked)
    assert whole.content[0].type == "text"
    assert whole.content[0].text.endswith(f"to: {WORDS}")
    async with by_anthropic.messages.stream(**asked) as stream:
        text = "".join([part async for part in stream.text_stream])
    assert text == whole.content[0].text


async def test_tools_of_messages(by_anthropic: AsyncAnthropic) -> None:
    tools: Any = [{"name": "send", "description": "to anna@example.com", "input_schema": CITY}]
    asked: Any = {"model": NAME, "max_tokens": 99, "tools": tools, "messages": user("send Anna Schmidt")}
    whole = await by_anthropic.messages.create(**asked)
    async with by_anthropic.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    for message in (whole, final):
        [call] = message.content
        assert call.type == "tool_use"
        assert "Anna Schmidt" in json.dumps(call.input)


async def test_an_error_of_the_model_says_what_its_asker_said(by_openai: AsyncOpenAI, front: Front) -> None:
    tool: Any = {"type": "function", "function": {"name": "anna_x"}}
    with pytest.raises(openai.BadRequestError) as refused:
        await by_openai.chat.completions.create(model=NAME, messages=user(WORDS), tools=[TOOL], tool_choice=tool)
    assert "anna_x" in refused.value.message


async def test_records_and_captures_hold_what_was_masked(by_openai: AsyncOpenAI, front: Front) -> None:
    await by_openai.chat.completions.create(model=NAME, messages=user(WORDS), user="anna@example.com")
    [record] = front.records.last(5)
    assert record.as_dict()["path"] == "/redact/v1/chat/completions"
    shown = json.dumps([record.as_dict(), record.call.session, record.call.model])
    assert not any(word in shown for word in PRIVATE)


async def test_the_models_are_listed(by_openai: AsyncOpenAI, heard: Heard) -> None:
    assert [model.id async for model in by_openai.models.list()] == [NAME]
    await by_openai.chat.completions.create(model=NAME, messages=user("hello"))
    assert len(heard.bodies[0]["messages"]) == 1  # nothing was masked: no hint
