"""One worker against a Spark that the test plays: what it asks, in which order, and what it never does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from reconciler import shell
from reconciler.hosts import Answer
from reconciler.linkdown import CommandTimeout, ConnectionBroken, LinkDown
from reconciler.loop import Loop
from reconciler.model import MEMORY, OWNER, RANK, SPEC_HASH, WORKLOAD, Container, Facts, ProbeSpec, Scan
from reconciler.ssh import Outcome
from state.journal import Journal
from state.store import DesiredStore


@dataclass
class Played:
    """A Spark in memory: enough Docker for the commands that the loop sends."""

    containers: dict[str, Container] = field(default_factory=dict)
    images: set[str] = field(default_factory=lambda: {"keep/echo:1"})
    commands: list[tuple[str, ...]] = field(default_factory=list)
    scans: int = 0
    began: float = 0.0
    wake: Callable[[str], None] | None = None
    before: Callable[[tuple[str, ...]], Any] | None = None
    scan_takes: float = 0.0
    down: LinkDown | None = None
    number: int = 0

    async def connect(self) -> None:
        if self.down:
            raise self.down

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        if self.down:
            raise self.down
        self.scans += 1
        began = asyncio.get_running_loop().time()
        seen, images = tuple(self.containers.values()), dict.fromkeys(self.images, frozenset[str]())
        await asyncio.sleep(self.scan_takes)
        facts = Facts(boot_id="b", memory_total=2**37, memory_available=2**36, listeners=frozenset())
        return Scan(began=began, ended=began, taken_at=0, containers=seen, images=images, facts=facts)

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        argv = shell.split(script)
        self.commands.append(argv)
        if self.before is not None:
            result = self.before(argv)
            if asyncio.iscoroutine(result):
                await result
        return self.do(argv)

    def do(self, argv: tuple[str, ...]) -> Outcome:
        verb, last = argv[1], argv[-1]
        found = next((c for c in self.containers.values() if c.id.startswith(last)), None)
        if verb == "run":
            return self.create(argv)
        if verb == "pull":
            self.images.add(last)
        elif verb in {"start", "stop"} and found:
            self.containers[found.name] = replace(found, state="running" if verb == "start" else "exited")
        elif verb == "rm" and found:
            del self.containers[found.name]
        return Outcome(0, "", "")

    def create(self, argv: tuple[str, ...]) -> Outcome:
        name = argv[argv.index("--name") + 1]
        if name in self.containers:
            return Outcome(125, "", f'Conflict. The container name "/{name}" is already in use by container')
        labels = dict(argv[i + 1].split("=", 1) for i, a in enumerate(argv) if a == "--label")
        assert {OWNER, WORKLOAD, RANK, SPEC_HASH, MEMORY} <= set(labels)
        self.number += 1
        identity = f"{self.number:012x}" + "0" * 52
        self.containers[name] = Container(id=identity, name=name, image=argv[-1], state="running", labels=labels)
        return Outcome(0, identity, "")

    def verbs(self) -> list[str]:
        return [argv[1] for argv in self.commands if argv[1] != "logs"]

    async def watch(self, wake: Callable[[str], None]) -> None:
        self.wake = wake
        while not self.down:
            await asyncio.sleep(0.01)
        raise self.down

    async def ask(self, probe: ProbeSpec) -> Answer:
        return Answer(ready=True, message="yes")

    async def stream(self, script: str) -> AsyncIterator[str]:
        yield script

    async def close(self) -> None:
        return


TEXT = """
sparks: {s1: {host: 10.0.0.1}}
services:
  echo: {recipe: {image: 'IMAGE', port: 8000}, on: s1}
