"""Who is next: first come, first served for each client, and clients in turn."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from api.proxies.queue.line import Line, Ticket

CLIENTS = st.sampled_from("abcd")


def ticket(who: str, since: float = 0.0) -> Ticket:
    return Ticket(workload="qwen3", who=who, since=since)


def line_of(names: str) -> tuple[Line, list[Ticket]]:
    line, tickets = Line(), [ticket(who, float(n)) for n, who in enumerate(names)]
    for each in tickets:
        line.add(each)
    return line, tickets


def serve(line: Line) -> Ticket:
    first = next(iter(line))
    line.serve(first)
    return first


def served(line: Line) -> str:
    return "".join(serve(line).who for _ in range(len(line)))


def test_a_hundred_of_one_client_do_not_keep_another_waiting() -> None:
    line, _ = line_of("a" * 100 + "b")
    assert served(line)[:3] == "aba"


def test_a_client_who_was_served_goes_to_the_end_of_the_ring() -> None:
    line, _ = line_of("aab")
    assert serve(line).who == "a"
    line.add(ticket("c"))
    assert served(line) == "bac"


def test_who_leaves_is_not_served_and_its_client_keeps_its_place() -> None:
    line, tickets = line_of("aabb")
    line.remove(tickets[0])
    assert tickets[0] not in line
    assert [serve(line) for _ in range(3)] == [tickets[1], tickets[2], tickets[3]]


@given(st.text("abcd", min_size=1, max_size=30))
def test_the_order_foretold_is_the_order_served(names: str) -> None:
    line, tickets = line_of(names)
    foretold = list(line)
    assert [line.position(each) for each in foretold] == list(range(1, len(tickets) + 1))
    assert [serve(line) for _ in tickets] == foretold
    assert not len(line)


@given(st.lists(st.tuples(st.sampled_from(["come", "serve", "leave"]), CLIENTS, st.integers(0, 20)), max_size=60))
def test_nobody_is_served_twice_while_another_waits_for_once(moves: list[tuple[str, str, int]]) -> None:
    """Between two servings of a client, every other client who waited all the time was served."""
    line, order = Line(), list[Ticket]()
    since_served = dict[str, set[str]]()  # client -> who has waited since that client was served
    for move, who, which in moves:
        if move == "come":
            order.append(ticket(who))
            line.add(order[-1])
        elif not order:
            continue
        elif move == "leave":
            gone = order.pop(which % len(order))
            line.remove(gone)
            if not line.count(gone.who):
                for waited in since_served.values():
                    waited.discard(gone.who)
        else:
            gone = serve(line)
            assert gone == min((t for t in order if t.who == gone.who), key=order.index)
            order.remove(gone)
            assert since_served.get(gone.who, set()) == set()
            for waited in since_served.values():
                waited.discard(gone.who)
            since_served[gone.who] = {t.who for t in order} - {gone.who}
    assert len(line) == len(order)
    assert Counter(t.who for t in line) == Counter(t.who for t in order)
    if order:
        assert line.oldest is order[0]
        assert line.count(line.most()) == max(Counter(t.who for t in order).values())
