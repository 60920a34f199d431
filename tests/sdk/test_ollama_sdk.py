"""Ollama's own Python client, unmodified."""

from __future__ import annotations

import base64
import json
from typing import Any

import ollama
import pytest
from ollama import AsyncClient
from pydantic import BaseModel

from api.proxies.calls import Refused
from tests.sdk.front import NAME, Front
from tests.sdk.test_openai_sdk import PNG, user


class Animal(BaseModel):
    name: str
    legs: int


def weather(city: str) -> str:
    """The weather.

    Args:
      city: Which city

    Returns:
      str: The weather
    """
    return f"rain in {city}"


async def test_chat(by_ollama: AsyncClient) -> None:
    whole = await by_ollama.chat(NAME, user("how are you"))
    assert (whole.message.content or "").endswith("to: how are you")
    assert (whole.model, whole.done, whole.done_reason) == (NAME, True, "stop")
    assert (whole.prompt_eval_count, whole.eval_count) == (3, 7)
    parts = [part async for part in await by_ollama.chat(NAME, user("how are you"), stream=True)]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * 7 + [True]
    assert parts[-1].eval_count == whole.eval_count


async def test_tools(by_ollama: AsyncClient) -> None:
    messages: Any = user("the weather in Bonn")
    whole = await by_ollama.chat(NAME, messages, tools=[weather])
    parts = [part async for part in await by_ollama.chat(NAME, messages, tools=[weather], stream=True)]
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert calls == whole.message.tool_calls
    [call] = calls
    assert call.function.name == "weather"
    assert "city" in call.function.arguments
    messages += [whole.message, {"role": "tool", "tool_name": "weather", "content": weather(**call.function.arguments)}]
    done = await by_ollama.chat(NAME, messages, tools=[weather])
    assert "to: rain in " in (done.message.content or "")


async def test_forms_options_pictures_and_thoughts(by_ollama: AsyncClient) -> None:
    done = await by_ollama.chat(NAME, user("a fox"), format=Animal.model_json_schema())
    assert Animal.model_validate_json(done.message.content or "")
    done = await by_ollama.chat(NAME, user("a fox"), format="json", keep_alive="5m")
    assert json.loads(done.message.content or "")
    done = await by_ollama.chat(NAME, user("a fox"), options={"num_predict": 2, "num_ctx": 4096, "temperature": 0})
    assert done.done_reason == "length"
    message: Any = {"role": "user", "content": "see", "images": [base64.b64decode(PNG)]}
    done = await by_ollama.chat(NAME, [message], think="low")
    assert "[image/png, 70 bytes]" in (done.message.content or "")
    assert (done.message.thinking or "").startswith("Let me think")


async def test_generate_and_embed(by_ollama: AsyncClient) -> None:
    whole = await by_ollama.generate(NAME, "once upon", system="be brief")
    assert (whole.response or "").endswith("once upon")
    parts = [part async for part in await by_ollama.generate(NAME, "once upon", system="be brief", stream=True)]
    assert "".join(part.response or "" for part in parts) == whole.response
    raw = await by_ollama.generate(NAME, "once upon", raw=True)
    assert (raw.response or "").endswith("once upon")
    vectors = await by_ollama.embed(NAME, ["a cat", "a dog"], dimensions=8)
    assert [len(vector) for vector in vectors.embeddings] == [8, 8]


async def test_models(by_ollama: AsyncClient) -> None:
    assert (await by_ollama.list()).models[0].model == NAME
    assert (await by_ollama.ps()).models[0].name == NAME
    assert (await by_ollama.show(NAME)).capabilities == ["completion", "tools"]


async def test_errors(by_ollama: AsyncClient, front: Front) -> None:
    with pytest.raises(ollama.ResponseError, match="no model is named `llama3`") as caught:
        await by_ollama.chat("llama3", user("hi"))
    assert caught.value.status_code == 404
    front.refusals.append(Refused(503, "Starting", "not now"))
    with pytest.raises(ollama.ResponseError, match="not now") as caught:
        await by_ollama.generate(NAME, "hi")
    assert caught.value.status_code == 503
    with pytest.raises(ollama.ResponseError, match="loaded and unloaded by sparkkeep"):
        await by_ollama.generate(NAME, "", keep_alive=0)
    front.breaks_after = 2  # nothing was said yet, so it is no stream that broke
    with pytest.raises(ollama.ResponseError, match="did not answer") as caught:
        [part async for part in await by_ollama.chat(NAME, user("how are you"), stream=True)]
    assert caught.value.status_code == 502
    front.breaks_after = 4
    with pytest.raises(ollama.ResponseError, match="qwen@spark-1 broke off"):
        [part async for part in await by_ollama.chat(NAME, user("how are you"), stream=True)]
