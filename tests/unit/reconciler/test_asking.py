"""An image is asked for its flags by a loop that has more to do: never in memory that is promised. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.hosts import Answer
from reconciler.model import ProbeSpec, Scan
from reconciler.ssh import Outcome
from state.journal import Override
from tests.unit.reconciler.builders import GIB
from tests.unit.reconciler.in_no_time import in_no_time, keeping
from tests.unit.reconciler.test_worker import Played

ID = "sha256:" + "ab" * 32
TEXT = """
sparks: {s1: {host: 10.0.0.1}}
models:
  a: {recipe: {engine: vllm, model: x/a, image: 'keep/echo:1', memory: 40GiB}, on: s1}
  b: {recipe: {engine: vllm, model: x/b, image: 'keep/other:1', memory: 9GiB, port: 8001, flags: {n: 1}}, on: s1}
"""


@dataclass
class Narrow(Played):
    """A Spark with 50 GiB to give, on which models answer when they may."""

    images: set[str] = field(default_factory=lambda: {"keep/echo:1", "keep/other:1"})
    answers: bool = False
    asked_at: list[float] = field(default_factory=list)

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        seen = await super().scan(full=full, before=before)
        images = {**seen.images, "keep/other:1": frozenset({ID}), ID: frozenset({ID})}
        return replace(seen, images=images, facts=replace(seen.facts, memory_available=50 * GIB))

    async def ask(self, probe: ProbeSpec) -> Answer:
        return Answer(ready=self.answers, message="loading")

    def do(self, argv: tuple[str, ...]) -> Outcome:
        if "sparkkeep.preflight=flags" in argv:
            self.asked_at.append(asyncio.get_running_loop().time())
            return Outcome(1, "", "no such program")
        return super().do(argv)


def test_an_image_is_asked_when_the_model_beside_it_has_loaded(tmp_path: Path) -> None:
    """Symptom: 40 GiB were promised to a model that loads, and a check of up to 8 GiB ran in the 10 that were left."""
    host = Narrow()

    async def story() -> None:
        async with keeping(tmp_path, host, TEXT) as loop:
            loop.override(Override.SUSPEND, "b", on=True, by="a person")
            await asyncio.sleep(10)
            assert list(host.containers) == ["sparkkeep-a"]
            loop.override(Override.SUSPEND, "b", on=False, by="a person")
            await asyncio.sleep(600)
            assert host.asked_at == []
            [held] = loop.plan("s1").held
            assert (held.workload, held.reason) == ("b", "WaitingTurn")
            assert held.message.endswith(
                "a is starting and may take 40.0 GiB, 4.0 GiB are reserved: 2.0 GiB are missing"
            )
            host.answers = True
            await asyncio.sleep(60)
            assert len(host.asked_at) == 3, "each way to ask once"
            assert set(host.containers) == {"sparkkeep-a", "sparkkeep-b"}, "one that can't say is believed"

    in_no_time(story())


def test_who_does_not_keep_the_spark_asks_nothing(tmp_path: Path) -> None:
    """Else two controllers that share a Spark have two checks in the memory for one."""
    host = Narrow(answers=True)

    async def story() -> None:
        async with keeping(tmp_path, host, TEXT) as loop:
            loop.workers["s1"].lease.acts = False  # type: ignore[misc]  # as after a lease that was lost
            await asyncio.sleep(60)
            assert (host.asked_at, host.containers) == ([], {})
            loop.workers["s1"].lease.acts = True  # type: ignore[misc]
            await asyncio.sleep(120)
            assert len(host.asked_at) == 3

    in_no_time(story())
