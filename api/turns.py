"""The event loop of `serve`: in each of its turns the Sparks come first, and of the many who ask models only some.

asyncio serves whatever is ready in one turn. With hundreds of clients that ask without rest a turn takes tens of
milliseconds, and a repair, a conversation over SSH of many small steps, waits that long at each of them. Here the
connections of clients and of models' servers are a crowd with a poll of its own, of which a turn takes a few, in the
order in which they became ready; everything else is looked at in every turn. Nobody waits longer for it in the end: a
turn is shorter by as much. docs/adr/0029-turns.md
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

MOST: Final = 16  # of the crowd, in a turn: 2 ms of work
_KNOWN: Final = selectors.EVENT_READ | selectors.EVENT_WRITE


class Turns(selectors.BaseSelector):
    """A selector of two tiers, for Linux. The second one's poll is a descriptor in the first."""

    def __init__(self) -> None:
        self._first, self._crowd = select.epoll(), select.epoll()
        self._inner = self._crowd.fileno()
        self._first.register(self._inner, select.EPOLLIN)
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._polls: dict[int, select.epoll] = {}
        self._many: WeakValueDictionary[int, asyncio.BaseTransport] = WeakValueDictionary()
        self._map = _Map(self._keys)

    def crowd(self, transport: asyncio.BaseTransport) -> None:
        """Its connection is one of many, until it closes."""
        fd = transport.get_extra_info("socket").fileno()
        if fd < 0:
            return
        self._many[fd] = transport
        if (key := self._keys.get(fd)) is not None and self._polls[fd] is self._first:
            self._first.unregister(fd)
            self._crowd.register(fd, _flags(key.events))
            self._polls[fd] = self._crowd

    def _poll_of(self, fd: int) -> select.epoll:
        """A number that was given away again is another's."""
        transport = self._many.get(fd)
        return self._first if transport is None or transport.is_closing() else self._crowd

    # selectors.BaseSelector

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Look at it from now on. Raises KeyError for what is looked at already, ValueError for no events."""
        if not events or events & ~_KNOWN:
            raise ValueError(f"Invalid events: {events!r}")
        fd = _number(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        poll = self._poll_of(fd)
        poll.register(fd, _flags(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._polls[fd] = poll
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """No longer. Raises KeyError for what was not looked at."""
        fd = _number(fileobj)
        key = self._keys.pop(fd)
        with suppress(OSError):  # it was closed before
            self._polls.pop(fd).unregister(fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        """Look at it for something else. Raises KeyError for what is not looked at."""
        fd = _number(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._polls[fd].modify(fd, _flags(events))
        key = self._keys[fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready, of the crowd a few."""
        wait = -1.0 if timeout is None else 0.0 if timeout <= 0 else ceil(timeout * 1000) * 0.001
        try:
            ready = self._first.poll(wait)
        except InterruptedError:
            return []
        found = []
        crowded = False
        keys, inner = self._keys, self._inner
        for fd, flags in ready:
            if fd == inner:
                crowded = True
            elif (key := keys.get(fd)) is not None:
                found.append((key, _events(flags) & key.events))
        if crowded:
            for fd, flags in self._crowd.poll(0, MOST):
                if (key := keys.get(fd)) is not None:
                    found.append((key, _events(flags) & key.events))
        return found

    def close(self) -> None:
        """Both polls end."""
        self._first.close()
        self._crowd.close()
        self._keys.clear()
        self._polls.clear()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """All that is looked at."""
        return self._map


class _Map(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """By number or by what has one."""

    def __init__(self, keys: Mapping[int, selectors.SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys[_number(fileobj)]

    def __iter__(self) -> Iterator[FileDescriptorLike]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class TurnsLoop(asyncio.SelectorEventLoop):
    """asyncio's own, with those turns."""

    def __init__(self) -> None:
        self.turns = Turns()
        super().__init__(self.turns)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Of the loop to serve in: asyncio's own, where there is no epoll."""
    return TurnsLoop if hasattr(select, "epoll") else asyncio.new_event_loop


def of_the_crowd(transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop) -> None:
    """One connection of many."""
    if isinstance(loop, TurnsLoop):
        loop.turns.crowd(transport)


def _number(fileobj: FileDescriptorLike) -> int:
    return fileobj if isinstance(fileobj, int) else fileobj.fileno()


def _events(flags: int) -> int:
    """An error is for whoever reads or writes, as in `selectors`."""
    return (selectors.EVENT_WRITE if flags & ~select.EPOLLIN else 0) | (
        selectors.EVENT_READ if flags & ~select.EPOLLOUT else 0
    )


def _flags(events: int) -> int:
    read = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return read | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)
