"""An event loop in a thread of its own, for tests that wait for their answers: the command line, raw sockets, fuzzers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0


@contextmanager
def aside(made: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What is made there, entered and left in that loop. What goes wrong there is raised here."""
    ready: list[T] = []
    failed: list[BaseException] = []
    started, done = threading.Event(), threading.Event()

    async def run() -> None:
        async with made as it:
            ready.append(it)
            started.set()
            await asyncio.to_thread(done.wait)

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test has to hear of it
            failed.append(error)
            started.set()

    thread = threading.Thread(target=main, name="aside")
    thread.start()
    try:
        assert started.wait(PATIENCE), "it did not start"
        if failed:
            raise failed[0]
        yield ready[0]
    finally:
        done.set()
        thread.join(PATIENCE)
    if failed:
        raise failed[0]
