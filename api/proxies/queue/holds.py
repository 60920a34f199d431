"""Requests that wait, as the router and the wire see them: `Holds.hold` gives a `calls.Hold` for each.

All who wait for a model share one start. `Holds` asks the loop for it while anybody waits (`reconciler.demand`), takes
that back when the last has left, and lets them go in fair order when the model answers: the router is asked then where
each goes. What was asked for by nobody, but is to run always, is waited for in the same way: a model that is made anew
or has moved is a gap, not an error.

The schedule is looked at again when something has changed (`changed`: the ready set, the loop), when it said so itself,
and now and then in any case. Everything here happens in one event loop and between two awaits; nothing is locked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from api.proxies.calls import Call, Decision, Refused
from api.proxies.queue.line import Ticket
from api.proxies.queue.rules import Rules
from api.proxies.queue.schedule import Full, Orders, Schedule, View
from api.proxies.queue.sight import Queue, Waiting, retry_after, told, what_for
from reconciler.demand import Demand, Outlook, State

TICK: Final = 2.0  # seconds between two looks without news, while anybody waits
PAUSE: Final = 0.02  # seconds between two looks, however much news there is
LOADING: Final = "Loading"  # the reason of an outlook: its container runs, and does not answer yet
TRIED: Final = 3  # how many of a line are asked where they could go before the rest has to wait

Decide = Callable[[], Decision | None]
"""Where a request goes now; None: nowhere yet. Raises Refused if it never will."""
GiveBack = Callable[[Decision], None]


def _nothing(_: Decision) -> None:
    """Nobody keeps a place for those who wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is declared of a workload, and `load`: the seconds that a start of it takes, which may be a `guess`."""

    on_demand: bool
    places: frozenset[str]
    load: float
    guess: bool = False


class Held:
    """One request that waits (`calls.Hold`)."""

    __slots__ = ("_holds", "call", "decide", "decided", "give_back", "ticket")

    def __init__(
        self,
        holds: Holds,
        call: Call,
        ticket: Ticket,
        decide: Decide,
        give_back: GiveBack,
        decided: asyncio.Future[Decision],
    ) -> None:
        self._holds = holds
        self.call = call
        self.ticket = ticket
        self.decide = decide
        self.give_back = give_back
        self.decided = decided

    def told(self) -> str:
        """What it waits for, with its position and the seconds expected, in one line."""
        waiting = self._holds.waiting(self)
        return waiting.message if waiting is not None else ""

    def waiting(self) -> Waiting | None:
        """The same as values; None if it waits no longer."""
        return self._holds.waiting(self)

    def leave(self) -> None:
        """Its client has gone, be it before or after it was decided."""
        self._holds.left(self)


class Holds:
    """All that wait. The router calls `began` and `ended` for every request, held or not: nobody else counts them.

    `limit`: how many requests a workload takes at a time, all its instances together. `wall` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        demand: Demand,
        outlook: Callable[[str], Outlook],
        known: Callable[[str], Known],
        rules: Callable[[], Rules],
        limit: Callable[[str], int | None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._demand = demand
        self._outlook = outlook
        self._known = known
        self._rules = rules
        self._limit = limit
        self._wall = wall
        self._schedule = Schedule(rules())
        self._held: dict[Ticket, Held] = {}
        self._asked: dict[str, None] = {}
        self._shut: frozenset[str] = frozenset()
        self._going: dict[int, Decision] = {}  # let go, not begun yet
        self._seen: dict[str, tuple[Outlook, View, float]] = {}  # of those that somebody waits for, at the last look
        self._due: asyncio.TimerHandle | None = None
        self._due_at = 0.0  # kept here: not every event loop's handle can tell
        self._looked = -PAUSE
        self._closed = False
        self._time: Callable[[], float] | None = None

    # What the router asks.

    def may_go(self, workload: str) -> bool:
        """Whether a request may go at once: nobody waits before it, it need not give way, and it has room."""
        return workload not in self._schedule.lines and workload not in self._shut and self._takes(workload)

    def _takes(self, workload: str) -> bool:
        limit = self._limit(workload)
        return limit is None or self._schedule.under_way(workload) < limit

    def hold(self, call: Call, workload: str, decide: Decide, give_back: GiveBack = _nothing) -> Held:
        """Let it wait; `decide` is asked when it may go. Raises Refused if waiting is in vain, or no place is left.

        `give_back` is told a decision that came too late: its client has left meanwhile, so it will not begin.
        """
        loop = asyncio.get_running_loop()
        if self._closed:
            raise _ending()
        self._schedule.rules = self._rules()
        if workload not in self._schedule.lines and (refused := self._in_vain(workload, self._outlook(workload))):
            raise refused
        try:
            ticket, out = self._schedule.join(workload, call.who, loop.time())
        except Full as full:
            raise self._full(workload, full) from None
        if out is not None:
            self._refuse(out, self._put_out(out))
        held = self._held[ticket] = Held(self, call, ticket, decide, give_back, loop.create_future())
        if len(self._schedule.lines[workload]) == 1:
            self.changed()
        return held

    def began(self, decision: Decision) -> None:
        """Its request is under way."""
        if self._going.pop(id(decision), None) is None:
            self._begin(decision.backend.workload)

    def ended(self, decision: Decision) -> None:
        """It is over."""
        self._end(decision.backend.workload)

    def changed(self) -> None:
        """The ready set, or what the loop says of a start, may have changed: look again, soon."""
        if self._held or self._asked or self._shut:
            loop = asyncio.get_running_loop()
            self._at(max(loop.time(), self._looked + PAUSE))

    def close(self) -> None:
        """The end: nobody waits any more."""
        self._closed = True
        for ticket in list(self._held):
            self._schedule.leave(ticket)
            self._refuse(ticket, _ending())
        if self._due is not None:
            self._due.cancel()
        self._carry_out(Orders())

    # What people ask.

    def waiting(self, held: Held) -> Waiting | None:
        """How it stands with one that waits."""
        ticket = held.ticket
        line = self._schedule.lines.get(ticket.workload)
        if line is None or ticket not in line:
            return None
        position, of, eta = line.position(ticket), len(line), self._eta(ticket.workload)
        return Waiting(
            workload=ticket.workload,
            who=ticket.who,
            position=position,
            of=of,
            since=self._unix(ticket.since),
            eta=eta,
            message=told(self._what(ticket.workload), eta, position, of),
        )

    def calls(self) -> dict[int, Held]:
        """Those that wait, by the `id` of their calls."""
        return {id(held.call): held for held in self._held.values()}

    def queues(self) -> list[Queue]:
        """Everything that is waited for, by name."""
        found = []
        for name, line in sorted(self._schedule.lines.items()):
            found.append(
                Queue(
                    workload=name,
                    state=self._seen[name][1].state if name in self._seen else State.STOPPED,
                    waiting=len(line),
                    clients=line.clients,
                    under_way=self._schedule.under_way(name),
                    since=self._unix(line.oldest.since),
                    eta=self._eta(name),
                    gives_way=name in self._shut,
                    message=self._what(name),
                )
            )
        return found

    def _what(self, name: str) -> str:
        if name not in self._seen:
            return f"{name} is waited for"
        outlook, view, _ = self._seen[name]
        return what_for(name, view, outlook.message, shut=name in self._shut)

    def _eta(self, name: str) -> float | None:
        """Seconds until it answers, as far as anybody can tell."""
        if name not in self._seen:
            return None
        outlook, view, at = self._seen[name]
        now = self._now()
        if view.state == State.READY:
            return None
        if view.state == State.STARTING:
            return None if outlook.eta is None else max(0.0, outlook.eta - (now - at))
        if self._known(name).guess:
            return None
        if self._schedule.turn_of(name) is not None or view.state != State.BLOCKED:
            return view.load
        return max(0.0, self._schedule.right_from(name, view.load) - now) + view.load

    def _unix(self, at: float) -> float:
        return self._wall() - (self._now() - at)

    # One look.

    def _at(self, when: float) -> None:
        if self._due is not None:
            if self._due_at <= when:
                return
            self._due.cancel()
        self._due_at, self._due = when, asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        now = self._looked = self._now()
        self._due = None
        wake = now + TICK
        try:
            wake = min(self._decide(now), wake)
        finally:  # whatever was wrong, those who wait are looked at again
            if self._held or self._shut:
                self._at(max(now + PAUSE, wake))

    def _decide(self, now: float) -> float:
        """When to look again at the latest."""
        self._schedule.rules = self._rules()
        for ticket in self._schedule.expired(now):
            late = self._too_long(ticket)
            self._schedule.leave(ticket)
            self._refuse(ticket, late)
        self._seen = {name: self._see(name, now) for name in list(self._schedule.lines)}
        for name, (outlook, _, _) in list(self._seen.items()):
            if (refused := self._in_vain(name, outlook)) is not None:
                self._refuse_all(name, refused)
        orders = self._schedule.look(self._view, now)
        self._carry_out(orders)
        return orders.wake

    def _see(self, name: str, now: float) -> tuple[Outlook, View, float]:
        outlook, known = self._outlook(name), self._known(name)
        view = View(
            state=outlook.state,
            load=known.load,
            on_demand=known.on_demand,
            blockers=outlook.blockers,
            places=known.places,
            loading=outlook.reason == LOADING,
        )
        return outlook, view, now

    def _view(self, name: str) -> View:
        return (self._seen.get(name) or self._see(name, self._looked))[1]

    def _carry_out(self, orders: Orders) -> None:
        """Who gives way first, then who is asked for, then who goes; and nothing is asked for that nobody waits for."""
        for name in sorted(self._shut ^ orders.shut):
            self._demand.yields(name, name in orders.shut)
        self._shut = orders.shut
        for name in orders.asks:
            if name not in self._asked:
                self._demand.ask(name)
                self._asked[name] = None
        for name in orders.open:
            self._let_go(name)
        for name in [name for name in self._asked if name not in orders.asks or name not in self._schedule.lines]:
            self._demand.withdraw(name)
            del self._asked[name]

    def _let_go(self, name: str) -> None:
        """As many as it takes, in fair order. One that can't go anywhere yet does not keep back who comes after it."""
        missed = 0
        for ticket in list(self._schedule.lines.get(name, ())):
            if not self._takes(name):
                return
            held = self._held[ticket]
            try:
                decision = held.decide()
            except Refused as refused:
                self._schedule.leave(ticket)
                self._refuse(ticket, refused)
                continue
            if decision is None:
                missed += 1
                if missed == TRIED:
                    return
                continue
            self._schedule.serve(ticket)
            del self._held[ticket]
            self._begin(decision.backend.workload)
            self._going[id(decision)] = decision
            held.decided.set_result(decision)

    def _now(self) -> float:
        """By the clock of the one loop in which all of this happens; to ask for that loop costs more than the time."""
        clock = self._time
        if clock is None:
            clock = self._time = asyncio.get_running_loop().time
        return clock()

    def _begin(self, workload: str) -> None:
        self._schedule.begin(workload, self._now())
        self._demand.begin(workload)

    def _end(self, workload: str) -> None:
        """Whoever waits for it goes in its place; and others may wait for it to be without work."""
        self._schedule.end(workload, self._now())
        self._demand.end(workload)
        if not self._held:
            return
        if workload in self._schedule.lines and self._schedule.is_open(workload):
            self._let_go(workload)
        if not self._schedule.under_way(workload):
            self.changed()

    # Those who leave, and those who are refused.

    def left(self, held: Held) -> None:
        """Used by `Held`."""
        if self._held.pop(held.ticket, None) is not None:
            self._schedule.leave(held.ticket)
            held.decided.cancel()
            self.changed()
        elif held.decided.cancelled() or held.decided.exception() is not None:
            return  # read, so that nobody complains that it never was
        elif (decision := self._going.pop(id(held.decided.result()), None)) is not None:
            held.give_back(decision)
            self._end(decision.backend.workload)

    def _refuse(self, ticket: Ticket, refused: Refused) -> None:
        """It has left the line already."""
        held = self._held.pop(ticket)
        if not held.decided.done():
            held.decided.set_exception(refused)

    def _refuse_all(self, name: str, refused: Refused) -> None:
        for ticket in list(self._schedule.lines[name]):
            self._schedule.leave(ticket)
            self._refuse(ticket, refused)

    def _in_vain(self, name: str, outlook: Outlook) -> Refused | None:
        """Why nobody shall wait for it."""
        if outlook.state != State.REFUSED and not (outlook.state == State.FAILED and outlook.retry_at is None):
            return None
        again = None if outlook.retry_at is None else retry_after(outlook.retry_at - self._wall())
        message = outlook.message or f"{name} can't be started"
        return Refused(503, outlook.reason or "NotStarted", message, field="model", retry_after=again)

    def _too_long(self, ticket: Ticket) -> Refused:
        name, longest = ticket.workload, self._schedule.rules.longest
        message = f"waited for {longest:.0f} s, as long as anything may wait: {self._what(name)}"
        return Refused(503, "WaitedTooLong", message, field="model", retry_after=retry_after(self._eta(name)))

    def _full(self, workload: str, full: Full) -> Refused:
        where = f"for {full.workload} " if full.workload else ""
        message = f"{full.most} requests wait {where}already, as many as may, and your share of them is taken"
        return Refused(429, "QueueFull", message, field="model", retry_after=retry_after(self._eta(workload)))

    def _put_out(self, ticket: Ticket) -> Refused:
        message = "too many requests wait, and its place went to a client with fewer of them"
        return Refused(429, "QueueFull", message, field="model", retry_after=retry_after(self._eta(ticket.workload)))


def _ending() -> Refused:
    return Refused(503, "Restarting", "sparkkeep is being stopped or restarted", retry_after=retry_after(5.0))
