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
    heard = await post(server, "/v1/audio/transcriptions", form(model="tiny"), **kind)
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


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
    for name in ("weather", "news")
]


def streamed(lines: list[bytes]) -> dict[str, Any]:
    """A stream put together again: the message, and why it ended."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    finish = None
    for line in lines[:-1]:
        for choice in json.loads(line[6:])["choices"]:
            finish = choice["finish_reason"] or finish
            delta = choice["delta"]
            for name in ("content", "reasoning_content"):
                message[name] += delta.get(name, "")
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    message["tool_calls"].append({**call, "function": dict(call["function"])})
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return {"message": message, "finish": finish}


@pytest.mark.parametrize(
    ("asked", "called"),
    [
        ({}, ["weather"]),
        ({"messages": [{"role": "user", "content": "weather and news"}]}, ["weather", "news"]),
        ({"messages": [{"role": "user", "content": "weather and news"}], "parallel_tool_calls": False}, ["weather"]),
        ({"messages": [{"role": "user", "content": "hello"}]}, []),
        ({"messages": [{"role": "user", "content": "hello"}], "tool_choice": "required"}, ["weather"]),
        ({"tool_choice": {"type": "function", "function": {"name": "news"}}}, ["news"]),
        ({"tool_choice": "none"}, []),
    ],
)
async def test_tools(server: ModelServer, asked: dict[str, Any], called: list[str]) -> None:
    body = {"messages": [{"role": "user", "content": "the weather in Bonn"}], "tools": TOOLS, **asked}
    whole = (await post(server, "/v1/chat/completions", body))["choices"][0]
    calls = whole["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == called
    assert whole["finish_reason"] == ("tool_calls" if called else "stop")
    for call in calls:
        assert set(json.loads(call["function"]["arguments"])) == {"city", "days"}
    parts = streamed(await post(server, "/v1/chat/completions", {**body, "stream": True}))
    assert parts["finish"] == whole["finish_reason"]
    assert [(c["id"], c["function"]) for c in parts["message"]["tool_calls"]] == [
        (c["id"], c["function"]) for c in calls
    ]


async def test_a_tools_result_is_answered(server: ModelServer) -> None:
    messages = [{"role": "user", "content": "the weather"}, {"role": "tool", "tool_call_id": "1", "content": "rain"}]
    whole = await post(server, "/v1/chat/completions", {"messages": messages, "tools": TOOLS})
    assert whole["choices"][0]["message"]["content"].endswith("to: rain")


async def test_structured_output(server: ModelServer) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "size": {"$ref": "#/$defs/size"}, "tags": {"type": "array"}},
        "$defs": {"size": {"enum": ["small", "large"]}},
    }
    body = {"messages": [{"role": "user", "content": "a fox"}]}
    wanted = {"type": "json_schema", "json_schema": {"name": "animal", "schema": schema}}
    whole = await post(server, "/v1/chat/completions", {**body, "response_format": wanted})
    said = json.loads(whole["choices"][0]["message"]["content"])
    assert said["size"] == "small"
    assert isinstance(said["tags"], list)
    whole = await post(server, "/v1/chat/completions", {**body, "response_format": {"type": "json_object"}})
    assert json.loads(whole["choices"][0]["message"]["content"])["answer"].endswith("a fox")


async def test_thoughts(server: ModelServer) -> None:
    body = {"messages": [{"role": "user", "content": "a fox"}], "reasoning_effort": "low"}
    whole = await post(server, "/v1/chat/completions", body)
    message = whole["choices"][0]["message"]
    assert message["reasoning_content"] == "Let me think about: a fox"
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6
    parts = streamed(await post(server, "/v1/chat/completions", {**body, "stream": True}))
    assert parts["message"]["reasoning_content"] == message["reasoning_content"]
    assert parts["message"]["content"] == message["content"]
    quiet = {**body, "chat_template_kwargs": {"enable_thinking": False}}
    whole = await post(server, "/v1/chat/completions", quiet)
    assert "reasoning_content" not in whole["choices"][0]["message"]


async def test_stop_pictures_and_counting(server: ModelServer) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is"}, picture]}]}
    whole = await post(server, "/v1/chat/completions", body)
    assert whole["choices"][0]["message"]["content"].endswith("what is [image/png, 3 bytes]")
    counted = await post(server, "/tokenize", body)
    assert counted["count"] == whole["usage"]["prompt_tokens"]
    whole = await post(server, "/v1/chat/completions", {**body, "stop": ["what", "nothing"]})
    assert whole["choices"][0]["message"]["content"].endswith("to: ")
    assert (whole["choices"][0]["finish_reason"], whole["choices"][0]["stop_reason"]) == ("stop", "what")
    picture["image_url"] = {"url": "data:image/png;base64,?"}
    assert await status(server, "/v1/chat/completions", json.dumps(body).encode(), "POST") == 400
