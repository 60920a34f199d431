"""A loop whose time jumps: waiting costs nothing, and everything happens in the same order every time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from reconciler.practice.clock import Clock
from reconciler.practice.spark import Settings, Spark

EPOCH = 1_800_000_000.0


class _Selector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everything waits for something that nobody will do")
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def virtually(story: Callable[[Spark], Coroutine[Any, Any, None]], **settings: Any) -> Spark:
    """Run a story with one Spark, without sockets, in no time."""

    async def told() -> Spark:
        loop = asyncio.get_running_loop()
        spark = Spark("spark-1", settings=Settings(serve=False, **settings), clock=Clock(lambda: EPOCH + loop.time()))
        spark.engine.images.add("img:1")
        try:
            await story(spark)
        finally:
            await spark.close()
        return spark

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(told())
    finally:
        loop.close()
