"""The servers in the containers: small, deterministic, and shaped like the real ones."""

import base64
import io
import json
import math
import struct
import wave
from typing import Any

import pytest

from reconciler.practice.http_server import Request
from reconciler.practice.memory import MemoryConnection, Result
from reconciler.practice.models import ModelServer
from reconciler.practice.spark import Spark
from tests.practice.test_http_api import Client


@pytest.fixture
async def server(spark: Spark, link: MemoryConnection) -> ModelServer:
    line = "docker run -d --name one --network host --env COLOUR='a b' img:1 --port 8000 --served-model-name tiny"
    assert (await link.run(line)).status == 0
    await spark.engine.find("one").process.ready.wait()
    return spark.servers[8000]


async def post(server: ModelServer, path: str, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await server.handle(Request("POST", path, {}, {"content-type": "application/json", **headers}, data))
    if not isinstance(answer.body, bytes):
        return [part async for part in answer.body]
    assert answer.status == 200, answer.body
    return json.loads(answer.body) if answer.content_type == "application/json" else answer.body


async def status(server: ModelServer, path: str, body: bytes = b"", method: str = "GET") -> int:
    return (await server.handle(Request(method, path, {}, {}, body))).status


async def test_over_a_stream(server: ModelServer, link: MemoryConnection) -> None:
    client = Client(await link.open_port(8000))
    assert await client.get("/health") == (200, b"ok")
    assert (await client.json("/v1/models"))["data"][0]["id"] == "tiny"
    assert (await client.json("/"))["container"] == "one"
    assert await client.get("/args") == (200, b'["--port", "8000", "--served-model-name", "tiny"]\n')
    assert (await client.json("/env"))["COLOUR"] == "a b"


async def test_chat(server: ModelServer) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "how are you"}]}
    whole = await post(server, "/v1/chat/completions", body)
    text = whole["choices"][0]["message"]["content"]
    assert text.endswith("to: how are you")
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    assert (await post(server, "/v1/chat/completions", body))["choices"] == whole["choices"]
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    lines = await post(server, "/v1/chat/completions", streamed)
    assert lines[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(line[6:]) for line in lines[:-1]]
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert said == text
    assert chunks[-1]["usage"] == whole["usage"]
    short = await post(server, "/v1/chat/completions", {**body, "max_tokens": 2})
    assert short["choices"][0]["finish_reason"] == "length"


async def test_completion(server: ModelServer) -> None:
    whole = await post(server, "/v1/completions", {"prompt": "once upon"})
    assert whole["choices"][0]["text"].endswith("once upon")


async def test_mistakes(server: ModelServer) -> None:
    assert await status(server, "/v1/chat/completions", b'{"model": "other", "messages": []}', "POST") == 404
    assert await status(server, "/v1/chat/completions", b"{}", "POST") == 400
    assert await status(server, "/v1/chat/completions", b"nonsense", "POST") == 400
    assert await status(server, "/nowhere") == 404


async def test_embeddings(server: ModelServer) -> None:
    found = await post(server, "/v1/embeddings", {"input": ["a cat", "a cat", "stock prices"], "dimensions": 32})
    one, same, other = (item["embedding"] for item in found["data"])
    assert len(one) == 32
    assert math.isclose(math.hypot(*one), 1)
    assert one == same != other
    packed = await post(server, "/v1/embeddings", {"input": "a cat", "dimensions": 32, "encoding_format": "base64"})
    values = struct.unpack("<32f", base64.b64decode(packed["data"][0]["embedding"]))
    assert values == pytest.approx(one)


async def test_rerank(server: ModelServer) -> None:
    body = {"query": "red fox", "documents": ["blue sky", "the red fox jumps", {"text": "red"}], "top_n": 2}
    results = (await post(server, "/v1/rerank", body))["results"]
    assert [result["index"] for result in results] == [1, 2]


async def test_sound(server: ModelServer) -> None:
    sound = await post(server, "/v1/audio/speech", {"input": "Good morning, everybody.", "voice": "anna"})
    with wave.open(io.BytesIO(sound)) as opened:
        assert opened.getnframes() / opened.getframerate() == pytest.approx(1.2)

    def form(**fields: str) -> bytes:
        parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items()]
        head = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n'
        parts.append(head + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(sound))
        return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=b"}
    heard = await post(server, "/v1/audio/transcriptions", form(model="x"), **kind)
    assert "of 1.2 seconds" in heard["text"]
    plain = await post(server, "/v1/audio/transcriptions", form(response_format="text"), **kind)
    assert plain.decode() == heard["text"] + "\n"
    verbose = await post(server, "/v1/audio/transcriptions", form(response_format="verbose_json"), **kind)
    assert verbose["duration"] == 1.2
    assert (await post(server, "/v1/diarize", form(), **kind))["segments"][0]["speaker"] == "SPEAKER_00"


async def test_raw_bytes_in_a_form(server: ModelServer) -> None:
    sound = await post(server, "/v1/audio/speech", {"input": "x" * 20})
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + sound + b"\r\n--b--\r\n"
    heard = await post(server, "/v1/audio/transcriptions", body, **{"content-type": "multipart/form-data; boundary=b"})
    assert "of 1.0 seconds" in heard["text"]


async def test_illness(server: ModelServer, spark: Spark, link: MemoryConnection) -> None:
    spark.faults.unhealthy("one")
    assert await status(server, "/health") == 503
    spark.faults.unhealthy("one", False)
    assert await status(server, "/health") == 200
    await link.run("docker pause one")
    client = Client(await link.open_port(8000))
    with pytest.raises(TimeoutError):
        client.reader.set_exception(TimeoutError())
        await client.get("/health")
    await link.run("docker unpause one")
    assert await status(server, "/health") == 200


async def test_curl(server: ModelServer, spark: Spark, link: MemoryConnection) -> None:
    asked = "curl --silent --include --max-time 2 --output -"
    result = await link.run(f"{asked} http://127.0.0.1:8000/health")
    assert result.stdout == "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nok"
    assert (await link.run(f"{asked} http://127.0.0.1:8001/health")) == Result(7, "", "")
    told = await link.run("curl http://localhost:8001/")
    assert told.stderr.startswith("curl: (7) Failed to connect to localhost port 8001")
    assert (await link.run("curl -sf http://localhost:8000/nowhere")).status == 22
    assert (await link.run("curl --bogus http://localhost:8000/")).status == 2
    spark.faults.deaf("one")
    assert (await link.run("curl -s -m 0.05 http://localhost:8000/health")).status == 28
