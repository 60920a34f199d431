"""Thousands of spoilt desired.yaml files, saved one after the other while the loop keeps a running practice fleet.

Each is either refused, with places that lie in the file, the last good state in force, and not one command on the
Sparks; or it still is a valid declaration, which a second reading confirms. What is valid and means something else is
taken back at once, and what the loop does about it is not counted. 250 texts, or 5,000 with SPARKKEEP_LONG=1; the name
of a failing test and the number in its message give the text again: `mutant(base, number)`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from api.assemble import Parts, running
from api.folder import DataFolder
from api.practice import PracticeReach, Workshop, no_download, workshop
from reconciler.ssh import Link
from reconciler.worker import ENDS_UNSEEN
from state.desired import Spark
from state.load import Loaded, load_sources
from state.problems import Invalid, Problem
from state.sources import Source, read_recipes
from state.store import EMPTIED
from tests.bad_input.corpus import corpus
from tests.bad_input.mutations import mutant
from tests.scenarios.stage import changing

pytestmark = [pytest.mark.xdist_group("bad-input-files"), pytest.mark.timeout(3600)]

CORPUS = corpus()
TEXTS = (5000 if os.environ.get("SPARKKEEP_LONG") else 250) // len(CORPUS)
SECONDS = 1.0  # of computing, for one text, where the base takes USUAL
USUAL = 0.02
STILL = 5  # looks that find nothing new before the fleet is said to be at rest
PATIENCE = 5  # seconds for memory and ports to be free again
MEMORY = 256 * 2**20  # bytes that all texts together may add to the process at its largest
UNREADABLE = ("is not UTF-8", "character U+")
WHOLE = (EMPTIED, "more problems are not shown")  # what has no place in the file


class Homely(PracticeReach):
    """A Spark that a mutation made up is nobody: nothing leaves this machine."""

    def link(self, name: str, spark: Spark) -> Link:
        if name not in self.fleet.sparks:
            spark = spark.model_copy(update={"host": "127.0.0.1", "port": 9})
        return super().link(name, spark)


Trace = list[tuple[list[tuple[str, ...]], list[tuple[str, str, str, int]]]]  # commands and containers of each Spark


@dataclass
class Seen:
    """What became of the texts."""

    refused: int = 0
    same: int = 0
    other: int = 0
    slowest: float = 0.0
    problems: int = 0
    placeless: set[str] = field(default_factory=set)


class Kept:
    """A fleet at rest, its loop, and the file."""

    def __init__(self, room: Workshop, parts: Parts) -> None:
        self.room = room
        self.loop = parts.context.loop
        self.store = parts.store
        self.journal = parts.context.journal
        self.recipes = read_recipes(parts.context.recipes)
        self.file = room.desired
        self.base = self.file.read_bytes()
        self.revision = self.store.current.revision
        self._quiet: Trace = []

    def trace(self) -> Trace:
        """All that was ever done to the Sparks, and what runs there since when."""
        sparks = self.room.fleet.sparks.values()
        return [
            (
                [c.argv for c in spark.commands if changing([list(c.argv)])],
                sorted((c.name, c.id, c.state, c.started) for c in spark.engine.containers.values()),
            )
            for spark in sparks
        ]

    async def save(self, text: bytes) -> None:
        self.file.write_bytes(text)
        await self.store.reload()

    def judged(self, text: bytes) -> tuple[Loaded | list[Problem], float]:
        """What a reading of the text by itself says, and the seconds of computing that it took."""
        began = time.thread_time()
        try:
            return load_sources([Source(str(self.file), text)], self.recipes), time.thread_time() - began
        except Invalid as invalid:
            return invalid.problems, time.thread_time() - began

    async def looked(self) -> None:
        """Every Spark was looked at, and its plan made, once more."""
        before = {name: worker.passes for name, worker in self.loop.workers.items()}
        for name in before:
            self.loop.hurry(name)
        async with asyncio.timeout(30):
            while any(self.loop.workers[name].passes <= passes for name, passes in before.items()):
                await asyncio.sleep(0.005)

    def busy(self, *, patient: bool) -> bool:
        """Something is left to do, now or once a wait is over. Memory may be waited for without end: not that long."""
        workers, plan = self.loop.workers.values(), self.loop.plan()
        waits = any(held.until is not None or (patient and held.reason in ENDS_UNSEEN) for held in plan.held)
        return waits or bool(plan.steps) or any(not w.passes or w.sight.unknown or w.pulling for w in workers)

    async def rest(self) -> None:
        """Until all is as declared, or cannot be, and has stayed so; from here on every command counts."""
        began, still = time.monotonic(), 0
        async with asyncio.timeout(60):
            while still < STILL:
                trace = self.trace()
                busy = self.busy(patient=time.monotonic() < began + PATIENCE)
                still = still + 1 if trace == self._quiet and not busy else 0
                self._quiet = trace
                await self.looked()

    async def untouched(self) -> None:
        """Nothing was done since `rest`."""
        await self.looked()
        for (before, were), (after, are) in zip(self._quiet, self.trace(), strict=True):
            assert after[len(before) :] == []
            assert are == were


@asynccontextmanager
async def kept(folder: Path, text: str) -> AsyncIterator[Kept]:
    (folder / "template.yaml").write_text(text)
    with DataFolder(folder / "data") as data:
        async with workshop(2, data, folder / "template.yaml", first_port=0) as room:
            reach = Homely(hostkeys=room.reach.hostkeys, key=room.reach.key, fleet=room.fleet)
            async with running(room.desired, data, {}, reach=reach, bring=no_download) as parts:
                made = Kept(room, parts)
                await made.rest()
                yield made


@pytest.mark.parametrize("name", CORPUS)
async def test_a_spoilt_file_changes_nothing(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "state.store")  # says every refusal in full
    seen = Seen()
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with kept(tmp_path, CORPUS[name]) as fleet:
        for number in range(TEXTS):
            try:
                await _one(fleet, mutant(fleet.base, number), seen)
            except BaseException as error:
                error.add_note(f"at mutant(base, {number}) of {name}")
                raise
        await fleet.untouched()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "desired-store" and task.done()]
    sys.stdout.write(f"{name} {seen}\n")
    assert seen.refused > TEXTS / 2
    assert seen.same
    assert seen.other
    assert all(message.endswith(WHOLE) for message in seen.placeless), seen.placeless
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest) * 1024 < MEMORY


async def _one(fleet: Kept, text: bytes, seen: Seen) -> None:
    judged, seconds = await asyncio.to_thread(fleet.judged, text)
    seen.slowest = max(seen.slowest, seconds)
    if seconds >= SECONDS:  # the machine may be busy, or slow by itself
        _, usual = await asyncio.to_thread(fleet.judged, fleet.base)
        _, again = await asyncio.to_thread(fleet.judged, text)
        assert min(seconds, again) < SECONDS * max(1.0, usual / USUAL)
    if isinstance(judged, Loaded) and f"sha256:{judged.digest[:12]}" != fleet.revision:
        await fleet.untouched()
        await fleet.save(text)
        if not fleet.store.problems:
            assert fleet.store.current.loaded.digest == judged.digest
            seen.other += 1
            await fleet.save(fleet.base)
            for workload in fleet.store.current.loaded.resolved:
                fleet.loop.reset_backoff(workload)
            await fleet.rest()
            return
        judged = list(fleet.store.problems)
        assert [problem.message for problem in judged] == [EMPTIED]
    else:
        await fleet.save(text)
    assert fleet.store.current.revision == fleet.revision
    if isinstance(judged, Loaded):
        assert fleet.store.problems == ()
        seen.same += 1
        return
    assert list(fleet.store.problems) == judged
    seen.refused += 1
    seen.problems += len(judged)
    for problem in judged:
        _lies_in(problem, text, str(fleet.file), seen)


def _lies_in(problem: Problem, text: bytes, file: str, seen: Seen) -> None:
    """Its place is one of the text's; a problem at the end may stand behind the last character."""
    assert problem.file == file
    assert problem.message
    if not problem.line:
        seen.placeless.add(problem.message)
        return
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text.decode("utf-8-sig", "replace"))  # as YAML counts them
    if problem.field == "" and problem.message.startswith(UNREADABLE):
        lines = [line.decode("latin-1") for line in text.split(b"\n")]  # before YAML: by line feeds, in bytes
    assert 1 <= problem.line <= len(lines), problem
    assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, problem
