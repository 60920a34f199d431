"""One model's way: a bounded queue, and three threads that tokenise, compute and finish.

While one batch is computed, the next inputs are tokenised and the last vectors are brought into form; what came
meanwhile, from whatever request, is packed together when the device is free. Nobody is waited for. What somebody no
longer wants is dropped before it is packed.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from spark_embed.batching import pack, packed
from spark_embed.metrics import Counts

AHEAD: Final = 2  # batches that are computed or being finished, beyond the one that is packed
LEAST_WAIT, MOST_WAIT = 1, 60  # seconds that a caller is asked to come back after
BROKEN_AFTER: Final = 3  # batches in a row that failed

log = logging.getLogger("spark_embed.lane")


class Busy(Exception):
    """Too much waits already. `retry_after` in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many inputs wait; come back in {retry_after} s")
        self.retry_after = retry_after


class WrongInput(Exception):
    """One input can't be computed; `at` is its place in the request."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


@dataclass(frozen=True, slots=True)
class Row:
    """An input in tokens. `features` is what the model reads: lists of equal length, by name."""

    length: int
    features: dict[str, list[int]]


class Model(Protocol):
    """What knows torch. Each method is called by one thread only."""

    name: str
    longest: int

    def tokenise(self, inputs: Sequence[Any], limit: int | None) -> list[Row | str]:
        """Each input in tokens, cut to `limit` where there is one; or what is wrong with it."""

    def compute(self, rows: Sequence[Row]) -> Any:
        """The batch on the device; it need not have ended."""

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[Any]:
        """What is answered for each row. `wanted`: the length of each vector, None for whole ones."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request. `dropped` is set by whoever waited for it."""

    inputs: Sequence[Any]
    limit: int | None
    dimensions: int | None
    done: Future[tuple[list[Any], int]] = field(default_factory=Future)
    dropped: bool = False
    results: list[Any] = field(default_factory=list)
    missing: int = 0
    tokens: int = 0

    def fail(self, error: Exception) -> None:
        """Nothing more is done for it."""
        self.dropped = True
        with suppress(InvalidStateError):  # its caller has left, or another part of it has failed before
            self.done.set_exception(error)

    def answer(self, at: int, result: Any) -> None:
        """One of its inputs is done; with the last of them the request is."""
        self.results[at] = result
        self.missing -= 1
        if not self.missing:
            with suppress(InvalidStateError):
                self.done.set_result((self.results, self.tokens))


@dataclass(slots=True, eq=False)
class Item:
    """One input of a request."""

    ticket: Ticket
    at: int
    row: Row
    number: int

    @property
    def length(self) -> int:
        """In tokens."""
        return self.row.length

    @property
    def dropped(self) -> bool:
        """Nobody waits for it any more."""
        return self.ticket.dropped


