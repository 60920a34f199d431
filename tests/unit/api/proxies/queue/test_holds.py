"""Holds over one Spark in virtual time: what those who wait are told, and what is asked for on their behalf."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest

from api.proxies.calls import Call, Decision, Refused
from api.proxies.queue.holds import TICK, Held, Holds
from api.proxies.queue.rules import Rules
from reconciler.demand import Outlook, State
from state.desired import Settings
from tests.simulation.queue_play import Queued
from tests.simulation.queue_world import Model, Spark
from tests.simulation.virtual import EPOCH, VirtualLoop

QWEN = {"qwen3": Model(load=40.0)}
TWO = {"qwen3": Model(load=40.0), "llama": Model(load=60.0)}


class Room:
    """A Spark, its Holds, and clients of them."""

    def __init__(self, models: Mapping[str, Model], *, rules: Rules, memory: int, limits: Mapping[str, int]) -> None:
        self.spark = Spark(models, memory)
        self.queued = Queued(self.spark, rules, limits)
        self.holds: Holds = self.queued.holds
        self.given_back: list[Decision] = []

    def hold(self, name: str = "qwen3", who: str = "someone") -> Held:
        call = Call(method="POST", path="/v1/chat/completions", model=name, who=who)
        return self.holds.hold(call, name, lambda: self.spark.decide(name), self.given_back.append)

    def starts(self) -> list[str]:
        return [name for _, name in self.spark.starts]


def in_no_time(
    story: Callable[[Room], Coroutine[Any, Any, None]],
    models: Mapping[str, Model] = QWEN,
    *,
    rules: Rules | None = None,
    memory: int = 2,
    limits: Mapping[str, int] | None = None,
) -> None:
    async def told() -> None:
        await story(Room(models, rules=rules or Rules(), memory=memory, limits=limits or {}))

    loop = VirtualLoop()
    try:
        loop.run_until_complete(told())
    finally:
        loop.close()


async def refused(held: Held) -> Refused:
    with pytest.raises(Refused) as found:
        await held.decided
    return found.value


def test_all_who_wait_share_one_start_and_go_when_it_answers() -> None:
    async def story(room: Room) -> None:
        first, second, third = room.hold(), room.hold(who="other"), room.hold()
        await asyncio.sleep(10)
        assert first.told() == "qwen3 is being started on spark-1: about 30 s; you are 1st of 3"
        assert second.told() == "qwen3 is being started on spark-1: about 30 s; you are 2nd of 3"
        assert third.told() == "qwen3 is being started on spark-1: about 30 s; you are 3rd of 3"
        decisions = await asyncio.gather(first.decided, second.decided, third.decided)
        assert 40 <= asyncio.get_running_loop().time() <= 40.1
        assert [decision.backend.key for decision in decisions] == ["qwen3@spark-1"] * 3
        assert room.starts() == ["qwen3"]
        assert room.spark.demand.under_way("qwen3") == 3
        assert not room.spark.demand.asked("qwen3")
        assert first.told() == ""
        assert first.waiting() is None

    in_no_time(story)


def test_who_waits_is_shown_with_position_and_seconds() -> None:
    async def story(room: Room) -> None:
        await asyncio.sleep(5)
        held = room.hold(who="app")
        await asyncio.sleep(12)
        waiting = held.waiting()
        assert waiting is not None
        assert waiting.row() == {
            "workload": "qwen3",
            "position": 1,
            "of": 1,
            "since": pytest.approx(EPOCH + 5),
            "eta": pytest.approx(28, abs=0.2),
            "message": held.told(),
        }
        (queue,) = room.holds.queues()
        assert queue.row() == {
            "workload": "qwen3",
            "state": "starting",
            "waiting": 1,
            "clients": 1,
            "underWay": 0,
            "since": pytest.approx(EPOCH + 5),
            "eta": pytest.approx(28, abs=0.2),
            "givesWay": False,
            "message": "qwen3 is being started on spark-1",
        }
        held.leave()

    in_no_time(story)


def test_the_load_is_abandoned_when_the_last_has_left() -> None:
    async def story(room: Room) -> None:
        first, second = room.hold(), room.hold()
        await asyncio.sleep(10)
        first.leave()
        await asyncio.sleep(1)
        assert "qwen3" in room.spark.starting
        second.leave()
        await asyncio.sleep(1)
        assert not room.spark.starting
        assert not room.spark.demand.asked("qwen3")
        assert first.decided.cancelled()
        assert second.decided.cancelled()
        await asyncio.sleep(60)
        assert not room.spark.ready
        assert room.holds.queues() == []

    in_no_time(story)


def test_a_client_who_left_in_the_moment_of_its_turn_holds_no_place() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        decision = await held.decided
        assert room.spark.demand.under_way("qwen3") == 1
        held.leave()
        assert room.given_back == [decision]
        assert room.spark.demand.under_way("qwen3") == 0
        held.leave()
        assert room.given_back == [decision]

    in_no_time(story)


def test_a_request_that_began_is_ended_by_its_end_alone() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        decision = await held.decided
        room.holds.began(decision)
        held.leave()
        assert room.spark.demand.under_way("qwen3") == 1
        room.holds.ended(decision)
        assert room.spark.demand.under_way("qwen3") == 0
        assert room.given_back == []

    in_no_time(story)


def test_a_start_that_goes_wrong_for_good_ends_the_wait_with_the_reason() -> None:
    async def story(room: Room) -> None:
        held, other = room.hold(), room.hold()
        for each in (held, other):
            why = await refused(each)
            assert (why.status, why.reason, why.message) == (503, "BadFlag", "the start of qwen3 went wrong")
            assert why.retry_after is None
        await asyncio.sleep(TICK)
        assert not room.spark.demand.asked("qwen3")
        with pytest.raises(Refused, match="went wrong"):  # and nobody waits in vain for it
            room.hold()

    in_no_time(story, {"qwen3": Model(fails=1, again=None)})


def test_a_start_that_is_tried_again_is_waited_for() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        await asyncio.sleep(45)
        assert held.told().startswith("the start of qwen3 went wrong")
        assert (await held.decided).backend.workload == "qwen3"
        assert room.starts() == ["qwen3", "qwen3"]

    in_no_time(story, {"qwen3": Model(fails=1, again=10.0)})


def test_nobody_waits_longer_than_the_longest_wait() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        why = await refused(held)
        assert 25 <= asyncio.get_running_loop().time() <= 25.1
        assert (why.status, why.reason) == (503, "WaitedTooLong")
        assert why.message == "waited for 25 s, as long as anything may wait: qwen3 is being started on spark-1"
        assert why.retry_after == pytest.approx(15, abs=0.2)

    in_no_time(story, rules=Rules(longest=25.0))


def test_a_full_line_refuses_with_the_seconds_until_it_moves() -> None:
    async def story(room: Room) -> None:
        held = [room.hold(), room.hold(who="other")]
        await asyncio.sleep(10)
        with pytest.raises(Refused) as found:
            room.hold(who="third")
        assert (found.value.status, found.value.reason) == (429, "QueueFull")
        assert found.value.retry_after == pytest.approx(30, abs=0.2)
        for each in held:
            each.leave()

    in_no_time(story, rules=Rules(length=2))


@pytest.mark.parametrize("rules", [Rules(length=4), Rules(total=4)])
def test_who_has_the_most_in_a_full_line_makes_place_for_another(rules: Rules) -> None:
    async def story(room: Room) -> None:
        many = [room.hold(who="many") for _ in range(4)]
        with pytest.raises(Refused):
            room.hold(who="many")
        one = room.hold(who="one")
        assert (await refused(many[-1])).reason == "QueueFull"
        two = room.hold(who="one")
        assert (await refused(many[-2])).status == 429
        with pytest.raises(Refused):  # as many as the other has: that is its share
            room.hold(who="one")
        third = room.hold(who="third") if rules.length > 4 else None
        for each in (*many[:2], one, two, third):
            if each is not None:
                each.leave()

    in_no_time(story, rules=rules)


def test_those_who_wait_for_a_busy_model_go_in_turn() -> None:
    async def story(room: Room) -> None:
        order = list[str]()

        async def client(who: str) -> None:
            decision = await room.hold(who=who).decided
            room.holds.began(decision)
            order.append(who)
            await asyncio.sleep(5)
            room.holds.ended(decision)

        async with asyncio.TaskGroup() as group:
            for who in "aaabbc":
                group.create_task(client(who))
        assert order == list("abcaba")
        assert asyncio.get_running_loop().time() == pytest.approx(40 + 6 * 5, abs=0.2)

    in_no_time(story, limits={"qwen3": 1})


def test_who_comes_to_a_busy_model_waits_behind_the_others() -> None:
    async def story(room: Room) -> None:
        first = await room.hold().decided
        room.holds.began(first)
        second = room.hold()
        assert not room.holds.may_go("qwen3")
        await asyncio.sleep(1)
        assert second.told() == "qwen3 answers as many requests as it takes; you are 1st of 1"
        room.holds.ended(first)
        decision = await second.decided
        room.holds.began(decision)
        assert not room.holds.may_go("qwen3")
        room.holds.ended(decision)
        assert room.holds.may_go("qwen3")

    in_no_time(story, limits={"qwen3": 1})


def test_a_model_that_serves_goes_on_until_another_has_a_right_to_its_room() -> None:
    """A B: requests for A keep coming. B gets its turn, A's new requests wait then, and those under way end in peace."""

    async def story(room: Room) -> None:
        loop = asyncio.get_running_loop()
        first = await room.hold("qwen3").decided
        room.holds.began(first)
        other = room.hold("llama")
        await asyncio.sleep(50)
        assert room.holds.may_go("qwen3")  # it has waited for less than its start takes
        assert other.told() == "llama waits for its turn after qwen3: about 70 s; you are 1st of 1"
        await asyncio.sleep(20)
        assert not room.holds.may_go("qwen3")
        late = room.hold("qwen3")
        assert "qwen3" in room.spark.ready  # it is not stopped while it serves
        await asyncio.sleep(5)
        assert late.told() == "qwen3 makes room for another model; you are 1st of 1"
        room.holds.ended(first)
        decision = await other.decided
        room.holds.began(decision)
        assert room.starts() == ["qwen3", "llama"]
        assert "qwen3" not in room.spark.ready
        room.holds.ended(decision)
        back = await late.decided
        assert loop.time() > 40 + 75 + 60 + 40
        room.holds.began(back)
        room.holds.ended(back)

    in_no_time(story, TWO, rules=Rules(patience=1.0), memory=1)


