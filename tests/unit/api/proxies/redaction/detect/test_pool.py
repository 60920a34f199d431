"""Processes of its own: busy, ended, hanging, closed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from api.proxies.redaction.detect import DetectionSettings, PooledDetector
from api.proxies.redaction.finds import DetectorBusy, DetectorDown, Find


class Obedient:
    """Does what a text says."""

    def find(self, text: str) -> list[Find]:
        match text:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(600)
            case "fail":
                raise KeyError("ada@lovelace-works.org")
        return [Find(at, at + 1, "X", 1.0) for at, char in enumerate(text) if char == "X"]


def obedient(settings: DetectionSettings) -> Obedient:
    return Obedient()


@pytest.fixture
async def pool() -> AsyncIterator[PooledDetector]:
    made = PooledDetector(DetectionSettings(ner=False), waiting=100, make=obedient)
    await made.warm()
    yield made
    await made.close()


def processes(pool: PooledDetector) -> list[int]:
    assert pool._pool is not None
    return list(pool._pool._processes)


async def test_it_works_in_a_process_of_its_own(pool: PooledDetector) -> None:
    assert await pool.find(["aXb", "", "X"]) == [[Find(1, 2, "X", 1.0)], [], [Find(0, 1, "X", 1.0)]]
    assert os.getpid() not in processes(pool)
    assert pool.waiting == 0


async def test_a_long_text_is_one_row_of_finds(pool: PooledDetector) -> None:
    text = ("word " * 900 + "X ") * 9
    assert [find.start for find in (await pool.find([text]))[0]] == [at for at, char in enumerate(text) if char == "X"]


async def test_a_process_that_dies_is_replaced_and_who_waited_is_told(pool: PooledDetector) -> None:
    before = processes(pool)
    with pytest.raises(DetectorDown):
        await pool.find(["die"])
    assert await pool.find(["X"]) == [[Find(0, 1, "X", 1.0)]]
    assert set(processes(pool)).isdisjoint(before)


async def test_when_as_much_waits_as_may_the_next_is_told_to_come_again(pool: PooledDetector) -> None:
    hanging = asyncio.create_task(pool.find(["hang"]))
    await asyncio.sleep(0)
    with pytest.raises(DetectorBusy) as busy:
        await pool.find(["x" * 99])
    assert busy.value.retry_after > 0
    await pool.close()
    with pytest.raises(DetectorDown):
        await hanging


async def test_a_process_that_hangs_is_ended() -> None:
    pool = PooledDetector(DetectionSettings(ner=False), patience=0.2, make=obedient)
    await pool.warm()
    before = processes(pool)
    with pytest.raises(DetectorDown, match="too long"):
        await pool.find(["hang"])
    assert (await pool.find(["X"]))[0]
    assert set(processes(pool)).isdisjoint(before)
    await pool.close()


async def test_a_failure_is_no_clean_text_and_its_words_are_not_logged(
    pool: PooledDetector, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DetectorDown):
        await pool.find(["fail"])
    assert "lovelace" not in caplog.text
    assert "KeyError" in caplog.text


async def test_a_caller_who_goes_leaves_room(pool: PooledDetector) -> None:
    asked = asyncio.create_task(pool.find(["hang"]))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert pool.waiting == 0


async def test_closed_is_closed(pool: PooledDetector) -> None:
    ended = processes(pool)
    await pool.close()
    with pytest.raises(DetectorDown):
        await pool.find(["X"])
    for pid in ended:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
