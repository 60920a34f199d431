"""What apps ask for: who is waited for, who serves, since when something is unused, and who hears of a change."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.demand import Demand
from reconciler.model import NO_WISH, Wish


@dataclass
class World:
    """A clock that is set by hand, and what the loop heard."""

    now: float = 100.0
    heard: list[str] = field(default_factory=list)

    def demand(self, *names: str) -> Demand:
        made = Demand(lambda: self.now, self.heard.append)
        made.declared(names)
        return made


def test_asking_makes_it_wanted_and_is_heard_once():
    world = World()
    demand = world.demand("a", "b")
    demand.ask("a")
    demand.ask("a")
    assert world.heard == ["a"]
    assert demand.wishes()["a"].wanted
    assert not demand.wishes()["b"].wanted
    assert demand.asked("a")


def test_who_asked_first_has_the_earlier_turn():
    demand = World().demand("a", "b")
    demand.ask("b")
    demand.ask("a")
    assert demand.wishes()["b"].turn < demand.wishes()["a"].turn


def test_a_load_that_never_served_is_abandoned_when_the_last_waiter_leaves():
    world = World()
    demand = world.demand("a")
    demand.ask("a")
    demand.withdraw("a")
    assert demand.wishes()["a"].abandoned
    assert world.heard == ["a", "a"]
    demand.ask("a")
    assert not demand.wishes()["a"].abandoned


def test_what_has_served_is_not_abandoned():
    demand = World().demand("a")
    demand.ask("a")
    demand.begin("a")
    demand.withdraw("a")
    assert not demand.wishes()["a"].abandoned
    assert demand.wishes()["a"].busy


def test_withdrawing_what_nobody_asked_for_is_nothing():
    world = World()
    demand = world.demand("a")
    demand.withdraw("a")
    assert world.heard == []
    assert not demand.wishes()["a"].abandoned


def test_unused_counts_from_the_last_end():
    world = World()
    demand = world.demand("a")
    demand.begin("a")
    demand.begin("a")
    world.now += 50
    demand.end("a")
    assert demand.unused("a") == 0
    assert demand.wishes()["a"].busy
    world.now += 7
    demand.end("a")
    world.now += 3
    assert demand.unused("a") == 3
    assert not demand.wishes()["a"].busy
    assert demand.wishes()["a"].last == 157


def test_what_is_never_used_counts_from_its_declaration():
    world = World()
    demand = world.demand("a")
    world.now += 20
    demand.declared(["a", "b"])
    world.now += 5
    assert (demand.unused("a"), demand.unused("b")) == (25, 5)
    demand.touch("a")
    assert demand.unused("a") == 0


def test_just_started_for_somebody_it_does_not_yield_before_it_has_served():
    demand = World().demand("a")
    demand.ask("a")
    demand.yields("a", True)
    assert demand.wishes()["a"].busy
    assert not demand.wishes()["a"].wanted
    demand.begin("a")
    assert demand.wishes()["a"].busy
    demand.end("a")
    assert not demand.wishes()["a"].busy
    demand.yields("a", False)
    assert demand.wishes()["a"].busy
    assert demand.wishes()["a"].wanted


def test_the_last_end_of_what_yields_is_heard_while_another_waits():
    world = World()
    demand = world.demand("a", "b")
    demand.yields("a", True)
    demand.begin("a")
    demand.ask("b")
    world.heard.clear()
    demand.end("a")
    assert world.heard == ["a"]
    demand.withdraw("b")
    world.heard.clear()
    demand.begin("a")
    demand.end("a")
    assert world.heard == []


def test_requests_by_themselves_wake_nobody():
    world = World()
    demand = world.demand("a")
    for _ in range(3):
        demand.begin("a")
        demand.end("a")
    assert world.heard == []


def test_what_is_declared_no_more_is_forgotten_once_its_requests_are_over():
    demand = World().demand("a", "b")
    demand.begin("a")
    demand.declared([])
    assert set(demand.wishes()) == {"a"}
    demand.end("a")
    demand.declared([])
    assert demand.wishes() == {}
    demand.end("a")
    assert demand.under_way("a") == 0


ACTS = ("ask", "withdraw", "begin", "end", "yields", "gives way no more", "wait")


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.sampled_from("ab")), max_size=40))
@settings(deadline=None)
def test_every_picture_tells_what_has_happened_until_then(acts: list[tuple[str, str]]) -> None:
    """Against the plainest account of it: lists of what was said, read anew each time."""
    world = World()
    demand, told = world.demand("a", "b"), dict[str, list[tuple[str, float]]](a=[], b=[])
    pictures: list[tuple[dict[str, Wish], dict[str, Wish]]] = []
    for act, name in acts:
        match act:
            case "wait":
                world.now += 1
            case "yields":
                demand.yields(name, True)
            case "gives way no more":
                demand.yields(name, False)
            case _:
                getattr(demand, act)(name)
        told[name].append((act, world.now))
        wishes = demand.wishes()
        pictures.append((dict(wishes), dict(wishes)))
        for each, said in told.items():
            wish = wishes.get(each, NO_WISH)
            words = [word for word, _ in said]
            assert (wish.turn > 0) == (_last(words, ("ask", "withdraw")) == "ask")
            assert wish.yields == (_last(words, ("yields", "gives way no more")) == "yields")
            assert wish.under_way == _under_way(words)
            assert wish.last == max([100.0, *_ends(said)])
    assert all(before == after for before, after in pictures)


def _last(words: list[str], of: tuple[str, ...]) -> str:
    return next((word for word in reversed(words) if word in of), "")


def _under_way(words: list[str]) -> int:
    count = 0
    for word in words:
        count = count + 1 if word == "begin" else max(0, count - 1) if word == "end" else count
    return count


def _ends(said: list[tuple[str, float]]) -> list[float]:
    """When a request ended, or somebody who waited left."""
    found, count, asked = [], 0, False
    for word, at in said:
        if (word == "end" and count) or (word == "withdraw" and asked):
            found.append(at)
        count = count + 1 if word == "begin" else max(0, count - 1) if word == "end" else count
        asked = word == "ask" or (asked and word != "withdraw")
    return found
