"""A whole loop in virtual time: minutes of waiting cost nothing, and what happens when is exact."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from reconciler.loop import Loop
from state.journal import Journal
from state.store import DesiredStore
from tests.simulation.virtual import EPOCH, VirtualLoop
from tests.unit.reconciler.test_worker import Played


class AtOnce(ThreadPoolExecutor):
    """No threads: while one ran, virtual time would run away."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **more))
        except Exception as error:  # noqa: BLE001  # an executor hands on whatever it is
            done.set_exception(error)
        return done


def in_no_time(story: Coroutine[Any, Any, None]) -> None:
    """Run a story in virtual time."""
    loop = VirtualLoop()
    loop.set_default_executor(AtOnce(1))
    try:
        loop.run_until_complete(story)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@asynccontextmanager
async def keeping(folder: Path, host: Played | Mapping[str, Played], text: str, **more: Any) -> AsyncIterator[Loop]:
    """A loop that keeps this Spark, or these, as the text says."""
    desired, journal = folder / "desired.yaml", Journal(":memory:")
    desired.write_text(text)
    clock = asyncio.get_running_loop().time
    async with (
        DesiredStore(desired, generations=journal) as store,
        Loop(
            store,
            journal,
            lambda name, _spark: host[name] if isinstance(host, Mapping) else host,
            secret=str,
            rng=random.Random(1),
            now=lambda: EPOCH + clock(),
            **more,
        ) as loop,
    ):
        yield loop
    journal.close()
