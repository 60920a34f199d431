"""What is told, when, and how often: laws over random looks, and the stories that they must make right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.notify.episodes import REMIND, Book, Notice
from api.notify.troubles import Look, Trouble
from state.journal import Told
from state.notifications import TOPICS

AFTER = 120.0
SUBJECTS = ("workload/a", "workload/b", "spark/s")


def trouble(subject: str = "workload/a", reason: str = "NotServing") -> Trouble:
    return Trouble(subject=subject, reason=reason, title=f"{subject} {reason}", message="why", advice="what to do")


def seen(*bad: Trouble, unsure: tuple[str, ...] = ()) -> Look:
    return Look({each.key: each for each in bad}, frozenset(unsure))


def told(book: Book, looks: list[tuple[float, Look]], after: float = AFTER) -> list[tuple[float, str, str]]:
    return [
        (now, notice.state, notice.trouble.subject)
        for now, each in looks
        for notice in book.look(each, now=now, after=after, topics=TOPICS)
    ]


def test_only_what_lasts_is_told_and_its_end_only_if_it_was() -> None:
    bad, well = seen(trouble()), seen()
    story = [
        (0.0, bad),
        (119.0, bad),
        (121.0, well),
        (130.0, bad),
        (249.0, bad),
        (250.0, bad),
        (400.0, bad),
        (401.0, well),
    ]
    assert told(Book(), story) == [(250.0, "firing", "workload/a"), (401.0, "resolved", "workload/a")]


def test_a_model_that_fails_loads_and_fails_is_one_trouble() -> None:
    """It is never bad for two minutes on end, since it loads in between: yet it never served."""
    bad, loading = seen(trouble()), seen(unsure=("workload/a",))
    story = [(30.0 * n, bad if n % 3 == 0 else loading) for n in range(20)]
    assert told(Book(), story) == [(180.0, "firing", "workload/a")]


def test_nothing_is_told_of_what_nobody_can_tell_and_nothing_is_over() -> None:
    book = Book()
    assert told(book, [(0.0, seen(trouble())), (200.0, seen(unsure=("workload/a",)))]) == []
    assert told(book, [(210.0, seen(trouble()))]) == [(210.0, "firing", "workload/a")]
    assert told(book, [(300.0, seen(unsure=("workload/a",)))]) == []
    assert told(book, [(310.0, seen())]) == [(310.0, "resolved", "workload/a")]


def test_after_a_day_it_is_told_again() -> None:
    bad = seen(trouble())
    found = told(Book(), [(0.0, bad), (120.0, bad), (REMIND, bad), (REMIND + 120.0, bad), (REMIND + 130.0, bad)])
    assert [state for _, state, _ in found] == ["firing", "reminder"]


def test_what_did_not_arrive_is_not_told_to_be_over_but_told_anew() -> None:
    book, bad = Book(), seen(trouble())
    (first,) = book.look(bad, now=0.0, after=0.0, topics=TOPICS)
    book.lost(first)
    assert told(book, [(10.0, bad), (REMIND, bad)]) == [(REMIND, "firing", "workload/a")]
    (again,) = Book().look(bad, now=0.0, after=0.0, topics=TOPICS)
    other = Book()
    other.look(bad, now=0.0, after=0.0, topics=TOPICS)
    other.lost(again)
    assert told(other, [(5.0, seen())]) == []


def test_a_clock_that_is_set_back_makes_no_wait_longer() -> None:
    bad = seen(trouble())
    assert told(Book(), [(10_000.0, bad), (100.0, bad), (220.0, bad)]) == [(220.0, "firing", "workload/a")]


def test_what_nobody_wants_to_hear_of_is_forgotten_without_a_word() -> None:
    book = Book()
    assert told(book, [(0.0, seen(trouble()))], after=0.0)
    assert book.keep_only(["spark"]) == [("workload/a", "NotServing")]
    assert book.look(seen(trouble()), now=5.0, after=0.0, topics=["spark"]) == []
    assert told(book, [(10.0, seen())]) == []


def test_another_reason_of_a_subject_in_trouble_ends_nothing() -> None:
    book = Book()
    told(book, [(0.0, seen(trouble(reason="Stalled")))], after=0.0)
    assert told(book, [(10.0, seen(trouble()))]) == []
    assert told(book, [(20.0, seen())]) == [(20.0, "resolved", "workload/a")]


state = st.sampled_from(["bad", "well", "unsure"])
looks = st.lists(st.tuples(st.floats(0.5, 400.0), st.tuples(state, state, state), st.booleans()), max_size=60)


@given(looks, st.sampled_from([0.0, 30.0, 120.0]))
def test_told_and_over_take_turns_whatever_flaps_and_whenever_it_restarts(
    steps: list[tuple[float, tuple[str, str, str], bool]], after: float
) -> None:
    """And each is told only of what is bad now and was never well since `after`; restarts tell nothing twice."""
    book, now = Book(), 0.0
    kept: dict[tuple[str, str], Told] = {}
    heard: dict[str, list[str]] = {subject: [] for subject in SUBJECTS}
    not_well_since: dict[str, float] = {}
    for pause, states, restart in steps:
        now += pause
        if restart:
            book = Book(kept.values())
            for subject in SUBJECTS:  # how long it lasts is counted anew, but for what was told
                not_well_since.pop(subject, None)
        now_is = dict(zip(SUBJECTS, states, strict=True))
        for subject, word in now_is.items():
            if word == "well":
                not_well_since.pop(subject, None)
            elif word == "bad":
                not_well_since.setdefault(subject, now)
        look = seen(
            *(trouble(s) for s, word in now_is.items() if word == "bad"),
            unsure=tuple(s for s, word in now_is.items() if word == "unsure"),
        )
        for notice in book.look(look, now=now, after=after, topics=TOPICS):
            check(notice, now_is, not_well_since, now, after)
            heard[notice.trouble.subject].append(notice.state)
            note(kept, notice)
    for states in heard.values():
        turns = [word for word in states if word != "reminder"]
        assert turns == ["firing", "resolved"] * (len(turns) // 2) + ["firing"] * (len(turns) % 2)


def check(notice: Notice, now_is: dict[str, str], since: dict[str, float], now: float, after: float) -> None:
    subject = notice.trouble.subject
    if notice.state == "resolved":
        assert now_is[subject] == "well"
    else:
        assert now_is[subject] == "bad"
    if notice.state == "firing":
        assert now - since[subject] >= after


def note(kept: dict[tuple[str, str], Told], notice: Notice) -> None:
    """As the journal does once it has arrived."""
    key = notice.trouble.key
    if notice.state == "resolved":
        del kept[key]
    else:
        assert (key in kept) == (notice.state == "reminder")
        kept[key] = Told(notification="n", subject=key[0], reason=key[1], since=notice.since, at=notice.at, title="t")
