"""Which of the instances that answer gets a call. Pure: no clock of its own, no I/O, dice that are handed in.

An app that names a session stays where it is, for as long as that answers: what its server keeps in memory of the
conversation is worth more than a shorter line. So is a conversation whose beginning a server has seen, but only while
that server has not much more to do than the others. Everything else goes to the less busy of two that are drawn, which
keeps lines nearly as short as asking all of them, and herds nobody (Mitzenmacher, 2001). Who has just refused a
connection is left alone for a while, as long as there is anybody else.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from typing import Final

from api.proxies.calls import Backend, Call, Decision

AVOIDED: Final = 5.0  # seconds after a connection that failed
MOST: Final = 8192  # sessions, and beginnings of conversations, that are remembered
UNEVEN: Final = 1.25  # a server keeps its conversations while it has at most this much more to do than the mean,
SPARE: Final = 2  # and this many requests
ALONE: Final = "the only instance that answers"

Remembered = OrderedDict[tuple[str, int], str]


class Router:
    """Counts what is under way at each instance, and chooses. `now` counts seconds."""

    def __init__(self, *, rng: random.Random, now: Callable[[], float], most: int = MOST) -> None:
        self._rng = rng
        self._now = now
        self._most = most
        self._busy: dict[str, int] = {}
        self._avoided: dict[str, float] = {}
        self._sessions: Remembered = OrderedDict()
        self._begun: Remembered = OrderedDict()

    def busy(self, backend: Backend) -> int:
        """How many requests are under way there."""
        return self._busy.get(backend.key, 0)

    @property
    def avoided(self) -> frozenset[str]:
        """Those that have just refused a connection."""
        now = self._now()
        return frozenset(key for key, until in self._avoided.items() if until > now)

    def began(self, backend: Backend) -> None:
        """A request goes there."""
        key = backend.key
        self._busy[key] = self._busy.get(key, 0) + 1

    def ended(self, backend: Backend, *, answered: bool) -> None:
        """It is over. One that was not even answered is a reason to leave the instance alone for a while."""
        key = backend.key
        left = self._busy.get(key, 0) - 1
        if left > 0:
            self._busy[key] = left
        else:
            self._busy.pop(key, None)
        if answered:
            self._avoided.pop(key, None)
        else:
            self._avoided[key] = self._now() + AVOIDED

    def keep_only(self, backends: Collection[Backend]) -> None:
        """Who answers no more is not avoided any longer: when it is back it is another."""
        keys = {backend.key for backend in backends}
        self._avoided = {key: until for key, until in self._avoided.items() if key in keys}

    def choose(
        self, call: Call, backends: Sequence[Backend], *, limit: int | None = None, without: Collection[str] = ()
    ) -> Decision | None:
        """One of these, but none of those `without`, and none that has `limit` requests under way; None: there is none.

        `Call.model` may be an alias: what is remembered goes by the workload.
        """
        if without or limit is not None:
            backends = [b for b in backends if b.key not in without and (limit is None or self.busy(b) < limit)]
        if len(backends) == 1:
            return Decision(backend=backends[0], why=_only(without, limit))
        if not backends:
            return None
        if self._avoided:
            backends = self._not_avoided(backends)
        return self._of_several(call, backends)

    def _not_avoided(self, backends: Sequence[Backend]) -> Sequence[Backend]:
        now = self._now()
        return [b for b in backends if self._avoided.get(b.key, now) <= now] or backends

    def _of_several(self, call: Call, backends: Sequence[Backend]) -> Decision:
        workload = backends[0].workload
        session, prefix = call.conversation()
        if session:
            return self._in_session((workload, hash(session)), backends)
        if prefix:
            return self._of_beginning((workload, prefix), backends)
        return self._less_busy(backends)

    def _in_session(self, key: tuple[str, int], backends: Sequence[Backend]) -> Decision:
        known = self._known(self._sessions, key, backends)
        if known is not None:
            return Decision(backend=known, why="the session stays where it is")
        found = self._less_busy(backends)
        self._remember(self._sessions, key, found.backend)
        return Decision(backend=found.backend, why=f"a new session, at {found.why}")

    def _of_beginning(self, key: tuple[str, int], backends: Sequence[Backend]) -> Decision:
        known = self._known(self._begun, key, backends)
        if known is not None:
            under_way = [self.busy(b) for b in backends]
            if self.busy(known) <= UNEVEN * sum(under_way) / len(under_way) + SPARE:
                return Decision(backend=known, why="it has seen how this conversation begins")
            found = self._less_busy(backends)
            return Decision(backend=found.backend, why=f"{known.key} knows the beginning but is busy: {found.why}")
        found = self._less_busy(backends)
        self._remember(self._begun, key, found.backend)
        return found

    def _known(self, remembered: Remembered, key: tuple[str, int], backends: Sequence[Backend]) -> Backend | None:
        name = remembered.get(key)
        if name is None:
            return None
        remembered.move_to_end(key)
        return next((b for b in backends if b.key == name), None)

    def _remember(self, remembered: Remembered, key: tuple[str, int], backend: Backend) -> None:
        remembered[key] = backend.key
        remembered.move_to_end(key)
        if len(remembered) > self._most:
            remembered.popitem(last=False)

    def _less_busy(self, backends: Sequence[Backend]) -> Decision:
        """The less busy of two; the first drawn if both have as much to do."""
        if len(backends) == 1:
            return Decision(backend=backends[0], why="the only instance left to ask")
        one, other = self._two(backends)
        first, second = self.busy(one), self.busy(other)
        if second < first:
            one, first, second = other, second, first
        return Decision(backend=one, why=f"the less busy of two: {first} under way there, {second} at the other")

    def _two(self, backends: Sequence[Backend]) -> tuple[Backend, Backend]:
        """Two of them, each pair as likely as any."""
        count = len(backends)
        one = int(self._rng.random() * count)
        other = (one + 1 + int(self._rng.random() * (count - 1))) % count
        return backends[one], backends[other]


def _only(without: Collection[str], limit: int | None) -> str:
    if without:
        return "the only instance left to ask"
    return ALONE if limit is None else "the only instance that has room"
