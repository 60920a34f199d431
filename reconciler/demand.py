"""What apps ask for, as the planner sees it: who is waited for, who serves, and since when something is unused.

No I/O, nothing is decided here. The data path says what happens (`ask`, `begin`, `end`, ...) and a plan is made from
`wishes()`, a picture that no longer changes. Time is the loop's own monotonic clock, given by the caller: a clock that
is set must not make a model that was used a minute ago look unused for hours.

Nothing of it survives a restart of the controller: what runs is then kept, and its idle time begins anew.

Other parts read the answer in an `Outlook`: what became of a wish, why, and how long it may still take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.model import Step, Wish
from reconciler.on_demand import NOBODY_WAITS, ORDINARY


class State(StrEnum):
    """What becomes of a workload, in the word that whoever waits for it acts on."""

    READY = "ready"  # an instance answers now
    STARTING = "starting"  # it comes by itself: something is fetched, makes room, or loads
    BLOCKED = "blocked"  # it would start if memory, a port or its turn were there
    FAILED = "failed"  # its last start went wrong; `retry_at` says when it is tried again, if it is
    REFUSED = "refused"  # it can't start until a person changes something
    STOPPED = "stopped"  # nobody asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What can be said now to somebody who wants a workload. `reason` is a CamelCase word, `message` one sentence.

    `eta` are the seconds until it may answer, as far as earlier starts tell; for a stopped one, what a start took.
    `blockers` are the on-demand workloads whose stop would make the room that is missing, or the one whose start is
    waited for. `retry_at` is a Unix time.
    """

    state: State
    reason: str
    message: str
    eta: float | None = None
    blockers: tuple[str, ...] = ()
    retry_at: float | None = None


class Use:
    """What is remembered of one workload. `turn` is 0 while nobody asks, else its place in the order of asking."""

    __slots__ = ("abandoned", "last", "served", "turn", "under_way", "yields")

    def __init__(self, now: float) -> None:
        self.turn = 0
        self.under_way = 0
        self.last = now
        self.served = False
        self.yields = False
        self.abandoned = False

    @property
    def wish(self) -> Wish:
        """As a plan sees it."""
        return Wish(
            turn=self.turn,
            under_way=self.under_way,
            last=self.last,
            served=self.served,
            yields=self.yields,
            abandoned=self.abandoned,
        )


def _nobody(_: str) -> None:
    """What is told when nobody listens."""


class Demand:
    """What is wanted of each workload now. `changed` hears of a workload for which a plan may say something new.

    `begin` and `end` are called for every request and cost a few lookups. They may be called for any workload; what
    they say matters for those that run on demand.
    """

    def __init__(self, clock: Callable[[], float], changed: Callable[[str], None] = _nobody) -> None:
        self._clock = clock
        self._changed = changed
        self._uses: dict[str, Use] = {}
        self._asked: set[str] = set()
        self._wishes: dict[str, Wish] = {}
        self._stale: set[str] = set()
        self._turns = 0

    # What the data path says.

    def ask(self, workload: str) -> None:
        """Somebody waits for it: it shall run. Asking again changes nothing."""
        use = self._use(workload)
        if use.turn:
            return
        self._turns += 1
        use.turn, use.served, use.abandoned = self._turns, False, False
        self._asked.add(workload)
        self._changed(workload)

    def withdraw(self, workload: str) -> None:
        """Nobody waits for it any more. A load that never served is abandoned; what serves goes on, and may idle."""
        if workload not in self._asked:
            return
        use = self._use(workload)
        self._asked.discard(workload)
        use.turn, use.last, use.abandoned = 0, self._clock(), not use.served
        self._changed(workload)

    def begin(self, workload: str) -> None:
        """A request to it is under way: until its `end` the workload is stopped for no other."""
        use = self._use(workload)
        use.under_way += 1
        use.served, use.abandoned = True, False

    def end(self, workload: str) -> None:
        """A request to it is over; what is unused counts from the last such end."""
        use = self._use(workload)
        if not use.under_way:
            return
        use.under_way -= 1
        use.last = self._clock()
        if not use.under_way and use.yields and self._others_wait(workload):
            self._changed(workload)

    def yields(self, workload: str, yes: bool) -> None:
        """Whether it gives way: it may be stopped for another although it was used just now, and is not started.

        Said by whoever decides whose turn it is, and taken back when it is this one's turn again.
        """
        use = self._use(workload)
        if use.yields != yes:
            use.yields = yes
            self._changed(workload)

    def touch(self, workload: str) -> None:
        """A person did something with it: its idle time begins anew, and no load of it counts as abandoned."""
        use = self._use(workload)
        use.last, use.abandoned = self._clock(), False

    # What the loop says, and reads.

    def declared(self, names: Collection[str]) -> None:
        """These run on demand, and no others: the idle time of a new one begins now, what is gone is forgotten."""
        for gone in [n for n, use in self._uses.items() if n not in names and not use.under_way and not use.turn]:
            del self._uses[gone]
            self._wishes.pop(gone, None)
            self._stale.discard(gone)
        for name in names:
            self._use(name)

    def wishes(self) -> Mapping[str, Wish]:
        """The picture of this moment: a plan is made from it, and what happens later does not change it."""
        for name in self._stale:
            self._wishes[name] = self._uses[name].wish
        self._stale.clear()
        return dict(self._wishes)

    def allows(self, step: Step) -> bool:
        """Whether an ordinary stop is still right: since it was planned, somebody may have come or left."""
        use = self._uses.get(step.workload)
        if step.event not in ORDINARY or use is None:
            return True
        if use.wish.busy or (step.event == NOBODY_WAITS and not use.abandoned):
            return False
        return not step.sake or step.sake in self._asked

    def asked(self, workload: str) -> bool:
        """Whether somebody waits for it."""
        return workload in self._asked

    def under_way(self, workload: str) -> int:
        """How many requests to it have begun and not ended."""
        use = self._uses.get(workload)
        return use.under_way if use is not None else 0

    def unused(self, workload: str) -> float:
        """For how many seconds nothing has asked for it or used it."""
        use = self._uses.get(workload)
        return 0.0 if use is None or use.under_way or use.turn else max(0.0, self._clock() - use.last)

    def _use(self, workload: str) -> Use:
        """Its record, which is about to change."""
        self._stale.add(workload)
        use = self._uses.get(workload)
        if use is None:
            use = self._uses[workload] = Use(self._clock())
        return use

    def _others_wait(self, workload: str) -> bool:
        return len(self._asked) > (workload in self._asked)
