"""Finding in processes of their own, so that no stream waits for a model's arithmetic.

The processes are spawned, not forked: they inherit no descriptor of the controller. Each loads the model once. How many
texts wait is bounded; so is how long one may take. A process that dies or hangs is replaced, and whoever waited for it is
told that nothing is known of their text.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, Protocol, TypeVar

from api.proxies.redaction.detect.extra import require
from api.proxies.redaction.detect.settings import DetectionSettings
from api.proxies.redaction.finds import DetectorBusy, DetectorDown, Find

logger = logging.getLogger(__name__)
BATCH: Final = 16_000
"""Characters that go to a process at once."""
WAITING: Final = 1_000_000
"""Characters that may wait or be worked on: what bounds the memory, and the wait."""
PATIENCE: Final = 60.0
"""Seconds for one batch; a process that takes longer hangs."""
LOADING: Final = 180.0
"""Seconds for the model to be loaded."""
_RETRY: Final = 1
_A_SECOND: Final = 50_000
T = TypeVar("T")


class Local(Protocol):
    """What a process holds."""

    def find(self, text: str) -> list[Find]:
        """The finds of one text."""


Make = Callable[[DetectionSettings], Local]
_local: Local | None = None


def _load(settings: DetectionSettings) -> Local:
    from api.proxies.redaction.detect.local import Finder  # noqa: PLC0415  # only here is the model loaded

    return Finder(settings)


def _start(make: Make, settings: DetectionSettings) -> None:
    global _local  # noqa: PLW0603  # one a process
    with contextlib.suppress(OSError):
        os.nice(5)  # the controller's streams come first
    _local = make(settings)


def _ready() -> bool:
    return _local is not None


def _work(texts: list[str]) -> list[list[Find]]:
    if _local is None:
        raise RuntimeError("nothing is loaded")
    return [_local.find(text) for text in texts]


class PooledDetector:
    """A detector whose work is done elsewhere. `close` it."""

    def __init__(
        self,
        settings: DetectionSettings | None = None,
        *,
        processes: int = 1,
        waiting: int = WAITING,
        patience: float = PATIENCE,
        make: Make = _load,
    ) -> None:
        """Raises ExtraMissing where what is asked for can't be had."""
        self._settings = settings or DetectionSettings()
        if make is _load:
            require(ner=self._settings.ner)
        self._processes, self._most, self._patience, self._make = processes, waiting, patience, make
        self._waiting = 0
        self._closed = False
        self._turns = asyncio.Semaphore(processes)
        self._pool: ProcessPoolExecutor | None = None

    @property
    def waiting(self) -> int:
        """Characters that wait or are worked on."""
        return self._waiting

    async def warm(self) -> None:
        """Waits until a model is loaded. Raises DetectorDown."""
        await self._ask([])

    async def find(self, texts: Sequence[str]) -> list[list[Find]]:
        """For each text its finds. Raises DetectorBusy, DetectorDown."""
        if self._closed:
            raise DetectorDown("the detector is closed")
        size = sum(map(len, texts)) + len(texts)
        # A text that alone is too long waits for nobody, but goes when nobody waits.
        if self._waiting and self._waiting + size > self._most:
            raise DetectorBusy(round(_RETRY + self._waiting / _A_SECOND))
        self._waiting += size
        try:
            return await self._found(texts)
        finally:
            self._waiting -= size

    async def _found(self, texts: Sequence[str]) -> list[list[Find]]:
        from api.proxies.redaction.detect.split import Piece, joined, pieces  # noqa: PLC0415  # they need the extra

        cut = [pieces(text) for text in texts]
        asked = [(at, piece) for at, parts in enumerate(cut) for piece in parts]
        batches: list[list[tuple[int, Piece]]] = [[]]
        length = 0
        for at, piece in asked:
            if batches[-1] and length + piece.end - piece.start > BATCH:
                batches.append([])
                length = 0
            batches[-1].append((at, piece))
            length += piece.end - piece.start
        found: list[list[tuple[Piece, list[Find]]]] = [[] for _ in texts]
        # One batch after the other: a long text leaves room between its pieces for the short ones of others.
        for batch in batches:
            if not batch:
                continue
            said = await self._ask([texts[at][piece.start : piece.end] for at, piece in batch])
            for (at, piece), finds in zip(batch, said, strict=True):
                found[at].append((piece, finds))
        return [joined(text, parts) for text, parts in zip(texts, found, strict=True)]

    async def _ask(self, texts: list[str]) -> list[list[Find]]:
        """One batch, when its turn has come. Its time counts from there, and without the loading of a model."""
        async with self._turns:
            if self._closed:
                raise DetectorDown("the detector is closed")
            pool = self._running()
            await self._answer(pool, _ready, patience=LOADING)
            return await self._answer(pool, _work, texts, patience=self._patience)

    async def _answer(self, pool: ProcessPoolExecutor, work: Callable[..., T], *said: Any, patience: float) -> T:
        try:
            async with asyncio.timeout(patience):
                return await asyncio.get_running_loop().run_in_executor(pool, work, *said)
        except BrokenProcessPool:
            self._drop(pool)
            raise DetectorDown("the process that looks for personal data ended; another is started") from None
        except TimeoutError as late:
            # A recogniser of the settings may have taken too long; or the process hangs.
            if isinstance(late.__cause__, asyncio.CancelledError):
                self._drop(pool)
            raise DetectorDown("looking for personal data took too long") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise DetectorDown("the detector was closed, or its process ended") from None
        except Exception as failed:  # noqa: BLE001
            # Whatever it was: nothing is known of this text, and it must not go on as if it were clean.
            logger.warning("looking for personal data failed: %s", type(failed).__name__)  # never the text of it
            raise DetectorDown("looking for personal data failed") from None

    def _running(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(self._make, self._settings),
            )
        return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        """Ends a pool; the next who asks has a new one."""
        if pool is self._pool:
            self._pool = None
            _end(pool)

    async def close(self) -> None:
        """Ends the processes; whoever waits is told DetectorDown."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool:
            await asyncio.to_thread(_end, pool)


def _end(pool: ProcessPoolExecutor) -> None:
    """At once, also in the middle of a text."""
    processes = list((pool._processes or {}).values())  # noqa: SLF001  # there is no other way before Python 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join(5)
