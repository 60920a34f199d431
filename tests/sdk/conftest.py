from collections.abc import AsyncIterator

import anthropic
import ollama
import openai
import pytest

from reconciler.practice.memory import MemoryConnection
from reconciler.practice.models import ModelServer
from reconciler.practice.spark import Settings, Spark
from tests.sdk.front import Front

RUN = "docker run -d --name one --network host img:1 --port 8000 --served-model-name tiny"


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """A practice model, in memory."""
    spark = Spark("spark-1", settings=Settings(serve=False, pull_seconds=0.02, load_seconds=0.02))
    spark.engine.images.add("img:1")
    link = await MemoryConnection.connect(spark)
    assert (await link.run(RUN)).status == 0
    await spark.engine.find("one").process.ready.wait()
    yield spark.servers[8000]
    await spark.close()


@pytest.fixture
async def front(model: ModelServer, request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    """On a socket; with `engine` as its parameter, a model of that engine."""
    made = Front(model, getattr(request, "param", "container"))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def address(front: Front) -> str:
    return f"http://127.0.0.1:{front.port}"


@pytest.fixture
async def by_openai(address: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def by_anthropic(address: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=address, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def by_ollama(address: str) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=address)
    yield client
    await client._client.aclose()
