"""Who may go, which models are asked for, and which of those that serve give way to them.

Pure: no I/O, the time is an argument, and what is known of a workload comes as a `View`. It knows nothing of memory:
whoever stands in the way of a start is named by the loop (`View.blockers`), and what isn't in anybody's way runs
beside it.

Requests are grouped by model, since a swap costs what many answers cost. A model that serves goes on with all that
comes in for it while others wait, until the first of these has waited long enough (`Rules.patience_for`) and it has
served long enough itself (`Rules.stay_for`); one that nobody has used for a moment gives way at once. Then what stands
in the way is *shut*: new requests for it wait, those under way end in peace, and the loop may stop it. Nothing that
serves is ever stopped.

Of those that wait, whoever has a right to the room comes first, in the order in which the rights arose; then the most
waiting for the least loading. A right to room that can't be given yet keeps its Sparks free of anything newer, so that
nobody is overtaken for ever: between a model's right and its start every other one is started at most once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from api.proxies.queue.line import Line, Ticket
from api.proxies.queue.rules import Rules
from reconciler.demand import State

SETTLES: Final = 5.0  # seconds within which the loop says what has come of an ask
MAKES_ROOM: Final = 60.0  # seconds within which it begins to load once nothing is in the way


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known of a workload now. `load`: seconds that a start of it takes; `loading`: one is under way."""

    state: State
    load: float
    on_demand: bool = True
    blockers: tuple[str, ...] = ()
    loading: bool = False
    places: frozenset[str] = frozenset()  # the Sparks where it may run


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What shall be so from now on. Look again at `wake`, or when anything changes."""

    asks: tuple[str, ...] = ()
    """On-demand workloads that shall run, since somebody waits for them: whoever is to come first, first."""
    shut: frozenset[str] = frozenset()
    """They give way: nothing new goes to them."""
    open: tuple[str, ...] = ()
    """Those who wait for these may go, as many as they take."""
    wake: float = math.inf


class Full(Exception):
    """No place to wait is left: in the line of this workload, or (`workload` is empty) in all of them."""

    def __init__(self, workload: str, most: int) -> None:
        super().__init__(workload)
        self.workload = workload
        self.most = most


@dataclass(slots=True)
class _Use:
    """How a workload is used. Times are the schedule's; what was never seen to start has been there for ever."""

    under_way: int = 0
    last: float = -math.inf  # a request began or ended
    ready: float = -math.inf  # since when, at the latest
    closed: float = -math.inf  # when it last could take a request
    load: float = 0.0  # what its start took, as far as that is known


@dataclass(frozen=True, slots=True)
class _Turn:
    """Who gives way to the one whose turn it is, and since when nobody else has to."""

    gives: frozenset[str]
    made: float = math.inf


