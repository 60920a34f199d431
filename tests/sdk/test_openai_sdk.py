"""OpenAI's own Python SDK, unmodified: chats and responses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from api.proxies.calls import Refused
from tests.sdk.front import NAME, Front

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {"name": "weather", "description": "The weather.", "parameters": CITY, "strict": True}


class Animal(BaseModel):
    name: str
    legs: int


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_chat(by_openai: AsyncOpenAI) -> None:
    whole = await by_openai.chat.completions.create(model=NAME, messages=user("how are you"))
    text = whole.choices[0].message.content
    assert text is not None
    assert text.endswith("to: how are you")
    stream = await by_openai.chat.completions.create(
        model=NAME, messages=user("how are you"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage == whole.usage


async def test_chat_with_tools(by_openai: AsyncOpenAI) -> None:
    messages = user("the weather in Bonn")
    tools: Any = [{"type": "function", "function": WEATHER}]
    async with by_openai.chat.completions.stream(model=NAME, messages=messages, tools=tools) as stream:
        final = await stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)
    messages += [final.choices[0].message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    done = await by_openai.chat.completions.create(model=NAME, messages=messages, tools=tools)
    assert (done.choices[0].message.content or "").endswith("to: rain")


async def test_chat_in_a_form(by_openai: AsyncOpenAI) -> None:
    done = await by_openai.chat.completions.parse(model=NAME, messages=user("a fox"), response_format=Animal)
    assert isinstance(done.choices[0].message.parsed, Animal)


async def test_chat_with_a_picture(by_openai: AsyncOpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    done = await by_openai.chat.completions.create(model=NAME, messages=[{"role": "user", "content": parts}])
    assert "[image/png, 70 bytes]" in (done.choices[0].message.content or "")


async def test_the_rest_is_passed_on(by_openai: AsyncOpenAI) -> None:
    assert [model.id async for model in by_openai.models.list()]
    done = await by_openai.completions.create(model=NAME, prompt="once upon")
    assert done.choices[0].text.endswith("once upon")
    vector = await by_openai.embeddings.create(model=NAME, input="a cat", dimensions=8)
    assert len(vector.data[0].embedding) == 8


# Responses


async def test_response(by_openai: AsyncOpenAI) -> None:
    whole = await by_openai.responses.create(model=NAME, input="how are you", instructions="be kind")
    assert whole.output_text.endswith("to: how are you")
    assert (whole.status, whole.model, whole.instructions) == ("completed", NAME, "be kind")
    assert whole.usage is not None
    stream = await by_openai.responses.create(model=NAME, input="how are you", instructions="be kind", stream=True)
    events = [event async for event in stream]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.usage == whole.usage


async def test_response_with_tools(by_openai: AsyncOpenAI) -> None:
    tools: Any = [{"type": "function", **WEATHER}]
    asked: Any = user("the weather in Bonn")
    async with by_openai.responses.stream(model=NAME, input=asked, tools=tools) as stream:
        final = await stream.get_final_response()
    [call] = final.output
    assert call.type == "function_call"
    assert "city" in json.loads(call.arguments)
    asked += [call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    done = await by_openai.responses.create(model=NAME, input=asked, tools=tools)
    assert done.output_text.endswith("to: rain")


async def test_response_in_a_form(by_openai: AsyncOpenAI) -> None:
    done = await by_openai.responses.parse(model=NAME, input="a fox", text_format=Animal)
    assert isinstance(done.output_parsed, Animal)


async def test_response_with_a_picture_and_thoughts(by_openai: AsyncOpenAI) -> None:
    parts: Any = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"},
    ]
    asked: Any = [{"role": "user", "content": parts}]
    done = await by_openai.responses.create(model=NAME, input=asked, reasoning={"effort": "low"})
    assert "[image/png, 70 bytes]" in done.output_text
    assert done.output[0].type == "reasoning"
    assert done.usage is not None
    assert done.usage.output_tokens_details.reasoning_tokens > 0
    async with by_openai.responses.stream(model=NAME, input=asked, reasoning={"effort": "low"}) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    thoughts = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    [part] = (final.output[0].content or []) if final.output[0].type == "reasoning" else []
    assert part.text == thoughts


async def test_a_response_that_a_limit_ends(by_openai: AsyncOpenAI) -> None:
    done = await by_openai.responses.create(model=NAME, input="how are you", max_output_tokens=2)
    assert (done.status, done.incomplete_details and done.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )


async def test_what_is_stored_is_refused(by_openai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not stored here") as caught:
        await by_openai.responses.create(model=NAME, input="and then?", previous_response_id="resp_1")
    assert (caught.value.param, caught.value.code) == ("previous_response_id", "CannotTranslate")


# Errors


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
async def test_errors(by_openai: AsyncOpenAI, front: Front, status: int, error: type[openai.APIStatusError]) -> None:
    for ask in (
        lambda: by_openai.chat.completions.create(model=NAME, messages=user("hi")),
        lambda: by_openai.responses.create(model=NAME, input="hi", stream=True),
    ):
        front.refusals.append(Refused(status, "BecauseISaySo", "not now", field="model"))
        with pytest.raises(error, match="not now") as caught:
            await ask()
        assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, "BecauseISaySo", "model")


async def test_a_model_that_is_not_there(by_openai: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model is named `gpt`"):
        await by_openai.responses.create(model="gpt", input="hi")


async def test_a_backends_own_error(by_openai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tool_choice names news"):
        await by_openai.responses.create(
            model=NAME,
            input="hi",
            tools=[{"type": "function", **WEATHER}],
            tool_choice={"type": "function", "name": "news"},
        )


async def test_retries(address: str, front: Front) -> None:
    front.refusals += [Refused(429, "QueueFull", "full", retry_after=0.01), Refused(503, "Starting", "starting")]
    front.refusals[0].retry_after = 0.01
    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=2) as client:
        done = await client.responses.create(model=NAME, input="hi")
    assert done.output_text.endswith("hi")
    assert front.asked == 3


async def test_timeouts(by_openai: AsyncOpenAI, front: Front) -> None:
    front.hangs = True
    with pytest.raises(openai.APITimeoutError):
        await by_openai.responses.create(model=NAME, input="hi", timeout=0.1)


async def test_a_stream_that_breaks(by_openai: AsyncOpenAI, front: Front) -> None:
    front.breaks_after = 3
    stream = await by_openai.responses.create(model=NAME, input="how are you", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.message.startswith("BackendBroke: ")


async def test_a_stream_that_breaks_and_was_not_translated(by_openai: AsyncOpenAI, front: Front) -> None:
    front.breaks_after = 4
    stream = await by_openai.chat.completions.create(model=NAME, messages=user("how are you"), stream=True)
    said = ""
    with pytest.raises(openai.APIError, match="broke off") as caught:
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""
    assert said
    assert caught.value.code == "BackendBroke"


async def test_many_at_once(by_openai: AsyncOpenAI) -> None:
    asked = [f"question {number}" for number in range(20)]
    done = await asyncio.gather(*(by_openai.responses.create(model=NAME, input=each) for each in asked))
    assert [each.output_text.partition("to: ")[2] for each in done] == asked
