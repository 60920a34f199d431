"""Declared, fetched, launched: a real loop over Sparks with real disks and shells, and the tests' own hub."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.explain import Explanation
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown
from reconciler.loop import Loop
from reconciler.model import Held, Scan
from reconciler.ssh import Outcome
from reconciler.weights import ahead
from reconciler.weights.cache import Want
from reconciler.weights.fetch import Fetched, fetch
from reconciler.weights.fetches import Bring, State
from reconciler.weights.keeper import Weights
from state.journal import Journal
from state.store import DesiredStore
from tests.unit.api.stub import MemorySpark
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Blob, Hub, running
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import PACE, WEIGHTS

pytestmark = [needs_tools, pytest.mark.timeout(120)]
IMAGE = "some/llama:1"
CONFIG = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64}


def model(name: str = "chat", *, on: str = "on: s1", top: str = "", port: int = 8000, revision: str = "main") -> str:
    recipe = f"{{engine: sglang, model: {REPO}, revision: {revision}, image: '{IMAGE}', memory: 1GiB, port: {port}}}"
    return f"sparks: {{s1: {{host: 10.0.0.1}}, s2: {{host: 10.0.0.2}}}}\n{top}\nmodels: {{{name}: {{recipe: {recipe}, {on}}}}}"


class Machine(MemorySpark):
    """Its Docker lives in memory, its disk and its shell are this machine's."""

    def __init__(self, disk: LocalSpark, address: str) -> None:
        super().__init__(IMAGE)
        self.disk = disk
        self.address = address
        self.launched: list[bool] = []  # for each `docker run`: whether the weights were whole then
        self.blind = False
        self.running: set[asyncio.Task[Outcome]] = set()

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        found = await super().scan(full=full, before=before)
        return replace(found, facts=replace(found.facts, interfaces={"eth0": (self.address,)} if self.address else {}))

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        await self.connect()
        if script.startswith("docker "):
            if script.startswith("docker run"):
                self.launched.append((self.disk.folder(REPO) / "refs" / "main").exists())
            return await super().run(script, timeout=timeout)
        if self.blind and "picked()" in script:
            raise LinkDown("CommandTimeout", "its disk did not answer")
        task = asyncio.create_task(self.disk.run(script, timeout=timeout))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return await asyncio.shield(task)  # as over SSH, nobody is torn out of the start of a process

    def stream(self, script: str) -> AsyncIterator[str]:
        return super().stream(script) if script.startswith("docker ") else self.disk.stream(script)


@dataclass
class Story:
    """A loop, its Sparks, and what they fetch from."""

    loop: Loop
    weights: Weights
    machines: dict[str, Machine]
    file: Path
    secrets: dict[str, str]

    async def declare(self, text: str) -> None:
        self.file.write_text(text)
        await self.loop.store.reload()

    async def until(self, true: Callable[[], Any], seconds: float = 60) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError((self.held(), list(self.weights.fetches.all()))) from None

    def held(self) -> list[Held]:
        return list(self.loop.plan().held)

    def reasons(self) -> dict[str, str]:
        return {each.spark: each.reason for each in self.held()}

    def launched(self) -> dict[str, list[bool]]:
        return {name: machine.launched for name, machine in self.machines.items() if machine.launched}

    async def events(self) -> list[tuple[str, str]]:
        found = await self.loop.history.journal.events()
        return [(each.event.name, each.event.reason) for each in found]


@pytest.fixture
def hub() -> Iterator[Hub]:
    files = [
        Blob("config.json", json.dumps(CONFIG).encode(), lfs=False),
        Blob("model-00001-of-00002.safetensors", WEIGHTS, lfs=True),
        Blob("model-00002-of-00002.safetensors", WEIGHTS[::-1], lfs=True),
    ]
    with running(Hub(files)) as it:
        yield it


@asynccontextmanager
async def telling(
    folder: Path, text: str, bring: Bring, *, addresses: Sequence[str] = ("", ""), before_launch: bool = True
) -> AsyncIterator[Story]:
    file = folder / "desired.yaml"
    file.write_text(text)
    names = ("s1", "s2")
    machines = {n: Machine(LocalSpark(folder / n), a) for n, a in zip(names, addresses, strict=True)}
    secrets = {"hf": ""}
    journal = Journal(":memory:")
    async with (
        DesiredStore(file, generations=journal) as store,
        Loop(
            store,
            journal,
            lambda name, _: cast("Host", machines[name]),
            secret=lambda name: secrets[name],
            rng=random.Random(1),
            surveys=True,
        ) as loop,
        Weights(loop, bring=bring, before_launch=before_launch) as weights,
    ):
        yield Story(loop, weights, machines, file, secrets)
    journal.close()
    for machine in machines.values():
        await asyncio.gather(*machine.running)
        await machine.disk.ended()


def from_hub(hub: Hub) -> Bring:
    return partial(fetch, endpoint=hub.origin, margin=0, pace=PACE)