"""


@asynccontextmanager
async def looping(tmp_path: Any, host: Played, text: str = TEXT.replace("IMAGE", "keep/echo:1")) -> AsyncIterator[Loop]:
    file = tmp_path / "desired.yaml"
    file.write_text(text)
    journal = Journal(":memory:")
    async with (
        DesiredStore(file, generations=journal) as store,
        Loop(store, journal, lambda _name, _spark: host, secret=lambda name: name, rng=random.Random(1)) as loop,
    ):
        yield loop
    journal.close()


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


def quiet(loop: Loop) -> bool:
    return not loop.plan().steps and not loop.workers["s1"].sight.unknown


async def test_it_creates_once_and_then_is_silent(tmp_path: Any) -> None:
    host = Played()
    async with looping(tmp_path, host) as loop:
        await until(lambda: quiet(loop))
        for _ in range(50):
            before = loop.workers["s1"].passes
            loop.wake_all()
            await until(lambda seen=before: loop.workers["s1"].passes > seen)
    assert host.verbs() == ["run"]


async def test_an_image_is_fetched_once_although_a_scan_was_under_way_when_the_fetch_ended(tmp_path: Any) -> None:
    """Symptom: `Pulled (x2)`: a scan that began before the fetch ended did not show the image, so it was fetched again."""
    host = Played(images=set(), scan_takes=0.05)

    async def slowly(argv: tuple[str, ...]) -> None:
        if argv[1] == "pull":
            for _ in range(12):
                host.wake("pull")  # type: ignore[misc]
                await asyncio.sleep(0.02)

    host.before = slowly
    async with looping(tmp_path, host) as loop:
        await until(lambda: host.containers and quiet(loop))
    assert host.verbs() == ["pull", "run"]


@pytest.mark.parametrize(
    "error", [ConnectionBroken("ConnectionLost", "gone"), CommandTimeout("CommandTimeout", "late")]
)
@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_is_no_failure_and_the_next_scan_tells(tmp_path: Any, error: LinkDown, done: bool) -> None:
    host = Played()
    lost = False

    def lose(argv: tuple[str, ...]) -> None:
        nonlocal lost
        if argv[1] == "run" and not lost:
            lost = True
            if done:
                host.do(argv)
            raise error

    host.before = lose
    async with looping(tmp_path, host) as loop:
        await until(lambda: host.containers and quiet(loop))
        assert not loop.world().failures
    assert host.verbs() == (["run"] if done else ["run", "run"])


async def test_a_changed_mind_ends_the_plan_that_is_being_followed(tmp_path: Any) -> None:
    """Symptom: a stop went on to a removal although the operator had taken the edit back meanwhile."""
    host = Played(images={"keep/echo:1", "keep/echo:2"})
    file = tmp_path / "desired.yaml"
    async with looping(tmp_path, host) as loop:
        await until(lambda: host.containers and quiet(loop))

        async def change_back(argv: tuple[str, ...]) -> None:
            if argv[1] == "stop":
                file.write_text(TEXT.replace("IMAGE", "keep/echo:1"))
                await until(lambda: loop.store.current.loaded.resolved["echo"].recipe.image == "keep/echo:1")
                await until(lambda: loop.epoch == 3)

        host.before = change_back
        file.write_text(TEXT.replace("IMAGE", "keep/echo:2"))
        await until(lambda: host.verbs()[-1] == "start" and quiet(loop))
    assert host.verbs() == ["run", "stop", "start"]


async def test_a_spark_that_went_away_gets_no_command_and_a_scan_first_when_it_is_back(tmp_path: Any) -> None:
    host = Played()
    async with looping(tmp_path, host) as loop:
        await until(lambda: host.containers and quiet(loop))
        host.down = LinkDown("ConnectTimeout", "no answer")
        await until(lambda: loop.workers["s1"].sight.unknown)
        assert loop.workers["s1"].sight.unknown == "ConnectTimeout"
        scans = host.scans
        host.down = None
        await until(lambda: quiet(loop))
        assert host.scans > scans
    assert host.verbs() == ["run"]


async def test_a_bug_in_a_pass_costs_that_pass_and_says_so(tmp_path: Any) -> None:
    host = Played()
    broken = True

    def fail(_argv: tuple[str, ...]) -> None:
        if broken:
            raise ZeroDivisionError

    host.before = fail
    async with looping(tmp_path, host) as loop:
        await until(lambda: loop.workers["s1"].sight.unknown == "InternalError")
        broken = False
        loop.wake_all()
        await until(lambda: host.containers and quiet(loop))


async def test_what_shall_restart_is_restarted_once(tmp_path: Any) -> None:
    host = Played()
    async with looping(tmp_path, host) as loop:
        await until(lambda: host.containers and quiet(loop))

        def restarted(argv: tuple[str, ...]) -> None:
            if argv[1] == "restart":
                name, old = next(iter(host.containers.items()))
                host.containers[name] = replace(old, started_at=old.started_at + 1)

        host.before = restarted
        loop.restart("echo")
        await until(lambda: "restart" in host.verbs() and quiet(loop))
    assert host.verbs() == ["run", "restart"]
