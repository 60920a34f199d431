"""Notes now and then what the loop knows, for those who ask later: the curves and the slots of the last day."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from api.context import Context

EVERY: Final = 10.0  # seconds; scans are further apart
SIGN: Final = 6  # rounds between two signs of life in the journal

log = logging.getLogger("sparkkeep.api")


@asynccontextmanager
async def sampling(context: Context) -> AsyncIterator[None]:
    """Note it again and again until the end."""
    noting = asyncio.create_task(_keep(context), name="series")
    try:
        yield
    finally:
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        context.journal.alive()


async def _keep(context: Context) -> None:
    for number in itertools.count():
        await asyncio.sleep(EVERY)
        try:
            note(context)
            if number % SIGN == 0:
                context.journal.alive()
        except Exception:  # the root of this task
            log.exception("what the scans measured could not be noted")


def note(context: Context) -> None:
    """What the loop knows now."""
    workers, now = context.loop.workers, context.loop.now()
    for name, worker in workers.items():
        if worker.sight.current is not None:
            context.series.take(name, worker.sight.current)
    workloads = context.status.build()["workloads"]
    for name, workload in workloads.items():
        context.healths.take(name, workload["health"], now)
    context.series.keep_only(workers)
    context.healths.keep_only(workloads)
