"""Fetches weights before the launches that need them: the impure side of `reconciler.lacking`.

For each Spark and revision that a declared instance needs it says what a launch waits for (`lacks`), from the last
survey of the disk and from the fetches; the planner turns that into waits, and what these want is begun here (`asked`).
A fetch that was begun here ends when nothing declares its weights any more; one that a person asked for never does.

Sparks that need the same are served one after the other where they meet in the fabric: the first has it from the hub,
the next from the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler.disks.found import DiskSurvey
from reconciler.loop import Loop
from reconciler.model import Held
from reconciler.surveyor import Seen
from reconciler.weights.cache import Want
from reconciler.weights.failures import gib
from reconciler.weights.fetches import Fetches, Fetching, Fleet, State
from reconciler.weights.lack import Lack, lies

LOOP: Final = "the loop"
PAUSES: Final = (300.0, 900.0, 1800.0, 3600.0)  # seconds before a fetch that has failed is begun again
# The engine may manage what its Spark's own tools can't: it is launched, and fetches as it always could.
ENGINES_TURN: Final = frozenset({"ToolMissing", "Unwritable", "FilesUnclear", "InternalError"})
OF_THE_TOKEN: Final = frozenset({"Gated", "TokenRefused", "NotFound", "Forbidden"})

Place = tuple[str, Want]  # a Spark, and what lies there or should


@dataclass(slots=True)
class Ask:
    """One fetch that launches wait for. `declared` has the digest of each waiting workload's declaration."""

    fetching: Fetching
    token: int
    failures: int = 0
    declared: dict[str, str] = field(default_factory=dict)