class Lane:
    """Use `submit` from any thread; `close` ends the threads."""

    def __init__(self, model: Model, counts: Counts, *, tokens: int, inputs: int, most: int) -> None:
        """`tokens` and `inputs` of a batch at most; `most` inputs may wait."""
        self.model = model
        self.broken = ""
        self._counts = counts
        self._tokens, self._inputs, self._most = tokens, inputs, most
        self._numbers = itertools.count()
        self._lock = threading.Condition()
        self._arrived: list[Ticket] = []
        self._waiting: list[Item] = []
        self._depth = 0  # inputs that were taken in and are not answered
        self._rate = 0.0  # inputs a second, as last seen
        self._computed: queue.Queue[tuple[list[Item], Any, float] | None] = queue.Queue(AHEAD)
        self._closed = False
        self._failed = 0
        stages = (self._tokenise, self._compute, self._finish)
        self._threads = [threading.Thread(target=self._stage, args=(s,), name=s.__name__, daemon=True) for s in stages]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Inputs that wait or are computed."""
        return self._depth

    def submit(self, inputs: Sequence[Any], *, limit: int | None = None, dimensions: int | None = None) -> Ticket:
        """Take a request in. Raises Busy. A request larger than the queue is taken where nothing else waits."""
        ticket = Ticket(inputs, limit, dimensions, results=[None] * len(inputs), missing=len(inputs))
        with self._lock:
            if self._closed:
                raise Busy(LEAST_WAIT)
            if self._depth and self._depth + len(inputs) > self._most:
                self._counts.refused.inc()
                raise Busy(self._patience())
            self._depth += len(inputs)
            self._arrived.append(ticket)
            self._lock.notify_all()
        ticket.done.add_done_callback(lambda _: self._gone(len(inputs)))
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Whoever waited for it has left."""
        ticket.dropped = True
        ticket.done.cancel()

    def close(self) -> None:
        """End the threads; what waits is given up."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)

    def _gone(self, inputs: int) -> None:
        with self._lock:
            self._depth -= inputs

    def _patience(self) -> int:
        return max(LEAST_WAIT, min(MOST_WAIT, round(self._depth / self._rate))) if self._rate else LEAST_WAIT

    def _stage(self, stage: Callable[[], None]) -> None:
        """The root of a thread: were it to end, everybody would wait for ever, and the health page would not know."""
        try:
            stage()
        except Exception as error:
            log.exception("%s ended", stage.__name__)
            self.broken = f"{stage.__name__}: {error}"

    def _tokenise(self) -> None:
        while True:
            with self._lock:
                while not (self._arrived or self._closed):
                    self._lock.wait()
                if self._closed:
                    return
                tickets, self._arrived = self._arrived, []
            live = [ticket for ticket in tickets if not ticket.dropped]
            self._counts.dropped.inc(sum(len(ticket.inputs) for ticket in tickets if ticket.dropped))
            items = [
                item for ticket, rows in zip(live, self._rows(live), strict=True) for item in self._items(ticket, rows)
            ]
            with self._lock:
                self._waiting += items
                self._lock.notify_all()

    def _rows(self, tickets: Sequence[Ticket]) -> Iterator[list[Row | str]]:
        """All of them at once, as a tokeniser works best. If that fails, one by one: only one may be at fault."""
        limits = {ticket.limit for ticket in tickets}
        if len(limits) == 1 and len(tickets) > 1:
            try:
                rows = iter(self.model.tokenise([each for ticket in tickets for each in ticket.inputs], limits.pop()))
            except Exception:  # noqa: BLE001  # whatever a tokeniser makes of what people send
                log.debug("requests are made into tokens one by one")
            else:
                yield from (list(itertools.islice(rows, len(ticket.inputs))) for ticket in tickets)
                return
        for ticket in tickets:
            try:
                yield self.model.tokenise(ticket.inputs, ticket.limit)
            except Exception as error:  # noqa: BLE001  # as above
                yield [f"it can't be made into tokens: {error}"]

    def _items(self, ticket: Ticket, rows: Sequence[Row | str]) -> list[Item]:
        """A request's inputs; none if something is wrong with one of them."""
        items = list[Item]()
        for at, row in enumerate(rows):
            if isinstance(row, str):
                ticket.fail(WrongInput(at, row))
                return []
            items.append(Item(ticket, at, row, next(self._numbers)))
        ticket.tokens = sum(item.length for item in items)
        return items

    def _compute(self) -> None:
        while True:
            with self._lock:
                while not (self._waiting or self._closed):
                    self._lock.wait()
                if self._closed:
                    self._computed.put(None)
                    return
                batch, self._waiting, dropped = pack(self._waiting, tokens=self._tokens, inputs=self._inputs)
            self._counts.dropped.inc(dropped)
            if not batch:
                continue
            began = time.monotonic()
            try:
                found = self.model.compute([item.row for item in batch])
            except Exception as error:  # noqa: BLE001  # whatever a device may say: it is logged and told
                self._lost(batch, error)
                continue
            size = packed(batch)
            self._counts.batch(len(batch), size.tokens, size.padded)
            self._computed.put((batch, found, began))

    def _finish(self) -> None:
        while (done := self._computed.get()) is not None:
            batch, found, began = done
            try:
                answers = self.model.finish(found, [item.ticket.dimensions for item in batch])
            except Exception as error:  # noqa: BLE001  # as above
                self._lost(batch, error)
                continue
            self._failed, took = 0, max(time.monotonic() - began, 1e-6)
            self._rate = 0.8 * self._rate + 0.2 * len(batch) / took if self._rate else len(batch) / took
            self._counts.seconds.inc(took)
            for item, answer in zip(batch, answers, strict=True):
                item.ticket.answer(item.at, answer)

    def _lost(self, batch: Sequence[Item], error: Exception) -> None:
        """A batch that failed fails all that is in it. After some in a row it is the device that is lost."""
        log.error("a batch of %d failed", len(batch), exc_info=error)
        self._failed += 1
        if self._failed >= BROKEN_AFTER:
            self.broken = f"{self._failed} batches in a row failed: {error}"
        for ticket in {id(item.ticket): item.ticket for item in batch}.values():
            ticket.fail(RuntimeError(f"it could not be computed: {error}"))
