"""Fetches in line, under way and ended: with a stand-in for the fetch, and with the real one against the real hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, cast

import pytest

from reconciler.explain import Explanation
from reconciler.hosts import Host
from reconciler.weights.cache import Want
from reconciler.weights.fetch import Fetched, fetch
from reconciler.weights.fetches import KEPT, TRIES, Fetches, Fetching, State
from reconciler.weights.peer import Peer
from reconciler.weights.progress import Progress
from reconciler.weights.repo_files import Listing
from tests.unit.reconciler.weights.hub import COMMIT, REPO, Hub
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools
from tests.unit.reconciler.weights.stage import PACE, TOKEN, check_whole

A, B, C = Want("a/a"), Want("b/b"), Want("c/c")
DOWN = Explanation("ConnectionLost", "it went away", terminal=False)
GATED = Explanation("Gated", "accept its licence", terminal=True)
FULL = Explanation("DiskFull", "no room", terminal=False)


class MemoryFleet:
    """Sparks by name; writes down what it is told."""

    def __init__(self, **hosts: object) -> None:
        self.hosts = hosts
        self.peers_of: dict[str, list[Peer]] = {}
        self.told: list[tuple[str, int, str, State]] = []

    def host(self, spark: str) -> Host:
        return cast("Host", self.hosts[spark])

    def token(self) -> str:
        return TOKEN

    def peers(self, spark: str, want: Want) -> Sequence[Peer]:
        return self.peers_of.get(spark, [])

    def began(self, fetching: Fetching) -> int:
        self.told.append(("began", fetching.id, fetching.spark, fetching.state))
        return 100 + fetching.id

    def ended(self, number: int, fetching: Fetching) -> None:
        self.told.append(("ended", number - 100, fetching.spark, fetching.state))


class Bringing:
    """A fetch that ends when and how it is told. `calls`: what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, Want, dict[str, Any]]] = []
        self.answers: asyncio.Queue[Fetched | Exception] = asyncio.Queue()

    async def __call__(self, host: Host, want: Want, **asked: Any) -> Fetched:
        self.calls.append((host, want, asked))
        asked["progress"](Progress(1, 10, 0, 1, "hub"))
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def called(self, times: int) -> None:
        await until(lambda: len(self.calls) >= times)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet(s1="host 1", s2="host 2")


@pytest.fixture
def bringing() -> Bringing:
    return Bringing()


@pytest.fixture
async def fetches(fleet: MemoryFleet, bringing: Bringing) -> AsyncIterator[Fetches]:
    made = Fetches(fleet, bringing, now=lambda: 77.0, pauses=(0.0,))
    yield made
    await made.close()


def states(fetches: Fetches) -> list[tuple[str, str, str]]:
    return [(each.spark, each.want.repository, each.state.value) for each in fetches.all()]


async def test_one_at_a_time_on_each_spark(fleet: MemoryFleet, fetches: Fetches, bringing: Bringing) -> None:
    first, second, third = fetches.start("s1", A, by="ann"), fetches.start("s1", B), fetches.start("s2", C)
    assert fetches.start("s1", B) is second
    await bringing.called(2)
    assert [(host, want) for host, want, _ in bringing.calls] == [("host 1", A), ("host 2", C)]
    assert bringing.calls[0][2]["token"] == TOKEN
    assert states(fetches) == [("s1", "a/a", "fetching"), ("s1", "b/b", "queued"), ("s2", "c/c", "fetching")]
    assert first.progress == Progress(1, 10, 0, 1, "hub")
    assert (first.by, first.asked_at, second.started_at) == ("ann", 77.0, None)
    bringing.answers.put_nowait(Fetched(None, COMMIT, total=10, came=10))
    await bringing.called(3)
    assert (first.state, first.outcome, first.why) == (State.DONE, Fetched(None, COMMIT, total=10, came=10), None)
    assert second.state is State.FETCHING
    assert fetches.start("s1", A) is not first
    assert third in fetches.under_way("s2")
    with pytest.raises(KeyError):
        fetches.start("s3", A)


async def test_what_can_pass_is_tried_again(fleet: MemoryFleet, fetches: Fetches, bringing: Bringing) -> None:
    listing = Listing("a/a", "main", COMMIT, ())
    made = fetches.start("s1", A)
    bringing.answers.put_nowait(Fetched(DOWN, COMMIT, came=5, listing=listing))
    bringing.answers.put_nowait(Fetched(DOWN))
    bringing.answers.put_nowait(Fetched(None, COMMIT))
    await until(lambda: made.over)
    assert [asked["known"] for _, _, asked in bringing.calls] == [None, listing, listing]
    assert (made.state, made.attempts, made.next_at) == (State.DONE, 3, None)
    assert fleet.told == [("began", 1, "s1", State.FETCHING), ("ended", 1, "s1", State.DONE)]


@pytest.mark.parametrize("why", [GATED, FULL])
async def test_what_needs_a_person_is_not(fetches: Fetches, bringing: Bringing, why: Explanation) -> None:
    made = fetches.start("s1", A)
    bringing.answers.put_nowait(Fetched(why))
    await until(lambda: made.over)
    assert (made.state, made.why, made.attempts) == (State.FAILED, why, 1)


