"""One practice Spark in virtual time, without sockets."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from reconciler.practice.clock import Clock
from reconciler.practice.spark import Settings, Spark
from tests.simulation.virtual import EPOCH, VirtualLoop


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
