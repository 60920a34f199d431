"""Requests through the real HAProxy and nginx with what was rendered for them."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from tests.rendered.conftest import Stage

CHAT = "/m/qwen3/v1/chat/completions"


async def test_an_app_reaches_the_spark_itself_and_its_key_stays_behind(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:1]))
    headers = {"authorization": "Bearer secret", "cookie": "a=b", "x-api-key": "secret"}
    answer = await stage.apps.post(f"{CHAT}?beta=true", json={"model": "qwen3"}, headers=headers)
    assert answer.json() == {"by": "spark-1"}
    [asked] = stage.sparks[0].of_apps()
    assert (asked.method, asked.path) == ("POST", "/v1/chat/completions?beta=true")
    assert asked.body == b'{"model":"qwen3"}'
    assert "secret" not in str(asked.headers)
    assert "cookie" not in asked.headers
    assert asked.headers["x-forwarded-for"] == "127.0.0.1"


ELSE = [
    ("POST", "/v1/chat/completions", {}, "/v1/chat/completions"),
    ("GET", "/api/status?a=b", {}, "/api/status?a=b"),
    ("POST", "/m/other/v1/chat/completions", {}, "/v1/chat/completions"),
    ("POST", CHAT, {"origin": "http://evil.example"}, "/v1/chat/completions"),
    ("GET", "/m/qwen3/v1/models", {}, "/v1/models"),
    ("POST", "/m/qwen3/v1/..%2fmetrics", {}, "/m/qwen3/v1/..%2fmetrics"),
    ("POST", "/m/qwen3/metrics", {}, "/m/qwen3/metrics"),
    ("POST", "/m/qwen3x/v1/chat/completions", {}, "/v1/chat/completions"),
]


async def test_everything_else_is_judged_by_sparkkeep(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:1]))
    for method, path, headers, _ in ELSE:
        answer = await stage.apps.request(method, path, headers={"host": "box.local:8080", **headers}, json={})
        assert answer.json() == {"by": "sparkkeep"}, path
    came = stage.keeper.of_apps()
    assert [(each.method, each.path) for each in came] == [(method, arrives) for method, _, _, arrives in ELSE]
    assert {each.headers["host"] for each in came} == {"box.local:8080"}  # by which its guard judges
    assert stage.sparks[0].of_apps() == []


async def test_a_stream_comes_chunk_by_chunk(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:1]))
    spark = stage.sparks[0]
    async with stage.apps.stream("POST", CHAT, json={"model": "qwen3", "stream": True}) as answer:
        chunks = answer.aiter_raw()
        for word in ("one", "two", "three"):
            spark.more(word)  # the next one only when this one is here
            assert await asyncio.wait_for(anext(chunks), 5) == f"data: {word}\n\n".encode()
        spark.finish()
        assert [chunk async for chunk in chunks] == []


@pytest.mark.parametrize("what", ["stream", "wait"])
async def test_a_client_that_leaves_is_gone_at_the_spark_too(stage: Stage, what: str) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:1]))
    spark = stage.sparks[0]
    asking = asyncio.create_task(stage.apps.post(CHAT, json={"model": "qwen3", what: True}))
    await stage.until(lambda: bool(spark.of_apps()), "it to be asked")
    asking.cancel()
    await asyncio.wait_for(spark.of_apps()[0].left.wait(), 5)


async def test_the_less_busy_spark_is_asked(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:2]))
    one, two = stage.sparks[:2]
    held = asyncio.create_task(stage.ask(wait=True))
    await stage.until(lambda: bool(one.of_apps() or two.of_apps()), "one to be busy")
    busy, idle = (one, two) if one.of_apps() else (two, one)
    assert {await stage.ask() for _ in range(4)} == {idle.name}
    busy.finish()
    assert await held == busy.name


async def test_when_a_spark_goes_the_other_answers_and_then_sparkkeep(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:2]))
    assert {await stage.ask() for _ in range(4)} <= {"spark-1", "spark-2"}
    await stage.sparks[0].stop()
    assert {await stage.ask() for _ in range(8)} == {"spark-2"}
    await stage.sparks[1].stop()
    assert {await stage.ask() for _ in range(8)} == {"sparkkeep"}
    assert stage.keeper.of_apps()[0].path == "/v1/chat/completions"


async def test_a_model_moves_and_no_stream_breaks(stage: Stage) -> None:
    old, new = stage.sparks[0], stage.sparks[2]
    stage.proxy.begin(stage.site([old]))
    async with stage.apps.stream("POST", CHAT, json={"model": "qwen3", "stream": True}) as answer:
        chunks = answer.aiter_raw()
        old.more("before")
        assert await anext(chunks) == b"data: before\n\n"
        stage.proxy.reload(stage.site([new]))

        async def moved() -> bool:  # on a connection of its own: a kept one may end at the old worker
            async with httpx2.AsyncClient(base_url=stage.proxy.url, trust_env=False, timeout=20) as app:
                reply = await app.post(CHAT, json={"model": "qwen3"})
            assert reply.status_code == 200, reply.text
            return reply.json() == {"by": new.name}

        await stage.until(moved, "the new place to be asked")
        old.more("after")
        assert await anext(chunks) == b"data: after\n\n"
        old.finish()
        assert [chunk async for chunk in chunks] == []


@pytest.mark.parametrize("kind", ["haproxy"], indirect=False)
async def test_haproxy_finds_the_model_in_the_body(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks[:1], by_body=True))
    assert await stage.ask("/v1/chat/completions", messages=["Hello"]) == "spark-1"
    assert await stage.ask("/v1/chat/completions", model="other") == "sparkkeep"
    assert await stage.ask("/v1/embeddings", input="x" * 200_000) == "spark-1"  # the name stands before what is long
    page = await stage.apps.post("/v1/embeddings", json={"model": "qwen3"}, headers={"origin": "http://evil.example"})
    assert page.json() == {"by": "sparkkeep"}
    late = await stage.apps.post(
        "/v1/embeddings", content='{"input": "' + "x" * 200_000 + '", "model": "qwen3"}',
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert late.json() == {"by": "sparkkeep"}
    assert [asked.path for asked in stage.sparks[0].of_apps()] == ["/v1/chat/completions", "/v1/embeddings"]


async def test_neither_has_a_warning_to_give(stage: Stage) -> None:
    stage.proxy.begin(stage.site(stage.sparks, by_body=True, most=8))
    told = stage.proxy.check().lower()
    assert "[warn" not in told
    assert "warnings" not in told
