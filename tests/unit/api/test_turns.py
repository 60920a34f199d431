"""The loop of `serve`: a crowd that is always ready keeps nobody else waiting, and each of it has its turn."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from api.turns import MOST, Turns, TurnsLoop, of_the_crowd

pytestmark = pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="epoll is Linux's")


class Transport(asyncio.BaseTransport):
    """Of a socket, as far as the selector asks."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed


class Pair:
    """Two ends; `near` is looked at."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.transport = Transport(self.near)

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def turns() -> Iterator[Turns]:
    found = Turns()
    yield found
    found.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    found = [Pair() for _ in range(3 * MOST)]
    yield found
    for pair in found:
        pair.close()


def names(turns: Turns, timeout: float | None = 0) -> list[Any]:
    return [key.data for key, events in turns.select(timeout) if events]


def test_of_a_crowd_that_is_always_ready_each_has_its_turn_and_others_have_every_turn(
    turns: Turns, pairs: list[Pair]
) -> None:
    *many, alone = pairs
    for number, pair in enumerate(many):
        turns.crowd(pair.transport)
        turns.register(pair.near, selectors.EVENT_READ, number)
        pair.far.send(b"x")  # never read: ready for ever
    turns.register(alone.near, selectors.EVENT_READ, "alone")
    alone.far.send(b"x")
    seen = Counter[Any]()
    rounds = 4 * len(many) // MOST
    for _ in range(rounds):
        found = names(turns)
        assert "alone" in found
        assert len(found) <= MOST + 1
        seen.update(found)
    assert seen["alone"] == rounds
    assert {seen[number] for number in range(len(many))} <= {3, 4, 5}


def test_who_turns_out_to_be_of_the_crowd_moves_there_and_keeps_what_is_asked_of_it(
    turns: Turns, pairs: list[Pair]
) -> None:
    for number, pair in enumerate(pairs):
        turns.register(pair.near.fileno(), selectors.EVENT_READ, number)
        pair.far.send(b"x")
    assert len(names(turns)) == len(pairs)
    for pair in pairs:
        turns.crowd(pair.transport)
    assert len(names(turns)) == MOST
    one = pairs[0].near
    turns.modify(one, selectors.EVENT_WRITE, "writes")
    assert turns.get_key(one).data == "writes"
    assert turns.get_map()[one.fileno()].events == selectors.EVENT_WRITE
    turns.unregister(one)
    turns.register(one, selectors.EVENT_READ, 0)  # as after a pause: it is still one of many
    assert len(names(turns)) == MOST
    with pytest.raises(KeyError):
        turns.register(one, selectors.EVENT_READ)
    for pair in pairs:
        turns.unregister(pair.near)
    assert names(turns) == []
    assert not turns.get_map()
    with pytest.raises(KeyError):
        turns.unregister(one)
    with pytest.raises(ValueError, match="events"):
        turns.register(one, 0)


def test_a_number_that_is_given_away_again_is_no_longer_of_the_crowd(turns: Turns, pairs: list[Pair]) -> None:
    for pair in pairs:
        turns.crowd(pair.transport)
        pair.transport.closed = True  # and somebody else has its number now
        turns.register(pair.near, selectors.EVENT_READ, "new")
        pair.far.send(b"x")
    assert len(names(turns)) == len(pairs)


def test_it_waits_as_long_as_it_is_told_and_an_end_is_news(turns: Turns, pairs: list[Pair]) -> None:
    pair = pairs[0]
    turns.crowd(pair.transport)
    turns.register(pair.near, selectors.EVENT_READ | selectors.EVENT_WRITE, "both")
    ((_, events),) = turns.select(None)
    assert events == selectors.EVENT_WRITE
    turns.modify(pair.near, selectors.EVENT_READ, "read")
    assert turns.select(0.01) == []
    pair.far.close()
    assert names(turns, None) == ["read"]
    pair.near.close()  # before it is let go of, as asyncio sometimes does
    turns.unregister(turns.get_map()[next(iter(turns.get_map()))].fd)
    assert names(turns) == []


def test_a_conversation_of_many_steps_goes_on_beside_a_crowd() -> None:
    """Twenty words beside sockets that are always ready: a turn each, not a round of the whole crowd."""

    async def story() -> list[int]:
        loop = asyncio.get_running_loop()
        heard, crowd = Counter[int](), [Pair() for _ in range(4 * MOST)]
        for number, pair in enumerate(crowd):
            of_the_crowd(pair.transport, loop)
            loop.add_reader(pair.near, heard.update, [number])
            pair.far.send(b"x")
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            for here, there in [(near, far), (far, near)] * 10:
                listening = asyncio.create_task(loop.sock_recv(there, 4))
                await asyncio.sleep(0)  # so that it waits before there is anything to hear
                await loop.sock_sendall(here, b"ping")
                assert await listening == b"ping"
        for pair in crowd:
            loop.remove_reader(pair.near)
            pair.close()
        return [heard.total(), max(heard.values())]

    with asyncio.Runner(loop_factory=TurnsLoop) as runner:
        total, most = runner.run(story())
    assert 20 <= total <= 20 * 4 * MOST  # of four times as many, with asyncio's own
    assert most <= total / (4 * MOST) + 2
