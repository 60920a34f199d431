"""The logs of several containers as one text, line by line as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final

from reconciler import launch, shell
from reconciler.hosts import Host
from reconciler.linkdown import LinkDown

QUEUE: Final = 1000  # lines that wait for a slow reader, before the Spark has to wait too


@dataclass(frozen=True, slots=True)
class Tail:
    """One container's log."""

    spark: str
    host: Host
    container: str


class _End:
    """A tail that is over, and how."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


async def lines_of(
    tails: Sequence[Tail], *, tail: int, follow: bool, closing: asyncio.Event
) -> AsyncGenerator[str, None]:
    """The lines of all tails, as they come. Waits for the first, so that a Spark that is gone raises LinkDown here."""
    merged = _merged(tails, tail=tail, follow=follow, closing=closing)
    if follow and tail == 0:
        return merged  # nothing may be said for a long time
    try:
        first = await anext(merged, None)
    except BaseException:
        await merged.aclose()
        raise
    return _with_first(first, merged)


async def _with_first(first: str | None, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        if first is not None:
            yield first
            async for line in rest:
                yield line


async def _merged(
    tails: Sequence[Tail], *, tail: int, follow: bool, closing: asyncio.Event
) -> AsyncGenerator[str, None]:
    queue: asyncio.Queue[str | _End] = asyncio.Queue(QUEUE)
    said = False
    async with AsyncExitStack() as stack:
        for one in tails:
            task = asyncio.create_task(_read(one, queue, tail=tail, follow=follow, named=len(tails) > 1))
            stack.push_async_callback(_end, task)
        waiting = len(tails)
        while waiting and not closing.is_set():
            try:
                item = await asyncio.wait_for(queue.get(), 1.0)
            except TimeoutError:
                continue
            if isinstance(item, str):
                said = True
                yield item
                continue
            waiting -= 1
            if item.error is not None and not said and not waiting:
                raise item.error
            if item.error is not None:
                yield f"(the log ends here: {item.error})\n"


async def _read(one: Tail, queue: asyncio.Queue[str | _End], *, tail: int, follow: bool, named: bool) -> None:
    before = f"{one.spark} | " if named else ""
    script = shell.join(launch.logs(one.container, tail=tail, follow=follow))
    error: BaseException | None = None
    try:
        async with _closing(one.host.stream(script)) as lines:
            async for line in lines:
                await queue.put(f"{before}{line}\n")
    except LinkDown as down:
        error = down
    await queue.put(_End(error))


class _closing:  # noqa: N801  # a context manager that reads like `aclosing`
    """`aclosing` for an iterator that may have nothing to close."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def __aenter__(self) -> AsyncIterator[str]:
        return self._lines

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._lines, AsyncGenerator):
            await self._lines.aclose()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
