"""The Engine's events: the last 256 of them, and whoever listens.

As in Docker, the ring is all there is: an event older than that, or from before the daemon's start, is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler.practice.clock import BILLION, Clock

RING: Final = 256
Filters = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a container or an image."""

    kind: str  # container | image
    action: str
    id: str
    attributes: Mapping[str, str]
    nanos: int

    def json(self) -> dict[str, Any]:
        """As it stands on the wire, with the old names beside the new ones as Docker still sends them."""
        old: dict[str, Any] = {"status": self.action, "id": self.id}
        if self.kind == "container":
            old["from"] = self.attributes.get("image", "")
        return {
            **old,
            "Type": self.kind,
            "Action": self.action,
            "Actor": {"ID": self.id, "Attributes": dict(sorted(self.attributes.items()))},
            "scope": "local",
            "time": self.nanos // BILLION,
            "timeNano": self.nanos,
        }

    def matches(self, filters: Filters) -> bool:
        """Docker's filters: all keys must match, each with any of its values."""
        known = {
            "type": {self.kind},
            "event": {self.action},
            "container": {self.id, self.attributes.get("name", "")} if self.kind == "container" else set(),
            "image": {self.id, self.attributes.get("image", ""), self.attributes.get("name", "")},
        }
        for key, values in filters.items():
            if key == "label":
                labels = {f"{name}={text}" for name, text in self.attributes.items()} | set(self.attributes)
                if not all(value in labels for value in values):
                    return False
            elif not known.get(key, set()).intersection(values):
                return False
        return True


FILTERS: Final = frozenset({"type", "event", "container", "image", "label"})


class Events:
    """Where events are told, kept and listened to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ring: deque[Event] = deque(maxlen=RING)
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    def tell(self, kind: str, action: str, subject: str, attributes: Mapping[str, str]) -> Event:
        """Something happened now."""
        event = Event(kind, action, subject, attributes, self._clock.nanos())
        self._ring.append(event)
        for queue in self._listeners:
            queue.put_nowait(event)
        return event

    def past(self, since: int, until: int | None = None) -> list[Event]:
        """What the ring still has from `since` (nanoseconds) on."""
        return [event for event in self._ring if event.nanos >= since and (until is None or event.nanos <= until)]

    async def follow(self, filters: Filters, since: int | None, until: int | None = None) -> AsyncIterator[Event]:
        """The past from `since` on, then whatever comes, until `until` or the daemon's end."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            for event in self.past(since, until) if since is not None else ():
                if event.matches(filters):
                    yield event
            while until is None or until > self._clock.wall() * BILLION:
                left = None if until is None else until / BILLION - self._clock.wall()
                try:
                    following = await asyncio.wait_for(queue.get(), left)
                except TimeoutError:
                    return
                if following is None:
                    return
                if following.matches(filters):
                    yield following
        finally:
            self._listeners.discard(queue)

    def forget(self) -> None:
        """The daemon went down: the ring is gone, the listeners are hung up on."""
        self._ring.clear()
        for queue in self._listeners:
            queue.put_nowait(None)
