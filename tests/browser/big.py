"""A large fleet in memory behind the real server: sixteen Sparks with twenty workloads each, quiet or busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from api.app import build
from api.context import Context
from api.serve import _listen, configured
from reconciler.loop import Loop
from reconciler.status import Status
from state.journal import Journal
from state.store import DesiredStore
from tests.browser.serving import served_on
from tests.unit.api.stub import MemorySpark

IMAGE = "keep/echo:1"
EVERY = 0.05  # seconds between two accidents of a busy fleet


def declared(sparks: int, each: int) -> str:
    hosts = ", ".join(f"spark-{n}: {{host: 10.0.0.{n}}}" for n in range(1, sparks + 1))
    recipe = f"{{image: '{IMAGE}', port: PORT, probe: none, memory: 4GiB}}"
    lines = [
        f"  model-{n}-{m}: {{recipe: {recipe.replace('PORT', str(8000 + m))}, on: spark-{n}}}"
        for n in range(1, sparks + 1)
        for m in range(1, each + 1)
    ]
    return f"sparks: {{{hosts}}}\nguards: {{maxDestructive: 1000}}\nservices:\n" + "\n".join(lines) + "\n"


@dataclass
class Big:
    """What a test holds in its hand."""

    url: str
    sparks: dict[str, MemorySpark]
    context: Context
    loop: asyncio.AbstractEventLoop

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Containers die everywhere, twenty a second, and come back; each one is seen at once."""
        task = asyncio.run_coroutine_threadsafe(self._accidents(), self.loop)
        try:
            yield
        finally:
            task.cancel()

    async def _accidents(self) -> None:
        dice = random.Random(7)
        while True:
            name = dice.choice(sorted(self.sparks))
            if self.sparks[name].containers:
                self.sparks[name].containers.pop(dice.choice(sorted(self.sparks[name].containers)))
                self.context.loop.workers[name].due.now()
            await asyncio.sleep(EVERY)


@asynccontextmanager
async def big_fleet(*, sparks: int, each: int) -> AsyncIterator[Big]:
    with TemporaryDirectory() as folder:
        desired = Path(folder) / "desired.yaml"
        desired.write_text(declared(sparks, each))
        memory = {f"spark-{n}": MemorySpark(IMAGE) for n in range(1, sparks + 1)}
        journal = Journal(":memory:")
        store = DesiredStore(desired, generations=journal)
        await store.open()
        try:
            async with Loop(store, journal, lambda name, _: memory[name], secret=lambda name: name) as loop:
                context = Context(loop=loop, status=Status(loop))
                with _listen("127.0.0.1", 0) as listener:
                    async with served_on(configured(build(context, version="1")), context, listener) as url:
                        while any(len(spark.containers) < each for spark in memory.values()):
                            await asyncio.sleep(0.05)
                        yield Big(url, memory, context, asyncio.get_running_loop())
        finally:
            journal.close()