def test_a_turn_whose_last_waiter_left_is_taken_back() -> None:
    async def story(room: Room) -> None:
        first = await room.hold("qwen3").decided
        room.holds.began(first)
        other = room.hold("llama")
        await asyncio.sleep(70)
        assert not room.holds.may_go("qwen3")
        late = room.hold("qwen3")
        other.leave()
        decision = await late.decided
        room.holds.began(decision)
        assert room.holds.may_go("qwen3")
        assert room.starts() == ["qwen3"]
        assert not room.spark.demand.wishes()["qwen3"].yields

    in_no_time(story, TWO, rules=Rules(patience=1.0), memory=1)


def test_models_that_fit_side_by_side_do_not_wait_for_each_other() -> None:
    async def story(room: Room) -> None:
        one, other = room.hold("qwen3"), room.hold("llama")
        first, second = await asyncio.gather(one.decided, other.decided)
        assert asyncio.get_running_loop().time() == pytest.approx(100, abs=0.5)  # one start at a time
        assert {first.backend.workload, second.backend.workload} == room.spark.ready
        assert room.spark.stops == []

    in_no_time(story, TWO)


def test_a_model_that_is_to_run_always_is_waited_for_without_being_asked_for() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        await held.decided
        assert asyncio.get_running_loop().time() == pytest.approx(40, abs=0.2)
        held.leave()
        room.spark.stop("qwen3")  # it is made anew
        again = room.hold()
        await asyncio.sleep(1)
        assert not room.spark.demand.asked("qwen3")
        assert "qwen3" not in room.spark.demand.wishes() or not room.spark.demand.wishes()["qwen3"].turn
        await again.decided
        assert room.starts() == ["qwen3", "qwen3"]

    in_no_time(story, {"qwen3": Model(on_demand=False)})