class Told:
    """In place of a fetch: it ends when and how it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: asyncio.Queue[Fetched] = asyncio.Queue()

    async def __call__(self, host: Host, want: Want, **asked: Any) -> Fetched:
        self.calls.append(f"{want.repository} {want.revision} {asked['token']}".strip())
        return await self.answers.get()

    def fails(self, reason: str, *, terminal: bool = True) -> None:
        self.answers.put_nowait(Fetched(Explanation(reason, f"{reason} it is", terminal=terminal)))


async def test_declared_fetched_launched(tmp_path: Path, hub: Hub) -> None:
    hub.slow = 0.002
    async with telling(tmp_path, model(), from_hub(hub)) as story:
        said: set[str] = set()

        def launched() -> bool:
            said.update(f"{each.reason}: {each.message}" for each in story.held())
            return bool(story.launched())

        await story.until(launched)
        assert story.launched() == {"s1": [True]}
        assert "WeightsUnknown: the disk of s1 is being looked at for its weights" in said
        assert any(
            "6.0 MiB (" in text and text.startswith("WeightsFetching: acme/tiny-model comes to s1") for text in said
        )
        [fetched] = story.weights.fetches.all()
        assert (fetched.state, fetched.by, fetched.workload) == (State.DONE, ahead.LOOP, "chat")
        actions = await story.loop.history.journal.actions(workload="chat")
        begun = next(each for each in actions if each.verb == "fetch")
        assert begun.cause == "chat is to start on s1, and its weights are not whole there"
        events = await story.events()
        assert [event for event in events if event[1] in {"WeightsFetched", "Created"}] == [
            *(("s1", "WeightsFetched"), ("chat", "Created")),
        ]
        assert not [event for event in events if event[1] in {"WeightsWaiting", "WeightsFetching", "WeightsUnknown"}]
        seen = len(hub.seen)
        story.machines["s1"].containers.clear()  # it is gone: what lies there now needs no hub
        story.machines["s1"]._changed.set()
        await story.until(lambda: story.launched() == {"s1": [True, True]})
        assert len(hub.seen) == seen


async def test_two_sparks_and_one_download(tmp_path: Path, hub: Hub) -> None:
    """The second has it from the first, over the fabric."""
    hub.slow = 0.001
    text, addresses = model(on="on: [s1, s2]"), ("127.0.0.1", "127.0.0.2")
    async with telling(tmp_path, text, from_hub(hub), addresses=addresses) as story:
        said: set[str] = set()

        def launched() -> bool:
            said.update(each.message for each in story.held())
            return len(story.launched()) == 2

        await story.until(launched)
        assert story.launched() == {"s1": [True], "s2": [True]}
        first, second = story.weights.fetches.all()
        assert {first.spark, second.spark} == {"s1", "s2"}
        assert first.outcome is not None
        assert second.outcome is not None
        assert (second.outcome.source, second.outcome.notes) == (first.spark, ())
        assert first.outcome.source == hub.origin.removeprefix("http://")
        assert f"{REPO} comes to {second.spark} from {first.spark}, which fetches it first" in said
        downloads = [s.path for s in hub.seen if s.server == "cdn" and s.method == "GET"]
        assert len(downloads) == len(set(downloads))


async def test_without_a_fabric_each_fetches_for_itself(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(on="on: [s1, s2]"), bring) as story:
        await story.until(lambda: len(bring.calls) == 2)
        assert {each.spark for each in story.weights.fetches.all()} == {"s1", "s2"}


async def test_what_a_person_must_mend_holds_it_until_the_token_or_the_declaration_changes(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        bring.fails("Gated")
        await story.until(lambda: story.reasons() == {"s1": "Gated"})
        [held] = story.held()
        assert (held.terminal, held.want) == (True, None)
        assert held.message == f"{REPO} can't come to s1: Gated it is"
        story.loop.wake_all()
        await asyncio.sleep(0.1)
        assert bring.calls == [f"{REPO} main"]
        story.secrets["hf"] = "hf_new"
        story.loop.wake_all()
        await story.until(lambda: len(bring.calls) == 2)
        assert bring.calls[1] == f"{REPO} main hf_new"
        bring.fails("Corrupted")
        await story.until(lambda: story.reasons() == {"s1": "Corrupted"})
        await story.declare(model(port=8001))
        await story.until(lambda: len(bring.calls) == 3)
        bring.fails("Gated")
        await story.until(lambda: story.reasons() == {"s1": "Gated"})
        story.loop.reset_backoff("chat")
        await story.until(lambda: len(bring.calls) == 4)
        assert story.launched() == {}
        assert ("chat", "Gated") in await story.events()


async def test_what_may_pass_is_tried_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PAUSES", (0.3,))
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        bring.fails("DiskFull", terminal=False)
        await story.until(lambda: story.reasons() == {"s1": "DiskFull"})
        [held] = story.held()
        assert held.until is not None
        assert not held.terminal
        await story.until(lambda: len(bring.calls) == 2)
        assert story.reasons() == {"s1": "WeightsFetching"}


@pytest.mark.parametrize("reason", sorted(ahead.ENGINES_TURN))
async def test_where_the_engine_may_manage_it_is_launched(tmp_path: Path, reason: str) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        bring.fails(reason)
        await story.until(story.launched)
        assert story.launched() == {"s1": [False]}
        assert bring.calls == [f"{REPO} main"]


async def test_a_disk_that_could_not_be_looked_at_holds_up_nothing(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}", bring) as story:
        story.machines["s1"].blind = True
        surveyor = story.loop.workers["s1"].surveyor
        assert surveyor is not None
        surveyor.seen = replace(surveyor.seen, survey=None)
        surveyor.look()
        await story.until(lambda: surveyor.seen.reason)
        surveyor.seen = replace(surveyor.seen, survey=None)
        await story.declare(model())
        await story.until(story.launched)
        assert (story.launched(), bring.calls) == ({"s1": [False]}, [])


@pytest.mark.parametrize("top", ["settings: {fetchWeights: false}", ""])
async def test_where_nothing_is_fetched_unasked_it_is_launched(tmp_path: Path, top: str) -> None:
    bring = Told()
    async with telling(tmp_path, model(top=top), bring, before_launch=bool(top)) as story:
        await story.until(story.launched)
        assert (story.launched(), bring.calls) == ({"s1": [False]}, [])


async def test_a_launch_that_waits_for_weights_does_so_no_longer_once_the_setting_is_off(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        await story.until(lambda: bring.calls)
        await story.until(lambda: [held.reason for held in story.loop.plan().held])
        assert story.launched() == {}
        await story.declare(model(top="settings: {fetchWeights: false}"))
        await story.until(story.launched)
        [fetch] = story.weights.fetches.all()
        await story.until(lambda: fetch.state is State.CANCELLED)


async def test_what_nothing_declares_any_more_is_not_fetched_on(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        await story.until(lambda: bring.calls)
        [first] = story.weights.fetches.all()
        await story.declare(model(revision="v2"))
        await story.until(lambda: first.state is State.CANCELLED)
        await story.until(lambda: len(bring.calls) == 2)
        story.weights.fetches.start("s1", Want(REPO, "v2"), by="ann")  # it is hers now
        await story.declare(model(on="on: s1, run: never"))
        await story.until(lambda: not story.loop.plan().held)
        story.loop.wake_all()
        await asyncio.sleep(0.1)
        second = story.weights.fetches.all()[-1]
        assert (second.want.revision, second.state, second.by) == ("v2", State.FETCHING, "ann")


async def test_what_is_declared_again_while_its_fetch_ends_is_fetched_again(tmp_path: Path) -> None:
    slow = asyncio.Event()
    calls: list[str] = []

    async def bring(host: Host, want: Want, **asked: Any) -> Fetched:
        calls.append(want.repository)
        try:
            return await asyncio.Future[Fetched]()
        finally:
            await slow.wait()  # its Spark takes its time to end

    async with telling(tmp_path, model(), bring) as story:
        await story.until(lambda: calls)
        fetches = story.weights.fetches
        await story.declare(model(on="on: s1, run: never"))
        await story.until(lambda: [task for task in asyncio.all_tasks() if task.get_name() == "s1 end a fetch"])
        await story.declare(model())
        story.loop.wake_all()
        await story.until(lambda: story.reasons() == {"s1": "WeightsFetching"})
        slow.set()
        await story.until(lambda: len(calls) == 2)
        assert [each.state for each in fetches.all()] == [State.CANCELLED, State.FETCHING]


async def test_a_spark_that_is_declared_again_begins_anew(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        bring.fails("Gated")
        await story.until(lambda: story.reasons() == {"s1": "Gated"})
        await story.declare(model(on="on: s2").replace("s1: {host: 10.0.0.1}, ", ""))
        await story.until(lambda: story.reasons() == {"s2": "WeightsFetching"})
        await story.declare(model())
        await story.until(lambda: len(bring.calls) == 3)
        assert story.reasons() == {"s1": "WeightsFetching"}


async def test_a_fetch_that_a_person_ended_is_not_begun_again(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        await story.until(lambda: bring.calls)
        await story.weights.fetches.cancel(story.weights.fetches.all()[0].id)
        assert story.reasons() == {"s1": "WeightsCancelled"}
        story.loop.wake_all()
        await asyncio.sleep(0.1)
        assert len(bring.calls) == 1
        story.weights.fetches.start("s1", Want(REPO), by="ann")
        assert story.reasons() == {"s1": "WeightsFetching"}
        await story.until(lambda: len(bring.calls) == 2)
        assert story.launched() == {}


async def test_a_fetch_that_the_survey_does_not_believe_is_believed_once(tmp_path: Path) -> None:
    bring = Told()
    async with telling(tmp_path, model(), bring) as story:
        bring.answers.put_nowait(Fetched(None, COMMIT))
        await story.until(story.launched)
        assert len(bring.calls) == 1


def test_how_long_something_takes_is_said_as_people_say_it() -> None:
    assert [ahead._span(seconds) for seconds in (58.2, 720, 12_600)] == ["58 s", "12 min", "3.5 h"]
