"""OpenAI's own Python SDK, unmodified, asks for vectors: it wants base64 unless it is told otherwise."""

from __future__ import annotations

import json

import openai
import pytest
from openai import AsyncOpenAI

from api.proxies.embeddings.way import Way
from reconciler.practice.model_answers import DIMENSIONS, vector
from tests.sdk.front import NAME, Front

MANY = 2048  # as many as OpenAI takes


def near(found: list[float], text: str) -> bool:
    return found == pytest.approx(vector(text, len(found)), abs=1e-6)


async def test_one_and_some(by_openai: AsyncOpenAI, front: Front) -> None:
    one = await by_openai.embeddings.create(model=NAME, input="a cat")
    assert near(one.data[0].embedding, "a cat")
    some = await by_openai.embeddings.create(model=NAME, input=["a cat", "a dog"], encoding_format="float")
    assert [near(item.embedding, text) for item, text in zip(some.data, ["a cat", "a dog"], strict=True)] == [
        True,
        True,
    ]
    assert some.usage.prompt_tokens == 4
    assert front.model.requests["/v1/embeddings"] == 2


async def test_tokens(by_openai: AsyncOpenAI) -> None:
    one = await by_openai.embeddings.create(model=NAME, input=[1, 2, 3])
    some = await by_openai.embeddings.create(model=NAME, input=[[1, 2, 3], [4]])
    assert one.data[0].embedding == some.data[0].embedding
    assert near(some.data[1].embedding, "4")


@pytest.mark.parametrize("form", ["unsaid", "float"])
async def test_2048_are_split_and_joined_in_order(by_openai: AsyncOpenAI, front: Front, form: str) -> None:
    front.asked_as(Way(batch=32, parallel=8))
    texts = [f"text {number}" for number in range(MANY)]
    wanted = {"encoding_format": "float"} if form == "float" else {}
    found = await by_openai.embeddings.create(model=NAME, input=texts, **wanted)  # type: ignore[call-overload]
    assert [item.index for item in found.data] == list(range(MANY))
    assert all(near(item.embedding, text) for item, text in zip(found.data, texts, strict=True))
    assert len(found.data[0].embedding) == DIMENSIONS
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (2 * MANY, 2 * MANY)
    assert front.model.requests["/v1/embeddings"] == MANY // 32


async def test_dimensions(by_openai: AsyncOpenAI, front: Front) -> None:
    assert len((await by_openai.embeddings.create(model=NAME, input="a cat", dimensions=8)).data[0].embedding) == 8
    front.asked_as(Way(matryoshka=True))
    cut = (await by_openai.embeddings.create(model=NAME, input="a cat", dimensions=8)).data[0].embedding
    whole = vector("a cat", DIMENSIONS)[:8]
    size = sum(value * value for value in whole) ** 0.5 or 1.0
    assert cut == pytest.approx([value / size for value in whole], abs=1e-6)


async def test_what_is_wrong_is_named(by_openai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await by_openai.embeddings.create(model=NAME, input=["a", 5])  # type: ignore[list-item]  # what is wrong
    assert caught.value.param == "input[1]"


async def test_the_others_all_the_same(by_openai: AsyncOpenAI) -> None:
    found = await by_openai.embeddings.create(
        model=NAME,
        input=["a cat", None, "a dog"],  # type: ignore[list-item]  # what is wrong
        extra_headers={"sparkkeep-on-error": "skip"},
    )
    assert [item.embedding is None for item in found.data] == [False, True, False]
    assert near(found.data[2].embedding, "a dog")
    assert json.loads(found.data[1].model_dump_json())["error"]["param"] == "input[1]"