def test_an_error_in_the_loop_does_not_leave_those_who_wait_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def story(room: Room) -> None:
        outlook, calls = room.holds._outlook, 0

        def wrong(name: str) -> Outlook:
            nonlocal calls
            calls += 1
            if calls in {2, 3}:
                raise RuntimeError("a bug")
            return outlook(name)

        room.holds._outlook = wrong
        assert (await room.hold().decided).backend.workload == "qwen3"

    in_no_time(story)
    assert "a bug" in caplog.text


def test_the_end_refuses_who_waits_and_asks_for_nothing_more() -> None:
    async def story(room: Room) -> None:
        held = room.hold()
        await asyncio.sleep(1)
        room.holds.close()
        assert (await refused(held)).reason == "Restarting"
        assert not room.spark.demand.asked("qwen3")
        with pytest.raises(Refused, match="stopped or restarted"):
            room.hold()

    in_no_time(story)


def test_one_that_can_go_nowhere_does_not_keep_back_who_comes_after_it() -> None:
    async def story(room: Room) -> None:
        call = Call(method="POST", path="/v1/chat/completions", who="a")
        stuck = room.holds.hold(call, "qwen3", lambda: None)
        wrong = room.holds.hold(call, "qwen3", refuses)
        fine = room.hold(who="b")
        await fine.decided
        assert (await refused(wrong)).reason == "NoSuchModel"
        assert not stuck.decided.done()
        stuck.leave()

    def refuses() -> Decision | None:
        raise Refused(404, "NoSuchModel", "gone")

    in_no_time(story)


def test_what_the_loop_says_is_asked_at_most_fifty_times_a_second_and_seldom_without_news() -> None:
    async def story(room: Room) -> None:
        asked = 0

        def outlook(name: str) -> Outlook:
            nonlocal asked
            asked += 1
            return Outlook(state=State.STARTING, reason="Loading", message="loads", eta=100.0)

        room.holds._outlook = outlook
        held = [room.hold(who=str(n)) for n in range(50)]
        before = asked
        for _ in range(1000):
            room.holds.changed()
            await asyncio.sleep(0.001)
        assert asked - before <= 52
        before = asked
        await asyncio.sleep(60)
        assert asked - before <= 60 / TICK + 1
        for each in held:
            each.leave()

    in_no_time(story)


def test_rules_are_those_of_the_settings() -> None:
    assert Rules.of(Settings()) == Rules()
