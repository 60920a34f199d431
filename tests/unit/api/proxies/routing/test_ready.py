"""The ready set beside practice Sparks: in when a model answers, out in the moment it does not, and where it is now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.proxies.calls import Call, Decision, Refused
from api.proxies.routing.fleet import Fleet
from api.proxies.routing.ready import Ready
from reconciler.practice.fleet import PracticeFleet
from reconciler.practice.spark import Settings
from tests.keeper import Keeper, keeping


def desired(fleet: PracticeFleet, *lines: str) -> str:
    return json.dumps({"sparks": {n: {**s, "reserve": 0} for n, s in fleet.desired_sparks().items()}})[:-1] + (
        ', "settings": {"scanInterval": "5s"}, ' + ", ".join(lines) + "}"
    )


class Stage:
    def __init__(self, fleet: PracticeFleet, keeper: Keeper, routing: Fleet) -> None:
        self.sparks, self.keeper, self.routing = fleet, keeper, routing

    def backends(self, name: str) -> list[str]:
        offer = self.routing.offers.by_name.get(name)
        return [] if offer is None else [b.key for b in offer.backends]

    async def until(self, name: str, *keys: str) -> None:
        await self.keeper.until(lambda: self.backends(name) == list(keys), 10, f"{name}: {self.backends(name)}")


def call(model: str, path: str = "/v1/chat/completions") -> Call:
    return Call(method="POST", path=path, model=model)


@asynccontextmanager
async def staged(folder: Path, text: Any) -> AsyncIterator[Stage]:
    made = Settings(pull_seconds=0.02, load_seconds=0.02)
    async with PracticeFleet(2, folder / "sparks", first_port=0, settings=made) as fleet:
        where = {"key": fleet.key_path, "known_hosts": fleet.known_hosts_path}
        async with keeping(folder, desired(fleet, *text), **where) as keeper, Ready(keeper.loop) as ready:
            yield Stage(fleet, keeper, Fleet(ready))


def models(**found: str) -> str:
    return '"models": {' + ", ".join(f'"{name.replace("_", "-")}": {text}' for name, text in found.items()) + "}"


async def ask(backend: Any, model: str, path: str = "/v1/chat/completions", **body: Any) -> int:
    said = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}], **body}).encode()
    reader, writer = await asyncio.open_connection(backend.host, backend.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode()
    )
    writer.write(said)
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


RECIPE = '{"engine": "vllm", "model": "o/m", "image": "vllm/vllm-openai:v1", "memory": "1GiB", "port": 8000, "probe": {"kind": "chat", "interval": 0.2, "timeout": 0.5}}'
SERVED = '{"image": "keep/box:1", "command": ["serve", "big-name"], "memory": "1GiB", "port": 8100, "probe": {"kind": "embedding", "interval": 0.2}}'


async def test_a_model_is_offered_while_it_answers_and_where_it_is(tmp_path: Path) -> None:
    text = models(m=f'{{"recipe": {RECIPE}, "on": ["spark-1", "spark-2"], "aliases": ["gpt-4o"]}}')
    async with staged(tmp_path, [text]) as stage:
        await stage.until("m", "m@spark-1", "m@spark-2")
        assert stage.backends("gpt-4o") == ["m@spark-1", "m@spark-2"]
        found = stage.routing.choose(call("gpt-4o:latest"))
        assert isinstance(found, Decision)
        assert await ask(found.backend, found.backend.model) == 200

        # Health is lost: out with the very probe that says so.
        stage.sparks["spark-1"].faults.unhealthy("sparkkeep-m")
        probes = stage.keeper.loop.workers["spark-1"].prober
        await stage.keeper.until(lambda: not probes.results["m", "spark-1"].ready)
        assert stage.backends("m") == ["m@spark-2"]
        stage.sparks["spark-1"].faults.unhealthy("sparkkeep-m", on=False)
        await stage.until("m", "m@spark-1", "m@spark-2")

        # A Spark that does not answer is no address for anybody.
        stage.keeper.loop.workers["spark-2"].lost("ConnectionLost", "gone")
        assert stage.backends("m") == ["m@spark-1"]
        stage.keeper.loop.wake_all()
        await stage.until("m", "m@spark-1", "m@spark-2")

        # Declared elsewhere, under another alias.
        moved = models(m=f'{{"recipe": {RECIPE}, "on": "spark-2", "aliases": ["other"]}}')
        stage.keeper.declare(desired(stage.sparks, moved))
        await stage.until("other", "m@spark-2")
        with pytest.raises(Refused) as refused:
            stage.routing.choose(call("gpt-4o"))
        assert (refused.value.status, refused.value.reason) == (404, "NoSuchModel")
        assert refused.value.allowed == ("m", "other")


async def test_what_is_about_to_be_stopped_gets_nothing_new(tmp_path: Path) -> None:
    text = models(m=f'{{"recipe": {RECIPE}, "on": "spark-1"}}')
    async with staged(tmp_path, [text]) as stage:
        await stage.until("m", "m@spark-1")
        stage.sparks["spark-1"].faults.slow_stop(0.5)
        stage.keeper.loop.restart("m")
        await stage.until("m")
        assert [c.spec.name for c in stage.sparks["spark-1"].engine.running()] == [
            "sparkkeep-m"
        ]  # its stop takes its time
        await stage.until("m", "m@spark-1")


async def test_a_containers_server_is_asked_what_it_calls_its_model(tmp_path: Path) -> None:
    text = models(vectors=f'{{"recipe": {SERVED}, "on": "spark-1"}}')
    async with staged(tmp_path, [text]) as stage:
        stage.sparks["spark-1"].engine.images.add("keep/box:1")
        await stage.until("vectors", "vectors@spark-1")
        found = stage.routing.choose(call("", "/v1/embeddings"))
        assert isinstance(found, Decision)
        assert found.backend.model == "big-name"
        assert await ask(found.backend, "big-name", "/v1/embeddings", input="hi") == 200


async def test_who_asks_in_vain_is_told_why(tmp_path: Path) -> None:
    text = models(
        big=f'{{"recipe": {RECIPE.replace("1GiB", "900GiB")}, "on": "spark-1"}}',
        never=f'{{"recipe": {RECIPE.replace("8000", "8001")}, "on": "spark-1", "run": "never"}}',
        aside=f'{{"recipe": {RECIPE.replace("8000", "8002")}, "on": "spark-1", "suspend": true}}',
    )
    async with staged(tmp_path, [text]) as stage:
        await stage.keeper.until(lambda: stage.keeper.workload("big")["message"].count("GiB"))
        told = {}
        for name in ("big", "never", "aside", "bag"):
            with pytest.raises(Refused) as refused:
                stage.routing.choose(call(name))
            told[name] = refused.value
        assert {name: (r.status, r.reason, r.retry_after) for name, r in told.items()} == {
            "big": (503, "InsufficientMemory", None),
            "never": (503, "RunNever", None),
            "aside": (503, "Suspended", None),
            "bag": (404, "NoSuchModel", None),
        }
        assert "900" in told["big"].message
        assert "did you mean `big`?" in told["bag"].message