class Schedule:
    """The state behind the decisions. Whoever asks does what `look` says before asking again."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._lines: dict[str, Line] = {}
        self._tickets: dict[Ticket, None] = {}  # all of them, as they came
        self._clients: dict[str, dict[Ticket, None]] = {}
        self._uses: dict[str, _Use] = {}
        self._turns: dict[str, _Turn] = {}  # by who gets room now
        self._asked: dict[str, float] = {}  # since when
        self._open: set[str] = set()  # ready and not shut, at the last look
        self.shut: frozenset[str] = frozenset()

    # Who waits.

    @property
    def lines(self) -> Mapping[str, Line]:
        """Who waits, by workload; none of them is empty."""
        return self._lines

    def join(self, workload: str, who: str, now: float) -> tuple[Ticket, Ticket | None]:
        """One more waits. Where no place is left, it takes that of whoever has at least two more there.

        Gives its ticket, and the one that was put out for it. Raises Full.
        """
        line = self._lines.get(workload, Line())
        out = None
        if len(line) >= self.rules.length:
            if not len(line) or line.count(most := line.most()) < line.count(who) + 2:
                raise Full(workload, self.rules.length)
            out = line.newest(most)
        elif len(self._tickets) >= self.rules.total:
            most = max(self._clients, key=lambda client: len(self._clients[client]), default="")
            if len(self._clients.get(most, ())) < len(self._clients.get(who, ())) + 2:
                raise Full("", self.rules.total)
            out = next(reversed(self._clients[most]))
        if out is not None:
            self.leave(out)
        ticket = Ticket(workload=workload, who=who, since=now)
        self._lines.setdefault(workload, line).add(ticket)
        self._tickets[ticket] = None
        self._clients.setdefault(who, {})[ticket] = None
        return ticket, out

    def leave(self, ticket: Ticket) -> None:
        """It waits no longer, whatever the reason. Nothing happens if it has left before."""
        if ticket not in self._tickets:
            return
        line = self._lines[ticket.workload]
        line.remove(ticket)
        self._gone(ticket)

    def serve(self, ticket: Ticket) -> None:
        """It goes: it is no longer in the line, and not under way yet."""
        self._lines[ticket.workload].serve(ticket)
        self._gone(ticket)

    def _gone(self, ticket: Ticket) -> None:
        del self._tickets[ticket]
        tickets = self._clients[ticket.who]
        del tickets[ticket]
        if not tickets:
            del self._clients[ticket.who]
        if not self._lines[ticket.workload]:
            del self._lines[ticket.workload]

    def expired(self, now: float) -> list[Ticket]:
        """Those who have waited as long as anybody may; they are still in their lines."""
        found = []
        for ticket in self._tickets:
            if ticket.since + self.rules.longest > now:
                break
            found.append(ticket)
        return found

    # Who is served.

    def under_way(self, workload: str) -> int:
        """How many requests it answers now."""
        use = self._uses.get(workload)
        return 0 if use is None else use.under_way

    def begin(self, workload: str, now: float) -> None:
        """A request is under way."""
        use = self._uses.get(workload)
        if use is None:
            use = self._uses[workload] = _Use()
        use.under_way += 1
        use.last = now

    def end(self, workload: str, now: float) -> None:
        """It is over."""
        use = self._uses[workload]
        use.under_way -= 1
        use.last = now

    def is_open(self, workload: str) -> bool:
        """Whether it was ready, and need not give way, at the last look."""
        return workload in self._open

    # What shall be so.

    def look(self, view: Callable[[str], View], now: float) -> Orders:
        """Decide, from what is known now."""
        views = {name: view(name) for name in self._lines}
        self._note(views, now)
        this = _Round(self, views, view, now)
        asks = this.turns(self._ranked(views, now))
        self._turns = this.granted
        self._asked = {name: self._asked.get(name, now) for name in asks}
        shut = frozenset().union(*(turn.gives for turn in self._turns.values()))
        for name in shut - self.shut:
            self._uses.setdefault(name, _Use()).closed = now
        self.shut = shut
        ready = [name for name, seen in views.items() if seen.state == State.READY]
        self._open = set(ready) - self.shut
        self._tidy(now)
        may_go = [name for name in ready if name in self._open]
        return Orders(
            asks=tuple(name for name in (*asks, *may_go) if views[name].on_demand),
            shut=self.shut,
            open=tuple(may_go),
            wake=min(this.wake, self._next_expiry()),
        )

    def _note(self, views: Mapping[str, View], now: float) -> None:
        """When each that somebody waits for came to be ready, and how long that took."""
        for name, seen in views.items():
            use = self._uses.setdefault(name, _Use())
            if seen.state != State.READY:
                use.ready = math.inf
                if seen.state != State.STARTING or not use.load:
                    use.load = seen.load
            elif use.ready == math.inf:
                use.ready = now
            if name in self._open and seen.state == State.READY:
                use.closed = now

    def right_from(self, name: str, load: float) -> float:
        """From when on it has a right to room: its oldest has waited long enough since it last could take requests."""
        use = self._uses[name]
        return max(self._lines[name].oldest.since, use.closed) + self.rules.patience_for(load)

    def _ranked(self, views: Mapping[str, View], now: float) -> list[str]:
        """Those that wait to be started: rights first, as they arose; then the most waiting for the least loading."""

        def rank(name: str) -> tuple[bool, float, str]:
            right = self.right_from(name, views[name].load)
            if right <= now:
                return False, right, name
            line = self._lines[name]
            waited = sum(now - ticket.since for ticket in line)
            return True, -(len(line) + waited / self._scale) / max(views[name].load, 1.0), name

        return sorted(
            (name for name, seen in views.items() if seen.state not in {State.READY, State.REFUSED}), key=rank
        )

    @property
    def _scale(self) -> float:
        """Having waited for so many seconds weighs as much as another who waits."""
        return max(self.rules.most_patience, 1.0)

    def _next_expiry(self) -> float:
        return next((ticket.since + self.rules.longest for ticket in self._tickets), math.inf)

    def _tidy(self, now: float) -> None:
        """Forget how those were used whose use can decide nothing any more."""
        long_ago = now - max(self.rules.linger, self.rules.stay, self.rules.most_patience)
        for name, use in list(self._uses.items()):
            if not use.under_way and name not in self._lines and max(use.last, use.closed) < long_ago:
                del self._uses[name]

    def gives_way(self, name: str, seen: View, *, right: bool, now: float) -> float:
        """From when on a workload may be stopped for one that has a `right` to its room, or has none (yet)."""
        if seen.state == State.STARTING:
            return math.inf
        use = self._uses.get(name, _Use())
        if name in self._lines and name not in self._open:  # it has just come to be, or is shut already
            return now if name in self.shut else math.nextafter(now, math.inf)
        if use.ready == math.inf:  # nobody waited for it any more when it came to be
            use.ready = now
        used = use.under_way or name in self._lines
        quiet = math.inf if used else use.last + self.rules.linger
        return min(quiet, use.ready + self.rules.stay_for(use.load)) if right else quiet

    def turn_of(self, name: str) -> _Turn | None:
        """Who gives way to it, if it is its turn."""
        return self._turns.get(name)

    def asked_since(self, name: str) -> float | None:
        """When it was first asked for, of late."""
        return self._asked.get(name)


class _Round:
    """One look. Goes through those that wait to be started, the first in rank first."""

    def __init__(self, schedule: Schedule, views: Mapping[str, View], view: Callable[[str], View], now: float) -> None:
        self._schedule = schedule
        self._views = views
        self._view = view
        self._now = now
        self._claimed: set[str] = set()  # Sparks where nothing else may be asked for
        self.granted: dict[str, _Turn] = {}
        self.wake = math.inf

    def turns(self, ranked: Sequence[str]) -> list[str]:
        """Whom to ask for. `granted` is then whose turn it is: once given it is kept."""
        asks = []
        for name in sorted(ranked, key=lambda each: self._schedule.turn_of(each) is None):
            seen = self._views[name]
            if seen.state == State.STARTING and seen.loading:
                asks.append(name)
            elif not seen.places & self._claimed:
                asks.append(name)
                if self._claims(name, seen):
                    self._claimed |= seen.places
        return asks

    def _claims(self, name: str, seen: View) -> bool:
        """Whether nobody else is to be started on its Sparks before it. Gives it its turn, if that has come."""
        if seen.state == State.FAILED:  # tried again when its time comes; until then it is in nobody's way
            return False
        turn = self._schedule.turn_of(name)
        if seen.state in {State.STOPPED, State.STARTING}:
            return self._keep(name, turn, frozenset()) or self._fresh(name)
        right = self._schedule.right_from(name, seen.load)
        self._again(right)
        gives = {each: self._gives_way(each, right=right <= self._now) for each in seen.blockers}
        if turn is not None:
            more = frozenset(each for each, at in gives.items() if at <= self._now or each in turn.gives)
            if self._keep(name, turn, more):
                return True
        elif gives and max(gives.values()) <= self._now:
            self.granted[name] = _Turn(frozenset(gives))
            return True
        for at in gives.values():
            self._again(at)
        return right <= self._now and bool(gives)

    def _keep(self, name: str, turn: _Turn | None, more: frozenset[str]) -> bool:
        """A turn lasts while somebody gives way, and then until it loads: what was made free is for nobody else."""
        if turn is None:
            return False
        made = math.inf if more else min(turn.made, self._now)
        if self._now >= made + MAKES_ROOM:
            return False
        leaving = frozenset(each for each in turn.gives if self._look_at(each).state == State.READY)
        self.granted[name] = _Turn(leaving | more, made)
        self._again(made + MAKES_ROOM)
        return True

    def _gives_way(self, name: str, *, right: bool) -> float:
        return self._schedule.gives_way(name, self._look_at(name), right=right, now=self._now)

    def _look_at(self, name: str) -> View:
        return self._views.get(name) or self._view(name)

    def _fresh(self, name: str) -> bool:
        """The loop has not had the time to say what comes of it."""
        since = self._schedule.asked_since(name)
        until = (self._now if since is None else since) + SETTLES
        self._again(until)
        return self._now < until

    def _again(self, at: float) -> None:
        if self._now < at < self.wake:
            self.wake = at
