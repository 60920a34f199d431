"""Anthropic's own Python SDK, unmodified."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from pydantic import BaseModel

from api.proxies.calls import Refused
from tests.sdk.front import NAME, Front
from tests.sdk.test_openai_sdk import CITY, PNG, user

WEATHER: Any = {"name": "weather", "description": "The weather.", "input_schema": CITY}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


class Animal(BaseModel):
    name: str
    legs: int


async def test_message(by_anthropic: AsyncAnthropic) -> None:
    asked: Any = {"model": NAME, "max_tokens": 100, "system": "be kind", "messages": user("how are you")}
    whole = await by_anthropic.messages.create(**asked)
    [block] = whole.content
    assert block.type == "text"
    assert block.text.endswith("to: how are you")
    assert (whole.stop_reason, whole.model, whole.role) == ("end_turn", NAME, "assistant")
    assert whole.usage.input_tokens == 5
    async with by_anthropic.messages.stream(**asked) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    assert text == block.text
    for name in ("id", "model", "role", "content", "stop_reason", "stop_sequence", "usage"):
        assert final.to_dict()[name] == whole.to_dict()[name]


async def test_tools(by_anthropic: AsyncAnthropic) -> None:
    messages = user("the weather in Bonn")
    asked: Any = {"model": NAME, "max_tokens": 100, "tools": [WEATHER]}
    async with by_anthropic.messages.stream(**asked, messages=messages) as stream:
        final = await stream.get_final_message()
    whole = await by_anthropic.messages.create(**asked, messages=messages)
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    [call] = whole.content
    assert call.type == "tool_use"
    assert whole.stop_reason == "tool_use"
    assert "city" in call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}
    messages += [{"role": "assistant", "content": whole.content}, {"role": "user", "content": [result]}]
    done = await by_anthropic.messages.create(**asked, messages=messages)
    assert done.content[0].type == "text"
    assert done.content[0].text.endswith("to: rain")


async def test_a_form(by_anthropic: AsyncAnthropic) -> None:
    done = await by_anthropic.messages.parse(model=NAME, max_tokens=100, messages=user("a fox"), output_format=Animal)
    assert isinstance(done.parsed_output, Animal)


async def test_a_picture_and_thoughts(by_anthropic: AsyncAnthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    parts: Any = [{"type": "text", "text": "see"}, {"type": "image", "source": source}]
    asked: Any = {"model": NAME, "max_tokens": 100, "messages": [{"role": "user", "content": parts}]}
    # a practice model thinks where it is told how hard
    asked |= {"thinking": THINKING, "output_config": {"effort": "low"}}
    whole = await by_anthropic.messages.create(**asked)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert whole.content[1].type == "text"
    assert "[image/png, 70 bytes]" in whole.content[1].text
    async with by_anthropic.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    quiet = await by_anthropic.messages.create(**{name: asked[name] for name in asked if name != "thinking"})
    assert [block.type for block in quiet.content] == ["text"]


async def test_why_it_stopped(by_anthropic: AsyncAnthropic) -> None:
    done = await by_anthropic.messages.create(model=NAME, max_tokens=2, messages=user("hi"))
    assert done.stop_reason == "max_tokens"
    done = await by_anthropic.messages.create(model=NAME, max_tokens=99, messages=user("hi"), stop_sequences=["to:"])
    assert (done.stop_reason, done.stop_sequence) == ("stop_sequence", "to:")


@pytest.mark.parametrize("front", ["vllm"], indirect=True)
async def test_counting(by_anthropic: AsyncAnthropic) -> None:
    counted = await by_anthropic.messages.count_tokens(model=NAME, system="be kind", messages=user("how are you"))
    assert counted.input_tokens == 5


@pytest.mark.parametrize("front", ["vllm"], indirect=True)
async def test_a_server_that_is_older_than_the_table(by_anthropic: AsyncAnthropic, front: Front) -> None:
    """A vLLM that has no such page: the first call finds that out and is answered all the same."""
    for number in (1, 2):
        async with by_anthropic.messages.stream(model=NAME, max_tokens=99, messages=user("hi")) as stream:
            final = await stream.get_final_message()
        assert final.stop_reason == "end_turn"
        assert front.model.requests == {"/v1/messages": 1, "/v1/chat/completions": number}
    assert front.asked == 2
    with pytest.raises(anthropic.BadRequestError, match="container"):
        await by_anthropic.messages.create(model=NAME, max_tokens=9, messages=user("hi"), container="x")


@pytest.mark.parametrize("front", ["container", "sglang"], indirect=True)
async def test_what_can_not_be_counted(by_anthropic: AsyncAnthropic) -> None:
    """A practice server has no such page, whatever its engine has."""
    for _ in range(2):
        with pytest.raises(anthropic.NotFoundError, match="can't count"):
            await by_anthropic.messages.count_tokens(model=NAME, messages=user("hi"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (409, anthropic.ConflictError),
        (413, anthropic.RequestTooLargeError),
        (422, anthropic.UnprocessableEntityError),
        (429, anthropic.RateLimitError),
        (503, anthropic.ServiceUnavailableError),
        (504, anthropic.DeadlineExceededError),
        (500, anthropic.InternalServerError),
    ],
)
async def test_errors(
    by_anthropic: AsyncAnthropic, front: Front, status: int, error: type[anthropic.APIStatusError]
) -> None:
    for stream in (False, True):
        front.refusals.append(Refused(status, "BecauseISaySo", "not now"))
        with pytest.raises(error, match="not now") as caught:
            await by_anthropic.messages.create(model=NAME, max_tokens=9, messages=user("hi"), stream=stream)
        assert caught.value.status_code == status


async def test_what_is_refused_is_named(by_anthropic: AsyncAnthropic) -> None:
    tools: Any = [{"type": "web_search_20250305", "name": "web_search"}]
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\]\.type"):
        await by_anthropic.messages.create(model=NAME, max_tokens=9, messages=user("hi"), tools=tools)
    with pytest.raises(anthropic.NotFoundError, match="no model is named `claude`"):
        await by_anthropic.messages.create(model="claude", max_tokens=9, messages=user("hi"))


async def test_retries_and_timeouts(address: str, front: Front) -> None:
    front.refusals += [Refused(429, "QueueFull", "full", retry_after=0.01), Refused(503, "Starting", "starting")]
    async with AsyncAnthropic(base_url=address, api_key="none", max_retries=2) as client:
        done = await client.messages.create(model=NAME, max_tokens=99, messages=user("hi"))
        assert done.stop_reason == "end_turn"
        assert front.asked == 3
        front.hangs = True
        with pytest.raises(anthropic.APITimeoutError):
            await client.with_options(max_retries=0).messages.create(
                model=NAME, max_tokens=9, messages=user("hi"), timeout=0.1
            )


async def test_a_stream_that_breaks(by_anthropic: AsyncAnthropic, front: Front) -> None:
    front.breaks_after = 4
    stream = await by_anthropic.messages.create(model=NAME, max_tokens=99, messages=user("how are you"), stream=True)
    seen = set()
    with pytest.raises(anthropic.APIStatusError, match="qwen@spark-1 broke off"):
        async for event in stream:
            seen.add(event.type)
    assert "content_block_delta" in seen
