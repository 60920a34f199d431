"""The last of what was told to those who watch, as the bytes that were sent, and where in it somebody stands.

A point is (version of the status, seq of the journal). Every entry moves one of the two up, so points order the log,
and whoever names the point of an entry can go on behind it. Entries have numbers that only rise; what falls out at the
old end, because the log is full, can't be gone on from any more.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple, Self

MARK: Final = r"^[0-9a-f]{16}\.[0-9]{1,15}\.[0-9]{1,15}$"
_MARK: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,15})\.([0-9]{1,15})", re.ASCII)
AT_ONCE: Final = 65_536  # bytes that are handed out together, if one entry alone does not have more
POINT: Final = attrgetter("point")


class Point(NamedTuple):
    """A version of the status, and the seq of the last event beside it."""

    version: int
    seq: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in the life of one server: the `id` of what is sent. `epoch` is another one in each process."""

    epoch: str
    point: Point

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What somebody saw last, as they say; None if that is no mark."""
        found = _MARK.fullmatch(text)
        return cls(found[1], Point(int(found[2]), int(found[3]))) if found else None

    def __str__(self) -> str:
        return f"{self.epoch}.{self.point.version}.{self.point.seq}"


def frame(event: str, mark: Mark, data: str) -> bytes:
    """One server-sent event. `data` is JSON as `json.dumps` makes it: ASCII, on one line."""
    return f"event: {event}\nid: {mark}\ndata: {data}\n\n".encode()


@dataclass(frozen=True, slots=True)
class Entry:
    """What was sent, and the point that it leads to."""

    point: Point
    event: bool  # an event of the journal; else a patch
    frame: bytes


class Log:
    """At most `entries` of them, and at most `size` bytes."""

    def __init__(self, *, entries: int = 2048, size: int = 4 * 2**20) -> None:
        self._most = entries
        self._size = size
        self._bytes = 0
        self._entries: list[Entry] = []
        self._base = Point(0, 0)  # before the first entry
        self._served: dict[tuple[int, bool], tuple[bytes, int]] = {}  # what was handed out since the last change
        self.first = 0  # the number of the first entry

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self.first + len(self._entries)

    @property
    def head(self) -> Point:
        """Where all of it leads to."""
        return self.point(self.end)

    @property
    def room(self) -> int:
        """How many entries it holds at most."""
        return self._most

    def point(self, number: int) -> Point:
        """The point before an entry."""
        return self._entries[number - self.first - 1].point if number > self.first else self._base

    def restart(self, point: Point) -> None:
        """Begin anew at a point: nobody can go on from what was before."""
        self.first = self.end + 1
        self._base = point
        self._entries.clear()
        self._served.clear()
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """Tell something. The oldest is forgotten for it where the log is full."""
        self._entries.append(entry)
        self._bytes += len(entry.frame)
        self._served.clear()
        gone = max(0, len(self._entries) - self._most)
        left = self._bytes - sum(len(old.frame) for old in self._entries[:gone])
        while left > self._size:
            left -= len(self._entries[gone].frame)
            gone += 1
        if gone:
            self._base = self._entries[gone - 1].point
            del self._entries[:gone]
            self.first += gone
            self._bytes = left

    def after(self, point: Point) -> int | None:
        """The number of what comes right after a point; None if the log has no such point."""
        found = bisect_right(self._entries, point, key=POINT)
        there = self._entries[found - 1].point if found else self._base
        return self.first + found if there == point else None

    def after_version(self, version: int) -> int | None:
        """The number of the patch that leads away from a version, or the end; None if the log does not know it."""
        if not self._base.version <= version <= self.head.version:
            return None
        return self.first + bisect_right(self._entries, version, key=lambda entry: entry.point.version)

    def read(self, number: int, *, events: bool) -> tuple[bytes, int]:
        """The bytes from an entry on, with the journal's events or without, and the number to go on with."""
        known = self._served.get((number, events))
        if known is None:
            known = self._served[number, events] = self._joined(number, events=events)
        return known

    def _joined(self, number: int, *, events: bool) -> tuple[bytes, int]:
        frames, size = list[bytes](), 0
        for entry in self._entries[number - self.first :]:
            if events or not entry.event:
                if frames and size + len(entry.frame) > AT_ONCE:
                    break
                frames.append(entry.frame)
                size += len(entry.frame)
            number += 1
        return b"".join(frames), number