class Ahead:
    """`reconciler.home.Bringer` over the fetches of this process."""

    def __init__(self, loop: Loop, fleet: Fleet, fetches: Fetches) -> None:
        self._loop = loop
        self._fleet = fleet
        self._fetches = fetches
        self._asks: dict[Place, Ask] = {}
        self._judged: dict[str, tuple[DiskSurvey, dict[Want, bool | None]]] = {}
        self._ending: set[asyncio.Task[Fetching]] = set()
        self._unneeded: set[int] = set()  # the fetches that were ended here, and by no person
        self._closed = False
        self.waiting = False

    async def close(self) -> None:
        """Begin nothing more. What is under way is ended by the fetches themselves."""
        self._closed = True
        await asyncio.gather(*self._ending, return_exceptions=True)

    # What launches wait for.

    def lacks(self) -> Mapping[Place, Lack]:
        """By Spark and revision, for all that is declared; what is whole, or not known to lack, is not in it."""
        target = self._loop.target()
        for gone in [place for place in self._asks if place[0] not in self._loop.workers]:
            del self._asks[gone]  # its Spark is declared no more, or reached in another way
        needed = target.instances.values() if target.fetch_weights else ()
        places = {(i.spark, i.weights) for instances in needed for i in instances if i.weights is not None}
        found = {place: lack for place in places if (lack := self._lack(*place)) is not None}
        self.waiting = bool(found)
        return found

    def _lack(self, spark: str, want: Want) -> Lack | None:
        seen = self._seen(spark)
        if seen is None or (seen.survey is None and seen.reason):
            return None  # nobody looks at that disk, or it could not be looked at
        if seen.survey is None:
            return Lack(reason="WeightsUnknown", message=f"the disk of {spark} is being looked at for its weights")
        self._adopt(spark, want)
        ask, lying = self._asks.get((spark, want)), self._lies(spark, want, seen.survey)
        if ask is not None and not ask.fetching.over and (ask.fetching.workload or not lying):
            return _under_way(ask.fetching)  # whatever a survey saw of it meanwhile
        if lying is not False:
            self._asks.pop((spark, want), None)
            return None
        return self._waits(spark, want) if ask is None else self._ended(spark, want, ask, seen)

    def _adopt(self, spark: str, want: Want) -> None:
        """A fetch of the same that a person has asked for is as good as ours."""
        begun = next((each for each in self._fetches.under_way(spark) if each.want == want), None)
        if begun is None:
            return
        ask = self._asks.get((spark, want))
        if ask is None:
            self._asks[spark, want] = Ask(begun, self._token())
        elif ask.fetching is not begun:
            ask.fetching, ask.token = begun, self._token()

    def _waits(self, spark: str, want: Want) -> Lack:
        first = self._first(spark, want)
        text = f"{_what(want)} is not whole on {spark}; it is fetched before the launch"
        if first:
            text = f"{_what(want)} comes to {spark} from {first}, which fetches it first"
        return Lack(reason="WeightsWaiting", message=text, fetch=True)

    def _ended(self, spark: str, want: Want, ask: Ask, seen: Seen) -> Lack | None:
        """What a fetch that is over leaves to wait for."""
        fetching, at = ask.fetching, ask.fetching.ended_at or 0.0
        if fetching.state is State.DONE:
            looked = max(seen.survey.taken_at if seen.survey else 0.0, seen.failed_at or 0.0)
            text = f"{_what(want)} has come to {spark}; its disk is looked at"
            return None if looked > at else Lack(reason="WeightsFetching", message=text)
        why = fetching.why
        if fetching.state is State.CANCELLED or why is None:
            return self._cancelled(spark, want, ask)
        if why.reason in ENGINES_TURN:
            return None
        if not why.terminal:
            until = at + PAUSES[min(ask.failures, len(PAUSES) - 1)]
            text = f"{_what(want)} did not come to {spark}: {why.message}"
            again = self._waits(spark, want)
            return Lack(reason=why.reason, message=text, until=until) if self._loop.now() < until else again
        if self._changed(ask) or (why.reason in OF_THE_TOKEN and ask.token != self._token()):
            return self._waits(spark, want)
        text = f"{_what(want)} can't come to {spark}: {why.message}"
        return Lack(reason=why.reason, message=text, terminal=True)

    def _cancelled(self, spark: str, want: Want, ask: Ask) -> Lack:
        if self._closed or ask.fetching.id in self._unneeded or self._changed(ask):
            return self._waits(spark, want)
        text = f"{_what(want)} is not whole on {spark}, and its fetch was cancelled"
        return Lack(reason="WeightsCancelled", message=text, terminal=True)

    def _changed(self, ask: Ask) -> bool:
        """Whether a workload that waits is declared otherwise than when the fetch began."""
        now = self._loop.store.current.loaded.spec_digests
        return any(now.get(name) != digest for name, digest in ask.declared.items())

    # What the Sparks have.

    def _seen(self, spark: str) -> Seen | None:
        worker = self._loop.workers.get(spark)
        return worker.surveyor.seen if worker is not None and worker.surveyor is not None else None

    def _lies(self, spark: str, want: Want, survey: DiskSurvey) -> bool | None:
        """`lies`, worked out once for each survey."""
        judged = self._judged.get(spark)
        if judged is None or judged[0] is not survey:
            judged = self._judged[spark] = survey, {}
        if want not in judged[1]:
            judged[1][want] = lies(want, survey)
        return judged[1][want]

    def _token(self) -> int:
        return hash(self._fleet.token())

    def _first(self, spark: str, want: Want) -> str:
        """Another Spark that fetches the same now, or has just done so, and that this one can copy it from."""
        if not self._meets(spark):
            return ""
        others = (each for each in self._fetches.all() if each.want == want and each.spark != spark)
        return next((each.spark for each in others if self._meets(each.spark) and self._comes(each)), "")

    def _comes(self, fetching: Fetching) -> bool:
        seen = self._seen(fetching.spark)
        if fetching.state is State.DONE and seen is not None and seen.survey is not None and not seen.reason:
            return seen.survey.taken_at <= (fetching.ended_at or 0.0)
        return fetching.state in {State.QUEUED, State.FETCHING}

    def _meets(self, spark: str) -> bool:
        fabric = self._loop.knowledge.fabric.get(spark)
        worker = self._loop.workers.get(spark)
        return fabric is not None and bool(fabric.address) and worker is not None and not worker.sight.unknown

    # What is done about it.

    def asked(self, spark: str, held: Sequence[Held]) -> None:
        """Begin what this Spark's waits want; end what was begun for it and is declared no more."""
        if self._closed or spark not in self._loop.workers:
            return
        target, digests = self._loop.target(), self._loop.store.current.loaded.spec_digests
        for each in held:
            if each.want is not None and target.fetch_weights:
                self._begin(spark, each.want, each.workload)
        for instance in target.instances.get(spark, ()):
            if instance.weights is not None and (ask := self._asks.get((spark, instance.weights))) is not None:
                ask.declared.setdefault(instance.workload, digests.get(instance.workload, ""))
        for want in self._undeclared(spark):
            fetching = self._asks.pop((spark, want)).fetching
            if fetching.workload and not fetching.over:
                self._unneeded.add(fetching.id)
                task = asyncio.create_task(self._fetches.cancel(fetching.id), name=f"{spark} end a fetch")
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _begin(self, spark: str, want: Want, workload: str) -> None:
        ask = self._asks.get((spark, want))
        if (ask is not None and not ask.fetching.over) or self._first(spark, want):
            return
        failures = 0 if ask is None or ask.fetching.state is not State.FAILED else ask.failures + 1
        begun = self._fetches.start(spark, want, by=LOOP, workload=workload)
        self._asks[spark, want] = Ask(begun, self._token(), failures)

    def _undeclared(self, spark: str) -> list[Want]:
        """What nothing on this Spark needs any more. What is not known now may be needed still."""
        target = self._loop.target()
        needed = {i.weights for i in target.instances.get(spark, ())} if target.fetch_weights else set()
        mine = [(want, ask) for (name, want), ask in self._asks.items() if name == spark and want not in needed]
        return [want for want, ask in mine if target.unresolved.isdisjoint(ask.declared)]

    def again(self, workload: str) -> None:
        """Forget what has failed, or was cancelled, for a workload."""
        over = [place for place, ask in self._asks.items() if workload in ask.declared and ask.fetching.over]
        for place in over:
            del self._asks[place]


