"""When a Spark is looked at next."""

from __future__ import annotations

import asyncio

from reconciler.due import Due


async def looks(due: Due, seconds: float) -> int:
    """How often a worker that takes no time looks within so many seconds."""
    count = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                await due.wait()
                count += 1
    except TimeoutError:
        return count


async def test_asking_often_is_asking_once() -> None:
    due = Due()
    for _ in range(50):
        due.now()
    assert await looks(due, 0.05) == 1


async def test_asking_while_it_is_worked_on_means_once_more() -> None:
    due = Due()
    due.now()
    await due.wait()
    due.now()
    due.now()
    assert await looks(due, 0.05) == 1


async def test_an_earlier_time_wins() -> None:
    due = Due()
    due.after(100)
    due.after(0.01)
    due.after(50)
    async with asyncio.timeout(1):
        await due.wait()


async def test_an_earlier_time_is_heard_while_waiting_for_a_later_one() -> None:
    due = Due()
    due.after(100)
    waiting = asyncio.create_task(due.wait())
    await asyncio.sleep(0.01)
    due.now()
    async with asyncio.timeout(1):
        await waiting


async def test_the_first_event_after_quiet_is_acted_on_at_once_and_a_burst_is_gathered() -> None:
    due = Due()
    due.hint()
    async with asyncio.timeout(1):
        await due.wait()
    for _ in range(20):
        due.hint()
        await asyncio.sleep(0.001)
    assert await looks(due, 0.2) == 1