async def test_it_gives_up_where_no_byte_comes(fetches: Fetches, bringing: Bringing) -> None:
    made = fetches.start("s1", A)
    for answer in (Fetched(DOWN), Fetched(DOWN, came=1), *(Fetched(DOWN) for _ in range(TRIES))):
        bringing.answers.put_nowait(answer)
    await until(lambda: made.over)
    assert (made.state, made.why, made.attempts) == (State.FAILED, DOWN, 2 + TRIES)


async def test_between_two_attempts_the_reason_is_shown(fleet: MemoryFleet, bringing: Bringing) -> None:
    fetches = Fetches(fleet, bringing, now=lambda: 77.0, pauses=(1.0, 30.0))
    made = fetches.start("s1", A)
    bringing.answers.put_nowait(Fetched(DOWN, retry_after=900.0))
    await until(lambda: made.state is State.WAITING)
    assert (made.why, made.next_at) == (DOWN, 977.0)
    other = fetches.start("s1", B)
    await fetches.close()
    assert [made.state, other.state] == [State.CANCELLED, State.CANCELLED]
    assert (made.ended_at, made.next_at) == (77.0, None)
    assert fleet.told[-1] == ("ended", 1, "s1", State.CANCELLED)


async def test_a_cancelled_one_makes_room_for_the_next(fetches: Fetches, bringing: Bringing) -> None:
    first, second, third = fetches.start("s1", A), fetches.start("s1", B), fetches.start("s1", C)
    assert await fetches.cancel(third.id) is third  # before it had begun at all
    await bringing.called(1)
    assert await fetches.cancel(first.id) is first
    await bringing.called(2)
    assert [each.state for each in (first, second, third)] == [State.CANCELLED, State.FETCHING, State.CANCELLED]
    assert (await fetches.cancel(first.id)).ended_at == 77.0
    with pytest.raises(KeyError):
        await fetches.cancel(99)


async def test_a_bug_costs_one_fetch(fleet: MemoryFleet, fetches: Fetches, bringing: Bringing) -> None:
    first, second = fetches.start("s1", A), fetches.start("s1", B)
    bringing.answers.put_nowait(RuntimeError("a bug"))
    bringing.answers.put_nowait(Fetched(None))
    await until(lambda: second.over)
    assert first.why is not None
    assert (first.state, first.why.reason, second.state) == (State.FAILED, "InternalError", State.DONE)
    fleet.hosts["s1"] = "another"
    third = fetches.start("s1", A)
    del fleet.hosts["s1"]  # before it could begin
    await until(lambda: third.over)
    assert third.why is not None
    assert (third.state, third.why.reason) == (State.FAILED, "NoSuchSpark")


async def test_the_last_fifty_are_kept(fetches: Fetches, bringing: Bringing) -> None:
    for number in range(KEPT + 3):
        bringing.answers.put_nowait(Fetched(None))
        made = fetches.start("s1", Want(f"a/m{number}"))
        await until(lambda made=made: made.over)
    assert [each.id for each in fetches.all()] == list(range(4, KEPT + 4))


async def test_none_begins_while_weights_are_deleted(fetches: Fetches, bringing: Bringing) -> None:
    async with fetches.none_begins("s1"):
        made, other = fetches.start("s1", A), fetches.start("s2", A)
        await bringing.called(1)
        await asyncio.sleep(0.02)
        assert (made.state, other.state) == (State.QUEUED, State.FETCHING)
        assert fetches.under_way("s1") == (made,)
    await bringing.called(2)
    assert made.state is State.FETCHING


@needs_tools
async def test_the_real_fetch(sparks: Callable[..., LocalSpark], hub: Hub) -> None:
    """From the hub to one Spark, and from there to another one: nothing is asked of the hub twice."""
    one, two = sparks("one"), sparks("two")
    fleet = MemoryFleet(one=one, two=two)
    fleet.peers_of["two"] = [Peer("one", one, "127.0.0.1")]
    bring = partial(fetch, endpoint=hub.origin, margin=0, pace=PACE)
    fetches = Fetches(fleet, bring)
    first = fetches.start("one", Want(REPO))
    await until(lambda: first.over)
    assert first.outcome is not None
    assert (first.state, first.why, first.outcome.commit) == (State.DONE, None, COMMIT)
    assert first.progress is not None
    assert first.progress.done == first.progress.total == first.outcome.total > 0
    second = fetches.start("two", Want(REPO))
    await until(lambda: second.over)
    assert second.outcome is not None
    assert (second.state, second.outcome.source, second.outcome.notes) == (State.DONE, "one", ())
    check_whole(one, hub)
    check_whole(two, hub)
    await fetches.close()
    assert [state for _, _, _, state in fleet.told] == [State.FETCHING, State.DONE] * 2


@needs_tools
async def test_a_real_one_that_is_cancelled_leaves_what_came(sparks: Callable[..., LocalSpark], hub: Hub) -> None:
    spark = sparks("one")
    hub.slow = 0.05
    fetches = Fetches(MemoryFleet(one=spark), partial(fetch, endpoint=hub.origin, margin=0, pace=PACE))
    made = fetches.start("one", Want(REPO))
    await until(lambda: made.progress is not None)
    await fetches.close()
    assert made.state is State.CANCELLED
    hub.slow = 0.0
    again = fetches.start("one", Want(REPO))
    await until(lambda: again.over)
    assert again.state is State.DONE
    check_whole(spark, hub)
