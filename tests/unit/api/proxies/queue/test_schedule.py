"""What the schedule decides from what it is told, moment by moment."""

from __future__ import annotations

import math

import pytest

from api.proxies.queue.line import Ticket
from api.proxies.queue.rules import Rules
from api.proxies.queue.schedule import MAKES_ROOM, SETTLES, Full, Orders, Schedule, View
from reconciler.demand import State

RULES = Rules(patience=1.0, most_patience=120.0, stay=30.0, linger=1.0)
HERE, THERE = frozenset({"spark-1"}), frozenset({"spark-2"})
LOAD = 40.0


class World:
    """A schedule, and what it sees; everything is stopped until it is said otherwise."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.schedule = Schedule(rules)
        self.views: dict[str, View] = {}

    def join(self, name: str, now: float, count: int = 1, who: str = "x") -> list[Ticket]:
        return [self.schedule.join(name, who, now)[0] for _ in range(count)]

    def see(self, name: str, state: State, *blockers: str, load: float = LOAD, places: frozenset[str] = HERE) -> None:
        self.views[name] = View(state=state, load=load, blockers=blockers, places=places)

    def loads(self, name: str) -> None:
        self.views[name] = View(state=State.STARTING, load=LOAD, loading=True, places=HERE)

    def look(self, now: float) -> Orders:
        return self.schedule.look(
            lambda name: self.views.get(name, View(state=State.STOPPED, load=LOAD, places=HERE)), now
        )

    def serves(self, name: str, now: float) -> None:
        """It answers, and a request is under way."""
        self.see(name, State.READY)
        (ticket,) = self.join(name, now)
        self.look(now)
        self.schedule.serve(ticket)
        self.schedule.begin(name, now)


def test_of_two_that_were_just_asked_for_the_first_in_rank_is_seen_to_be_settled_first() -> None:
    world = World()
    world.join("a", 0.0)
    world.join("b", 0.0, count=3)
    assert world.look(0.0).asks == ("b",)  # more who wait
    world.loads("b")
    assert world.look(0.1).asks == ("b", "a")


def test_who_does_not_settle_is_not_waited_for() -> None:
    world = World()
    world.join("a", 0.0, count=2)
    world.join("b", 0.0)
    orders = world.look(0.0)
    assert (orders.asks, orders.wake) == (("a",), SETTLES)
    assert world.look(SETTLES).asks == ("a", "b")


def test_what_runs_elsewhere_is_asked_for_at_once() -> None:
    world = World()
    world.see("b", State.STOPPED, places=THERE)
    world.join("a", 0.0)
    world.join("b", 0.0)
    assert set(world.look(0.0).asks) == {"a", "b"}


@pytest.mark.parametrize(
    ("waiting", "loads", "first"), [((1, 1), (60, 20), "b"), ((1, 4), (20, 60), "b"), ((2, 1), (40, 40), "a")]
)
def test_the_most_waiting_for_the_least_loading_comes_first(
    waiting: tuple[int, int], loads: tuple[float, float], first: str
) -> None:
    world = World()
    for name, count, load in zip("ab", waiting, loads, strict=True):
        world.see(name, State.STOPPED, load=load)
        world.join(name, 0.0, count=count)
    assert world.look(0.0).asks == (first,)


def test_having_waited_counts_as_more_who_wait() -> None:
    world = World(Rules(patience=100.0, most_patience=1000.0))
    world.join("a", 0.0)
    world.join("b", 900.0)
    world.schedule.join("b", "y", 950.0)
    assert world.look(951.0).asks == ("b",)
    world = World(Rules(patience=100.0, most_patience=300.0))
    world.see("b", State.STOPPED, load=2.9)
    world.join("b", 0.0)
    world.see("a", State.STOPPED, load=2.9)
    world.join("a", 190.0)
    assert world.look(195.0).asks == ("b",)


def test_rights_come_before_numbers_and_in_the_order_in_which_they_arose() -> None:
    world = World()
    world.join("a", 0.0)
    world.join("b", 10.0)
    world.join("c", 20.0, count=50)
    assert world.look(55.0).asks == ("a",)
    for ticket in list(world.schedule.lines["a"]):
        world.schedule.leave(ticket)
    assert world.look(56.0).asks == ("b",)


def test_what_nobody_has_used_for_a_moment_gives_way_at_once_and_what_is_used_does_not() -> None:
    world = World()
    world.serves("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 5.0)
    orders = world.look(5.0)
    assert (orders.asks, orders.shut, orders.wake) == (("b",), frozenset(), 45.0)
    world.schedule.end("a", 20.0)
    assert world.look(20.0).wake == 21.0
    assert world.look(21.0).shut == {"a"}


def test_what_serves_gives_way_to_a_right_once_it_has_served_for_long_enough() -> None:
    world = World()
    world.loads("a")
    (ticket,) = world.join("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 0.0)
    world.look(0.0)
    world.see("a", State.READY)
    assert world.look(40.0).open == ("a",)
    world.schedule.serve(ticket)
    world.schedule.begin("a", 40.0)
    assert world.look(79.0).shut == frozenset()
    assert world.look(79.0).wake == 80.0  # it was loaded for 40 s
    orders = world.look(80.0)
    assert (orders.shut, orders.asks) == ({"a"}, ("b",))


def test_a_right_that_cannot_be_met_yet_keeps_its_spark_free_of_anything_newer() -> None:
    world = World()
    world.serves("a", 0.0)
    world.see("b", State.BLOCKED, "a", "s")
    world.see("s", State.STARTING)
    world.join("b", 1.0)
    world.join("c", 30.0, count=9)
    world.see("c", State.BLOCKED, "s")
    assert set(world.look(35.0).asks) == {"b", "c"}
    assert world.look(41.0).asks == ("b",)


def test_a_turn_is_kept_and_what_gives_way_stays_shut_until_the_other_loads() -> None:
    world = World()
    world.serves("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 0.0)
    assert world.look(50.0).shut == {"a"}
    world.join("c", 50.0, count=20)
    world.see("c", State.BLOCKED, "a")
    assert world.look(51.0).asks == ("b",)
    world.schedule.end("a", 60.0)
    world.see("b", State.STARTING)  # room is made for it
    orders = world.look(60.0)
    assert (orders.shut, orders.asks) == ({"a"}, ("b",))
    world.loads("b")
    world.see("a", State.STOPPED)
    world.see("c", State.BLOCKED, "b")
    orders = world.look(65.0)
    assert (orders.shut, set(orders.asks)) == (frozenset(), {"b", "c"})


def test_a_turn_once_given_is_kept_though_another_has_the_older_right() -> None:
    world = World()
    world.serves("a", 0.0)
    world.schedule.end("a", 0.0)
    world.see("s", State.STARTING)
    world.see("d", State.BLOCKED, "s")
    world.join("d", 0.0)
    world.see("c", State.BLOCKED, "a")
    world.join("c", 5.0)
    assert world.look(5.0).shut == {"a"}
    assert world.look(50.0).asks == ("c",)


def test_a_turn_ends_with_a_start_that_failed() -> None:
    world = World()
    world.serves("a", 0.0)
    world.schedule.end("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 5.0)
    assert world.look(5.0).shut == {"a"}
    world.see("b", State.FAILED)
    assert world.look(6.0).shut == frozenset()


def test_a_turn_that_leads_to_nothing_ends() -> None:
    world = World()
    world.serves("a", 0.0)
    world.schedule.end("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 5.0)
    assert world.look(5.0).shut == {"a"}
    world.see("a", State.STOPPED)
    world.see("b", State.BLOCKED)
    world.join("c", 6.0)
    orders = world.look(6.0)
    assert (orders.asks, orders.shut) == (("b",), frozenset())
    assert set(world.look(6.0 + MAKES_ROOM).asks) == {"b", "c"}


def test_a_model_that_has_come_to_be_serves_its_own_waiters_before_it_gives_way() -> None:
    world = World(Rules(patience=0.0, most_patience=0.0, stay=0.0, linger=0.0))
    world.loads("a")
    world.see("b", State.BLOCKED, "a")
    world.join("a", 0.0)
    world.join("b", 0.0)
    assert world.look(0.0).shut == frozenset()
    world.see("a", State.READY)
    orders = world.look(40.0)
    assert (orders.open, orders.shut) == (("a",), frozenset())
    assert world.look(40.1).shut == {"a"}


def test_who_waits_for_a_model_that_gave_way_has_a_right_only_after_its_patience_anew() -> None:
    world = World()
    world.serves("a", 0.0)
    world.see("b", State.BLOCKED, "a")
    world.join("b", 0.0)
    world.look(50.0)
    world.join("a", 20.0)
    world.see("a", State.BLOCKED, "b")
    world.see("b", State.STARTING)
    world.look(55.0)
    assert world.schedule.right_from("a", LOAD) == 50.0 + LOAD


def test_a_start_that_failed_is_still_asked_for_and_in_nobodys_way() -> None:
    world = World()
    world.see("a", State.FAILED)
    world.join("a", 0.0)
    world.join("b", 0.0)
    assert set(world.look(100.0).asks) == {"a", "b"}


def test_what_is_to_run_always_is_not_asked_for() -> None:
    world = World()
    world.views["a"] = View(state=State.BLOCKED, load=LOAD, on_demand=False, blockers=("b",), places=HERE)
    world.join("a", 0.0)
    orders = world.look(50.0)
    assert (orders.asks, orders.shut) == ((), {"b"})  # but others give way to it


def test_the_longest_wait_is_foreseen() -> None:
    world = World(Rules(longest=60.0))
    (ticket,) = world.join("a", 1.0)
    world.see("a", State.READY)
    assert world.look(50.0).wake == 61.0
    assert world.schedule.expired(60.9) == []
    assert world.schedule.expired(61.0) == [ticket]
    world.schedule.leave(ticket)
    world.schedule.leave(ticket)
    assert world.look(62.0).wake == math.inf


def test_how_it_was_used_is_forgotten_when_it_decides_nothing_any_more() -> None:
    world = World()
    world.serves("a", 0.0)
    world.look(1000.0)
    assert world.schedule.under_way("a") == 1
    world.schedule.end("a", 1000.0)
    world.look(1100.0)
    assert world.schedule._uses
    world.look(1200.0)
    assert not world.schedule._uses


def test_a_full_line_tells_which() -> None:
    world = World(Rules(length=2, total=3))
    world.join("a", 0.0, count=2)
    with pytest.raises(Full) as found:
        world.join("a", 0.0)
    assert (found.value.workload, found.value.most) == ("a", 2)
    world.join("b", 0.0)
    with pytest.raises(Full) as found:
        world.join("c", 0.0)
    assert (found.value.workload, found.value.most) == ("", 3)
