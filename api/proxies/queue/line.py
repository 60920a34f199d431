"""Who waits for one workload: first come, first served for each client, and the clients take turns.

Pure. A client that has sent a hundred requests at once is one client: somebody who comes after it is next but one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """One request that waits. `since`: when it came, in seconds of whatever clock its schedule is asked with."""

    workload: str
    who: str
    since: float


class Line:
    """Tickets for one workload. The first client of the ring is next; having been served, it goes to the end."""

    def __init__(self) -> None:
        self._ring: dict[str, dict[Ticket, None]] = {}
        self._all: dict[Ticket, None] = {}  # as they came

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._all

    def __iter__(self) -> Iterator[Ticket]:
        """In the order in which they will be served, if nobody comes or leaves."""
        ring = [list(tickets) for tickets in self._ring.values()]
        for turn in range(max(map(len, ring), default=0)):
            yield from (tickets[turn] for tickets in ring if turn < len(tickets))

    @property
    def clients(self) -> int:
        """How many different ones wait."""
        return len(self._ring)

    @property
    def oldest(self) -> Ticket:
        """Who has waited longest."""
        return next(iter(self._all))

    def add(self, ticket: Ticket) -> None:
        """At the end of its client's; a client who had none waits for everyone else's next one."""
        self._ring.setdefault(ticket.who, {})[ticket] = None
        self._all[ticket] = None

    def serve(self, ticket: Ticket) -> None:
        """It goes, and so the turn of its client is over."""
        tickets = self._ring.pop(ticket.who)
        del tickets[ticket], self._all[ticket]
        if tickets:
            self._ring[ticket.who] = tickets

    def remove(self, ticket: Ticket) -> None:
        """It waits no longer; its client keeps its place in the ring for what else it has here."""
        tickets = self._ring[ticket.who]
        del tickets[ticket], self._all[ticket]
        if not tickets:
            del self._ring[ticket.who]

    def position(self, ticket: Ticket) -> int:
        """1 for who is next."""
        before = list(self._ring[ticket.who]).index(ticket)  # of its own client
        place = before + 1
        own_seen = False
        for who, tickets in self._ring.items():
            if who == ticket.who:
                own_seen = True
            else:
                place += min(len(tickets), before if own_seen else before + 1)
        return place

    def count(self, who: str) -> int:
        """How many a client has here."""
        return len(self._ring.get(who, ()))

    def newest(self, who: str) -> Ticket:
        """What a client has sent last, of what is here."""
        return next(reversed(self._ring[who]))

    def most(self) -> str:
        """The client who has most here; of several, who is served last."""
        return max(reversed(self._ring), key=self.count)
