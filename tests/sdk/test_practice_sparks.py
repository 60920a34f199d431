"""The same conversations through the whole product: the SDKs, `sparkkeep serve`, and a model on a practice Spark.

The model's engine is vLLM, whose practice server has none of vLLM's further pages: that too is found out on the way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.bad_input.served import Fleet, served
from tests.sdk import test_anthropic_sdk, test_node_sdk, test_ollama_sdk, test_openai_sdk
from tests.sdk.front import NAME
from tests.sdk.test_node_sdk import programs  # noqa: F401 - a fixture

pytestmark = pytest.mark.xdist_group("sdks on practice Sparks")

DESIRED = f"""\
sparks:
  spark-1: {{host: 127.0.0.1}}
models:
  {NAME}: {{recipe: qwen3-8b, on: spark-1, aliases: [gpt-4o-mini]}}
"""
OPENAI = [
    *("test_chat", "test_chat_with_tools", "test_chat_in_a_form", "test_chat_with_a_picture", "test_response"),
    *("test_response_with_tools", "test_response_in_a_form", "test_response_with_a_picture_and_thoughts"),
    *("test_what_is_stored_is_refused", "test_a_model_that_is_not_there", "test_many_at_once"),
]
ANTHROPIC = [
    "test_message",
    "test_tools",
    "test_a_form",
    "test_a_picture_and_thoughts",
    "test_why_it_stopped",
    "test_counting",
]
OLLAMA = [
    "test_chat",
    "test_tools",
    "test_forms_options_pictures_and_thoughts",
    "test_generate_and_embed",
    "test_models",
]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """With its model ready."""
    with served(tmp_path_factory.mktemp("sdks"), DESIRED, sparks=1) as made:
        end = time.monotonic() + 50
        while not _ready(made.url):
            assert time.monotonic() < end, "the model does not become ready"
            time.sleep(0.1)
        yield made


def _ready(url: str) -> bool:
    listed = httpx2.get(f"{url}/v1/models").json()["data"]
    return bool(listed) and all(entry["sparkkeep"]["state"] == "ready" for entry in listed)


@pytest.fixture
def address(fleet: Fleet) -> str:
    return fleet.url


@pytest.mark.parametrize("name", OPENAI)
async def test_openai(by_openai: Any, name: str) -> None:
    await getattr(test_openai_sdk, name)(by_openai)


@pytest.mark.parametrize("name", ANTHROPIC)
async def test_anthropic(by_anthropic: Any, name: str) -> None:
    await getattr(test_anthropic_sdk, name)(by_anthropic)


@pytest.mark.parametrize("name", OLLAMA)
async def test_ollama(by_ollama: Any, name: str) -> None:
    await getattr(test_ollama_sdk, name)(by_ollama)


async def test_node(programs: Path, address: str) -> None:  # noqa: F811 - the fixture
    await test_node_sdk.test_it_talks(programs, address)


async def test_an_alias(by_openai: Any) -> None:
    done = await by_openai.responses.create(model="gpt-4o-mini", input="hi")
    assert (done.model, done.output_text[-2:]) == ("gpt-4o-mini", "hi")