def _what(want: Want) -> str:
    """`Qwen/Qwen3-8B`, with the revision and the files that matter."""
    parts = (f"at {want.revision}" if want.revision != "main" else "", *want.files, want.quant)
    return " ".join((want.repository, *(part for part in parts if part)))


def _under_way(fetching: Fetching) -> Lack:
    """How far it is, or why it pauses."""
    text = ", ".join((f"{_what(fetching.want)} comes to {fetching.spark}", *_how_far(fetching)))
    if fetching.state is State.QUEUED:
        text = f"{text}: in line behind another fetch there"
    if fetching.state is State.WAITING and fetching.why is not None:
        text = f"{text}; it is tried again by itself: {fetching.why.message}"
    return Lack(reason="WeightsFetching", message=text, until=fetching.next_at)


def _how_far(fetching: Fetching) -> Iterator[str]:
    """`3.1 GiB of 15.3 GiB (20 %)`, `210.0 MiB/s`, `about 58 s left`, `from spark-2`."""
    progress = fetching.progress
    if progress is None:
        return
    share = f" ({progress.done * 100 // progress.total} %)" if progress.total else ""
    yield f"{gib(progress.done)} of {gib(progress.total)}{share}"
    if fetching.state is State.FETCHING:
        if progress.rate:
            yield f"{gib(int(progress.rate))}/s"
        if progress.eta:
            yield f"about {_span(progress.eta)} left"
        yield f"from {progress.source}"


def _span(seconds: float) -> str:
    """A time for people: `58 s`, `12 min`, `3.5 h`."""
    if seconds < 100:  # noqa: PLR2004  # as people say it
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004
